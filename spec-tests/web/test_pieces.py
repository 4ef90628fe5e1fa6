"""The broker's octets, cut into one frame a message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stompd.protocol.decoder import Decoder
from stompd.protocol.frame import V12
from stompd.server.http.pieces import Pieces

ENDS = [b"\0", b"\0\n"]

# What the broker may write, without what ends it.
FRAMES = st.sampled_from(
    [
        b"CONNECTED\nversion:1.2\n\n",
        b"RECEIPT\nreceipt-id:7\n\n",
        b"MESSAGE\nmessage-id:1\ncontent-length:5\n\na\0b\n\0",
        b"MESSAGE\nmessage-id:2\nx:content-length\n\nno length\n\n",
        b"MESSAGE\nmessage-id:3\ncontent-length:0\n\n",
        b"ERROR\nmessage:m\ncontent-length:3\n\n\xff\xfe\0",
    ]
)


@pytest.mark.parametrize("end", ENDS)
@given(frames=st.lists(st.one_of(FRAMES, st.just(b"\n"))), data=st.data())
def test_every_frame_is_a_piece(end: bytes, frames: list[bytes], data: st.DataObject) -> None:
    """However the octets come, the pieces are the frames without what is for terminals."""
    octets = b"".join(f if f == b"\n" else f + end for f in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)))))
    pieces = Pieces(end)
    found: list[bytes] = []
    for start, stop in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        found += pieces.feed(octets[start:stop])
    assert found == [f if f == b"\n" else f + b"\0" for f in frames]
    assert pieces.rest() == b""
    decoder = Decoder("client")
    decoder.begin(V12)
    count = 0
    for piece in found:
        count += len(decoder.feed(piece))
        assert not decoder.pending
    assert count == len([frame for frame in frames if frame != b"\n"])


def test_what_is_not_whole_waits() -> None:
    """Nothing is given away before its last octet is there; at the end it can be had."""
    pieces = Pieces(b"\0")
    assert pieces.feed(b"MESSAGE\n") == []
    assert pieces.feed(b"content-length:3\n\nab") == []
    assert pieces.rest() == b"MESSAGE\ncontent-length:3\n\nab"
    assert pieces.feed(b"c\0\n") == [b"MESSAGE\ncontent-length:3\n\nabc\0", b"\n"]
    assert pieces.rest() == b""


def test_a_large_frame_that_comes_in_small_parts_is_not_searched_again() -> None:
    """The place up to which a body without a length was looked at is kept."""
    pieces = Pieces(b"\0")
    pieces.feed(b"MESSAGE\n\n")
    for _ in range(2000):
        assert pieces.feed(b"x" * 1000) == []
    (piece,) = pieces.feed(b"\0")
    assert len(piece) == 2_000_010
