"""Memory streams: trio's own checks for half-closeable streams, and what those do not ask."""

import pytest
import trio
from trio.testing import check_half_closeable_stream, wait_all_tasks_blocked

from stompd.testing.stream import MemoryStream, memory_streams


async def test_it_is_a_stream() -> None:
    """All that trio asks of a half-closeable stream holds."""

    async def make() -> tuple[MemoryStream, MemoryStream]:
        return memory_streams()

    async def make_clogged() -> tuple[MemoryStream, MemoryStream]:
        near, far = memory_streams()
        for end in (near, far):
            await end.send_all(bytes(256 * 1024))
        return near, far

    await check_half_closeable_stream(make, make_clogged)


async def test_it_holds_so_much() -> None:
    """Who writes more than a stream holds waits until the other end has read."""
    near, far = memory_streams()
    data = bytes(range(256)) * 4096
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_all, data)
        await wait_all_tasks_blocked()
        assert nursery.child_tasks
        got = b""
        while len(got) < len(data):
            got += await far.receive_some(1000)
        assert got == data


async def test_a_reset_comes_behind_what_was_written() -> None:
    """After a reset the other end reads what is there, then gets an error, as does who writes."""
    near, far = memory_streams()
    await near.send_all(b"last words")
    near.reset()
    assert far.hung_up()
    assert await far.receive_some(4) == b"last"
    assert await far.receive_some() == b" words"
    with pytest.raises(trio.BrokenResourceError, match="reset"):
        await far.receive_some()
    with pytest.raises(trio.BrokenResourceError, match="gone"):
        await far.send_all(b"x")
    assert "broken" in repr(far)
    assert "closed" in repr(near)
