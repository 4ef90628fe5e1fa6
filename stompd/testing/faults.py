"""Faults on purpose: what is done to the octets and frames of a connection on their way.

`Lane` is one direction, `Wiring` all that is done to one connection, and `Faults` what tests say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from stompd.protocol.frame import CLIENT_COMMANDS
from stompd.testing.home import Home, at_home
from stompd.testing.log import canonical

if TYPE_CHECKING:
    from stompd.protocol.frame import Frame, Head
    from stompd.testing.clock import Clock


class Lane:
    """One direction of a connection."""

    __slots__ = ("_clock", "delay", "left", "lost", "stalled")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Seconds of the broker's time that octets are under way.
        self.delay = 0.0
        # True while nothing moves.
        self.stalled = False
        # True if what goes in never comes out, and nobody is told.
        self.lost = False
        # Octets until the connection breaks; None: it does not.
        self.left: int | None = None

    def copy(self) -> Lane:
        """Return a lane that does the same."""
        lane = Lane(self._clock)
        lane.delay, lane.stalled = self.delay, self.stalled
        lane.lost, lane.left = self.lost, self.left
        return lane

    @property
    def held_up(self) -> bool:
        """True if octets that went in now would not come out now."""
        return bool(self.stalled or self.lost or self.delay)

    async def pass_through(self, since: float) -> None:
        """Wait until octets that went in at ``since`` come out; at once if they never do."""
        clock = self._clock
        while not self.lost and (self.stalled or not clock.reached(since + self.delay)):
            await clock.wait_until(math.inf if self.stalled else since + self.delay)

    def admit(self, count: int) -> int:
        """Return how many of ``count`` octets get through before the connection breaks."""
        if self.left is None:
            return count
        count = min(count, self.left)
        self.left -= count
        return count


class Rule:
    """What happens at a frame of one command; one rule may stand for many connections."""

    __slots__ = ("answer", "carry_out", "command", "destination", "times")

    def __init__(
        self,
        command: str,
        destination: str | None,
        times: int | None,
        *,
        answer: tuple[str, str] | None = None,
        carry_out: bool = False,
    ) -> None:
        self.command = command
        self.destination = None if destination is None else canonical(destination)
        # How many frames it is still for; None: for every one.
        self.times = times
        # Message and text of the ERROR that answers the frame; None: the connection breaks.
        self.answer = answer
        # True if the frame has its effect first.
        self.carry_out = carry_out

    def applies(self, head: Head) -> bool:
        """Tell whether it is for this frame, and count that."""
        if self.times == 0 or head.command != self.command:
            return False
        if self.destination is not None:
            named = head.get("destination")
            if named is None or canonical(named) != self.destination:
                return False
        if self.times is not None:
            self.times -= 1
        return True


class Wiring:
    """All that is done to one connection; or to those that are still to come."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.to_broker = Lane(clock)
        self.to_client = Lane(clock)
        self.rules: list[Rule] = []
        # True while receipts are kept back, and those that were.
        self.withholding = False
        self.withheld: list[str] = []
        # Has the connection write the receipts that were kept back.
        self.release: Callable[[], None] = _nothing

    def copy(self) -> Wiring:
        """Return what does the same to another connection; rules count for both."""
        wiring = Wiring(self._clock)
        wiring.to_broker = self.to_broker.copy()
        wiring.to_client = self.to_client.copy()
        wiring.rules = list(self.rules)
        wiring.withholding = self.withholding
        return wiring

    def rule(self, frame: Frame) -> Rule | None:
        """Return the rule for this frame, if there is one."""
        return next((rule for rule in self.rules if rule.applies(frame[0])), None)


