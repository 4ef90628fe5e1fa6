"""What a selector is made of: functions that look at the headers of one message.

SQL knows three truths. A condition is kept as two functions, one that says whether it is true and
one that says whether it is false; it is unknown where both say no. So each of them is plain
two-valued logic, NOT exchanges the two, and nothing has to be converted on the way.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

Headers: TypeAlias = Mapping[str, str]
Predicate: TypeAlias = Callable[[Headers], bool]
# None is NULL: a header that is not there, or no number where one is needed.
Read: TypeAlias = Callable[[Headers], str | None]
Figure: TypeAlias = Callable[[Headers], int | float | None]
# Of two texts or two numbers.
Compare: TypeAlias = Callable[[Any, Any], bool]

# Whole numbers have 64 bits as in Java; beyond that they go on as floating point.
LARGEST: Final = 2**63
# A longer header value is no number: reading digits takes more than the time of their length.
_DIGITS: Final = 64
# A longer piece of a LIKE pattern that has `_` in it and a `%` on both sides is refused: it costs
# its length times the value's.
_PIECE: Final = 256

_FIRST: Final = frozenset("0123456789+-.")
_TRUE: Final = frozenset({"true", "1"})
_FALSE: Final = frozenset({"false", "0"})

_COMPARE: Final[Mapping[str, Compare]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OPPOSITE: Final = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_MIRRORED: Final = {"=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}


class Unfit(Exception):  # noqa: N818 - it says what is wrong with the operands
    """Operands that do not go together; the text says why, for people."""


class Text:
    """A string literal."""

    __slots__ = ("value",)
    kind = "a string"
    depth = 0

    def __init__(self, value: str) -> None:
        self.value = value


class Constant:
    """A number literal, or what arithmetic makes of some."""

    __slots__ = ("value",)
    kind = "a number"
    depth = 0

    def __init__(self, value: float) -> None:
        self.value = value


class Header:
    """The value of a header."""

    __slots__ = ("name", "read")
    kind = "a header"
    depth = 0

    def __init__(self, name: str, read: Read | None = None) -> None:
        # None if it is not just the header of that name.
        self.name = name if read is None else None
        self.read: Read = _reader(name) if read is None else read


class Arithmetic:
    """A number that depends on the message."""

    __slots__ = ("depth", "figure")
    kind = "a number"

    def __init__(self, figure: Figure, depth: int) -> None:
        self.figure = figure
        # Calls within calls, when it is asked for.
        self.depth = depth


class Condition:
    """What is true, false or unknown of a message."""

    __slots__ = ("depth", "false", "true")
    kind = "a condition"

    def __init__(self, true: Predicate, false: Predicate, depth: int) -> None:
        self.true = true
        self.false = false
        self.depth = depth


Operand: TypeAlias = Text | Constant | Header | Arithmetic | Condition


def _always(_headers: Headers) -> bool:
    return True


def _never(_headers: Headers) -> bool:
    return False


TRUE: Final = Condition(_always, _never, 1)
FALSE: Final = Condition(_never, _always, 1)


# -- Values ----------------------------------------------------------------------------------------


def _reader(name: str) -> Read:
    def read(headers: Headers) -> str | None:
        return headers.get(name)

    return read


def number(value: str) -> int | float | None:
    """Return the number that a header's value stands for, None if it is none."""
    if len(value) < 19 and value.isdecimal() and value.isascii():  # noqa: PLR2004 - 64 bits for sure
        return int(value)
    value = value.strip()
    # What float() would take besides: other alphabets' digits, 1_000, inf and nan.
    if len(value) > _DIGITS or value[:1] not in _FIRST or "_" in value or not value.isascii():
        return None
    try:
        return fitted(int(value) if value.lstrip("+-").isdecimal() else float(value))
    except ValueError:
        return None


def fitted(value: float) -> int | float | None:
    """Return a number of 64 bits as it is, a larger one as floating point, None for infinity."""
    if -LARGEST <= value <= LARGEST:
        return value
    value = float(value)
    return value if math.isfinite(value) else None


