"""Test a trio program on memory streams: no sockets, and hours pass in an instant."""

import pytest
import trio
from trio.testing import MockClock

from stompcli.client import connect_stream
from stompd.testing import TrioBroker

pytestmark = pytest.mark.trio


async def work(stream: trio.abc.Stream, hours: int) -> None:
    """Take a job (the program under test), work on it for so long, report, acknowledge."""
    async with (
        connect_stream(stream) as client,
        client.subscribe("/queue/jobs", ack="client-individual") as jobs,
        await jobs.receive() as job,
    ):
        await trio.sleep(hours * 3600)
        await client.send("/topic/done", f"{job.text} took {hours} hours")


async def test_a_long_job(stompd_memory: TrioBroker, autojump_clock: MockClock) -> None:
    """Under the mock clock five hours of work, heart-beats included, take no time at all."""
    stompd_memory.put("/queue/jobs", "backup")
    await work(stompd_memory.stream(), 5)
    await stompd_memory.expect("/topic/done", body="backup took 5 hours")
    await stompd_memory.assert_empty("/queue/jobs")


async def test_a_worker_that_dies(stompd_memory: TrioBroker, nursery: trio.Nursery) -> None:
    """Without mock clock the test turns the broker's: a silent worker's job is given back."""
    stompd_memory.put("/queue/jobs", "backup")
    nursery.start_soon(work, stompd_memory.stream(), 5)
    await stompd_memory.wait_until(lambda: stompd_memory.unsettled("/queue/jobs"))
    stompd_memory.connections()[0].faults.blackhole()
    stompd_memory.clock.advance(60)
    assert stompd_memory.messages("/queue/jobs")[0].redelivered
    nursery.cancel_scope.cancel()
