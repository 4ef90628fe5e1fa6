"""Many peers that behave badly at random: nothing fails, nothing is kept that belongs to nobody."""

import random
from functools import partial

import pytest
import trio
from server.edge import CONNECT, Edge, Peer, serving, settings

DESTINATIONS = ("/queue/a", "/queue/b", "/queue/small", "/topic/a", "/topic/a.b", "/queue/*")
ACKS = ("auto", "client", "client-individual")
GARBAGE = (
    b"BOGUS\n\n\0",
    b"SEND\n\n\0",
    b"\xff\xf4\xff\xfd\x06",
    b"\x16\x03\x01",
    b"SEND\ndestination:/queue/a\ncontent-length:5\n\nxx\0",
    b"ACK\nid:nothing\n\n\0",
    b"\r\0",
    b"\0\0\n\r\n",
)


class Script:
    """What one client sends: legal frames mostly, so that its session lives for a while."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.subscribed: set[int] = set()
        self.transaction = False

    def frames(self) -> bytes:
        """Return a few frames."""
        return b"".join(self.frame() for _ in range(self.chance.randrange(1, 60)))

    def frame(self) -> bytes:
        """Return a frame, or now and then something else."""
        chance = self.chance
        kind = chance.random()
        if kind < 0.005:
            return chance.choice((*GARBAGE, b"DISCONNECT\nreceipt:bye\n\n\0"))
        if kind < 0.1:
            number = chance.randrange(3)
            if number in self.subscribed:
                self.subscribed.discard(number)
                return b"UNSUBSCRIBE\nid:%d\n\n\0" % number
            self.subscribed.add(number)
            head = f"id:{number}\nack:{chance.choice(ACKS)}\nprefetch-count:{number * 3}"
            return f"SUBSCRIBE\ndestination:{chance.choice(DESTINATIONS)}\n{head}\n\n\0".encode()
        if kind < 0.2:
            command = chance.choice(("COMMIT", "ABORT")) if self.transaction else "BEGIN"
            self.transaction = not self.transaction
            return f"{command}\ntransaction:t\n\n\0".encode()
        body = b"x" * chance.choice((0, 1, 100, 20_000))
        receipt = "receipt:r\n" if chance.random() < 0.3 else ""
        transaction = "transaction:t\n" if self.transaction and chance.random() < 0.5 else ""
        head = f"SEND\ndestination:{chance.choice(DESTINATIONS[:-1])}\n{receipt}{transaction}\n"
        return head.encode() + body + b"\0"


async def settle(peer: Peer, chance: random.Random) -> None:
    """Read for a moment, and acknowledge or refuse some of what came."""
    with trio.move_on_after(chance.random() * 0.05):
        while True:
            frame = await peer.frame()
            name = frame.raw("ack")
            if frame.command == b"MESSAGE" and name is not None and chance.random() < 0.7:
                command = b"ACK" if chance.random() < 0.7 else b"NACK"
                await peer.write(command + b"\nid:" + name + b"\n\n\0")


async def misbehave(edge: Edge, seed: int) -> None:
    """Be one bad client after another."""
    chance = random.Random(seed)  # noqa: S311 - nothing secret depends on it
    for _ in range(12):
        peer = await edge.connect(buffer=chance.choice((None, 4096)))
        try:
            if chance.random() < 0.95:
                await peer.write(CONNECT)
            script = Script(chance)
            for _ in range(chance.randrange(1, 6)):
                wire = script.frames()
                if chance.random() < 0.1:
                    wire = wire[: chance.randrange(len(wire) + 1)]
                with trio.move_on_after(0.2):
                    await peer.write(wire)
                if chance.random() < 0.7:
                    await settle(peer, chance)
            ending = chance.random()
            if ending < 0.3:
                peer.reset()
                continue
            if ending < 0.6:
                await peer.half_close()
                with trio.move_on_after(0.3):
                    await peer.rest()
        except (trio.BrokenResourceError, AssertionError):
            # The server has ended the session, as such clients deserve.
            pass
        await peer.close()


async def read_on(peer: Peer) -> None:
    """Read whatever comes."""
    while await peer.more():
        peer.unread.clear()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_bad_clients_leave_a_good_broker(seed: int) -> None:
    """After all of them are gone there is no fault in the log, and everything adds up."""
    given = settings(
        flow={"outbox-high": "32KiB", "outbox-low": "8KiB", "work-budget": 20},
        timeouts={"linger": "300ms", "error-delay": "50ms", "login": "1s"},
        policy=[
            {"match": "/queue/small", "max-messages": 20, "overflow": "drop-head"},
            {"match": "/queue/b", "max-messages": 200, "overflow": "block"},
            {"match": "/topic/a", "slow-consumer": "drop-oldest", "slow-consumer-grace": "50ms"},
            {"match": "/topic/#", "slow-consumer": "close", "slow-consumer-grace": "50ms"},
        ],
    )
    async with serving(given) as edge:
        witness = await edge.login()
        async with trio.open_nursery() as bad:
            for number in range(15):
                bad.start_soon(partial(misbehave, edge, 100 * seed + number))
            for _ in range(20):
                await witness.sync()
                await trio.sleep(0.05)
        # A peer may have closed with octets under way that nobody reads while a queue is full: its
        # end comes behind them, so there has to be room first.
        sweeper = await edge.login()
        await sweeper.subscribe("/queue/b")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_on, sweeper)
            await edge.until_open(2)
            nursery.cancel_scope.cancel()
        await sweeper.close()
        await edge.until_open(1)
        await witness.sync()
        faults = ("a connection failed", "something that was due", "a connection was not taken")
        told = [line for line in str(edge.log).splitlines() if any(f in line for f in faults)]
        assert told == []
        broker = edge.service.broker
        assert len(broker.sessions) == 1
        for host in broker.hosts:
            for queue in host.queues.values():
                assert queue.unsettled == 0, queue
                assert queue.subscriptions == [], queue
                assert queue.blocked == set(), queue
                assert (queue.bytes == 0) == (queue.depth == 0) or queue.depth, queue
            for topic in host.topics.values():
                assert topic.subscriptions == [], topic
        # What is left can be consumed to the end, by one who behaves.
        for name in ("/queue/a", "/queue/b", "/queue/small"):
            count = edge.depth(name)
            assert len(await edge.take(name, count)) == count
            await edge.until_open(1)
            assert edge.depth(name) == 0
            found = broker.hosts[0].queues.get(name)
            assert found is None or (found.unsettled, found.bytes) == (0, 0), found
