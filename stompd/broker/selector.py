"""Selectors: which messages a subscriber wants, in the words of JMS (a part of SQL-92).

A selector is parsed once and becomes functions, see `predicate`. The text comes from a peer, so all
of it is bounded: length, depth, lists, numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from stompd.broker.predicate import (
    FALSE,
    LARGEST,
    TRUE,
    Condition,
    Constant,
    Header,
    Headers,
    Operand,
    Predicate,
    Read,
    Text,
    Unfit,
    between,
    calculated,
    comparison,
    condition,
    conjunction,
    disjunction,
    like,
    member,
    negation,
    null,
)
from stompd.protocol.errors import RemoteProtocolError, shown

if TYPE_CHECKING:
    from lark import Lark, Token, UnexpectedToken

LONGEST: Final = 8192
"""Characters of a selector."""
DEEPEST: Final = 100
"""Operators within operators."""
MOST: Final = 1000
"""Values of an IN."""

# Digits that no number of 64 bits has.
_DIGITS: Final = 20
# Compiled selectors that are kept for the next subscriber with the same one.
_KEPT: Final = 256
# Characters that an error quotes on each side of the place.
_QUOTED: Final = 24

_GRAMMAR: Final = r"""
    start: disjunction
    ?disjunction: conjunction (_OR conjunction)*
    ?conjunction: negation (_AND negation)*
    ?negation: predicate
        | NOT+ predicate
    ?predicate: terms
        | terms COMPARE terms -> comparison
        | terms [NOT] BETWEEN terms _AND terms -> between
        | terms [NOT] IN _OPEN value (_COMMA value)* _CLOSE -> member
        | terms [NOT] LIKE STRING [_ESCAPE STRING] -> like
        | terms IS [NOT] _NULL -> null
    ?terms: factors (SIGN factors)*
    ?factors: factor (TIMES factor)*
    ?factor: atom
        | SIGN+ atom -> signed
    ?value: literal
        | SIGN+ number -> signed
    ?atom: NAME -> header
        | QUOTED -> quoted
        | literal
        | TRUE -> true
        | FALSE -> false
        | _OPEN disjunction _CLOSE
    ?literal: STRING -> text
        | number
    number: NUMBER

    COMPARE: /<>|!=|<=|>=|=|<|>/
    SIGN: /[+-]/
    TIMES: /[*\/]/
    _OPEN: "("
    _CLOSE: ")"
    _COMMA: ","
    STRING: /'(?:''|[^'])*'/
    QUOTED: /"(?:""|[^"])+"/
    NUMBER: /0[xX][0-9a-fA-F]+[lL]?|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[lLdDfF]?/
    NAME: /(?:[^\W\d]|\$)[\w$]*(?:[.-][\w$]+)*/

    %declare _AND _OR NOT BETWEEN IN LIKE _ESCAPE IS _NULL TRUE FALSE
    %ignore /[ \t\r\n\f]+/
