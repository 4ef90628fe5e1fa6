"""The core driven directly: a broker without server and clock, and clients without sockets.

`Core` owns the broker and its time. A `Client` is one connection: it writes octets, and what the
broker answers is in `Client.frames` at once, because nothing in the core waits. It keeps to the
contract of a transport: an outbox is written only when it is flushed, a session that waits for room
is served again only after its outbox said so, and a paused session only after it was woken.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from stompd.broker.broker import Broker
from stompd.broker.message import Message
from stompd.broker.policy import Policies, Policy, PolicyRule, Settings
from stompd.broker.principal import ANONYMOUS, Principal
from stompd.broker.session import CloseReason, State
from stompd.broker.storage import Store
from stompd.protocol.decoder import Decoder, HeadTable
from stompd.protocol.encoder import encode, with_length
from stompd.protocol.frame import Frame
from stompd.store.memory import MemoryStore

# More rounds than any exchange of these tests needs; a core that never rests fails here.
_ROUNDS = 10_000


@dataclass(frozen=True)
class Got:
    """A frame that a client got; ``got["name"]`` is a header."""

    command: str
    headers: dict[str, str]
    body: bytes

    def __getitem__(self, name: str) -> str:
        return self.headers[name]

    def get(self, name: str) -> str | None:
        """Return a header, None if it is not there."""
        return self.headers.get(name)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class Core:
    """A broker, its time, and the connections to it."""

    def __init__(
        self,
        settings: Settings | None = None,
        store: Store | None = None,
        *,
        epoch: float = 0.0,
    ) -> None:
        self.store = MemoryStore() if store is None else store
        self.broker = Broker(self.store, settings, epoch=epoch)
        self.heads = HeadTable()
        self.now = 0.0
        self.clients: list[Client] = []

    def client(self, version: str = "1.2", **headers: str) -> "Client":
        """Return a client that is logged in; ``headers`` are further ones of its CONNECT.

        In their names ``_`` stands for a hyphen.
        """
        return self._log_in(Client(self), version, headers)

    def administrator(self, version: str = "1.2", **headers: str) -> "Client":
        """Return a client that may look at the broker and act on it."""
        client = Client(self)
        client.principal = Principal(trusted=True)
        return self._log_in(client, version, headers)

    def user(
        self,
        name: str | None,
        *groups: str,
        host: str = "/",
        expires: float | None = None,
        **headers: str,
    ) -> "Client":
        """Return a client of a user in these groups, in a virtual host; it may be over already."""
        client = Client(self)
        client.principal = Principal(name, frozenset(groups), expires=expires)
        return self._log_in(client, "1.2", {"host": host, **headers})

    @staticmethod
    def _log_in(client: "Client", version: str, headers: dict[str, str]) -> "Client":
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if version != "1.0":
            headers = {"accept-version": version, "host": "/", **headers}
        client.log_in(headers)
        return client

    def tick(self, seconds: float = 0.0) -> float | None:
        """Let time pass and have done what is due; return when something is due next."""
        self.now += seconds
        due = self.broker.tick(self.now)
        self.run()
        return due

    def run(self) -> None:
        """Do what a transport does until there is nothing left to do."""
        broker = self.broker
        for _ in range(_ROUNDS):
            broker.flush_touched()
            if broker.thirsty:
                thirsty, broker.thirsty = broker.thirsty, []
                for session in thirsty:
                    session.drained()
                continue
            if sum(client.go_on() for client in self.clients) == 0:
                break
        else:
            raise AssertionError("the core does not come to rest")
        self.clients = [client for client in self.clients if not client.closed]

    def queue(self, name: str, host: str = "/") -> str:
        """Return what the broker says about a queue."""
        return repr(self.broker.host(host).queues[name])


class Client:
    """One connection; ``version`` is that of its session."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.session = core.broker.open("test", core.now)
        self.session.outbox.flush = self._flush
        self.session.wake = self._wake
        # Heads are shared by all connections, so what is kept with one must be true for all.
        self._decoder = Decoder("server", table=core.heads)
        self._reader = Decoder("client")
        self._frames: list[Frame] = []
        self._woken = False
        # While False the peer takes nothing: octets stay in the outbox's account.
        self.reading = True
        self._unread: list[bytes] = []
        self._riders: list[Message] = []
        # What came, decoded and as octets.
        self.frames: list[Got] = []
        self.octets = bytearray()
        self.closed = False
        # Who it is when it has logged in.
        self.principal = ANONYMOUS
        core.clients.append(self)

    @property
    def version(self) -> str:
        """The version that was agreed on."""
        return self.session.wire_version

    @property
    def waiting(self) -> int:
        """The frames that were written and are not carried out."""
        return len(self._frames)

    def log_in(self, headers: Mapping[str, str], command: str = "CONNECT") -> Got:
        """CONNECT and return what answers it."""
        self.write(encode(command, headers.items(), version="1.2"))
        if self.session.state is State.LOGIN:
            self.session.welcome(self.principal, self.core.now)
            self._decoder.begin(self.version)
            self._reader.begin(self.version)
            self.core.run()
        return self.frames.pop(0)

    # Writing.

    def write(self, data: bytes) -> None:
        """Write octets to the broker, and let it do all that follows from them."""
        self._frames += self._decoder.feed(data)
        assert self._decoder.error is None, f"the test wrote a bad frame: {self._decoder.error}"
        self._carry_out()
        self.core.run()

    def send(self, destination: str, body: bytes | str = b"", /, **headers: str) -> None:
        """SEND; in names of headers ``_`` stands for a hyphen."""
        if isinstance(body, str):
            body = body.encode()
        self("SEND", body, destination=destination, **headers)

    def subscribe(
        self,
        destination: str,
        ack: str | None = None,
        /,
        id: str | None = "0",  # noqa: A002 - the header's name
        **headers: str,
    ) -> None:
        """SUBSCRIBE."""
        if ack is not None:
            headers["ack"] = ack
        if id is not None:
            headers["id"] = id
        self("SUBSCRIBE", destination=destination, **headers)

    def ack(self, message: Got, command: str = "ACK", **headers: str) -> None:
        """ACK a MESSAGE in the way of the session's version."""
        if self.version == "1.2":
            headers["id"] = message["ack"]
        else:
            headers["message-id"] = message["message-id"]
            if self.version == "1.1":
                headers["subscription"] = message["subscription"]
        self(command, **headers)

    def nack(self, message: Got, **headers: str) -> None:
        """NACK a MESSAGE."""
        self.ack(message, "NACK", **headers)

    def __call__(self, command: str, body: bytes = b"", /, **headers: str) -> None:
        """Write one frame; in names of headers ``_`` stands for a hyphen."""
        pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
        if b"\0" in body:
            pairs = with_length(pairs, body)
        self.write(encode(command, pairs, body, version=self.version))

    def half_close(self) -> None:
        """End this direction: what is written already is carried out without waiting for room."""
        while self.session.paused:
            self.session.stop_waiting()
            self._carry_out()
            self.core.run()

    def close(self, reason: CloseReason = CloseReason.PEER_CLOSED) -> None:
        """End the connection without another word."""
        self._end(reason)
        self.core.run()

    # Reading.

    def take(self, count: int | None = None) -> list[Got]:
        """Return the frames that came since the last look; there have to be ``count``."""
        frames, self.frames = self.frames, []
        assert count is None or len(frames) == count, frames
        return frames

    def one(self, command: str) -> Got:
        """Return the one frame that came since the last look; it has to be this command."""
        frame = self.take(1)[0]
        assert frame.command == command, frame
        return frame

    def messages(self, count: int | None = None) -> list[Got]:
        """Return the frames that came since the last look: MESSAGEs all of them."""
        frames = self.take(count)
        assert all(frame.command == "MESSAGE" for frame in frames), frames
        return frames

    def bodies(self) -> list[str]:
        """Return the bodies of the MESSAGEs that came since the last look, and nothing else."""
        return [frame.text for frame in self.messages()]

    def error(self) -> Got:
        """Return the ERROR that ended the session: the last of what came."""
        frames = self.take()
        assert frames, "nothing came"
        assert [frame.command for frame in frames].count("ERROR") == 1, frames
        assert frames[-1].command == "ERROR", frames
        assert self.session.over
        return frames[-1]

    def receipts(self) -> list[str]:
        """Return the ids of the RECEIPTs that came since the last look, and nothing else."""
        frames = self.take()
        assert all(frame.command == "RECEIPT" for frame in frames), frames
        return [frame["receipt-id"] for frame in frames]

    def alive(self) -> bool:
        """Return whether a SEND still gets its receipt; what else came is dropped."""
        self.send("/topic/nobody-listens", receipt="alive?")
        frames = self.take()
        return bool(frames) and frames[-1] == Got("RECEIPT", {"receipt-id": "alive?"}, b"")

    def read_some(self, octets: int = 0, *, later: bool = False) -> None:
        """Take what the peer left unread, all but ``octets`` of it.

        With ``later`` the broker has not come round yet to what waits for the room.
        """
        while self._unread and self.session.outbox.size > octets:
            part = self._unread.pop(0)
            self.session.outbox.size -= len(part)
            self._read(part)
        outbox = self.session.outbox
        if not self._unread:
            riders, self._riders = self._riders, []
            self.session.written(riders)
        if outbox.waiting:
            self.core.broker.thirsty.append(self.session)
        if not later:
            self.core.run()

    def read_again(self) -> None:
        """Take all that is unread, and everything from now on."""
        self.reading = True
        self.read_some()

    # The transport's part.

    def _carry_out(self) -> None:
        session = self.session
        while self._frames and not session.over and not session.paused:
            at = session.receive(self._frames, 0, self.core.now)
            assert session.paused or 0 < at <= len(self._frames)
            del self._frames[:at]
            if session.state is State.LOGIN:
                break
        self._woken = False

    def go_on(self) -> bool:
        """Carry out what was held while paused; close when all is over. True if it did."""
        if self.session.over and not self.closed and not self._unread:
            assert not self.session.outbox.parts, "written after its last flush"
            assert self.session.reason is not None
            self._end(self.session.reason)
            return True
        if self._frames and self._woken:
            self._carry_out()
            return True
        return False

    def _wake(self) -> None:
        self._woken = True

    def _flush(self) -> None:
        outbox = self.session.outbox
        parts = outbox.take()
        riders, outbox.riders = outbox.riders, []
        if not self.reading:
            self._unread += parts
            self._riders += riders
            return
        self._read(b"".join(parts))
        outbox.size = 0
        outbox.sent_at = self.core.now
        self.session.written(riders)
        if outbox.waiting:
            self.core.broker.thirsty.append(self.session)

    def _read(self, data: bytes) -> None:
        self.octets += data
        frames = self._reader.feed(data)
        assert self._reader.error is None, (self._reader.error, data)
        self.frames += [Got(head.command, dict(head.headers), body) for head, body in frames]

    def _end(self, reason: CloseReason) -> None:
        self.closed = True
        self._frames.clear()
        self.session.outbox.riders[:0] = self._riders
        self._riders = []
        self.session.close(reason, self.core.now)


def policies(rules: Mapping[str, Policy] | None = None, **default: Any) -> Policies:  # noqa: ANN401
    """Return policies: ``rules`` by pattern, and a default with these settings."""
    return Policies(
        [PolicyRule(pattern, policy) for pattern, policy in (rules or {}).items()],
        Policy(**default),
    )


def settings(rules: Mapping[str, Policy] | None = None, **default: Any) -> Settings:  # noqa: ANN401
    """Return settings; what `Settings` does not know is of the default policy."""
    own = {name: default.pop(name) for name in list(default) if hasattr(Settings(), name)}
    return replace(Settings(policies=policies(rules, **default)), **own)


def numbers(first: int, last: int) -> list[str]:
    """Return the bodies of numbered messages, both ends included."""
    return [str(number) for number in range(first, last + 1)]


def publish(client: Client, destination: str, bodies: Iterable[str], **headers: str) -> None:
    """SEND each of the bodies."""
    for body in bodies:
        client.send(destination, body, **headers)
