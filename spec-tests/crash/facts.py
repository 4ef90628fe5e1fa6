"""What a history tells for certain: the ground that the rules of `crash.checker` stand on."""

from collections import defaultdict
from dataclasses import dataclass, field

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
    Refused,
    Ruled,
    Sent,
    Settled,
    Started,
    Subscribed,
)
from crash.violation import Kind, Violation

Copy = tuple[str, str]

# The ERROR that says that a SEND, or a transaction, was not carried out.
FULL = "queue is full"


def matches(pattern: str, topic: str) -> bool:
    """Tell whether a topic is one of a pattern: ``*`` is one word, ``#`` any number of them."""
    return _match(pattern.split("."), topic.split("."))


def _match(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_match(pattern[1:], words[n:]) for n in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _match(pattern[1:], words[1:])


@dataclass
class TransactionFacts:
    """What is known of a transaction: positions."""

    sends: list[int] = field(default_factory=list)
    settles: list[int] = field(default_factory=list)
    committed: int | None = None


@dataclass
class CopyFacts:
    """What is known of a message at a place."""

    sends: list[int] = field(default_factory=list)
    deliveries: list[int] = field(default_factory=list)
    settles: list[int] = field(default_factory=list)


class Facts:
    """What happened to which copy, and since when that is certain; positions are of `events`."""

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
        self.transactions: dict[str, TransactionFacts] = defaultdict(TransactionFacts)
        self.copies: dict[Copy, CopyFacts] = defaultdict(CopyFacts)
        # What is configured for a place.
        self.rules: dict[str, Ruled] = {}
        # Frame: where an ERROR said that it was not carried out for lack of room.
        self.refused: dict[str, int] = {}
        # Session: the last frame of its that has an answer; it was alive when it wrote that one.
        self.lived: dict[str, int] = {}
        self.opened: dict[str, Opened] = {}
        # Session and subscription: what it asked for.
        self.subscribed: dict[tuple[str, str], Subscribed] = {}
        # Durable subscription: its topic and where it was asked for.
        self.durables: dict[str, list[int]] = defaultdict(list)
        # Place: where sessions that consume automatically have ended.
        self.auto_ends: dict[str, list[int]] = defaultdict(list)
        self.kills: list[int] = []
        self.drained = any(isinstance(event, Drained) for event in events)
        self._by_uid: dict[str, list[Copy]] = defaultdict(list)
        self._read()
        self._confirm()
        self._collect()

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
                case Ruled():
                    self.rules[event.place] = event
                case Opened():
                    self.opened[event.session] = event
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
                        self.lived[event.session] = reach[event.session]
                case Refused():
                    if event.frame is not None and event.message == FULL:
                        self.refused[event.frame] = at
                case Delivered():
                    self.horizon[at] = reach[event.session]
                    self.delivery[event.delivery] = at
                case Subscribed():
                    self.subscribed[event.session, event.subscription] = event
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
            return any(self.sent(send).persistent for send in sends)
        return False

    def _collect(self) -> None:
        """Gather what concerns each copy."""
        kept = []
        for place, asked in self.durables.items():
            subscribed = self.events[asked[0]]
            assert isinstance(subscribed, Subscribed)
            assert subscribed.topic is not None
            kept.append((place, subscribed.topic, subscribed.wants))
        for at, event in enumerate(self.events):
            if isinstance(event, Sent):
                places = [event.destination]
                if event.destination.startswith("/topic/"):
                    places = [
                        place
                        for place, topic, wants in kept
                        if matches(topic, event.destination) and wants in (None, event.colour)
                    ]
                for place in places:
                    self.copies[event.uid, place].sends.append(at)
            elif isinstance(event, Delivered):
                self.copies[event.uid, event.place].deliveries.append(at)
            elif isinstance(event, Settled):
                copies = {
                    (delivered.uid, delivered.place)
                    for delivered in map(self.delivered, event.deliveries)
                }
                for copy in copies:
                    self.copies[copy].settles.append(at)
        for copy in self.copies:
            self._by_uid[copy[0]].append(copy)

    # -- What follows from it ------------------------------------------------------------------

    def sent(self, at: int) -> Sent:
        """Return the SEND at a position."""
        event = self.events[at]
        assert isinstance(event, Sent)
        return event

    def delivered(self, delivery: str | int) -> Delivered:
        """Return the MESSAGE at a position, or of this name."""
        event = self.events[self.delivery[delivery] if isinstance(delivery, str) else delivery]
        assert isinstance(event, Delivered)
        return event

    def settled(self, at: int) -> Settled:
        """Return the ACK or NACK at a position."""
        event = self.events[at]
        assert isinstance(event, Settled)
        return event

    def effective(self, at: int) -> int | None:
        """Return the position of the frame that carries out this one; None if there is none."""
        carrier = self.carrier(at)
        return None if carrier is None or self.is_refused(carrier) else carrier

    def carrier(self, at: int) -> int | None:
        """Return the position of the frame itself or of its COMMIT, if there is one."""
        event = self.events[at]
        assert isinstance(event, Sent | Settled)
        if event.transaction is None:
            return at
        return self.transactions[event.transaction].committed

    def is_refused(self, at: int) -> bool:
        """Tell whether there was an ERROR that says that a frame was not carried out."""
        frame = getattr(self.events[at], "frame", None)
        return frame in self.refused

    def is_repeated(self, known: CopyFacts) -> bool:
        """Tell whether there may be several occurrences of a message."""
        return any(self.sent(at).times != 1 for at in known.sends)

    def holds(self, held: int, at: int) -> bool:
        """Tell whether a delivery was certainly neither settled nor given up at a position.

        Its session asked for something behind that, and got it.
        """
        delivered = self.delivered(held)
        if self.lived.get(delivered.session, -1) <= at:
            return False
        known = self.copies[delivered.uid, delivered.place]
        return not any(
            settle < at and delivered.delivery in self.settled(settle).deliveries
            for settle in known.settles
        )

    def certain(self, at: int) -> int | None:
        """Return since when it is certain that a SEND, ACK or NACK took effect, or None."""
        effective = self.effective(at)
        return None if effective is None else self.confirmed.get(effective)

    def stored(self, at: int, place: str) -> bool:
        """Tell whether a SEND, once it took effect, certainly has a copy at a place."""
        if place not in self.durables:
            return True
        # With a dedup-id it is the first one that counts, be it that it had no answer.
        at = min(self.copies[self.sent(at).uid, place].sends, default=at)
        effective = self.effective(at)
        since = min(
            (self.confirmed[asked] for asked in self.durables[place] if asked in self.confirmed),
            default=None,
        )
        return effective is not None and since is not None and since < effective

    def may_be_settled(self, copy: Copy, known: CopyFacts, without: str | None = None) -> bool:
        """Tell whether somebody may have settled a copy; in a transaction but for ``without``."""
        if any(self.delivered(at).auto for at in known.deliveries):
            return True
        for at in known.settles:
            settled = self.settled(at)
            if settled.transaction is not None and settled.transaction == without:
                continue
            if self.effective(at) is None:
                continue
            dead = all(
                self.delivered(name).dead
                for name in settled.deliveries
                if (self.delivered(name).uid, self.delivered(name).place) == copy
            )
            # A dead letter that is rejected is gone for good.
            if settled.verdict == "ack" or (settled.verdict == "dead" and dead):
                return True
        return False

    def may_be_wasted(self, sent: int, place: str) -> bool:
        """Tell whether it may have been on its way to one who consumes automatically and left."""
        return any(end > sent for end in self.auto_ends[place])

    def crashed(self, event: Event) -> bool:
        """Tell whether the broker that a session spoke to was killed.

        A kill is noted before it is done, so frames of its victim may be noted behind it.
        """
        assert isinstance(event, Committed | Sent)
        return self.epoch[event.session] < len(self.kills)

    def epoch_of(self, at: int) -> int:
        """Return how many kills there were before the life of the broker that it belongs to."""
        event = self.events[at]
        assert isinstance(event, Committed | Delivered)
        return self.epoch[event.session]

    def copies_of(self, uid: str) -> list[Copy]:
        """Return the copies of a message at all places."""
        return self._by_uid[uid]

    def was_kept(self, copy: Copy, known: CopyFacts) -> bool:
        """Tell whether a copy, had nobody settled it, would certainly have come in the end."""
        return any(
            self.certain(at) is not None
            and self.stored(at, copy[1])
            and self.sent(at).persistent
            and not self.may_be_wasted(at, copy[1])
            for at in known.sends
        )

    def report(self, kind: Kind, text: str, *positions: int) -> None:
        """Note a broken promise, with the events that prove it."""
        trail = tuple(f"{at}: {self.events[at]}" for at in sorted(set(positions)))
        self.found.append(Violation(kind, text, trail))