class Faults:
    """What a test does to connections; all of it may be called at any time, from any thread.

    `Connection.faults` are those of one connection, `InProcessBroker.faults` those of all that are
    open and all that will be, `InProcessBroker.next_faults` those of the next one.
    """

    def __init__(self, home: Home, clock: Clock, targets: Callable[[], Iterable[Wiring]]) -> None:
        self.home = home
        self._clock = clock
        self._targets = targets

    # Octets.

    @at_home
    def delay(self, *, to_client: float = 0.0, to_broker: float = 0.0) -> None:
        """Keep octets under way for so many seconds of the broker's `Clock`, in their order."""
        for wiring in self._targets():
            wiring.to_client.delay = to_client
            wiring.to_broker.delay = to_broker
        self._clock.change()

    @at_home
    def stall(self, *, to_client: bool = True, to_broker: bool = True) -> None:
        """Let nothing move in these directions until `heal`; buffers fill as they do on a network.

        One read that is under way already may still take octets off the network, but they go no
        further.
        """
        for wiring in self._targets():
            wiring.to_client.stalled = to_client
            wiring.to_broker.stalled = to_broker
        self._clock.change()

    @at_home
    def cut(self, *, to_client: int | None = None, to_broker: int | None = None) -> None:
        """Break the connection when so many octets more have passed, be it within a frame.

        Counted for each connection by itself. With ``to_client`` the client gets exactly so many
        and then end-of-stream. With ``to_broker`` the broker gets so many, and the client is told
        that the connection was reset. None leaves that direction as it is.
        Raises `ValueError` for a negative number.
        """
        for count in (to_client, to_broker):
            if count is not None and count < 0:
                raise ValueError(f"cannot cut after {count} octets")
        for wiring in self._targets():
            if to_client is not None:
                wiring.to_client.left = to_client
            if to_broker is not None:
                wiring.to_broker.left = to_broker

    @at_home
    def blackhole(self, *, to_client: bool = True, to_broker: bool = True) -> None:
        """Lose all octets in these directions, and the end of the stream, without telling anybody.

        What a cut cable or a dead host is like, and in one direction a half-open connection. It is
        for good: `heal` does not bring lost octets back, so the connection stays as it is.
        """
        for wiring in self._targets():
            wiring.to_client.lost = wiring.to_client.lost or to_client
            wiring.to_broker.lost = wiring.to_broker.lost or to_broker
        self._clock.change()

    # Frames.

    @at_home
    def error_on(
        self,
        command: str,
        message: str = "refused by the test",
        detail: str = "",
        *,
        destination: str | None = None,
        times: int | None = 1,
    ) -> None:
        """Answer the next frame of a command, to ``destination`` if given, with ERROR.

        The frame has no effect, and the session ends as after any ERROR. ``times`` is for how many
        frames that is so, on whichever connections they come; None for all of them.
        """
        self._add(Rule(_known(command), destination, times, answer=(message, detail)))

    @at_home
    def drop_on(
        self,
        command: str,
        *,
        carried_out: bool = False,
        destination: str | None = None,
        times: int | None = 1,
    ) -> None:
        """Break the connection at the next frame of a command, to ``destination`` if given.

        With ``carried_out`` the frame has its effect, but the client learns of nothing: its RECEIPT
        is lost. ``times`` is as in `error_on`.
        """
        self._add(Rule(_known(command), destination, times, carry_out=carried_out))

    @at_home
    def withhold_receipts(self) -> None:
        """Carry frames out, but keep their RECEIPTs back until `release_receipts`."""
        for wiring in self._targets():
            wiring.withholding = True

    @at_home
    def release_receipts(self) -> None:
        """Write the RECEIPTs that were kept back, in their order, and keep back no more."""
        for wiring in self._targets():
            wiring.withholding = False
            wiring.release()

    @at_home
    def heal(self) -> None:
        """End all of it: delays, stalls, cuts, rules for frames, receipts kept back."""
        for wiring in self._targets():
            for lane in (wiring.to_client, wiring.to_broker):
                lane.delay = 0.0
                lane.stalled = False
                lane.left = None
            wiring.rules.clear()
            wiring.withholding = False
            wiring.release()
        self._clock.change()

    def _add(self, rule: Rule) -> None:
        for wiring in self._targets():
            wiring.rules.append(rule)


def _known(command: str) -> str:
    if command not in CLIENT_COMMANDS:
        raise ValueError(f"{command!r} is not a frame that clients send")
    return command


def _nothing() -> None:
    """Release nothing: there is no connection yet."""
