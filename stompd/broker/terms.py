"""On which terms a message is delivered, where it is more than the next in line.

Most messages have no terms. Those that have some carry a `Terms`, made of the headers of their SEND
and of the policy of their queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stompd.broker.cron import Cron
    from stompd.broker.message import Message

# The priority of a message whose sender named none.
NORMAL: Final = 4
NEVER: Final = float("inf")
# The sender of what the broker itself publishes.
NOBODY: Final = ("", "")


class Schedule:
    """When a message is sent again after its first time; times are seconds of the broker's time."""

    __slots__ = ("cron", "delay", "left", "period", "repeat")

    def __init__(self, delay: float, period: float, repeat: int, cron: Cron | None) -> None:
        # Seconds from a time of `cron` to its first sending.
        self.delay = delay
        # Seconds between sendings; 0 for a lone one.
        self.period = period
        # How many follow the first one, for each time of `cron`; negative: without end.
        self.repeat = repeat
        self.cron = cron
        self.left = repeat

    def first(self, now: float, epoch: float) -> float:
        """Return when it is due for the first time, `NEVER` if its cron entry never comes.

        ``epoch`` is what has to be added to the broker's time for the seconds since 1970.
        """
        return self._next_cron(now, epoch) if self.cron is not None else now + self.delay

    def following(self, due: float, now: float, epoch: float) -> float:
        """Return when it is due again after ``due``, `NEVER` if that was the last time.

        What was missed while nobody looked is not made up for: the answer lies behind ``now``.
        """
        if self.period and self.left:
            # How many periods it takes to be behind `now`; no loop, for they may be many.
            steps = int(max(0.0, now - due) // self.period) + 1
            if due + steps * self.period <= now:
                # It was rounded.
                steps += 1
            if self.left < 0:
                return due + steps * self.period
            due += self.period * min(steps, self.left)
            self.left = max(0, self.left - steps)
            if due > now:
                return due
        if self.cron is None:
            return NEVER
        self.left = self.repeat
        return self._next_cron(max(due - self.delay, now), epoch)

    def _next_cron(self, after: float, epoch: float) -> float:
        assert self.cron is not None  # noqa: S101 - the callers looked
        found = self.cron.next_after(after + epoch)
        return NEVER if found is None else found - epoch + self.delay


class Terms:
    """Times are seconds of the broker's time.

    Once a message has them they are not changed, but for those of a repeated one: messages with
    equal headers may share them.
    """

    __slots__ = (
        "dedup_id",
        "due",
        "expires",
        "group",
        "incoming",
        "priority",
        "retain",
        "schedule",
        "sender",
    )

    def __init__(self, priority: int = NORMAL, expires: float = NEVER) -> None:
        self.priority = priority
        # True if one of the last four asks for something that happens on the way in.
        self.incoming = False
        # From then on nobody gets it.
        self.expires = expires
        self.group: str | None = None
        # Before then nobody gets it.
        self.due = 0.0
        self.schedule: Schedule | None = None
        self.dedup_id: str | None = None
        # What it does to the topic's last value: "set" or "remove".
        self.retain: str | None = None
        # While a topic delays it: the id of the session that sent it, and its client-id.
        self.sender = NOBODY

    def copy(self) -> Terms:
        """Return the terms of a copy for another destination."""
        terms = Terms(self.priority, self.expires)
        terms.incoming = self.incoming
        terms.due = self.due
        if self.schedule is not None:
            schedule = self.schedule
            terms.schedule = Schedule(
                schedule.delay, schedule.period, schedule.repeat, schedule.cron
            )
        terms.group = self.group
        terms.dedup_id = self.dedup_id
        terms.retain = self.retain
        return terms

    def settled(self) -> Terms | None:
        """Return what is left of them once the message waits among the others; None if nothing.

        What was to happen on the way in has happened.
        """
        if self.priority == NORMAL and self.expires == NEVER and self.group is None:
            return None
        if not self.incoming:
            return self
        terms = Terms(self.priority, self.expires)
        terms.group = self.group
        return terms


def priority_of(message: Message) -> int:
    """Return the priority of a message that waits."""
    return NORMAL if message.terms is None else message.terms.priority
