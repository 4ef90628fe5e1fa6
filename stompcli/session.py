"""What a command works with: the connection, the open subscriptions, the open transaction."""

import math
import signal
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from dataclasses import replace as with_changes
from typing import Final, Literal

import trio

from stompcli.client import (
    Address,
    Client,
    Counters,
    Message,
    Options,
    Reconnect,
    SessionEndedError,
    StompError,
    Subscription,
    Transaction,
)
from stompcli.client import url as urls
from stompcli.client.beside import tasks_beside
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, of, usage
from stompcli.link import Link, Traffic
from stompcli.output import Out
from stompcli.preferences import Preferences
from stompcli.settings import Settings
from stompcli.sticky import Sticky
from stompcli.transcript import Transcript

_STAYING: Final = (10_000, 10_000)
_PASSING: Final = (0, 0)
_VERSIONS: Final = ("1.0", "1.1", "1.2")
# Messages, and octets of their bodies, that a shell keeps for being looked at again.
_KEPT: Final = 1000
_KEPT_OCTETS: Final = 32 * 2**20
# Octets of one chunk that are shown at a prompt.
_SHOWN: Final = 2048
_SIGNALS: Final = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
}


@dataclass
class Received:
    """The messages of a shell's session."""

    # How many came; the number of a message is the count when it came.
    count: int = 0
    # Those of explicit ack modes that nobody has settled, with their numbers, oldest first.
    unsettled: deque[tuple[int, Message]] = field(default_factory=deque)
    # The newest ones with their numbers, for `show` and `save`, as many as are worth their room.
    kept: dict[int, Message] = field(default_factory=dict)
    kept_octets: int = 0
    # When the last one came, on trio's clock, and who waits for the next one.
    last_at: float = 0.0
    arrived: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    def unacked(self) -> list[int]:
        """Return the numbers of those that nobody has settled, oldest first."""
        return [number for number, message in self.unsettled if not message.settled]

    def keep(self, message: Message) -> None:
        """Keep the message that came last; the oldest go when there is no room."""
        self.kept[self.count] = message
        self.kept_octets += len(message.body)
        while len(self.kept) > _KEPT or (self.kept_octets > _KEPT_OCTETS and len(self.kept) > 1):
            oldest = self.kept.pop(next(iter(self.kept)))
            self.kept_octets -= len(oldest.body)


