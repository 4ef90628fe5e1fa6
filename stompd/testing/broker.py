"""A broker inside a test: what both of its forms, in a thread and in trio, have in common."""

from __future__ import annotations

import json as jsons
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import trio

from stompd import __version__
from stompd.broker.broker import Broker
from stompd.broker.message import Message as CoreMessage
from stompd.broker.pattern import matches, words_of
from stompd.broker.principal import Principal
from stompd.broker.queue import Queue
from stompd.broker.session import CloseReason, Session
from stompd.protocol.decoder import Decoder
from stompd.protocol.encoder import encode, with_length
from stompd.protocol.errors import RemoteProtocolError
from stompd.server.config import Settings
from stompd.store.memory import MemoryStore
from stompd.testing.clock import Clock
from stompd.testing.connection import Connection
from stompd.testing.faults import Faults, Wiring
from stompd.testing.home import Home, at_home
from stompd.testing.log import Log, canonical, numbered
from stompd.testing.message import ABSENT, ClientFrame, Expected, Message
from stompd.testing.stream import MemoryStream, Port, Wire, memory_streams

PATIENCE: Final = 5.0
"""How long, in seconds, a test waits by default for what has to happen."""

# What concerns the daemon and has no meaning for a broker in a test.
_DAEMONS: Final = frozenset(("listen", "unix", "http", "allow_anonymous", "log"))

T = TypeVar("T")


@dataclass(frozen=True)
class Counts:
    """How many messages of a queue there are where."""

    # Waiting; not due yet; delivered and not acknowledged.
    waiting: int = 0
    delayed: int = 0
    unsettled: int = 0
    # Come altogether; acknowledged, which what expired or became a dead letter is not.
    received: int = 0
    settled: int = 0
    # Subscriptions that it serves.
    subscribers: int = 0


