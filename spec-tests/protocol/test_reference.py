"""Any octets, split anywhere: the decoder and a naive second one agree."""

import random
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from protocol.reference import Reference
from protocol.ways import Read, Role, read

from stompd.protocol.decoder import Decoder, HeadTable, Limits
from stompd.protocol.frame import CLIENT_COMMANDS, SERVER_COMMANDS

LIMITS = Limits(command=16, line=40, headers=6, head=90, body=50)
ROLES: tuple[Role, Role] = ("server", "client")
TABLES = {role: HeadTable(role) for role in ROLES}

versions = st.sampled_from(("1.0", "1.1", "1.2"))
first_versions = st.sampled_from((None, "1.0", "1.1", "1.2"))
roles = st.sampled_from(ROLES)
names = st.sampled_from((b"a", b"b", b"receipt", b"content-length", b" a", b"a\\cb", "é".encode()))
values = st.sampled_from(
    (b"", b"1", b"5", b" 3 ", b"a:b", b" x ", b"\\n\\\\n", b"\\r", b"c\rd", b"\xff\xfe", b"x" * 38)
)
ends = st.sampled_from((b"\n", b"\n", b"\n", b"\r\n"))
gaps = st.sampled_from((b"", b"", b"\n", b"\r\n", b"\n\r\n\n", b"\0", b"\r\n\0\n"))
bodies = st.one_of(
    st.sampled_from(
        (b"", b"", b"hi", b"\n", b"\r\n", b"a\0b\0c", b"\n\n", b"\xff\xf4\xff\xfd\x06")
    ),
    st.binary(max_size=60),
)
scraps = st.sampled_from(
    (b"\0", b"\r", b"\n", b"\r\0", b":", b"\\", b"\xff", b"send\n", b"GET / HTTP/1.1\r\n", b" ")
)


@st.composite
def valid_frames(draw: st.DrawFn, role: Role) -> bytes:
    """One frame that every version reads, and EOLs behind it."""
    command = draw(
        st.sampled_from(sorted(CLIENT_COMMANDS if role == "server" else SERVER_COMMANDS))
    )
    lines = [command.encode()]
    body = draw(bodies) if command in ("SEND", "MESSAGE", "ERROR") else b""
    lines += draw(
        st.lists(st.sampled_from((b"a:1", b"b: x ", b"a:2", b"k:", b"u:a:b", b"receipt:r")))
    )
    if b"\0" in body or draw(st.booleans()):
        lines.append(b"content-length:%d" % len(body))
    wire = (
        b"".join(line + draw(ends) for line in lines[:6])
        if b"\0" not in body
        else b"".join(line + draw(ends) for line in [lines[0], lines[-1]])
    )
    return wire + draw(ends) + body + b"\0" + draw(gaps)


@st.composite
def odd_frames(draw: st.DrawFn) -> bytes:
    """Something like a frame, nearly always with a fault."""
    command = draw(
        st.sampled_from((b"SEND", b"ACK", b"MESSAGE", b"CONNECT", b"CONNECTED", b"ERROR"))
    )
    lines = [
        command,
        *draw(st.lists(st.builds(b"%b:%b".__mod__, st.tuples(names, values)), max_size=8)),
    ]
    wire = b"".join(line + draw(ends) for line in lines)
    return wire + draw(st.sampled_from((b"\n", b"\r\n", b""))) + draw(bodies) + b"\0" + draw(gaps)


@st.composite
def streams(draw: st.DrawFn, role: Role) -> bytes:
    """Frames, some damaged: octets taken out, put in, changed, or the end cut off."""
    parts = draw(
        st.lists(st.one_of(valid_frames(role), valid_frames(role), odd_frames()), max_size=5)
    )
    wire = bytearray(b"".join(parts))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(wire)))
        match draw(st.sampled_from(("put", "take", "cut", "none"))):
            case "put":
                wire[at:at] = draw(st.one_of(scraps, st.binary(max_size=5)))
            case "take":
                del wire[at : at + draw(st.integers(1, 5))]
            case "cut":
                del wire[at:]
    return bytes(wire)


