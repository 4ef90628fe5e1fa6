"""The core against a naive model: several sessions do whatever they like, in any order.

What has to hold, whatever they do:

* nothing is lost: what was sent to a queue and not settled comes to whoever asks in the end;
* nothing comes twice, unless it says ``redelivered``, and nothing settled comes again;
* messages that come for the first time come to each subscription in the order of their SENDs;
* a transaction is done as a whole at COMMIT, or not at all;
* no subscription holds more than its credit, and none that could take a message is forgotten;
* every receipt comes once, in the order of the frames;
* a topic's subscribers get exactly what was published while they were subscribed.

The model knows about delivery only what clients see. It runs over the memory store and over a store
that pages, answers late and confirms late.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from broker.client import Client, Core, Got, settings
from broker.paging import PagedCore
from hypothesis import settings as how_hard
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from stompd.broker import admin
from stompd.broker.policy import Policy

QUEUES = ("/queue/a", "/queue/b", "/queue/c.d")
TOPIC = "/topic/t"
# What SUBSCRIBE may name, and which destinations it means.
SUBSCRIBED = {
    "/queue/a": ("/queue/a",),
    "/queue/b": ("/queue/b",),
    "/queue/*": ("/queue/a", "/queue/b"),
    "/queue/c.#": ("/queue/c.d",),
    "/queue/DLQ.a": ("/queue/DLQ.a",),
    "/topic/t": (TOPIC,),
    "/topic/*": (TOPIC,),
}
MAX_DELIVERIES = 3


@dataclass(eq=False)
class Sent:
    """A message of a queue."""

    body: str
    queue: str
    place: int
    dead: bool = False
    seen: bool = False
    failures: int = 0
    # Who holds it now; a message that nobody holds and that is not settled waits.
    holder: "Subscribed | None" = None
    settled: bool = False


@dataclass(eq=False)
class Subscribed:
    """A subscription of a client."""

    id: str
    destinations: tuple[str, ...]
    ack: str
    prefetch: int
    # Delivered, by the value that acknowledges, oldest first; and what transactions have of it.
    unsettled: dict[str, tuple[Got, Sent]] = field(default_factory=dict)
    enlisted: dict[str, tuple[Got, Sent]] = field(default_factory=dict)
    # The last message that came for the first time, by queue.
    last: dict[str, int] = field(default_factory=dict)
    # What a topic still owes it.
    owed: list[str] = field(default_factory=list)

    @property
    def willing(self) -> bool:
        """True if it can take one message more."""
        return self.ack == "auto" or not self.prefetch or len(self.unsettled) < self.prefetch


@dataclass(eq=False)
class Begun:
    """An open transaction."""

    sends: list[tuple[str, str]] = field(default_factory=list)
    # Subscription, value, whether it is a NACK, whether that is final.
    settlements: list[tuple[Subscribed, str, bool, bool]] = field(default_factory=list)


@dataclass(eq=False)
class Peer:
    """A client and what it knows."""

    client: Client
    subscriptions: dict[str, Subscribed] = field(default_factory=dict)
    transactions: dict[str, Begun] = field(default_factory=dict)
    # Receipts that were asked for and did not come yet.
    owed: list[str] = field(default_factory=list)


class CoreMachine(RuleBasedStateMachine):
    """Rules are what clients do; invariants are the sentences above."""

    paged: ClassVar[bool]

    def __init__(self) -> None:
        super().__init__()
        self.core: Core
        self.peers: list[Peer] = []
        self.queues: dict[str, list[Sent]] = {}
        self.counter = 0
        self.topics = True

    @initialize(
        window=st.sampled_from([1, 2, 5]),
        most=st.sampled_from([1, 2, 100]),
        high=st.sampled_from([100, 400, 1_000_000]),
    )
    def start(self, window: int, most: int, high: int) -> None:
        """Open a broker with a small window, perhaps small outboxes, and few attempts."""
        told = settings(
            {"/queue/b": Policy(dead_letter=None, max_deliveries=0, window_messages=window)},
            window_messages=window,
            max_deliveries=MAX_DELIVERIES,
            outbox_high=high,
        )
        # Publishers of a topic are paused by small outboxes, and the model knows no pauses.
        self.topics = high == 1_000_000
        self.core = PagedCore(told, most) if self.paged else Core(told)
        for _ in range(2):
            self.peers.append(Peer(self.core.client()))

    # What the model does on its own.

    def _next(self) -> str:
        self.counter += 1
        return str(self.counter)

    def _peer(self, number: int) -> Peer:
        return self.peers[number % len(self.peers)]

    def _receipt(self, peer: Peer, asked: bool) -> dict[str, str]:  # noqa: FBT001
        if not asked:
            return {}
        receipt = f"r{self._next()}"
        peer.owed.append(receipt)
        return {"receipt": receipt}

    def _put(self, destination: str, body: str, *, dead: bool = False) -> None:
        if destination == TOPIC:
            for peer in self.peers:
                for subscribed in peer.subscriptions.values():
                    if TOPIC in subscribed.destinations:
                        subscribed.owed.append(body)
            return
        queue = self.queues.setdefault(destination, [])
        queue.append(Sent(body, destination, len(queue), dead))

    def _failed(self, sent: Sent, *, final: bool) -> None:
        """A NACK, or the end of a consumer that was working on it."""
        sent.failures += 1
        sent.holder = None
        if sent.dead:
            # A dead letter has no dead letters: it stays, or is gone.
            sent.settled = final
            return
        if final or (sent.queue != "/queue/b" and sent.failures >= MAX_DELIVERIES):
            sent.settled = True
            if sent.queue != "/queue/b":
                self._put(sent.queue.replace("/queue/", "/queue/DLQ."), sent.body, dead=True)

    def _cover(self, subscribed: Subscribed, value: str) -> list[str]:
        """What an ACK or NACK of ``value`` covers now."""
        if value not in subscribed.unsettled:
            return []
        if subscribed.ack == "client-individual":
            return [value]
        values = list(subscribed.unsettled)
        return values[: values.index(value) + 1]

    def _undo(self, begun: Begun) -> None:
        for subscribed, value, *_ in begun.settlements:
            subscribed.unsettled[value] = subscribed.enlisted.pop(value)
        for subscribed in {settlement[0] for settlement in begun.settlements}:
            subscribed.unsettled = dict(
                sorted(
                    subscribed.unsettled.items(), key=lambda item: int(item[0].partition("-")[2])
                )
            )

    def _unsubscribed(self, subscribed: Subscribed, *, blame: bool) -> None:
        held = [sent for _, sent in subscribed.unsettled.values()]
        subscribed.unsettled.clear()
        for sent in held:
            sent.holder = None
        if blame and held:
            self._failed(held[0], final=False)

    def _left(self, peer: Peer, *, blame: bool) -> None:
        for begun in peer.transactions.values():
            self._undo(begun)
        for subscribed in peer.subscriptions.values():
            self._unsubscribed(subscribed, blame=blame)
        self.peers.remove(peer)

    def _read(self, peer: Peer) -> None:
        if not peer.client.reading:
            peer.client.read_again()
        self._look()

    def _look(self) -> None:
        """Compare what clients got with what they should."""
        for peer in self.peers:
            for frame in peer.client.take():
                if frame.command == "RECEIPT":
                    assert peer.owed, frame
                    assert frame["receipt-id"] == peer.owed.pop(0), "receipts out of order"
                else:
                    assert frame.command == "MESSAGE", frame
                    self._got(peer.subscriptions[frame["subscription"]], frame)

    def _got(self, subscribed: Subscribed, frame: Got) -> None:
        destination = frame["destination"]
        assert destination in subscribed.destinations
        if destination == TOPIC:
            assert subscribed.owed, "not published while it was subscribed"
            assert frame.text == subscribed.owed.pop(0)
            return
        assert subscribed.willing, "more than its credit"
        sent = next(sent for sent in self.queues[destination] if sent.body == frame.text)
        assert not sent.settled, "settled, and comes again"
        assert sent.holder is None, "comes while somebody holds it"
        if sent.seen:
            assert frame["redelivered"] == "true"
        elif frame.get("redelivered") is None:
            assert subscribed.last.get(destination, -1) < sent.place, "out of order"
            subscribed.last[destination] = sent.place
        sent.seen = True
        if not sent.dead and (sent.failures or "redelivered" in frame.headers):
            assert frame["delivery-count"] == str(sent.failures + 1)
        if subscribed.ack == "auto":
            sent.settled = True
            return
        sent.holder = subscribed
        subscribed.unsettled[frame["ack"]] = (frame, sent)

    # What clients do.

    @precondition(lambda self: len(self.peers) < 4)
    @rule()
    def connect(self) -> None:
        """One client more."""
        self.peers.append(Peer(self.core.client()))

    @rule(
        number=st.integers(0, 3),
        destination=st.sampled_from([*QUEUES, "/queue/a", TOPIC]),
        count=st.integers(1, 4),
        persistent=st.booleans(),
        asked=st.booleans(),
        transacted=st.booleans(),
    )
    def send(
        self,
        number: int,
        destination: str,
        count: int,
        *,
        persistent: bool,
        asked: bool,
        transacted: bool,
    ) -> None:
        """A few SENDs, in a transaction if one is open."""
        peer = self._peer(number)
        if destination == TOPIC and not self.topics:
            return
        for _ in range(count):
            body = self._next()
            headers = self._receipt(peer, asked)
            if persistent:
                headers["persistent"] = "true"
            if transacted and peer.transactions:
                name = next(iter(peer.transactions))
                headers["transaction"] = name
                peer.transactions[name].sends.append((destination, body))
            else:
                self._put(destination, body)
            peer.client.send(destination, body, **headers)

    @rule(
        number=st.integers(0, 3),
        destination=st.sampled_from(list(SUBSCRIBED)),
        ack=st.sampled_from(["auto", "client", "client-individual", "client"]),
        prefetch=st.sampled_from([0, 1, 2, 5]),
        asked=st.booleans(),
    )
    def subscribe(
        self, number: int, destination: str, ack: str, prefetch: int, *, asked: bool
    ) -> None:
        """SUBSCRIBE to a queue, a topic, or several by wildcard."""
        peer = self._peer(number)
        name = f"s{self._next()}"
        peer.subscriptions[name] = Subscribed(name, SUBSCRIBED[destination], ack, prefetch)
        peer.client.subscribe(
            destination,
            ack,
            id=name,
            prefetch_count=str(prefetch),
            prefetch_bytes="0",
            **self._receipt(peer, asked),
        )

    @rule(number=st.integers(0, 3), which=st.integers(0, 9), asked=st.booleans())
    def unsubscribe(self, number: int, which: int, *, asked: bool) -> None:
        """UNSUBSCRIBE; what it held goes back."""
        peer = self._peer(number)
        self._read(peer)
        if not peer.subscriptions:
            return
        # With an ended subscription's settlements a transaction goes on, but the model keeps to
        # those that are easy to follow.
        names = [name for name, subscribed in peer.subscriptions.items() if not subscribed.enlisted]
        if names:
            subscribed = peer.subscriptions.pop(names[which % len(names)])
            self._unsubscribed(subscribed, blame=False)
            peer.client("UNSUBSCRIBE", id=subscribed.id, **self._receipt(peer, asked))

    @rule(
        number=st.integers(0, 3),
        which=st.integers(0, 20),
        kind=st.sampled_from(["ACK", "ACK", "NACK", "final"]),
        asked=st.booleans(),
        transacted=st.booleans(),
        repeated=st.booleans(),
    )
    def settle(
        self,
        number: int,
        which: int,
        kind: str,
        *,
        asked: bool,
        transacted: bool,
        repeated: bool,
    ) -> None:
        """ACK or NACK something that is outstanding, perhaps twice."""
        peer = self._peer(number)
        self._read(peer)
        held = [
            (subscribed, value)
            for subscribed in peer.subscriptions.values()
            for value in subscribed.unsettled
        ]
        if not held:
            return
        subscribed, value = held[which % len(held)]
        message = subscribed.unsettled[value][0]
        headers = {"requeue": "false"} if kind == "final" else {}
        command = "NACK" if kind == "final" else kind
        covered = self._cover(subscribed, value)
        if transacted and peer.transactions:
            name = list(peer.transactions)[-1]
            headers["transaction"] = name
            for other in covered:
                subscribed.enlisted[other] = subscribed.unsettled.pop(other)
                peer.transactions[name].settlements.append(
                    (subscribed, other, command == "NACK", kind == "final")
                )
        else:
            self._settled(
                [(*subscribed.unsettled.pop(other), command, kind == "final") for other in covered]
            )
        peer.client.ack(message, command, **headers, **self._receipt(peer, asked))
        if repeated:
            peer.client.ack(message, **self._receipt(peer, asked))

    def _settled(self, settlements: list[tuple[Got, Sent, str, bool]]) -> None:
        for _, sent, command, final in settlements:
            if command == "NACK":
                self._failed(sent, final=final)
            else:
                sent.holder = None
                sent.settled = True

    @rule(number=st.integers(0, 3), asked=st.booleans())
    def begin(self, number: int, *, asked: bool) -> None:
        """BEGIN one of at most two transactions."""
        peer = self._peer(number)
        if len(peer.transactions) < 2:
            name = f"t{self._next()}"
            peer.transactions[name] = Begun()
            peer.client("BEGIN", transaction=name, **self._receipt(peer, asked))

    @rule(number=st.integers(0, 3), asked=st.booleans(), commit=st.booleans())
    def end_transaction(self, number: int, *, asked: bool, commit: bool) -> None:
        """COMMIT or ABORT."""
        peer = self._peer(number)
        self._read(peer)
        if not peer.transactions:
            return
        name = next(iter(peer.transactions))
        begun = peer.transactions.pop(name)
        if commit:
            self._settled(
                [
                    (*subscribed.enlisted.pop(value), "NACK" if nack else "ACK", final)
                    for subscribed, value, nack, final in begun.settlements
                ]
            )
            for destination, body in begun.sends:
                self._put(destination, body)
        else:
            self._undo(begun)
        peer.client("COMMIT" if commit else "ABORT", transaction=name, **self._receipt(peer, asked))

    @precondition(lambda self: len(self.peers) > 1)
    @rule(number=st.integers(0, 3), way=st.sampled_from(["close", "DISCONNECT", "fault"]))
    def leave(self, number: int, way: str) -> None:
        """Break the connection, or end it in good order."""
        peer = self._peer(number)
        self._read(peer)
        self._left(peer, blame=way != "DISCONNECT")
        if way == "close":
            peer.client.close()
        elif way == "DISCONNECT":
            peer.client("DISCONNECT", receipt="bye")
            self._confirm_all()
            assert peer.client.receipts() == [*peer.owed, "bye"]
        else:
            peer.client("COMMIT", transaction="never begun")
            assert [frame.command for frame in peer.client.take()] == ["ERROR"]

    @rule(number=st.integers(0, 3))
    def stop_reading(self, number: int) -> None:
        """Leave octets in the outbox for a while."""
        self._peer(number).client.reading = False

    @rule(number=st.integers(0, 3))
    def read_again(self, number: int) -> None:
        """Take what was left."""
        self._read(self._peer(number))

    # What the store does.

    def _confirm_all(self) -> None:
        if isinstance(self.core, PagedCore):
            self.core.durable()

    @precondition(lambda self: self.paged)
    @rule()
    def answer(self) -> None:
        """Answer one fetch."""
        assert isinstance(self.core, PagedCore)
        self.core.answer()

    @precondition(lambda self: self.paged)
    @rule()
    def confirm(self) -> None:
        """Make everything durable so far."""
        self._confirm_all()

    # What has to hold.

    @invariant()
    def as_promised(self) -> None:
        """What came was due, and nobody waits in vain."""
        if not hasattr(self, "core"):
            return
        self._look()
        readers = [peer for peer in self.peers if peer.client.reading]
        for peer in readers:
            if not self.paged:
                assert not peer.owed, "a receipt is missing"
            for subscribed in peer.subscriptions.values():
                assert not subscribed.owed, "a topic's message is missing"
        if len(readers) == len(self.peers):
            counted = {
                row["name"]: (row["ready"], row["inflight"])
                for row in admin.queues(self.core.broker)
            }
            for name, messages in self.queues.items():
                left = [sent.holder is None for sent in messages if not sent.settled]
                assert counted[name] == (left.count(True), left.count(False))
        fetching = (
            {fetch.queue[1] for fetch in self.core.paging.asked}
            if isinstance(self.core, PagedCore)
            else set()
        )
        for name, queue in self.core.broker.host("/").queues.items():
            if queue.depth and name not in fetching:
                assert not any(
                    name in subscribed.destinations and subscribed.willing
                    for peer in readers
                    for subscribed in peer.subscriptions.values()
                ), f"{queue} waits although somebody could take it"

    def teardown(self) -> None:
        """In the end everybody leaves, and the last one gets all that was not settled."""
        if not hasattr(self, "core"):
            return
        for peer in list(self.peers):
            self._read(peer)
        self._confirm_all()
        self._look()
        for peer in list(self.peers):
            assert not peer.owed, "a receipt is missing"
            self._left(peer, blame=True)
            peer.client.close()
            self._look()
        last = self.core.client()
        last.subscribe("/queue/#", "client-individual", prefetch_count="0", prefetch_bytes="0")
        if isinstance(self.core, PagedCore):
            self.core.answer_all()
        messages = last.messages()
        got: dict[str, list[str]] = {}
        for message in messages:
            got.setdefault(message["destination"], []).append(message.text)
        expected = {
            name: [sent.body for sent in queue if not sent.settled]
            for name, queue in self.queues.items()
        }
        assert got == {name: bodies for name, bodies in expected.items() if bodies}
        for message in messages:
            last.ack(message)
        for queue in self.core.broker.host("/").queues.values():
            assert (queue.depth, queue.unsettled, queue.octets) == (0, 0, 0), queue
        if isinstance(self.core, PagedCore):
            assert self.core.paging.count == 0
        assert not last.session.busy


class MemoryMachine(CoreMachine):
    """Over the store that keeps nothing."""

    paged = False


class PagingMachine(CoreMachine):
    """Over a store that keeps what does not fit into the window."""

    paged = True


_BOUNDED = how_hard(how_hard.default, stateful_step_count=40)

TestOverTheMemoryStore = MemoryMachine.TestCase
TestOverTheMemoryStore.settings = _BOUNDED
TestOverAPagingStore = PagingMachine.TestCase
TestOverAPagingStore.settings = _BOUNDED