"""
_KEYWORDS: Final = {
    "AND": "_AND",
    "OR": "_OR",
    "NOT": "NOT",
    "BETWEEN": "BETWEEN",
    "IN": "IN",
    "LIKE": "LIKE",
    "ESCAPE": "_ESCAPE",
    "IS": "IS",
    "NULL": "_NULL",
    "TRUE": "TRUE",
    "FALSE": "FALSE",
}

# What may come next, in the words of an error. Where a name or a comparison may come, so may all
# that comes in its place.
_EXPECTED: Final = (
    ("NAME", "the name of a header or a value"),
    ("STRING", "a string"),
    ("NUMBER", "a number"),
    ("COMPARE", "a comparison"),
    ("BETWEEN", "BETWEEN, IN or LIKE"),
    ("_NULL", "NULL"),
    ("_AND", "AND"),
    ("_OR", "OR"),
    ("_ESCAPE", "ESCAPE"),
    ("_OPEN", '"("'),
    ("_COMMA", '","'),
    ("_CLOSE", '")"'),
    ("$END", "the end"),
)
_IMPLIED: Final = {"NAME": {"STRING", "NUMBER", "_OPEN"}, "COMPARE": {"BETWEEN"}}

# ActiveMQ's switches, for what is always done here.
_SWITCHES: Final = re.compile(r"\s*(?:(?:convert_string_expressions|hyphenated_props):\s*)+")

# JMS's names for headers of STOMP, with what stands for an absent one.
_JMS: Final[dict[str, tuple[tuple[str, ...], str | None]]] = {
    "JMSCorrelationID": (("correlation-id",), None),
    "JMSDeliveryMode": (("persistent",), None),
    "JMSDestination": (("destination",), None),
    "JMSExpiration": (("expires",), "0"),
    "JMSMessageID": (("message-id",), None),
    "JMSPriority": (("priority",), "4"),
    "JMSReplyTo": (("reply-to",), None),
    "JMSTimestamp": (("timestamp",), None),
    "JMSType": (("type",), None),
    "JMSXGroupID": (("message-group", "message_group", "_AMQ_GROUP_ID"), None),
}


class Selector:
    """A selector, ready to be asked; shared by all who wrote the same text."""

    __slots__ = ("matches", "names", "text")

    def __init__(self, text: str, names: frozenset[str], matches: Predicate) -> None:
        # As written.
        self.text = text
        # The headers that it looks at.
        self.names = names
        # Takes a message's headers; True only if the selector is true of them, not unknown.
        self.matches = matches

    def __repr__(self) -> str:
        return f"Selector({self.text!r})"


@lru_cache(maxsize=_KEPT)
def compile_selector(text: str) -> Selector:
    """Return the selector that a text stands for; the same one again for the same text.

    Raises RemoteProtocolError if it is not one, with the column, what was found and what was
    expected; or if it is longer than LONGEST, deeper than DEEPEST or has an IN of more than MOST.
    """
    if len(text) > LONGEST:
        raise RemoteProtocolError(
            "malformed selector", f"{len(text)} characters; at most {LONGEST} are allowed"
        )
    # Blanks in the place of the switches, so that columns remain what they are.
    switches = _SWITCHES.match(text)
    start = 0 if switches is None else switches.end()
    parser, builder = _parser()
    builder.names = set()
    matches = _parse(parser, " " * start + text[start:])
    return Selector(text, frozenset(builder.names), matches)


def _parse(parser: Lark, text: str) -> Predicate:
    from lark import UnexpectedCharacters, UnexpectedToken  # noqa: PLC0415 - see _parser

    try:
        # What lark calls a tree is what the builder's `start` returns.
        parsed: Any = parser.parse(text)
    except UnexpectedToken as wrong:
        ended = wrong.token.type == "$END"
        at = len(text) if ended else wrong.token.start_pos or 0
        if wrong.token.type == "_CLOSE" and "$END" in wrong.accepts:
            raise _malformed(text, at, 'a ")" without its "("') from None
        raise _malformed(text, at, f"expected {_expected(wrong)}") from None
    except UnexpectedCharacters as wrong:
        place: Any = wrong.pos_in_stream  # lark says that it is None
        at = int(place)
        if text[at] == "'":
            what = "a string without its closing '; a ' within it is written twice"
        elif text[at] == '"':
            what = "a name without its closing quote, or an empty one"
        else:
            what = "this character has no meaning here; a name with it goes in double quotes"
        raise _malformed(text, at, what) from None
    except _Fault as wrong:
        raise _malformed(text, wrong.at, wrong.what) from None
    predicate: Predicate = parsed
    return predicate


def _expected(wrong: UnexpectedToken) -> str:
    may = set(wrong.accepts)
    for name, implied in _IMPLIED.items():
        if name in may:
            may -= implied
    *others, last = [words for name, words in _EXPECTED if name in may]
    return f"{', '.join(others)} or {last}" if others else last


def _malformed(text: str, at: int, what: str) -> RemoteProtocolError:
    before = text[max(0, at - _QUOTED) : at].strip()
    here = text[at : at + _QUOTED].strip()
    # Octets that are no UTF-8 are shown as they came.
    before, here = (shown(part.encode("utf-8", "surrogatepass")) for part in (before, here))
    detail = f"column {at + 1}: {what}"
    detail += f'; found "{here}"' if here else "; the selector ends here"
    if before:
        detail += f' after "{before}"'
    return RemoteProtocolError("malformed selector", detail)


class _Fault(Exception):  # noqa: N818 - what is wrong is the peer's text
    """What is wrong with a selector that follows the grammar, and where."""

    def __init__(self, at: int, what: str) -> None:
        super().__init__(what)
        self.at = at
        self.what = what


# The place of an operand in the text, and the operand.
_Part = tuple[int, Operand]


@contextmanager
def _at(place: int) -> Iterator[None]:
    try:
        yield
    except Unfit as wrong:
        raise _Fault(place, str(wrong)) from None


@cache
def _parser() -> tuple[Lark, _Builder]:
    # lark takes longer to import than all of the core, and most brokers never see a selector.
    from lark import Lark  # noqa: PLC0415 - see above

    builder = _Builder()
    # It calls the builder as it goes along, without a tree and without recursion. The basic lexer
    # knows a keyword everywhere, so that no header has a keyword's name in one place only.
    transformer: Any = builder
    parser = Lark(
        _GRAMMAR,
        parser="lalr",
        lexer="basic",
        transformer=transformer,
        lexer_callbacks={"NAME": _keyword},
    )
    return parser, builder


def _keyword(name: Token) -> Token:
    # Only ASCII: there are letters elsewhere whose capitals are ours.
    keyword = _KEYWORDS.get(name.upper()) if name.isascii() else None
    return name if keyword is None else name.update(type=keyword)


def _place(token: Token) -> int:
    return token.start_pos or 0


def _placed(at: int, operand: Operand) -> _Part:
    if operand.depth > DEEPEST:
        raise _Fault(at, f"nested too deeply; at most {DEEPEST} operators may stand in each other")
    return at, operand


def _condition(part: _Part) -> Condition:
    with _at(part[0]):
        return condition(part[1])


class _Builder:
    """Makes functions of what the parser finds: a method for each rule of the grammar."""

    def __init__(self) -> None:
        # The headers that the selector at hand looks at.
        self.names: set[str] = set()

    # -- Conditions ----

    def start(self, children: Sequence[_Part]) -> Predicate:
        return _condition(children[0]).true

    def disjunction(self, children: Sequence[_Part]) -> _Part:
        return _placed(children[0][0], disjunction([_condition(each) for each in children]))

    def conjunction(self, children: Sequence[_Part]) -> _Part:
        return _placed(children[0][0], conjunction([_condition(each) for each in children]))

    def negation(self, children: Sequence[Any]) -> _Part:
        *nots, part = children
        of = _condition(part)
        return _place(nots[0]), negation(of) if len(nots) % 2 else of

    def comparison(self, children: tuple[_Part, Token, _Part]) -> _Part:
        left, sign, right = children
        with _at(_place(sign)):
            # ActiveMQ takes this spelling too.
            found = comparison(left[1], "<>" if sign == "!=" else str(sign), right[1])
        return _placed(left[0], found)

    def between(self, children: tuple[_Part, Token | None, Token, _Part, _Part]) -> _Part:
        part, inverted, sign, low, high = children
        with _at(_place(sign)):
            found = between(part[1], low[1], high[1])
        return _placed(part[0], negation(found) if inverted else found)

    def member(self, children: Sequence[Any]) -> _Part:
        part, inverted, sign, *values = children
        if len(values) > MOST:
            raise _Fault(
                _place(sign), f"a list of {len(values)} values; at most {MOST} are allowed"
            )
        with _at(_place(sign)):
            found = member(part[1], [value for _, value in values])
        return _placed(part[0], negation(found) if inverted else found)

    def like(self, children: tuple[_Part, Token | None, Token, Token, Token | None]) -> _Part:
        part, inverted, sign, pattern, escape = children
        with _at(_place(sign)):
            found = like(part[1], _unquoted(pattern), None if escape is None else _unquoted(escape))
        return part[0], negation(found) if inverted else found

    def null(self, children: tuple[_Part, Token, Token | None]) -> _Part:
        part, sign, inverted = children
        with _at(_place(sign)):
            found = null(part[1])
        return part[0], negation(found) if inverted else found

    # -- Values ----

    def terms(self, children: Sequence[Any]) -> _Part:
        part, *rest = children
        with _at(part[0]):
            signs = [str(sign) for sign in rest[::2]]
            found = calculated(
                part[1], list(zip(signs, [each[1] for each in rest[1::2]], strict=True))
            )
        return _placed(part[0], found)

    factors = terms

    def signed(self, children: Sequence[Any]) -> _Part:
        *signs, part = children
        factor = Constant(-1 if sum(sign == "-" for sign in signs) % 2 else 1)
        with _at(_place(signs[0])):
            return _placed(_place(signs[0]), calculated(part[1], [("*", factor)]))

    def header(self, children: Sequence[Token]) -> _Part:
        return _place(children[0]), self._header(str(children[0]))

    def quoted(self, children: Sequence[Token]) -> _Part:
        return _place(children[0]), self._header(_unquoted(children[0]))

    def _header(self, name: str) -> Header:
        self.names.add(name)
        if name not in _JMS:
            return Header(name)
        others, absent = _JMS[name]
        self.names.update(others)
        if name == "JMSDeliveryMode":
            return Header(name, _delivery_mode)
        return Header(name, _first((name, *others), absent))

    def text(self, children: Sequence[Token]) -> _Part:
        return _place(children[0]), Text(_unquoted(children[0]))

    def number(self, children: Sequence[Token]) -> _Part:
        at = _place(children[0])
        return at, Constant(_literal(str(children[0]), at))

    def true(self, children: Sequence[Token]) -> _Part:
        return _place(children[0]), TRUE

    def false(self, children: Sequence[Token]) -> _Part:
        return _place(children[0]), FALSE


def _unquoted(token: Token) -> str:
    quote = token[0]
    return token[1:-1].replace(quote * 2, quote)


def _literal(digits: str, at: int) -> int | float:
    """Return the number that a literal of Java's stands for."""
    whole = digits.rstrip("lL")
    value: int | float
    if digits[:2] in ("0x", "0X"):
        value = int(whole, 16)
    elif whole.isdecimal():
        if len(whole) > 1 and whole[0] == "0":
            raise _Fault(at, "a number with a leading 0 is octal to some and decimal to others")
        # Before int(), whose time grows faster than the digits.
        value = int(whole) if len(whole) < _DIGITS else LARGEST + 1
    elif whole != digits:
        raise _Fault(at, "L is for whole numbers")
    else:
        value = float(digits.rstrip("dDfF"))
        if math.isinf(value):
            raise _Fault(at, "a number that is too large")
        return value
    # One more than Java's largest, for its negative.
    if value > LARGEST:
        raise _Fault(at, "a whole number of more than 64 bits; with a point it may be larger")
    return value


def _first(names: Sequence[str], absent: str | None) -> Read:
    def read(headers: Headers) -> str | None:
        for name in names:
            value = headers.get(name)
            if value is not None:
                return value
        return absent

    return read


def _delivery_mode(headers: Headers) -> str:
    value = headers.get("JMSDeliveryMode")
    if value is not None:
        return value
    persistent = headers.get("persistent", "").strip().lower() in ("true", "1")
    return "PERSISTENT" if persistent else "NON_PERSISTENT"
