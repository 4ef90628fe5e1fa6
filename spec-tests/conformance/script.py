"""The notation in which most cases are written.

A script is a list of lines. A capital letter names a connection; ``*`` is a fresh one each time.

``A: P12 HEADER⏎…``          open A and connect with this version (P12, P11, P10); headers optional
``A: OPEN``                  open A, write nothing
``A> OCTETS``                write exactly these octets (⏎ LF, ␍ CR, ^@ NUL, ⟦FF⟧ an octet)
``A< PATTERN``               the next frame matches
``A<? PATTERN``              so does one of the next; frames before it are kept for later
``A: FATAL HEADER⏎…``        ERROR (with these headers) and end-of-stream, nothing else
``A: EOS``                   end-of-stream and no frame before it
``A: SYNC``, ``A: ALIVE``, ``A: QUIET``   as the requirements list defines them
``A: SUB ID DESTINATION HEADER…``         SUBSCRIBE with a receipt, and its RECEIPT
``A: PUT DESTINATION BODY``               SEND with a receipt, and its RECEIPT
``A: BODIES a b c``          the next frames are MESSAGEs with these bodies
``A: AMONG a b c``           the same in any order
``A: CLOSE``, ``A: RESET``, ``A: HALF``   close, close with a reset, end our direction only
``*: HOLDS DESTINATION a b`` a fresh subscriber gets exactly these bodies, in order, then nothing

A pattern is a command, header conditions and perhaps a body, joined by ⏎ as on the wire:
``name:value`` this octet sequence is the first header of that name; ``!name`` is absent;
``name=word`` is there and not empty, and its value is known as ``{word}`` from now on;
``name~regex`` its value matches. With ``⏎⏎`` the body is compared too.

Words in braces: ``{q}`` ``{q1}`` … and ``{t}`` ``{t1}`` … are queues and topics of this case alone,
``{host}`` ``{user}`` ``{passcode}`` what the broker wants, ``{login}`` whole header lines that log
in (perhaps none), ``{x*300}`` three hundred x.
"""

import re
from collections.abc import Callable

from wire import VERSIONS, Frame, Unmet, Wire, notation, octets

from conformance.stage import Stage

_STEP = re.compile(r"([A-Z*])(:|>|<\??) ?(.*)\Z", re.DOTALL)


class BadScriptError(Exception):
    """The script itself is wrong; the text says where."""


def steps(text: str) -> list[tuple[str, str, str]]:
    """The script as (connection, kind, argument); raises `BadScriptError`.

    An indented line continues the one before it, without the line break and the indentation.
    """
    joined: list[str] = []
    for line in text.splitlines():
        if line.startswith("    ") and joined:
            joined[-1] += line.strip()
        elif line.strip() and not line.startswith("#"):
            joined.append(line)
    found = []
    for line in joined:
        step = _STEP.match(line)
        if step is None:
            raise BadScriptError(f"not a step: {line}")
        who, kind, argument = step.groups()
        if kind == ":" and argument.split(" ")[0] not in _WORDS | _OPENERS | {"HOLDS"}:
            raise BadScriptError(f"unknown word: {line}")
        found.append((who, kind, argument))
    return found


def run(text: str, stage: Stage) -> None:
    """Play the script; raises `Unmet` at the first step that goes another way."""
    wires: dict[str, Wire] = {}
    for who, kind, raw in steps(text):
        argument = stage.fill_in(raw)
        try:
            if kind == ":":
                word, _, rest = argument.partition(" ")
                if word == "HOLDS":
                    destination, *bodies = rest.split(" ")
                    stage.drains(destination, *(octets(body) for body in bodies))
                elif word in _OPENERS:
                    wires[who] = stage.open()
                    if word != "OPEN":
                        wires[who].connect(VERSIONS[word], *_split(rest))
                else:
                    _VERBS[word](wires[who], rest)
            elif kind == ">":
                wires[who].write(argument)
            else:
                _match(wires[who], argument, stage, among=kind == "<?")
        except Unmet as error:
            raise Unmet(f"{who}{kind} {_short(argument)}: {error}") from None


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}…"


def _split(text: str) -> list[str]:
    return [line.replace("␍", "\r") for line in text.split("⏎") if line]


def _bodies(wire: Wire, rest: str) -> None:
    for body in rest.split(" "):
        wire.expect("MESSAGE", body=octets(body))


def _among(wire: Wire, rest: str) -> None:
    wanted = sorted(octets(body) for body in rest.split(" "))
    came = sorted(wire.expect("MESSAGE").body for _ in wanted)
    if came != wanted:
        raise Unmet(f"expected the bodies {wanted}, came: {came}")


def _put(wire: Wire, rest: str) -> None:
    destination, _, body = rest.partition(" ")
    wire.put(destination, octets(body))


def _subscribe(wire: Wire, rest: str) -> None:
    identifier, destination, *lines = rest.split(" ")
    wire.subscribe(identifier, destination, *lines)


_VERBS: dict[str, Callable[[Wire, str], object]] = {
    "FATAL": lambda wire, rest: wire.fatal(*_split(rest)),
    "EOS": lambda wire, _: wire.eos(),
    "SYNC": lambda wire, _: wire.sync(),
    "ALIVE": lambda wire, _: wire.alive(),
    "QUIET": lambda wire, _: wire.quiet(),
    "SUB": _subscribe,
    "PUT": _put,
    "BODIES": _bodies,
    "AMONG": _among,
    "CLOSE": lambda wire, _: wire.close(),
    "RESET": lambda wire, _: wire.reset(),
    "HALF": lambda wire, _: wire.half_close(),
}
_WORDS = frozenset(_VERBS)
_OPENERS = frozenset({"OPEN", *VERSIONS})


def _match(wire: Wire, pattern: str, stage: Stage, *, among: bool) -> None:
    head, separator, body = pattern.partition("⏎⏎")
    command, *conditions = head.split("⏎")
    if command == "CONNECTED":
        frame = wire.await_connected()
    elif among:
        exact = [c for c in conditions if re.match(r"[^=~!]+:", c)]
        frame = wire.expect_among(command, *exact)
    else:
        frame = wire.expect(command)
    for condition in conditions:
        _condition(frame, condition, stage)
    wanted = octets(body.removesuffix("^@"))
    if separator and frame.body != wanted:
        raise Unmet(f"expected the body {notation(wanted)}, came: {frame}")


def _condition(frame: Frame, condition: str, stage: Stage) -> None:
    if condition.startswith("!"):
        if frame.raw(condition[1:]) is not None:
            raise Unmet(f"unexpected header {condition[1:]}: {frame}")
        return
    found = re.match(r"([^:=~]+)([:=~])(.*)\Z", condition, re.DOTALL)
    if found is None:
        raise BadScriptError(f"not a condition: {condition}")
    name, kind, wanted = found.groups()
    value = frame.raw(name)
    if value is None:
        raise Unmet(f"no header {name}: {frame}")
    text = value.decode("utf-8", "surrogateescape")
    if kind == "=":
        if not text:
            raise Unmet(f"the header {name} is empty: {frame}")
        stage.words[wanted] = text
    elif kind == "~":
        if not re.search(wanted, text):
            raise Unmet(f"{name} should match {wanted}: {frame}")
    elif value != octets(wanted):
        raise Unmet(f"expected {condition}, came: {frame}")
