"""Judge a history: what did the broker break of what it promises about messages.

Only what is certain is reported. A frame whose RECEIPT did not come may have been carried out or
not; either is right, as long as it is all of it. `docs/durability.md` has the promises.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal

from crash.history import (
    Asked,
    Closed,
    Committed,
    Delivered,
    Drained,
    Event,
    Killed,
    Opened,
    Receipt,
    Retained,
    Sent,
    Settled,
    Started,
    Subscribed,
)

Kind = Literal[
    "lost",
    "came back",
    "in part",
    "uncommitted",
    "order",
    "unmarked duplicate",
    "ghost",
    "early",
    "receipt",
    "stale",
]

# Clocks of two processes on one machine agree but for this, in seconds.
SLACK = 0.02

Copy = tuple[str, str]


@dataclass(frozen=True)
class Violation:
    """A broken promise."""

    kind: Kind
    text: str
    trail: tuple[str, ...] = ()
    """The events that concern it."""

    def __str__(self) -> str:
        return "\n    ".join((f"{self.kind}: {self.text}", *self.trail))


@dataclass
class _Transaction:
    sends: list[int] = field(default_factory=list)
    settles: list[int] = field(default_factory=list)
    committed: int | None = None


@dataclass
class _Copy:
    """What is known of a message at a place."""

    sends: list[int] = field(default_factory=list)
    deliveries: list[int] = field(default_factory=list)
    settles: list[int] = field(default_factory=list)


def violations(events: list[Event]) -> list[Violation]:
    """Return everything that is certainly wrong in a history, in no particular order."""
    return _Checker(events).run()


class _Checker:
    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self.found: list[Violation] = []
        # Frame that asks for a receipt: where it was asked for, and where the RECEIPT came.
        self.asked: dict[str, int] = {}
        self.answered: dict[str, int] = {}
        # Position of a frame: from when on it is certain that it was carried out and is durable.
        self.confirmed: dict[int, int] = {}
        # Position of a delivery: a position behind which it was certainly written.
        self.horizon: dict[int, int] = {}
        # Session: the count of kills before the life of the broker that it belongs to.
        self.epoch: dict[str, int] = {}
        self.delivery: dict[str, int] = {}
        self.transactions: dict[str, _Transaction] = defaultdict(_Transaction)
        self.copies: dict[Copy, _Copy] = defaultdict(_Copy)
        # Durable subscription: its topic and where it was asked for.
        self.durables: dict[str, list[int]] = defaultdict(list)
        # Place: where sessions that consume automatically have ended.
        self.auto_ends: dict[str, list[int]] = defaultdict(list)
        self.kills: list[int] = []
        self.drained = any(isinstance(event, Drained) for event in events)

    def run(self) -> list[Violation]:
        self._read()
        self._receipts()
        self._confirm()
        self._collect()
        self._ghosts()
        for copy, known in self.copies.items():
            self._lost(copy, known)
            self._came_back(copy, known)
            self._marked(copy, known)
            self._early(copy, known)
        for name, transaction in self.transactions.items():
            self._whole(name, transaction)
        self._order()
        self._retained()
        return self.found

    # -- What happened -------------------------------------------------------------------------

    def _read(self) -> None:
        kills = 0
        epochs: dict[int, int] = {}
        reach: dict[str, int] = {}
        autos: dict[str, set[str]] = defaultdict(set)
        for at, event in enumerate(self.events):
            match event:
                case Started():
                    epochs[event.life] = kills
                case Killed():
                    kills += 1
                    self.kills.append(at)
                case Opened():
                    self.epoch[event.session] = epochs.get(event.life, 0)
                    reach[event.session] = at
                case Closed():
                    for place in autos.pop(event.session, ()):
                        self.auto_ends[place].append(at)
                case Receipt():
                    since = self.asked.get(event.frame)
                    if since is not None:
                        reach[event.session] = max(reach[event.session], since)
                        self.answered.setdefault(event.frame, at)
                case Delivered():
                    self.horizon[at] = reach[event.session]
                    self.delivery[event.delivery] = at
                case Subscribed():
                    if event.topic is not None:
                        self.durables[event.place].append(at)
                    if event.auto:
                        autos[event.session].add(event.place)
                case Sent() | Settled() if event.transaction is not None:
                    part = self.transactions[event.transaction]
                    (part.sends if isinstance(event, Sent) else part.settles).append(at)
                case Committed():
                    self.transactions[event.transaction].committed = at
                case _:
                    pass
            frame = getattr(event, "frame", None)
            if frame is not None and isinstance(
                event, Asked | Subscribed | Sent | Settled | Committed
            ):
                self.asked[frame] = at
        for places in autos.values():
            for place in places:
                self.auto_ends[place].append(len(self.events))

    def _confirm(self) -> None:
        """Find out which frames were certainly carried out, and since when that is known.

        A frame's own RECEIPT says so. That of a persistent SEND, or of a COMMIT with one in it,
        says the same of all earlier frames of its session, since nothing overtakes.
        """
        open_frames: dict[str, list[int]] = defaultdict(list)
        for at, event in enumerate(self.events):
            if isinstance(event, Sent | Settled | Committed | Subscribed):
                open_frames[event.session].append(at)
            elif isinstance(event, Receipt) and event.frame in self.asked:
                asked = self.asked[event.frame]
                self.confirmed.setdefault(asked, at)
                if self._durable(asked):
                    waiting = open_frames[event.session]
                    for earlier in [place for place in waiting if place < asked]:
                        self.confirmed.setdefault(earlier, at)
                    open_frames[event.session] = [place for place in waiting if place > asked]

    def _durable(self, at: int) -> bool:
        event = self.events[at]
        if isinstance(event, Sent):
            return event.persistent and event.transaction is None
        if isinstance(event, Committed):
            sends = self.transactions[event.transaction].sends
            return any(self._sent(send).persistent for send in sends)
        return False

    def _collect(self) -> None:
        """Gather what concerns each copy."""
        by_topic: dict[str, set[str]] = defaultdict(set)
        for place, asked in self.durables.items():
            for at in asked:
                subscribed = self.events[at]
                assert isinstance(subscribed, Subscribed)
                assert subscribed.topic is not None
                by_topic[subscribed.topic].add(place)
        for at, event in enumerate(self.events):
            if isinstance(event, Sent):
                places = by_topic.get(event.destination, set())
                if not event.destination.startswith("/topic/"):
                    places = {event.destination}
                for place in places:
                    self.copies[event.uid, place].sends.append(at)
            elif isinstance(event, Delivered):
                self.copies[event.uid, event.place].deliveries.append(at)
            elif isinstance(event, Settled):
                copies = {
                    (delivered.uid, delivered.place)
                    for delivered in map(self._delivered, event.deliveries)
                }
                for copy in copies:
                    self.copies[copy].settles.append(at)

    def _sent(self, at: int) -> Sent:
        event = self.events[at]
        assert isinstance(event, Sent)
        return event

    def _delivered(self, delivery: str | int) -> Delivered:
        event = self.events[self.delivery[delivery] if isinstance(delivery, str) else delivery]
        assert isinstance(event, Delivered)
        return event

    def _settled(self, at: int) -> Settled:
        event = self.events[at]
        assert isinstance(event, Settled)
        return event

    def _effective(self, at: int) -> int | None:
        """Return the position of the frame that carries out this one; None if there is none."""
        event = self.events[at]
        assert isinstance(event, Sent | Settled)
        if event.transaction is None:
            return at
        return self.transactions[event.transaction].committed

    def _certain(self, at: int) -> int | None:
        """Return since when it is certain that a SEND, ACK or NACK took effect, or None."""
        effective = self._effective(at)
        return None if effective is None else self.confirmed.get(effective)

    def _stored(self, at: int, place: str) -> bool:
        """Tell whether a SEND, once it took effect, certainly has a copy at a place."""
        if place not in self.durables:
            return True
        effective = self._effective(at)
        since = min(
            (self.confirmed[asked] for asked in self.durables[place] if asked in self.confirmed),
            default=None,
        )
        return effective is not None and since is not None and since < effective

    # -- What must not be ----------------------------------------------------------------------

    def _report(self, kind: Kind, text: str, *positions: int) -> None:
        trail = tuple(f"{at}: {self.events[at]}" for at in sorted(set(positions)))
        self.found.append(Violation(kind, text, trail))

    def _receipts(self) -> None:
        """Receipts are for frames that asked, one for each, in their order."""
        last: dict[str, int] = {}
        counted: set[str] = set()
        for at, event in enumerate(self.events):
            if not isinstance(event, Receipt):
                continue
            asked = self.asked.get(event.frame)
            if asked is None or asked > at:
                self._report("receipt", f"{event.frame} was never asked for", at)
                continue
            if event.frame in counted:
                self._report("receipt", f"{event.frame} came twice", asked, at)
            elif asked < last.get(event.session, -1):
                self._report("receipt", f"{event.frame} is out of order", asked, at)
            counted.add(event.frame)
            last[event.session] = max(asked, last.get(event.session, -1))

    def _ghosts(self) -> None:
        """Nothing is delivered that was not sent there, or that was not committed."""
        for (uid, place), known in self.copies.items():
            for at in known.deliveries:
                before = [send for send in known.sends if send < at]
                if not before:
                    self._report("ghost", f"{uid} at {place} was never sent there", at)
                    continue
                effective = [self._effective(send) for send in before]
                if not any(where is not None and where < at for where in effective):
                    self._report("uncommitted", f"{uid} at {place}", *before, at)
                    break

    def _lost(self, copy: Copy, known: _Copy) -> None:
        """What was confirmed is there, until it is settled."""
        uid, place = copy
        if not self.drained or self._may_be_settled(copy, known):
            return
        for at in known.sends:
            since = self._certain(at)
            if since is None or not self._stored(at, place):
                continue
            if not self._sent(at).persistent and self._crashed(self._sent(at)):
                continue
            if self._may_be_wasted(at, place):
                continue
            self._report("lost", f"{uid} at {place}", at, since, *known.deliveries, *known.settles)
            return

    def _may_be_settled(self, copy: Copy, known: _Copy, without: str | None = None) -> bool:
        """Tell whether somebody may have settled a copy; in a transaction but for ``without``."""
        if any(self._delivered(at).auto for at in known.deliveries):
            return True
        for at in known.settles:
            settled = self._settled(at)
            if settled.transaction is not None and settled.transaction == without:
                continue
            if self._effective(at) is None:
                continue
            dead = all(
                self._delivered(name).dead
                for name in settled.deliveries
                if (self._delivered(name).uid, self._delivered(name).place) == copy
            )
            # A dead letter that is rejected is gone for good.
            if settled.verdict == "ack" or (settled.verdict == "dead" and dead):
                return True
        return False

    def _may_be_wasted(self, sent: int, place: str) -> bool:
        """Tell whether it may have been on its way to one who consumes automatically and left."""
        return any(end > sent for end in self.auto_ends[place])

    def _came_back(self, copy: Copy, known: _Copy) -> None:
        """What was settled is delivered to nobody any more."""
        uid, place = copy
        for at in known.settles:
            settled = self._settled(at)
            since = self._certain(at)
            if since is None or settled.verdict == "nack":
                continue
            for again in known.deliveries:
                gone = settled.verdict == "ack" or not self._delivered(again).dead
                if gone and self.horizon[again] > since:
                    text = f"{uid} at {place}, after the receipt for its {settled.verdict}"
                    self._report("came back", text, *known.sends, at, since, again)
                    return
        epochs: dict[int, int] = {}
        for at in known.deliveries:
            delivered = self._delivered(at)
            epoch = self.epoch[delivered.session]
            if epoch in epochs and self.horizon[at] > epochs[epoch]:
                text = f"{uid} at {place}, after it was delivered automatically"
                self._report("came back", text, epochs[epoch], at)
                return
            if delivered.auto:
                epochs.setdefault(epoch, at)

    def _marked(self, copy: Copy, known: _Copy) -> None:
        """What was delivered before says so, unless the broker was killed meanwhile."""
        uid, place = copy
        first: dict[tuple[int, bool], int] = {}
        for at in known.deliveries:
            delivered = self._delivered(at)
            if delivered.redelivered:
                continue
            key = (self.epoch[delivered.session], delivered.dead)
            if key in first:
                self._report("unmarked duplicate", f"{uid} at {place}", first[key], at)
                return
            first[key] = at

    def _early(self, copy: Copy, known: _Copy) -> None:
        """Nothing is delivered before it is due."""
        for at in known.deliveries:
            due = [self._sent(send).due for send in known.sends if send < at]
            if due and self._delivered(at).at < min(due) - SLACK:
                self._report("early", f"{copy[0]} at {copy[1]}", *known.sends, at)
                return

    def _whole(self, name: str, transaction: _Transaction) -> None:
        """Of a transaction without its receipt either everything took effect, or nothing."""
        committed = transaction.committed
        if committed is None or committed in self.confirmed:
            return
        crashed = self._crashed(self.events[committed])
        done: list[int] = []
        undone: list[int] = []
        for at in transaction.sends:
            sent = self._sent(at)
            for place in [place for uid, place in self._copies_of(sent.uid)]:
                copy = (sent.uid, place)
                known = self.copies[copy]
                # What was delivered before a crash may not have been on disk yet.
                kept = [
                    delivery
                    for delivery in known.deliveries
                    if not crashed or self._epoch_of(delivery) > self._epoch_of(committed)
                ]
                if kept:
                    done += [at, kept[0]]
                elif (
                    self.drained
                    and sent.persistent
                    and self._stored(at, place)
                    and not self._may_be_settled(copy, known)
                    and not self._may_be_wasted(at, place)
                ):
                    undone.append(at)
        for at in transaction.settles:
            if self._settled(at).verdict != "ack":
                continue
            for delivery in self._settled(at).deliveries:
                delivered = self._delivered(delivery)
                copy = (delivered.uid, delivered.place)
                known = self.copies[copy]
                again = [
                    place
                    for place in known.deliveries
                    if self.horizon[place] > committed
                    and self._delivered(place).session != delivered.session
                ]
                if again:
                    undone += [at, again[0]]
                elif (
                    self.drained
                    and not self._may_be_settled(copy, known, without=name)
                    and self._was_kept(copy, known)
                ):
                    done.append(at)
        if done and undone:
            self._report("in part", f"transaction {name}", committed, *done, *undone)

    def _crashed(self, event: Event) -> bool:
        """Tell whether the broker that a session spoke to was killed.

        A kill is noted before it is done, so frames of its victim may be noted behind it.
        """
        assert isinstance(event, Committed | Sent)
        return self.epoch[event.session] < len(self.kills)

    def _epoch_of(self, at: int) -> int:
        event = self.events[at]
        assert isinstance(event, Committed | Delivered)
        return self.epoch[event.session]

    def _copies_of(self, uid: str) -> list[Copy]:
        if not hasattr(self, "_by_uid"):
            self._by_uid: dict[str, list[Copy]] = defaultdict(list)
            for copy in self.copies:
                self._by_uid[copy[0]].append(copy)
        return self._by_uid[uid]

    def _was_kept(self, copy: Copy, known: _Copy) -> bool:
        """Tell whether a copy, had nobody settled it, would certainly have come in the end."""
        return any(
            self._certain(at) is not None
            and self._stored(at, copy[1])
            and self._sent(at).persistent
            and not self._may_be_wasted(at, copy[1])
            for at in known.sends
        )

    def _order(self) -> None:
        """What one session sent to one place comes to one subscription in that order."""
        last: dict[tuple[object, ...], tuple[tuple[int, int], int]] = {}
        for at, event in enumerate(self.events):
            if not isinstance(event, Delivered) or event.redelivered or event.dead:
                continue
            sends = self.copies[event.uid, event.place].sends
            if len(sends) != 1:
                continue
            sent = self._sent(sends[0])
            effective = self._effective(sends[0])
            if sent.due or effective is None:
                continue
            key = (event.session, event.subscription, event.place, sent.session, sent.priority)
            turn = (effective, sends[0])
            if key in last and turn < last[key][0]:
                text = f"{event.uid} at {event.place}, after what was sent later"
                self._report("order", text, sends[0], last[key][0][1], last[key][1], at)
            else:
                last[key] = (turn, at)

    def _retained(self) -> None:
        """A new subscription gets the last retained message that was confirmed, or a later one."""
        values: dict[str, list[int]] = defaultdict(list)
        for at, event in enumerate(self.events):
            if isinstance(event, Sent) and event.retained:
                values[event.destination].append(at)
        for at, event in enumerate(self.events):
            if not isinstance(event, Retained):
                continue
            asked = self.asked[event.frame]
            sends = values[event.topic]
            known = [send for send in sends if self.confirmed.get(send, asked) < asked]
            got = [send for send in sends if self._sent(send).uid == event.uid]
            if known and (not got or max(got) < max(known)):
                text = f"{event.uid} is retained by {event.topic}"
                self._report("stale", text, max(known), asked, at)