def pieces_of(wire: bytes, cuts: list[int]) -> list[bytes]:
    """``wire`` cut at the given places."""
    places = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    return [wire[a:b] for a, b in pairwise(places)]


def decoded(
    pieces: list[bytes], role: Role, first: str | None, later: str, limits: Limits, *, shared: bool
) -> tuple[list[Read], bool]:
    """What our decoder makes of the pieces, and whether it refused them."""
    decoder = Decoder(role, limits, table=TABLES[role] if shared else None)
    if first is not None:
        decoder.begin(first)
    frames = []
    for piece in pieces:
        frames += read(decoder.feed(piece))
        if (
            decoder.version is None
            and frames
            and frames[-1][0] in ("CONNECT", "STOMP", "CONNECTED")
        ):
            decoder.begin(later)
            frames += read(decoder.feed(b""))
    assert decoder.pending <= limits.head + limits.headers + limits.body + 8
    return frames, decoder.error is not None


def naive(
    wire: bytes, role: Role, first: str | None, later: str, limits: Limits
) -> tuple[list[Read], bool]:
    """What the reference makes of the octets."""
    reference = Reference(
        role,
        command=limits.command,
        line=limits.line,
        headers=limits.headers,
        head=limits.head,
        body=limits.body,
    )
    if first is not None:
        reference.begin(first)
    reference.feed(wire)
    if reference.held is not None:
        reference.begin(later)
    return reference.frames, reference.wrong


def agree(wire: bytes, cuts: list[int], role: Role, first: str | None, later: str) -> None:
    """Assert that all ways to read ``wire`` give the same."""
    expected = naive(wire, role, first, later, LIMITS)
    for pieces in ([wire], pieces_of(wire, cuts), pieces_of(wire, list(range(len(wire))))):
        for shared in (False, True):
            got = decoded(pieces, role, first, later, LIMITS, shared=shared)
            assert got == expected, pieces


@pytest.mark.clause("F-01", "F-02", "F-03", "F-05", "F-06", "F-07", "CL-03", "HDR-03")
@given(data=st.data(), role=roles, first=first_versions, later=versions)
def test_frames_and_damaged_frames_read_as_the_naive_decoder_reads_them(
    data: st.DataObject, role: Role, first: str | None, later: str
) -> None:
    """Bodies with NULs, CR LF, repeats, damage: same frames, and a fault at the same one."""
    wire = data.draw(streams(role))
    agree(wire, data.draw(st.lists(st.integers(0, 1000), max_size=6)), role, first, later)


@given(wire=st.binary(max_size=80), role=roles, first=first_versions, later=versions)
@example(wire=b"SEND\n" + b"a:b\r\n" * 6 + b"\r\n\0", role="server", first="1.2", later="1.2")
def test_any_octets_read_as_the_naive_decoder_reads_them(
    wire: bytes, role: Role, first: str | None, later: str
) -> None:
    """Noise gives nothing, or a fault at the same place."""
    agree(wire, [3, 7], role, first, later)


@pytest.mark.parametrize("role", ROLES)
def test_octets_of_the_grammar_in_any_order(role: Role) -> None:
    """What matters to the grammar, strung together at random, reads as in the naive decoder."""
    random_source = random.Random(5)  # noqa: S311 - a replayable stream, no secret
    words = [
        b"SEND",
        b"MESSAGE",
        b"ACK",
        b"\n",
        b"\n\n",
        b"\r\n",
        b"\r",
        b"\0",
        b"a:b",
        b"\\n",
        b":",
    ]
    words += [b"content-length:2", b"content-length:0", b"\xff", b"x", b" ", b"\n\0", b"\r\n\r\n"]
    for _ in range(700):
        wire = b"".join(random_source.choices(words, k=random_source.randrange(1, 12)))
        if random_source.random() < 0.7:
            wire = (b"SEND\n" if role == "server" else b"MESSAGE\n") + wire
        version = random_source.choice((None, "1.0", "1.1", "1.2"))
        agree(wire, [random_source.randrange(40) for _ in range(3)], role, version, "1.2")
