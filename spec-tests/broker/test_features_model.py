"""One queue with every feature at once: whatever clients do, the promises of each feature hold.

* nothing is lost: what was sent, not settled and not expired comes to whoever asks in the end;
* nobody gets what his selector does not match, or what is not due, or what is expired;
* nobody who may take a message, and has credit, is left waiting for it;
* an exclusive consumer is the only one who gets something while it lives;
* the unsettled messages of a group are with one subscription;
* to one subscription, what comes for the first time comes in the order of its priority's SENDs;
* the queue's own account is right, to the octet.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from broker.client import Client, Core, Got, settings
from broker.paging import PagedCore
from hypothesis import settings as how_hard
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stompd.broker.policy import Policy
from stompd.broker.takeover import take_over

QUEUE = "/queue/a"
COLOURS = ("red", "blue", "green")
NEVER = float("inf")


@dataclass(eq=False)
class Sent:
    """A message; times are those of the core."""

    number: int
    colour: str
    group: str
    priority: int
    due: float
    expires: float
    holder: "Consumer | None" = None
    settled: bool = False
    seen: bool = False


@dataclass(eq=False)
class Consumer:
    """A client with one subscription."""

    client: Client
    colour: str
    rank: int
    exclusive: bool
    prefetch: int
    unsettled: dict[str, tuple[Got, Sent]] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)

    @property
    def willing(self) -> bool:
        """True if it has credit."""
        return len(self.unsettled) < self.prefetch


class FeaturesMachine(RuleBasedStateMachine):
    """Rules are what clients do and what time does."""

    paged: ClassVar[bool]

    def __init__(self) -> None:
        super().__init__()
        self.core: Core
        self.producer: Client
        self.consumers: list[Consumer] = []
        self.sent: dict[str, Sent] = {}
        # True while the store answers nothing.
        self.lazy = False

    @initialize(
        window=st.sampled_from([1, 3, 6]),
        max_age=st.sampled_from([None, 30.0]),
        delay=st.sampled_from([0.0, 2.0]),
    )
    def start(self, window: int, max_age: float | None, delay: float) -> None:
        """Open a broker."""
        policy = Policy(
            max_age=max_age,
            redelivery_delay=delay,
            redelivery_multiplier=1.0,
            max_deliveries=0,
            window_messages=window,
        )
        self.max_age = NEVER if max_age is None else max_age
        self.delay = delay
        told = settings({QUEUE: policy})
        self.core = PagedCore(told, 2) if self.paged else Core(told)
        self.producer = self.core.client()

    def _look(self) -> None:
        if isinstance(self.core, PagedCore) and not self.lazy:
            self.core.answer_all()
        for consumer in self.consumers:
            for got in consumer.client.messages():
                self._delivered(consumer, got)

    def _delivered(self, consumer: Consumer, got: Got) -> None:
        sent = self.sent[got.text]
        assert not sent.settled, "settled, and delivered again"
        assert sent.holder is None, "delivered to two"
        assert consumer.colour in ("", sent.colour), "not what was selected"
        assert sent.due <= self.core.now, "too early"
        assert sent.expires > self.core.now, "too late"
        assert got.get("redelivered") == ("true" if sent.seen else None)
        if not sent.seen:
            # A priority's order is that of the SENDs, but for what was delayed or another's group.
            if not sent.due and not sent.group:
                assert sent.number > consumer.last.get(sent.priority, 0), "out of order"
                consumer.last[sent.priority] = sent.number
            sent.seen = True
        sent.holder = consumer
        consumer.unsettled[got["ack"]] = (got, sent)
        assert len(consumer.unsettled) <= consumer.prefetch, "over its credit"
        alone = next((other for other in self.consumers if other.exclusive), consumer)
        assert alone is consumer, "served although another one is exclusive"

    @rule(
        colour=st.sampled_from(COLOURS),
        group=st.sampled_from(["", "", "", "g", "h"]),
        priority=st.sampled_from([4, 4, 4, 0, 9]),
        delay=st.sampled_from([0, 0, 0, 1000, 5000]),
        ttl=st.sampled_from([0, 0, 0, 3000, 9000]),
        persistent=st.booleans(),
    )
    def send(
        self, *, colour: str, group: str, priority: int, delay: int, ttl: int, persistent: bool
    ) -> None:
        """SEND, with or without each of the features."""
        number = len(self.sent) + 1
        headers = {"colour": colour}
        if group:
            headers["message_group"] = group
        if priority != 4 or number % 2:
            headers["priority"] = str(priority)
        if delay:
            headers["delay"] = str(delay)
        if ttl:
            headers["ttl"] = str(ttl)
        if persistent:
            headers["persistent"] = "true"
        now = self.core.now
        self.sent[str(number)] = Sent(
            number,
            colour,
            group,
            priority,
            now + delay / 1000 if delay else 0.0,
            # The policy counts from when the message is there to be delivered.
            min(now + ttl / 1000 if ttl else NEVER, NEVER if delay else now + self.max_age),
        )
        self.producer.send(QUEUE, str(number), **headers)
        self._look()

    @rule(count=st.integers(2, 15), seconds=st.integers(1, 9))
    def send_later(self, count: int, seconds: int) -> None:
        """SEND a lot that is not due yet, the last of them first."""
        for number in range(count, 0, -1):
            self.send(
                colour=COLOURS[number % 3],
                group="",
                priority=4 + number % 2,
                delay=1000 * seconds + number % 5,
                ttl=0,
                persistent=number % 3 > 0,
            )

    @rule(lazy=st.booleans())
    def dawdle(self, *, lazy: bool) -> None:
        """Have the store take its time, or no more."""
        # The age of what was delayed begins when it is found to be due.
        self.lazy = lazy and self.max_age == NEVER
        self._look()

    @rule()
    def answer(self) -> None:
        """Have the store answer one question."""
        if isinstance(self.core, PagedCore):
            self.core.answer()
        self._look()

    @rule(keep=st.integers(0, 3))
    def shrink(self, keep: int) -> None:
        """Leave what waits to the store."""
        queue = self.core.broker.host("/").queues.get(QUEUE)
        if queue is not None:
            take_over(queue, keep)
            queue.dispatch()
            self.core.run()
            self._look()

    @rule(
        colour=st.sampled_from(["", "", "red", "blue"]),
        rank=st.sampled_from([0, 0, 5]),
        exclusive=st.sampled_from([False, False, False, True]),
        prefetch=st.sampled_from([1, 2, 10]),
    )
    def subscribe(self, *, colour: str, rank: int, exclusive: bool, prefetch: int) -> None:
        """Subscribe, as one of at most four."""
        if len(self.consumers) == 4:
            return
        client = self.core.client()
        consumer = Consumer(client, colour, rank, exclusive, prefetch)
        self.consumers.append(consumer)
        headers = {"prefetch-count": str(prefetch)}
        if colour:
            headers["selector"] = f"colour = '{colour}'"
        if rank:
            headers["consumer-priority"] = str(rank)
        if exclusive:
            headers["exclusive"] = "true"
        client.subscribe(QUEUE, "client-individual", **headers)
        self._look()

    @rule(which=st.integers(0, 3), one=st.integers(0, 9), refuse=st.booleans())
    def settle(self, which: int, one: int, *, refuse: bool) -> None:
        """ACK or NACK one of the messages of a consumer."""
        holders = [consumer for consumer in self.consumers if consumer.unsettled]
        if not holders:
            return
        consumer = holders[which % len(holders)]
        value = list(consumer.unsettled)[one % len(consumer.unsettled)]
        got, sent = consumer.unsettled.pop(value)
        sent.holder = None
        if refuse:
            if self.delay:
                sent.due = self.core.now + self.delay
            consumer.client.nack(got)
        else:
            sent.settled = True
            consumer.client.ack(got)
        self._look()

    @rule(which=st.integers(0, 3), politely=st.booleans())
    def leave(self, which: int, *, politely: bool) -> None:
        """Break a consumer's connection, or UNSUBSCRIBE."""
        if not self.consumers:
            return
        consumer = self.consumers.pop(which % len(self.consumers))
        for _, sent in consumer.unsettled.values():
            sent.holder = None
        if politely:
            consumer.client("UNSUBSCRIBE", id="0")
        else:
            consumer.client.close()
        self._look()

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0, 20.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        before = self.core.now
        self.core.tick(seconds)
        for sent in self.sent.values():
            # The age of what was delayed begins when it is due.
            if before < sent.due <= self.core.now and not sent.seen:
                sent.expires = min(sent.expires, self.core.now + self.max_age)
        self._look()

    @rule()
    def pause_and_resume(self) -> None:
        """What an administrator may do loses nothing."""
        queue = self.core.broker.host("/").queues.get(QUEUE)
        if queue is not None:
            queue.pause()
            self.core.run()
            queue.resume()
            self.core.run()
            self._look()

    @invariant()
    def as_promised(self) -> None:
        """Nobody waits in vain, groups are together, the account is right."""
        if not hasattr(self, "core"):
            return
        queue = self.core.broker.host("/").queues.get(QUEUE)
        if queue is None:
            return
        now = self.core.now
        held: dict[str, set[int]] = {}
        for consumer in self.consumers:
            for _, sent in consumer.unsettled.values():
                if sent.group:
                    held.setdefault(sent.group, set()).add(id(consumer))
        assert all(len(holders) == 1 for holders in held.values()), "a group is with two"
        owners = {} if queue.assignment is None else queue.assignment.groups
        alone = [consumer for consumer in self.consumers if consumer.exclusive][:1]
        for message in queue.waiting():
            sent = self.sent[message.body.decode()]
            assert sent.holder is None
            for consumer in alone or self.consumers:
                (subscription,) = consumer.client.session.subscriptions.values()
                free = not sent.group or owners.get(sent.group) in (None, subscription)
                assert self.lazy or not (
                    consumer.willing
                    and free
                    and consumer.colour in ("", sent.colour)
                    and sent.expires > now
                ), f"{message.body!r} waits although somebody could take it"
        assert queue.unsettled == sum(sent.holder is not None for sent in self.sent.values())
        if self.lazy:
            return
        waiting = [
            sent
            for sent in self.sent.values()
            if not sent.settled and sent.holder is None and sent.expires > now
        ]
        # What expires in the store is found out by and by.
        assert 0 <= queue.depth - sum(sent.due <= now for sent in waiting) <= queue.tail
        # What expires before it is due is found out when it is due.
        assert len(queue.delayed) >= sum(sent.due > now for sent in waiting)

    def teardown(self) -> None:
        """In the end everybody leaves, and the last one gets all that is left."""
        if not hasattr(self, "core"):
            return
        self.lazy = False
        while self.consumers:
            self.leave(0, politely=False)
        self.wait(10.0)
        last = self.core.client()
        last.subscribe(QUEUE, "client", prefetch_count="0", prefetch_bytes="0")
        if isinstance(self.core, PagedCore):
            self.core.answer_all()
        now = self.core.now
        messages = last.messages()
        got = [message.text for message in messages]
        left = {str(s.number) for s in self.sent.values() if not s.settled and s.expires > now}
        assert len(got) == len(left)
        assert set(got) == left
        places = [(-self.sent[body].priority, self.sent[body].number) for body in got]
        if not self.delay:
            assert places == sorted(places)
        if messages:
            last.ack(messages[-1])
        queue = self.core.broker.host("/").queues[QUEUE]
        assert (queue.count, queue.octets, queue.unsettled) == (0, 0, 0), queue
        if isinstance(self.core, PagedCore):
            assert self.core.paging.count == 0


class MemoryMachine(FeaturesMachine):
    """Over the store that keeps nothing."""

    paged = False


class PagingMachine(FeaturesMachine):
    """Over a store that keeps what does not fit into the window."""

    paged = True


_BOUNDED = how_hard(how_hard.default, stateful_step_count=40)

TestOverTheMemoryStore = MemoryMachine.TestCase
TestOverTheMemoryStore.settings = _BOUNDED
TestOverAPagingStore = PagingMachine.TestCase
TestOverAPagingStore.settings = _BOUNDED
