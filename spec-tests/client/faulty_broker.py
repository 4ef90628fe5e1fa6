"""A broker of queues that does with each message what the test says: once, twice, late or never."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from stompcli.client.testing import ClientFrame, ScriptedBroker, ScriptError

# What becomes of the n-th SEND, counted from 0: how often it is delivered, or "late" for behind
# the next one.
Fate = Callable[[int], int | str]


class FaultyBroker:
    """A broker at ``port`` of 127.0.0.1; every subscription of a destination gets all of it.

    ``frames`` are all that came, but for CONNECT.
    """

    def __init__(self, fate: Fate) -> None:
        self.port = 0
        self.frames: list[ClientFrame] = []
        self._fate = fate
        self._count = 0
        self._subscriptions: list[tuple[ScriptedBroker, ClientFrame]] = []
        self._late: list[ClientFrame] = []
        # What one connection sends is delivered on others: only one may write at a time.
        self._turn = trio.Lock()
        # Answers SENDs with ERROR from this one on.
        self.refuse_at: int | None = None
        self._refused = False
        self.confirms = True

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end."""
        broker = ScriptedBroker(stream)
        try:
            await broker.accept()
            while True:
                frame = await broker.next()
                async with self._turn:
                    await self._take(broker, frame)
        except (ScriptError, trio.BrokenResourceError, trio.ClosedResourceError):
            # The program has gone.
            self._subscriptions = [one for one in self._subscriptions if one[0] is not broker]

    async def _take(self, broker: ScriptedBroker, frame: ClientFrame) -> None:
        self.frames.append(frame)
        refuses = self.refuse_at is not None and self._count >= self.refuse_at
        if frame.command == "SEND" and refuses:
            if not self._refused:
                self._refused = True
                await broker.send("ERROR", {"message": "no more"})
            # To close with frames unread would take the ERROR away again.
            return
        if frame.command == "SUBSCRIBE":
            self._subscriptions.append((broker, frame))
        if "receipt" in frame.headers and (self.confirms or frame.command != "SEND"):
            await broker.receipt(frame)
        if frame.command == "SEND":
            fate = self._fate(self._count)
            self._count += 1
            if fate == "late":
                self._late.append(frame)
                return
            for _ in range(int(fate)):
                await self._deliver(frame)
            while self._late:
                await self._deliver(self._late.pop())
        if frame.command == "DISCONNECT":
            await broker.close()

    async def _deliver(self, frame: ClientFrame) -> None:
        for broker, subscription in self._subscriptions:
            if subscription.headers["destination"] == frame.headers["destination"]:
                more = {"bench": frame.headers["bench"]} if "bench" in frame.headers else {}
                await broker.message(subscription, frame.body, **more)


@contextmanager
def running_faulty_broker(fate: Fate = lambda _: 1) -> Iterator[FaultyBroker]:
    """Run such a broker in a thread, so that the program can run in this one."""
    broker = FaultyBroker(fate)
    ready = threading.Event()
    stop: list[Callable[[], object]] = []

    async def main() -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        broker.port = int(listener.socket.getsockname()[1])
        token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as scope:
            stop.append(lambda: token.run_sync_soon(scope.cancel))
            ready.set()
            await trio.serve_listeners(broker.serve, [listener])

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert ready.wait(30)
    try:
        yield broker
    finally:
        stop[0]()
        thread.join()
