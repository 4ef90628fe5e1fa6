"""How every parse test runs: octets in, frames out, whichever way the octets are split.

``frame``       an expected frame
``read``        what a decoder returned, in the same form
``three_ways``  the frames that octets must give
``refused``     the frames and then the one error that octets must give
"""

from typing import Literal

from stompd.protocol.decoder import Decoder, Limits
from stompd.protocol.errors import RemoteProtocolError
from stompd.protocol.frame import Frame

Role = Literal["server", "client"]
Read = tuple[str, list[tuple[str, str]], bytes]

SENT = b"SEND\ndestination:/queue/before\n\nx\0"
BEFORE: Read = ("SEND", [("destination", "/queue/before")], b"x")


def frame(command: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Read:
    """An expected frame, headers in the order of the wire."""
    return command, list((headers or {}).items()), body


def read(frames: list[Frame]) -> list[Read]:
    """What a decoder returned, in the form of `frame`."""
    return [(head.command, list(head.headers.items()), body) for head, body in frames]


def _decoder(version: str | None, role: Role, limits: Limits | None, *, telnet: bool) -> Decoder:
    decoder = Decoder(role, limits, telnet=telnet)
    if version is not None:
        decoder.begin(version)
    return decoder


def octets(decoder: Decoder, wire: bytes) -> list[Read]:
    """Feed one octet at a time; a frame may only come with the NUL that ends it."""
    got: list[Read] = []
    for at in range(len(wire)):
        frames = decoder.feed(wire[at : at + 1])
        assert not frames or wire[at] == 0, "a frame came before the NUL that ends it"
        got += read(frames)
    return got


def three_ways(
    wire: bytes,
    frames: list[Read],
    *,
    version: str | None = "1.2",
    role: Role = "server",
    limits: Limits | None = None,
    telnet: bool = False,
) -> None:
    """Assert that ``wire`` gives ``frames``: whole, octet by octet, and with more behind it."""
    whole = _decoder(version, role, limits, telnet=telnet)
    assert read(whole.feed(wire)) == frames
    assert whole.error is None

    split = _decoder(version, role, limits, telnet=telnet)
    assert octets(split, wire) == frames
    assert split.error is None
    assert split.pending == whole.pending

    begun = b"SEN" if role == "server" else b"MES"
    more = _decoder(version, role, limits, telnet=telnet)
    assert read(more.feed(wire + begun)) == frames
    assert more.error is None
    if frames and wire.endswith(b"\0"):
        assert more.pending == len(begun)


def refused(
    wire: bytes,
    message: str,
    *,
    frames: list[Read] | None = None,
    version: str | None = "1.2",
    role: Role = "server",
    limits: Limits | None = None,
    telnet: bool = False,
    headers: dict[str, str] | None = None,
    answers: list[bytes] | None = None,
) -> RemoteProtocolError:
    """Assert that ``wire`` gives ``frames`` and then exactly one error; return the error.

    Whole, octet by octet, and behind a good frame in the same piece. ``headers`` are those of the
    error in each way; an error that is found sooner octet by octet than whole may know fewer.
    """
    good = frames or []
    whole = _decoder(version, role, limits, telnet=telnet)
    assert read(whole.feed(wire)) == good
    assert whole.error is not None, "it was not refused"
    error = whole.error
    assert error.message == message
    assert "\n" not in error.message
    assert "\n" not in error.detail
    if headers is not None:
        assert error.headers == headers
    if answers is not None:
        assert whole.answers == answers
    assert whole.feed(SENT) == [], "something was decoded after the error"
    assert whole.error is error
    assert whole.pending == 0

    split = _decoder(version, role, limits, telnet=telnet)
    assert octets(split, wire) == good
    assert split.error is not None, "it was not refused octet by octet"
    assert split.error.message == message

    if role == "server" and version is not None:
        behind = _decoder(version, role, limits, telnet=telnet)
        assert read(behind.feed(SENT + wire)) == [BEFORE, *good]
        assert behind.error is not None
        assert behind.error.message == message
    return error
