"""One connection to a test's broker: octets to frames, to the session, and back.

The transport of `stompd.broker.Session`, as `stompd.server.connection` is another one: made for
being looked at and disturbed, where that one is made for speed.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from stompd.broker.principal import Principal
from stompd.broker.session import CloseReason, State
from stompd.protocol.decoder import Decoder
from stompd.protocol.encoder import encode
from stompd.protocol.errors import RemoteProtocolError
from stompd.testing.faults import Faults
from stompd.testing.home import Home, at_home

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stompd.broker.message import Message
    from stompd.protocol.frame import Frame, Head
    from stompd.testing.broker import InProcessBroker
    from stompd.testing.faults import Rule, Wiring
    from stompd.testing.stream import Wire

_READ: Final = 64 * 1024
# Who names one of these wants to be told rates and ages, for which the broker has to look at all
# destinations every second. Nobody else needs that, least of all who turns the clock by days.
_WATCHED: Final = ("/admin/", "/topic/$SYS/")
_SLICE: Final = 64 * 1024
# Octets that were read and wait for the session, from which on nothing more is read.
_MOST_HELD: Final = 256 * 1024
# How often a peer is looked after that is not read from, and how long the last frames may take.
_LOOK_EVERY: Final = 1.0
_LINGER: Final = 2.0


class Connection:
    """A program that is connected to the broker of a test.

    Its attributes tell what is known of it, also after its end; its methods disturb it.
    """

    def __init__(self, broker: InProcessBroker, wire: Wire, peer: str, wiring: Wiring) -> None:
        self.home: Home = broker.home
        self._broker = broker
        self._wire = wire
        self.wiring = wiring
        wiring.release = self._release_receipts
        # The program's address, for people to read.
        self.peer = peer
        # What CONNECT said, but for the passcode; empty before it came.
        self.headers: Mapping[str, str] = {}
        # What a test does to this connection alone.
        self.faults = Faults(broker.home, broker.clock, lambda: [wiring])
        clock = broker.clock
        session = self.session = broker.core.open(peer, clock.now())
        session.outbox.flush = self._flush
        session.wake = self._wake
        # The number of the connection, as the broker's `session` header tells it.
        self.id: str = session.id
        settings = broker.settings
        self._decoder = Decoder(
            "server", settings.limits.before_login(), telnet=settings.telnet_hints
        )
        # Read, and not taken in yet: when, and what; b"" is the end, None a reset.
        self._in: deque[tuple[float, bytes | None]] = deque()
        self._held = 0
        # The end, or a reset, was read, be it behind much else.
        self._ended = False
        # To be written: when it was handed over, what, and the messages that ride on it.
        self._out: deque[tuple[float, bytes, list[Message]]] = deque()
        # Set, and made anew, when one of the two, or the session, has changed.
        self._news = trio.Event()
        # Ends the reading when the session is over, and everything when the connection broke.
        self._listening = trio.CancelScope()
        self._life = trio.CancelScope()
        # True when nothing more can be written.
        self._deaf = False
        self._forgotten = False

    def __repr__(self) -> str:
        session = self.session
        return (
            f"<Connection {self.id} {session.state.value} user={session.user} "
            f"subscriptions={[s.destination.name for s in session.subscriptions.values()]}>"
        )

    # For tests.

    @property
    def user(self) -> str | None:
        """Who logged in."""
        return self.session.user

    @property
    def version(self) -> str | None:
        """The STOMP version that was agreed on."""
        return self.session.version

    @property
    def open(self) -> bool:
        """True while the broker holds it to be connected."""
        return not self._forgotten

    @property
    def reason(self) -> str | None:
        """Why it ended, in the broker's words; None while it is open."""
        return self.session.reason.value if self.session.reason is not None else None

    @property
    @at_home
    def subscriptions(self) -> dict[str, str]:
        """The destinations that it subscribes to, by subscription id."""
        found = self.session.subscriptions
        return {name: subscription.destination.name for name, subscription in found.items()}

    @property
    @at_home
    def unsettled(self) -> int:
        """The messages that it was given and has not acknowledged."""
        return len(self.session.owners)

    @at_home
    def drop(self) -> None:
        """Break the connection off at once, by a reset; the broker sees its peer vanish."""
        self._sever(reset=True)

    @at_home
    def close(self) -> None:
        """Close the connection without a word; the client gets what was written and then the end.

        What still waits to be written is lost.
        """
        self._sever(reset=False)

    @at_home
    def fail(self, message: str, detail: str = "") -> None:
        """Send ERROR with this ``message`` header and text, and close as the broker does then."""
        self.session.fail(RemoteProtocolError(message, detail))
        self._broker.stir()

    # Life.

    async def run(self) -> None:
        """Serve the connection to its end; raises only what is a fault of stompd."""
        try:
            with self._life:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read)
                    nursery.start_soon(self._write)
                    with self._listening:
                        await self._serve()
                    await self._part()
                    nursery.cancel_scope.cancel()
        finally:
            self._forget(CloseReason.PEER_CLOSED)
            self._wire.close()

    def _change(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def _wake(self) -> None:
        if self.session.over:
            self._listening.cancel()
        self._change()

    def _sever(self, *, reset: bool) -> None:
        self._forget(CloseReason.PEER_RESET if reset else CloseReason.PEER_CLOSED)
        if reset:
            self._wire.reset()
        else:
            self._wire.close()
        self._life.cancel()

    def _forget(self, reason: CloseReason) -> None:
        """Take the session's leave from the broker; nothing if that was done."""
        if self._forgotten:
            return
        self._forgotten = True
        self._deaf = True
        riders = [rider for _, _, riders in self._out for rider in riders]
        self._out.clear()
        self.session.outbox.riders[:0] = riders
        self.session.close(reason, self._broker.clock.now())
        self._broker.closed(self)

    @property
    def alive(self) -> bool:
        """False while its octets do not reach the broker, by faults that a test made."""
        lane = self.wiring.to_broker
        return not (lane.stalled or lane.lost)

    # Reading.

    async def _read(self) -> None:
        """Take octets off the wire, to its end."""
        lane = self.wiring.to_broker
        clock = self._broker.clock
        data: bytes | None = None
        while data != b"":
            while self._held >= _MOST_HELD:
                await self._news.wait()
            await lane.pass_through(-math.inf)
            try:
                data = await self._wire.receive_some(_READ)
            except trio.BrokenResourceError:
                data = None
            except trio.ClosedResourceError:
                return
            if not lane.lost:
                self._ended = self._ended or not data
                self._in.append((clock.now(), data))
                self._held += len(data or b"")
                self._change()
            if data is None:
                return

    async def _next(self) -> bytes | None:
        """Return the next octets that arrive, ``b""`` at the end, None for a reset."""
        lane = self.wiring.to_broker
        while True:
            while not self._in:
                await self._news.wait()
            since, data = self._in[0]
            await lane.pass_through(since)
            self._in.popleft()
            self._held -= len(data or b"")
            self._change()
            if lane.lost:
                # It was under way when the cable was cut.
                continue
            if not data:
                return data
            count = lane.admit(len(data))
            if count < len(data):
                # These still count; then the connection breaks.
                self._in.clear()
                self._held = 0
                self._in.append((-math.inf, None))
                data = data[:count]
                if not data:
                    continue
            return data

    async def _serve(self) -> None:
        """Carry out what comes, until the session is over or the peer has ended."""
        session = self.session
        clock = self._broker.clock
        self._expect_login()
        while not session.over:
            data = await self._next()
            if not data:
                if data is None:
                    self._sever(reset=True)
                return
            session.heard_at = clock.now()
            self._broker.came += len(data)
            await self._carry_out(self._decoder.feed(data))

    def _expect_login(self) -> None:
        seconds = self._broker.settings.timeouts.login
        core = self._broker.core

        def due() -> None:
            if self.session.version is None or self.session.state is State.LOGIN:
                self.session.fail(
                    RemoteProtocolError(
                        "login timeout", f"no CONNECT was completed within {seconds:g} s"
                    ),
                    CloseReason.LOGIN_TIMEOUT,
                )

        core.at(self._broker.clock.now() + seconds, due)

    async def _carry_out(self, frames: list[Frame]) -> None:
        session = self.session
        at = self._receive(frames, 0)
        self._broker.stir()
        while session.halt and not session.over and session.state is not State.LEAVING:
            if session.state is State.LOGIN:
                self._log_in()
                frames = self._decoder.feed(b"")
                at = 0
            elif session.paused:
                await self._room()
            else:
                await trio.lowlevel.checkpoint()
            at = self._receive(frames, at)
            self._broker.stir()

    def _receive(self, frames: list[Frame], at: int) -> int:
        """Carry out frames from ``at`` as far as the session and the test let; return how far."""
        session = self.session
        decoder = self._decoder
        if self.wiring.rules or self.wiring.withholding:
            at = self._receive_singly(frames, at)
        else:
            at = self._hand_over(frames, at)
        if decoder.answers:
            session.outbox.add(*decoder.answers)
            decoder.answers.clear()
        if decoder.error is not None and at == len(frames) and not session.over:
            session.garbled(decoder.error)
        return at

    def _receive_singly(self, frames: list[Frame], at: int) -> int:
        session = self.session
        if at == len(frames):
            return self._hand_over(frames, at)
        while at < len(frames) and not session.over:
            frame = frames[at]
            rule = self.wiring.rule(frame)
            if rule is not None and not rule.carry_out:
                self._break_at(rule, frame[0])
                return len(frames)
            if self.wiring.withholding:
                frame = self._without_receipt(frame)
            done = self._hand_over([frame], 0)
            at += done
            if rule is not None and done:
                self._sever(reset=True)
                return len(frames)
            if session.halt:
                return at
        return len(frames)

    def _break_at(self, rule: Rule, head: Head) -> None:
        if rule.answer is None:
            self._sever(reset=True)
            return
        message, detail = rule.answer
        receipt = head.get("receipt")
        headers = {} if receipt is None else {"receipt-id": receipt}
        login = head.command in ("CONNECT", "STOMP")
        self.session.fail(
            RemoteProtocolError(message, detail, headers=headers),
            CloseReason.REFUSED if login else CloseReason.PROTOCOL_ERROR,
        )

    def _hand_over(self, frames: list[Frame], at: int) -> int:
        """Have the session carry frames out, and note those that it did."""
        session = self.session
        if session.over or session.state is State.LEAVING:
            return len(frames)
        done = session.receive(frames, at, self._broker.clock.now())
        # The last one is what a fault was found in.
        good = frames[at : done - (session.fault is not None)]
        self._broker.log.note(self.id, good)
        for head, _ in good:
            if (head.get("destination") or "").startswith(_WATCHED):
                self._broker.core.observe()
        return done

    def _without_receipt(self, frame: Frame) -> Frame:
        """Return the frame as if it asked for no receipt; the receipt is kept back."""
        head, body = frame
        receipt = head.get("receipt")
        if receipt is None:
            return frame
        version = self.session.wire_version
        pairs = [(name, value) for name, value in head.headers.items() if name != "receipt"]
        decoder = Decoder("server", self._broker.settings.limits.of_frames())
        decoder.begin(version)
        self.wiring.withheld.append(receipt)
        return decoder.feed(encode(head.command, pairs, body, version=version))[0]

    def _release_receipts(self) -> None:
        withheld, self.wiring.withheld = self.wiring.withheld, []
        if not self.session.over:
            for receipt in withheld:
                self.session.promise(receipt, durable=False)
            self._broker.stir()

    async def _room(self) -> None:
        """Wait until the session may go on, or until its peer has ended (R-07)."""
        session = self.session
        while session.paused:
            if self._ended or self._wire.hung_up():
                session.stop_waiting()
                await trio.lowlevel.checkpoint()
                break
            with trio.move_on_after(_LOOK_EVERY):
                await self._news.wait()
        # Nothing was taken in meanwhile, so silence means nothing.
        session.heard_at = self._broker.clock.now()

    def _log_in(self) -> None:
        session = self.session
        login = session.login
        assert login is not None  # noqa: S101 - the state says so
        self.headers = {name: value for name, value in login.headers.items() if name != "passcode"}
        users = self._broker.users
        user = login.user
        if users is not None and (
            user is None or user not in users or users[user] != login.passcode
        ):
            session.refuse("login refused", "user or passcode is wrong")
            return
        # As with the daemon: without users everybody on this machine may look and act.
        principal = Principal(user, trusted=users is None)
        session.welcome(principal, self._broker.clock.now())
        self._decoder.begin(session.wire_version, self._broker.settings.limits.of_frames())

    # Writing.

    def _flush(self) -> None:
        outbox = self.session.outbox
        parts = outbox.take()
        if self._deaf:
            # Riders stay where `Session.close` finds them.
            outbox.size = 0
            return
        if parts:
            riders, outbox.riders = outbox.riders, []
            self._out.append((self._broker.clock.now(), b"".join(parts), riders))
            self._change()

    async def _write(self) -> None:
        """Write what was handed over, until the peer takes nothing more."""
        lane = self.wiring.to_client
        clock = self._broker.clock
        session = self.session
        while True:
            while not self._out:
                await self._news.wait()
            since, data, riders = self._out[0]
            await lane.pass_through(since)
            if lane.lost:
                session.outbox.size -= len(data)
                await trio.lowlevel.checkpoint()
            else:
                count = lane.admit(len(data))
                try:
                    await self._send(data[:count])
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self._stop_writing()
                    return
                if count < len(data):
                    self._sever(reset=False)
                    return
            if self._forgotten:
                # Broken off meanwhile; the riders have gone back.
                return
            session.outbox.sent_at = clock.now()
            self._out.popleft()
            session.written(riders)
            if session.outbox.waiting:
                session.drained()
            self._change()
            self._broker.stir()

    async def _send(self, data: bytes) -> None:
        """Write octets in slices, so that the outbox tells truly how much is left."""
        outbox = self.session.outbox
        for start in range(0, len(data), _SLICE):
            part = data[start : start + _SLICE]
            await self._wire.send_all(part)
            outbox.size -= len(part)

    def _stop_writing(self) -> None:
        """The peer takes nothing any more; reading goes on to the end of what it sent (R-07)."""
        self._deaf = True
        self.session.stop_deliveries()
        self.session.outbox.parts.clear()
        self.session.outbox.size = 0
        self._change()

    async def _part(self) -> None:
        """Have the last frames arrive, then close."""
        session = self.session
        session.stop_deliveries()
        self._broker.stir()
        while self._out and not self._deaf:
            left = len(self._out), session.outbox.size
            held_up = self.wiring.to_client.held_up
            with trio.move_on_after(math.inf if held_up else _LINGER) as patience:
                await self._news.wait()
            if patience.cancelled_caught and left == (len(self._out), session.outbox.size):
                # The peer takes nothing.
                return
        if self.wiring.to_client.lost:
            # Nobody is told that it is over.
            self._forget(session.reason or CloseReason.PEER_CLOSED)
            await trio.sleep_forever()
        if self._deaf:
            return
        try:
            await self._wire.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        if session.reason is None:
            return
        # Closing with octets unread would send a reset, which may destroy an ERROR on its way.
        with trio.move_on_after(_LINGER):
            while not self._ended:
                self._in.clear()
                self._held = 0
                self._change()
                await self._news.wait()