def figure(operand: Operand) -> Figure:
    """Return what finds an operand's number. Raises Unfit if it can have none."""
    if isinstance(operand, Constant):
        value = operand.value
        return lambda _headers: value
    if isinstance(operand, Arithmetic):
        return operand.figure
    if isinstance(operand, Header):
        read = operand.read

        def find(headers: Headers) -> int | float | None:
            value = read(headers)
            return None if value is None else number(value)

        return find
    raise Unfit(f"{operand.kind} is no number")


def condition(operand: Operand) -> Condition:
    """Return an operand as a condition: a header says true or false. Raises Unfit for others."""
    if isinstance(operand, Condition):
        return operand
    if not isinstance(operand, Header):
        raise Unfit(f"{operand.kind} is no condition; compare it with something")
    read = operand.read

    def true(headers: Headers) -> bool:
        value = read(headers)
        return value is not None and value.strip().lower() in _TRUE

    def false(headers: Headers) -> bool:
        value = read(headers)
        return value is not None and value.strip().lower() in _FALSE

    return Condition(true, false, 1)


# -- Arithmetic ------------------------------------------------------------------------------------


def _divide(left: float, right: float) -> int | float | None:
    if not right:
        return None
    if isinstance(left, int) and isinstance(right, int):
        # Towards zero, as Java's and most databases' whole numbers are divided.
        whole = abs(left) // abs(right)
        return whole if (left < 0) == (right < 0) else -whole
    return left / right


