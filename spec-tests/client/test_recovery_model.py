"""Whatever a broker confirms before it breaks off, no message is lost, and order is kept."""

from itertools import pairwise

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from stompcli.client import Receipt, connect
from stompcli.client.testing import Script, ScriptedBroker, on_dial

Log = list[tuple[int, bool]]


def breaking(log: Log, frames: int, confirmed: int, *, reverse: bool) -> Script:
    """Return a script that takes so many SENDs, confirms some of them, and breaks off."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        taken = []
        with trio.move_on_after(5):
            # Fewer come while the window is full.
            for _ in range(frames):
                frame = await broker.expect("SEND")
                taken.append(frame)
                log.append((int(frame.body), "possible-duplicate" in frame.headers))
        # in any order.
        for frame in taken[confirmed - 1 :: -1] if reverse and confirmed else taken[:confirmed]:
            await broker.receipt(frame)
        await broker.close()

    return script


def lasting(log: Log) -> Script:
    """Return a script that confirms everything until the client leaves."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        while True:
            frame = await broker.next()
            if frame.command == "SEND":
                log.append((int(frame.body), "possible-duplicate" in frame.headers))
            await broker.receipt(frame)
            if frame.command == "DISCONNECT":
                return

    return script


@given(
    breaks=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.booleans()), max_size=6),
    ways=st.lists(st.sampled_from(["send", "submit", "await"]), min_size=1, max_size=25),
    window=st.integers(1, 6),
)
def test_nothing_is_lost(breaks: list[tuple[int, int, bool]], ways: list[str], window: int) -> None:
    """Each message arrives, the first times in order, and every further time marked as such."""
    log: Log = []

    async def main() -> None:
        scripts = [
            breaking(log, frames, min(frames, confirmed), reverse=reverse)
            for frames, confirmed, reverse in breaks
        ]
        async with (
            on_dial(*scripts, lasting(log)) as dial,
            connect(
                "stomp://a", dial=dial, reconnect=True, window=window, heartbeat=(0, 0)
            ) as client,
        ):
            receipts: list[Receipt] = []
            for number, way in enumerate(ways):
                if way == "submit":
                    receipts.append(await client.submit("/queue/a", str(number)))
                else:
                    await client.send("/queue/a", str(number), receipt=way == "await" or None)
                assert len(client.unconfirmed) <= window
            for receipt in receipts:
                await receipt.wait()
            await client.flush()
            assert client.unconfirmed == []
            assert client.counters.messages_sent == len(ways)
            assert not client._receipts  # noqa: SLF001 - nothing is waited for any more

    trio.run(main, clock=MockClock(autojump_threshold=0))
    firsts = list(dict.fromkeys(number for number, _ in log))
    assert firsts == list(range(len(ways)))
    seen: set[int] = set()
    for number, marked in log:
        assert marked or number not in seen
        seen.add(number)
    # Only a new connection, which begins with what is marked, goes back in the order.
    for (early, _), (late, marked) in pairwise(log):
        assert early < late or marked