class Session:
    """One run of the program: at most one connection, made when a command first needs it.

    ``in_shell`` is True for lines of a shell or script, ``interactive`` if a person types them.
    """

    def __init__(
        self,
        settings: Settings,
        out: Out,
        *,
        in_shell: bool = False,
        interactive: bool = False,
        stays: bool = False,
    ) -> None:
        self.settings = settings
        self.out = out
        self.in_shell = in_shell
        self.interactive = interactive
        self._stays = stays or in_shell
        self._link: Link | None = None
        # Unparked whenever a connection was made or given up.
        self.relinked = trio.lowlevel.ParkingLot()
        # Why there is no connection although one is wanted, once that was noticed.
        self.lost: SessionEndedError | None = None
        # True after `disconnect`: whoever typed that has to ask for a new connection.
        self.parted = False
        # The password, once it was found out, and the settings that it is of.
        self._secret: str | None = None
        self._secret_of: Settings | None = None
        self.traffic = Traffic()
        # Two tasks must not make, or give up, a connection at the same time.
        self.linking = trio.Lock()
        # The subscriptions of the connection before, for the next one to have again.
        self.before: list[Subscription] = []
        # What is shown of the octets, and where they are recorded.
        self.wire: Literal["off", "on", "hex"] = "on" if settings.verbose > 1 else "off"
        self.transcript: Transcript | None = None
        self.preferences = Preferences()
        self.sticky = Sticky()
        self._nursery: trio.Nursery | None = None
        # Cancelled when the command has to stop, whatever it does; the session then ends in peace.
        self.scope = trio.CancelScope()
        # Why it had to stop, if it had to.
        self.stopped: ExitCode | None = None
        # Is told of every signal; returns whether the command itself sees to it.
        self.on_signal: Callable[[ExitCode], bool] | None = None
        # How a lost connection is made again, for a command that goes on then.
        self.reconnect: Reconnect | None = None
        # Says what the end of --timeout means, None for success; a command may know better.
        self.on_timeout: Callable[[], Failure | None] = self._timed_out
        self.transaction: Transaction | None = None
        # Frames in the transaction, for the prompt.
        self.transaction_frames = 0
        self.received = Received()
        # What stats shows, and what it counts from.
        self.counting = True
        self.connections = 0
        self.errors = 0
        self.since = Counters()
        # True once the shell's user wants to leave.
        self.leaving = False
        # Puts a question to whoever types, and returns the line typed, None at the end of input;
        # None if nobody types.
        self.ask: Callable[[str], Awaitable[str | None]] | None = None
        # Returns a line typed behind a prompt of its own, None at the end of input and "\x03" for
        # an interrupt; None if nobody types.
        self.type: Callable[[str], Awaitable[str | None]] | None = None
        # Has whoever types write a text of several lines; None if it was given up, or nobody types.
        self.compose: Callable[[], Awaitable[str | None]] | None = None
        # Runs a line of a shell; raises what went wrong. How deep files that run files are.
        self.execute: Callable[[str], Awaitable[None]] = _no_shell
        self.depth = 0
        # Returns the lines that were typed, oldest first.
        self.typed: Callable[[], list[str]] = list
        # Shows a message of the shell, with its number; None: where all output goes.
        self.show: Callable[[int, bytes], None] | None = None

    @property
    def client(self) -> Client | None:
        """The connection, None if no command has needed it yet."""
        return None if self._link is None else self._link.client

    @property
    def held(self) -> Link | None:
        """What holds the connection, None if there is none to hold."""
        return self._link

    @property
    def nursery(self) -> trio.Nursery:
        """Where the shell's subscriptions run."""
        assert self._nursery is not None  # noqa: S101 - for the type checker; see open_session
        return self._nursery

    def address(self) -> Address:
        """Return where the broker is, the first of several; raises `Failure` for a bad URL."""
        return self.addresses()[0]

    def addresses(self) -> list[Address]:
        """Return where the broker may be, in the order to try; raises `Failure` for a bad URL."""
        settings = self.settings
        if settings.url is None:
            found = [Address(port=urls.TLS_PORT if settings.tls else urls.DEFAULT_PORT)]
        else:
            try:
                found = urls.addresses(settings.url)
            except StompError as error:
                raise of(error) from error
        return [self._placed(address) for address in found]

    def _placed(self, address: Address) -> Address:
        """Return an address with what the options say beside the URL."""
        settings = self.settings
        if settings.host is not None or settings.port is not None:
            address = with_changes(
                address,
                host=settings.host or address.host,
                port=settings.port or address.port,
                path=None,
            )
        if settings.tls and address.path is None and not address.tls:
            port = urls.TLS_PORT if address.port == urls.DEFAULT_PORT else address.port
            address = with_changes(address, tls=True, port=settings.port or port)
        return address

    async def link(self) -> Client:
        """Return the connection, made now if it was not made before.

        Raises `StompError` if there is none to be had, or it was lost; `Failure` after `part`.
        """
        if self._link is None:
            if self.parted:
                raise Failure(
                    ExitCode.UNAVAILABLE, "lost", f"not connected to {self.label()}", "try: connect"
                )
            async with self.linking:
                await self.open()
        self.held_client().check_alive()
        return self.held_client()

    async def open(self) -> None:
        """Make a new connection in place of one that was lost or given up, if there was one.

        Who calls this holds `linking`. Raises `StompError` if there is no connection to be had.
        """
        link = Link(self.addresses(), self.options())
        await self.nursery.start(link.hold)
        if self._link is not None:
            # Why it ended was said when that was noticed.
            await self._link.finish()
        self._link = link
        self.lost = None
        self.parted = False
        self.connections += 1
        self.relinked.unpark_all()

    async def part(self) -> StompError | None:
        """Give the connection up, if there is one; return what the broker said at its end.

        Who calls this holds `linking`.
        """
        link, self._link = self._link, None
        self.parted = True
        error = None
        if link is not None:
            self.forget(link)
            error = await link.finish()
        self.relinked.unpark_all()
        return error

    def forget(self, link: Link) -> None:
        """What belonged to this connection is gone with it; its subscriptions are remembered."""
        left = link.client.subscriptions
        ids = {one.id for one in left}
        # Those that it had not got back yet are still wanted.
        self.before = [*left, *(one for one in self.before if one.id not in ids)]
        self.transaction = None
        self.received.unsettled.clear()

    def held_client(self) -> Client:
        """Return the client of a connection that is there."""
        assert self._link is not None  # noqa: S101 - for the type checker; callers looked
        return self._link.client

    def options(self) -> Options:
        """Return what a connection of this session is told; raises `Failure` for a bad secret."""
        settings = self.settings
        if self._secret_of is not settings:
            # It is asked for once, and not again while somebody types at a prompt.
            self._secret, self._secret_of = settings.secret(), settings
        options: Options = {
            "login": settings.user,
            "passcode": self._secret,
            "virtual_host": settings.vhost,
            "versions": _VERSIONS if settings.protocol == "auto" else (settings.protocol,),
            "heartbeat": settings.heartbeats or (_STAYING if self._stays else _PASSING),
            "headers": dict(settings.connect_header),
        }
        if any(address.tls for address in self.addresses()):
            options["ca_file"] = settings.tls_ca
            options["cert_file"] = settings.tls_cert
            options["key_file"] = settings.tls_key
            options["insecure"] = settings.tls_insecure
        if not self._stays or self.in_shell:
            # Several places are tried in turn; what is lost on the way is an error, and a shell
            # says so before it connects again.
            options["reconnect"] = False
        if settings.timeout is not None:
            # A command's time is limited as a whole, see `supervise`.
            options["timeout"] = settings.timeout if self.interactive else math.inf
        if self.reconnect is not None:
            options["reconnect"] = self.reconnect
        if self.in_shell or settings.verbose > 1 or self.transcript is not None:
            options["trace"] = self._trace
        return options

    def _trace(self, direction: Literal["<", ">"], data: bytes) -> None:
        self.traffic.note(direction)
        if self.wire != "off":
            most = _SHOWN if self.interactive and self.settings.verbose <= 1 else None
            self.out.wire(direction, data, dump=self.wire == "hex", most=most)
        if self.transcript is not None:
            self.transcript.octets(direction, data)

    def _timed_out(self) -> Failure:
        return Failure(
            ExitCode.TIMED_OUT, "timed-out", f"timed out after {self.settings.timeout or 0:g} s"
        )

    def label(self) -> str:
        """Return the broker's place, and who we are there, for the prompt."""
        address = self.address()
        user = self.settings.user or address.login
        place = str(address) if self._link is None else self._link.client.address
        return f"{user}@{place}" if user else place

    def stop(self, code: ExitCode) -> None:
        """End the command that is running; the first reason counts."""
        if self.stopped is None:
            self.stopped = code
        self.scope.cancel()

    def remember(self, message: Message) -> int:
        """Count a message that came, keep it if it has to be settled; return its number."""
        received = self.received
        received.count += 1
        received.last_at = trio.current_time()
        if message.subscription.ack != "auto":
            while received.unsettled and received.unsettled[0][1].settled:
                received.unsettled.popleft()
            received.unsettled.append((received.count, message))
        if self.in_shell:
            received.keep(message)
        received.arrived.unpark_all()
        return received.count

    def find_subscription(self, word: str) -> Subscription | None:
        """Return the open subscription with this destination or id, None if there is none."""
        if self._link is None:
            return None
        for subscription in self._link.client.subscriptions:
            if word in (subscription.id, subscription.destination):
                return subscription
        return None

    async def finish(self, *, failed: bool = False) -> None:
        """Disconnect, wait for the broker's receipt, and raise what it said instead.

        After a command that ``failed`` a missing receipt is not worth a word.
        """
        if self._link is None:
            return
        client = self._link.client
        error = await self._link.finish()
        if error is not None:
            self.errors += 1
            raise error
        if not failed and not client.confirmed:
            self.out.notice(
                f"{client.address} did not confirm the DISCONNECT; "
                "what was sent without a receipt may be lost"
            )


@asynccontextmanager
async def open_session(session: Session) -> AsyncIterator[Session]:
    """Watch for signals while the block runs, and disconnect after it.

    The first SIGINT or SIGTERM ends the command and lets the session end in peace; a second one
    ends that too. Raises `Failure` or `StompError` if the end did not go well.
    """
    async with tasks_beside() as nursery:
        session._nursery = nursery  # noqa: SLF001 - the two are one mechanism
        await nursery.start(_watch_signals, session, nursery.cancel_scope)
        try:
            yield session
            await session.finish(failed=session.scope.cancelled_caught)
        except Exception:
            try:
                await session.finish(failed=True)
            except SessionEndedError:
                # What the block raised says it already.
                session.errors += 1
            raise


async def _no_shell(line: str) -> None:
    raise usage(f"there is no shell to run this in: {line}")


async def _watch_signals(
    session: Session,
    everything: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.open_signal_receiver(*_SIGNALS) as signals:
        task_status.started()
        async for number in signals:
            code = _SIGNALS[signal.Signals(number)]
            if session.on_signal is not None and session.on_signal(code):
                continue
            if session.stopped is not None:
                everything.cancel()
            session.stop(code)