class InProcessBroker:
    """A complete stompd without its daemon: the core, a transport, a clock, and a test's hands.

    What does not wait may be called from any thread. Destinations may be written as clients write
    them (``orders`` is ``/queue/orders``); those looked at are of the first virtual host.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        users: Mapping[str, str] | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        given = {name.replace("-", "_"): value for name, value in (settings or {}).items()}
        for name in given:
            if name in _DAEMONS:
                raise ValueError(f"{name} is a setting of the daemon, not of a broker in a test")
        self.home = Home()
        self.settings = Settings.model_validate(given)
        # Who may log in, and the passcodes; None lets everybody in.
        self.users = users
        # Everything that the broker decides, for looking at what this class does not show. Call
        # into it on the broker's thread only: see `run_in_broker`.
        self.core = Broker(
            MemoryStore(),
            self.settings.for_broker(f"stompd/{__version__}"),
            now=trio.current_time(),
        )
        self.clock = Clock(self.home, self.core)
        self.clock.stepped = self.stir
        self.clock.heard = self._hear
        self.log = Log()
        self._nursery = nursery
        self._connections: list[Connection] = []
        # What is done to connections that are still to come; the next ones may have their own.
        self._wiring = Wiring(self.clock)
        self._next_wirings: list[Wiring] = []
        # What a test does to all connections, open or to come.
        self.faults = Faults(self.home, self.clock, self._all_wirings)
        self._tcp: Port | None = None
        self._refusing = False
        # Octets that were read since the messages were weighed, and how many may be.
        self.came = 0
        self._weigh_after = 0
        # The session by which the test itself sends.
        self._own: Session | None = None
        # Set, and made anew, whenever something may have happened.
        self._changed = trio.Event()
        nursery.start_soon(self.clock.run)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.core!r} port={self._tcp and self._tcp.number}>"

    # Where programs connect.

    @property
    def host(self) -> str:
        """The address of the TCP port."""
        return "127.0.0.1"

    @property
    def port(self) -> int:
        """The TCP port; raises `RuntimeError` if there is none."""
        if self._tcp is None:
            raise RuntimeError("this broker has no TCP port: call its listen() first")
        return self._tcp.number

    @property
    def url(self) -> str:
        """The URL for `stompcli.client.connect`, and of the ``stomp`` program."""
        return f"stomp://{self.host}:{self.port}"

    @at_home
    def refuse_connections(self) -> None:
        """Refuse whoever wants to connect, as if no broker were there; the port stays reserved."""
        self._refusing = True
        if self._tcp is not None:
            self._tcp.refuse()

    @at_home
    def accept_connections(self) -> None:
        """Undo `refuse_connections`."""
        self._refusing = False
        if self._tcp is not None:
            self._tcp.accept_again()

    @at_home
    def next_faults(self) -> Faults:
        """Return the faults of the next connection alone; each call is for the one behind that.

        What `faults` says for all connections at the time of the call is done to it as well.
        """
        wiring = self._wiring.copy()
        self._next_wirings.append(wiring)
        return Faults(self.home, self.clock, lambda: [wiring])

    # Who is connected.

    @at_home
    def connections(self) -> list[Connection]:
        """Return the open connections, oldest first."""
        return list(self._connections)

    @at_home
    def drop_connections(self) -> None:
        """Break all connections off at once, as `Connection.drop` does."""
        for connection in list(self._connections):
            connection.drop()

    @at_home
    def subscribers(self, destination: str) -> int:
        """Return how many subscriptions get what is sent to a destination, by wildcards too."""
        words = words_of(canonical(destination))
        return sum(
            matches(words_of(name), words)
            for connection in self._connections
            for name in connection.subscriptions.values()
        )

    # Messages.

    @at_home
    def put(
        self,
        destination: str,
        body: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
        *,
        json: Any = ABSENT,  # noqa: ANN401 - whatever JSON can say
    ) -> None:
        """Send a message, as a program would; it is not among what programs have `sent`.

        ``json`` gives the body instead, with its content-type. Raises `ValueError` if the broker
        refuses the message, saying why.
        """
        pairs = dict(headers or {})
        if json is not ABSENT:
            body = jsons.dumps(json)
            pairs.setdefault("content-type", "application/json")
        if isinstance(body, str):
            body = body.encode()
        self._say("SEND", {"destination": destination, **pairs}, body)

    @at_home
    def messages(self, destination: str) -> list[Message]:
        """Return the messages that wait in a queue, the next one to be delivered first."""
        queue = self._queue(destination)
        return [] if queue is None else [_shown(message) for message in queue.waiting()]

    @at_home
    def delayed(self, destination: str) -> list[Message]:
        """Return the messages of a queue that are not due yet, the first due first.

        `Message.delay` tells in how many seconds of the broker's clock they are.
        """
        queue = self._queue(destination)
        if queue is None:
            return []
        now = self.clock.now()
        return [_shown(message, due - now) for due, message in queue.delayed.entries()]

    @at_home
    def sent(self, destination: str | None = None) -> list[Message]:
        """Return what programs have sent so far, to one destination or (None) to all, in order.

        Messages to topics are among them, whoever got them; messages of a transaction are from its
        COMMIT on.
        """
        return [entry.message for entry in self.log.to(destination)]

    @at_home
    def unexpected(self, destination: str | None = None) -> list[Message]:
        """Return those of `sent` that no ``expect`` has returned."""
        return [entry.message for entry in self.log.to(destination) if not entry.expected]

    @at_home
    def frames(self, command: str | None = None) -> list[ClientFrame]:
        """Return the frames that programs have written and the broker has carried out, in order."""
        return [frame for frame in self.log.frames if command in (None, frame.command)]

    @at_home
    def counts(self, destination: str) -> Counts:
        """Return how many messages of a queue wait, are delayed, unsettled, gone, and so on.

        A queue that is not there, or no more, counts nothing.
        """
        queue = self._queue(destination)
        if queue is None:
            return Counts()
        return Counts(
            waiting=queue.depth,
            delayed=len(queue.delayed),
            unsettled=queue.unsettled,
            received=queue.put_count,
            settled=queue.settled_count,
            subscribers=len(queue.subscriptions),
        )

    def unsettled(self, destination: str) -> int:
        """Return how many messages of a queue are delivered and not acknowledged."""
        return self.counts(destination).unsettled

    def settled(self, destination: str) -> int:
        """Return how many messages of a queue were acknowledged.

        What has expired, or became a dead letter, is not among them.
        """
        return self.counts(destination).settled

    @at_home
    def run_in_broker(self, function: Callable[[Broker], T]) -> T:
        """Call a function with the broker's core, on the broker's thread, and return its result.

        ``run_in_broker(stompd.broker.admin.queues)`` for instance. The function must not wait.
        """
        result = function(self.core)
        self.stir()
        return result

    # Waiting, on the broker's loop.

    async def until(self, condition: Callable[[], T], seconds: float) -> T | None:
        """Wait until ``condition`` returns something true, and return that; else None."""
        with trio.move_on_after(seconds):
            while not (found := condition()):
                await self._changed.wait()
            return found
        # Once more: it may have come true as the time ran out.
        return condition() or None

    async def find(
        self, destination: str, expected: Expected, count: int, seconds: float
    ) -> tuple[list[Message], str]:
        """Wait for messages that are as expected; return them, and what is wrong, or nothing."""
        found = await self.until(lambda: self.log.take(destination, expected, count), seconds)
        if found:
            return found, ""
        return [], self.log.missing(destination, expected, count, seconds)

    async def emptied(self, destination: str, seconds: float) -> str:
        """Wait until a queue has no message left; return what is wrong, or nothing."""

        def is_empty() -> bool:
            counts = self.counts(destination)
            return not (counts.waiting or counts.delayed or counts.unsettled)

        if await self.until(is_empty, seconds):
            return ""
        counts = self.counts(destination)
        wrong = (
            f"{destination} is not empty after {seconds:g} s: {counts.waiting} messages wait, "
            f"{counts.delayed} are not due yet, {counts.unsettled} are delivered and not "
            f"acknowledged, {counts.subscribers} subscribers"
        )
        left = self.messages(destination) + self.delayed(destination)
        return "\n".join([wrong, *numbered(left)])

    async def subscribed(self, destination: str, count: int, seconds: float) -> str:
        """Wait for so many subscribers; return what is wrong, or nothing."""
        if await self.until(lambda: self.subscribers(destination) >= count, seconds):
            return ""
        wrong = (
            f"within {seconds:g} s {self.subscribers(destination)} of {count} programs "
            f"subscribed to {destination}"
        )
        return "\n".join([wrong, *self._who_is_there()])

    async def connected(self, count: int, seconds: float) -> tuple[list[Connection], str]:
        """Wait for so many sessions; return all of them, and what is wrong, or nothing."""

        def inside() -> list[Connection]:
            found = [c for c in self._connections if c.session.state.value == "open"]
            return found if len(found) >= count else []

        found = await self.until(inside, seconds)
        if found:
            return found, ""
        wrong = f"within {seconds:g} s fewer than {count} programs logged in"
        return [], "\n".join([wrong, *self._who_is_there()])

    def _who_is_there(self) -> list[str]:
        if not self._connections:
            return ["nobody is connected"]
        return ["who is connected:", *numbered(self._connections, repr)]

    # For the transport.

    def stir(self) -> None:
        """Have written what is to be written, and have everybody look who waits for something."""
        if self.came >= self._weigh_after:
            self.came = 0
            self._weigh_after = self.core.memory.check()
        self.core.flush_touched()
        self._changed.set()
        self._changed = trio.Event()

    def closed(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._connections.remove(connection)
        self.log.closed(connection.id)
        self.stir()

    def open_port(self) -> int:
        """Take connections on a free TCP port of 127.0.0.1 and return it; on the broker's loop."""
        if self._tcp is None:
            self._tcp = Port()
            if self._refusing:
                self._tcp.refuse()
            self._nursery.start_soon(self._accept_all, self._tcp)
        return self._tcp.number

    async def _accept_all(self, port: Port) -> None:
        try:
            while True:
                self._accept(*await port.accept())
        finally:
            port.close()

    def open_stream(self) -> MemoryStream:
        """Return a client's end of a new connection; on the broker's loop."""
        if self._refusing:
            raise ConnectionRefusedError("the broker of this test refuses connections")
        near, far = memory_streams()
        self._accept(far, "memory")
        return near

    def _accept(self, wire: Wire, peer: str) -> None:
        wiring = self._next_wirings.pop(0) if self._next_wirings else self._wiring.copy()
        connection = Connection(self, wire, peer, wiring)
        self._connections.append(connection)
        most = self.settings.limits.connections
        if len(self._connections) > most:
            connection.session.fail(
                RemoteProtocolError(
                    "too many connections", f"this server takes {most} connections"
                ),
                CloseReason.TRANSPORT_FULL,
            )
        self._nursery.start_soon(connection.run)
        self.stir()

    def _all_wirings(self) -> Iterable[Wiring]:
        return [
            self._wiring,
            *self._next_wirings,
            *(connection.wiring for connection in self._connections),
        ]

    def _hear(self, now: float) -> None:
        for connection in self._connections:
            if connection.alive:
                connection.session.heard_at = now

    # For the test itself.

    def _queue(self, destination: str) -> Queue | None:
        host = self.core.host(self.core.settings.virtual_hosts[0])
        return host.queues.get(canonical(destination))

    def _say(self, command: str, headers: Mapping[str, str], body: bytes) -> None:
        """Have a frame carried out as if a client had sent it; raise ValueError if refused."""
        session = self._own_session()
        decoder = Decoder("server", self.settings.limits.of_frames())
        decoder.begin(session.wire_version)
        octets = encode(command, with_length(headers.items(), body), body)
        self.came += len(octets)
        frames = decoder.feed(octets)
        now = self.clock.now()
        if decoder.error is not None:
            raise ValueError(str(decoder.error))
        session.receive(frames, 0, now)
        if session.over:
            fault = session.fault
            session.close(CloseReason.PROTOCOL_ERROR, now)
            self.stir()
            raise ValueError(str(fault))
        self.stir()

    def _own_session(self) -> Session:
        if self._own is None or self._own.over:
            now = self.clock.now()
            session = self._own = self.core.open("the test", now)
            # What it is told goes nowhere.
            session.outbox.flush = lambda: _discard(session)
            octets = encode("CONNECT", {"accept-version": "1.2", "host": "/"}.items())
            session.receive(Decoder("server").feed(octets), 0, now)
            session.welcome(Principal("the test", trusted=True), now)
            self.stir()
        return self._own


def _discard(session: Session) -> None:
    session.outbox.take()
    session.outbox.size = 0


def _shown(message: CoreMessage, delay: float = 0.0) -> Message:
    headers = message.headers
    return Message(
        headers["destination"],
        headers,
        message.body,
        redelivered=message.redelivered,
        failures=message.count,
        delay=delay,
    )