_CALCULATE: Final[Mapping[str, Callable[[float, float], int | float | None]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
}


def calculated(first: Operand, rest: Sequence[tuple[str, Operand]]) -> Constant | Arithmetic:
    """Return ``first + a - b`` or ``first * a / b``, left to right; Unfit as in `figure`."""
    start = figure(first)
    steps = [(_CALCULATE[sign], figure(operand)) for sign, operand in rest]

    def find(headers: Headers) -> int | float | None:
        total = start(headers)
        for calculate, find_next in steps:
            value = find_next(headers)
            if total is None or value is None:
                return None
            total = calculate(total, value)
            if total is not None and not -LARGEST <= total <= LARGEST:
                total = fitted(total)
        return total

    operands = [first, *(operand for _, operand in rest)]
    if all(isinstance(operand, Constant) for operand in operands):
        value = find({})
        if value is not None:
            return Constant(value)
    return Arithmetic(find, 1 + max(operand.depth for operand in operands))


# -- Logic -----------------------------------------------------------------------------------------


def _both(predicates: Sequence[Predicate]) -> Predicate:
    if len(predicates) == 2:  # noqa: PLR2004 - a pair is the usual case, and worth its own function
        first, second = predicates
        return lambda headers: first(headers) and second(headers)

    def every(headers: Headers) -> bool:
        for predicate in predicates:  # noqa: SIM110 - all() and a generator take twice the time
            if not predicate(headers):
                return False
        return True

    return every


def _either(predicates: Sequence[Predicate]) -> Predicate:
    if len(predicates) == 2:  # noqa: PLR2004 - as above
        first, second = predicates
        return lambda headers: first(headers) or second(headers)

    def some(headers: Headers) -> bool:
        for predicate in predicates:  # noqa: SIM110 - as above
            if predicate(headers):
                return True
        return False

    return some


def conjunction(conditions: Sequence[Condition]) -> Condition:
    """Return AND of two conditions or more."""
    return Condition(
        _both([each.true for each in conditions]),
        _either([each.false for each in conditions]),
        1 + max(each.depth for each in conditions),
    )


def disjunction(conditions: Sequence[Condition]) -> Condition:
    """Return OR of two conditions or more."""
    return Condition(
        _either([each.true for each in conditions]),
        _both([each.false for each in conditions]),
        1 + max(each.depth for each in conditions),
    )


def negation(of: Condition) -> Condition:
    """Return NOT of a condition."""
    return Condition(of.false, of.true, of.depth)


# -- Comparisons -----------------------------------------------------------------------------------


def comparison(left: Operand, sign: str, right: Operand) -> Condition:
    """Return ``left sign right``. Raises Unfit if the two cannot be compared."""
    if isinstance(right, Header) and not isinstance(left, Header):
        left, sign, right = right, _MIRRORED[sign], left
    if isinstance(left, Condition) or isinstance(right, Condition):
        return _truth(left, sign, right)
    if isinstance(left, Text) != isinstance(right, Text) and not isinstance(left, Header):
        raise Unfit(f"{left.kind} cannot be compared with {right.kind}")
    return Condition(
        _compared(left, sign, right),
        _compared(left, _OPPOSITE[sign], right),
        1 + max(left.depth, right.depth),
    )


def _truth(left: Operand, sign: str, right: Operand) -> Condition:
    # Of two conditions each would have to be asked twice, and those in them four times, and so on.
    if left is TRUE or left is FALSE:
        left, right = right, left
    if right is not TRUE and right is not FALSE:
        raise Unfit("a condition can be compared with TRUE and FALSE only")
    if sign not in ("=", "<>"):
        raise Unfit(f'"{sign}" is not for what is only true or false')
    if not isinstance(left, Condition | Header):
        raise Unfit(f"{left.kind} cannot be compared with TRUE or FALSE")
    same = condition(left)
    return same if (right is TRUE) == (sign == "=") else negation(same)


def _compared(left: Operand, sign: str, right: Operand) -> Predicate:
    compare = _COMPARE[sign]
    if isinstance(left, Text) and isinstance(right, Text):
        return _always if compare(left.value, right.value) else _never
    if isinstance(left, Header):
        if isinstance(right, Text):
            return _compared_text(left, sign, right.value)
        if isinstance(right, Header):
            return _compared_headers(left.read, compare, right.read)
        if isinstance(right, Constant) and left.name is not None:
            return _compared_number(left.name, compare, right.value)
    find_left, find_right = figure(left), figure(right)

    def compared(headers: Headers) -> bool:
        one = find_left(headers)
        other = find_right(headers)
        return one is not None and other is not None and compare(one, other)

    return compared


def _compared_text(header: Header, sign: str, text: str) -> Predicate:
    name, read, compare = header.name, header.read, _COMPARE[sign]
    if name is not None and sign == "=":
        return lambda headers: headers.get(name) == text

    def compared(headers: Headers) -> bool:
        value = read(headers)
        return value is not None and compare(value, text)

    return compared


def _compared_number(name: str, compare: Compare, limit: float) -> Predicate:
    def compared(headers: Headers) -> bool:
        value = headers.get(name)
        if value is None:
            return False
        found = number(value)
        return found is not None and compare(found, limit)

    return compared


def _compared_headers(left: Read, compare: Compare, right: Read) -> Predicate:
    def compared(headers: Headers) -> bool:
        one, other = left(headers), right(headers)
        if one is None or other is None:
            return False
        first, second = number(one), number(other)
        if first is None or second is None:
            return compare(one, other)
        return compare(first, second)

    return compared


def between(value: Operand, low: Operand, high: Operand) -> Condition:
    """Return ``value BETWEEN low AND high``, both included. Raises Unfit as `comparison` does."""
    return conjunction([comparison(value, ">=", low), comparison(value, "<=", high)])


def null(operand: Operand) -> Condition:
    """Return ``operand IS NULL``; never unknown. Raises Unfit if it is not a header."""
    if not isinstance(operand, Header):
        raise Unfit(f"IS NULL asks for a header, not for {operand.kind}")
    read = operand.read
    return Condition(
        lambda headers: read(headers) is None, lambda headers: read(headers) is not None, 1
    )


def member(operand: Operand, values: Sequence[Text | Constant]) -> Condition:
    """Return ``operand IN (values)``. Raises Unfit where `=` of it and one of the values would."""
    texts = frozenset(value.value for value in values if isinstance(value, Text))
    numbers = frozenset(value.value for value in values if isinstance(value, Constant))
    if isinstance(operand, Header):
        return _member_header(operand.read, texts, numbers)
    if isinstance(operand, Text) and not numbers:
        return TRUE if operand.value in texts else FALSE
    if isinstance(operand, Constant | Arithmetic) and not texts:
        find = figure(operand)

        def true(headers: Headers) -> bool:
            return find(headers) in numbers

        def false(headers: Headers) -> bool:
            value = find(headers)
            return value is not None and value not in numbers

        return Condition(true, false, 1 + operand.depth)
    raise Unfit(f"{operand.kind} cannot be one of these values")


def _member_header(read: Read, texts: frozenset[str], numbers: frozenset[float]) -> Condition:
    if not numbers:
        return _tested(read, texts.__contains__)

    def true(headers: Headers) -> bool:
        value = read(headers)
        return value is not None and (value in texts or number(value) in numbers)

    def false(headers: Headers) -> bool:
        value = read(headers)
        if value is None or value in texts:
            return False
        found = number(value)
        return found is not None and found not in numbers

    return Condition(true, false, 1)


def _tested(read: Read, test: Callable[[str], bool]) -> Condition:
    def true(headers: Headers) -> bool:
        value = read(headers)
        return value is not None and test(value)

    def false(headers: Headers) -> bool:
        value = read(headers)
        return value is not None and not test(value)

    return Condition(true, false, 1)


# -- LIKE ------------------------------------------------------------------------------------------


def like(operand: Operand, pattern: str, escape: str | None) -> Condition:
    """Return ``operand LIKE pattern ESCAPE escape``.

    Raises Unfit if the operand is not text, the escape is not one character or the pattern's last
    one, or a piece of the pattern is too long.
    """
    if escape is not None and len(escape) != 1:
        raise Unfit("ESCAPE takes a string of one character")
    test = _like(_pieces(pattern, escape))
    if isinstance(operand, Header):
        return _tested(operand.read, test)
    if isinstance(operand, Text):
        return TRUE if test(operand.value) else FALSE
    raise Unfit(f"LIKE asks for a header, not for {operand.kind}")


class _Piece:
    """A part of a pattern between two `%`; its length is the length of what it matches."""

    __slots__ = ("form", "size", "text")

    def __init__(self, characters: Sequence[str | None]) -> None:
        # None stands for `_`.
        self.size = len(characters)
        self.text = "".join(each for each in characters if each is not None)
        self.form: re.Pattern[str] | None = None
        if len(self.text) != self.size:
            form = "".join("." if each is None else re.escape(each) for each in characters)
            self.form = re.compile(form, re.DOTALL)

    def stands(self, value: str, at: int) -> bool:
        if self.form is None:
            return value.startswith(self.text, at)
        return self.form.match(value, at) is not None

    def find(self, value: str, at: int, end: int) -> int:
        if self.form is None:
            return value.find(self.text, at, end)
        found = self.form.search(value, at, end)
        return -1 if found is None else found.start()


def _pieces(pattern: str, escape: str | None) -> list[_Piece]:
    """Take a pattern apart at each `%`."""
    pieces: list[list[str | None]] = [[]]
    characters = iter(pattern)
    for character in characters:
        if character == escape:
            literal = next(characters, None)
            if literal is None:
                raise Unfit("the pattern ends with its escape character")
            pieces[-1].append(literal)
        elif character == "%":
            pieces.append([])
        else:
            pieces[-1].append(None if character == "_" else character)
    if any(None in piece and len(piece) > _PIECE for piece in pieces[1:-1]):
        raise Unfit(
            f'more than {_PIECE} characters with "_" among them, between one "%" and the next'
        )
    return [_Piece(piece) for piece in pieces]


def _like(pieces: Sequence[_Piece]) -> Callable[[str], bool]:
    if len(pieces) == 1:
        whole = pieces[0]
        return lambda value: len(value) == whole.size and whole.stands(value, 0)
    first, *middle, last = pieces
    middle = [piece for piece in middle if piece.size]
    if not (middle or last.size or first.form):
        start = first.text
        return lambda value: value.startswith(start)

    # Each piece is taken where it first fits. As a piece's length is fixed, no later place could
    # help the pieces after it, and nothing is ever tried twice.
    def test(value: str) -> bool:
        at = first.size
        end = len(value) - last.size
        if at > end or not first.stands(value, 0) or not last.stands(value, end):
            return False
        for piece in middle:
            at = piece.find(value, at, end)
            if at < 0:
                return False
            at += piece.size
        return True

    return test
