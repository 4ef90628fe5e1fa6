"""Several destinations with every feature that moves messages: none is lost, and none is doubled.

Clients SEND to a bounded queue with a route, and to a topic with a durable subscription; consumers
ACK and NACK, in transactions and without; an administrator pauses, purges and moves; time passes.

* what was confirmed is there until it was settled or purged: as often as it was sent and copied;
* what was refused, aborted, or not carried out is nowhere;
* the account of every queue, and the credit of every subscription, is right to the octet;
* a queue keeps to its limit, and who waits for room is known on both sides;
* a browser that follows sees every message that comes to its queue, once.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar

from broker.client import Client, Core, Got, settings
from broker.paging import PagedCore
from hypothesis import settings as how_hard
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stompd.broker.admin.errand import Reply
from stompd.broker.admin.request import Caller
from stompd.broker.admin.verbs import carry_out
from stompd.broker.message import Message
from stompd.broker.policy import Policy
from stompd.broker.principal import Principal
from stompd.broker.queue import Queue
from stompd.broker.route import Route
from stompd.broker.walk import flying

IN = "/queue/in"
COPY = "/queue/copy"
MOVED = "/queue/moved"
DEAD = "/queue/DLQ.in"
TOPIC = "/topic/t"
MOST = 3
ROUTE = Route("copy", IN, (COPY,), "copy = 'yes'")
SETTLED: dict[str, dict[str, str]] = {
    "ack": {},
    "again": {},
    "dead": {"requeue": "false"},
    "later": {"delay": "2000"},
}


@dataclass(eq=False)
class Peer:
    """A client, what it holds, and what it has asked for and is not confirmed."""

    client: Client
    number: int
    held: dict[str, Got] = field(default_factory=dict)
    # By receipt: what a confirmed frame changes in the number of live messages, by body.
    asked: dict[str, Counter[str]] = field(default_factory=dict)
    # The same of an open transaction; None if there is none.
    open: Counter[str] | None = None
    follower: bool = False
    seen: Counter[str] = field(default_factory=Counter)


class ConservationMachine(RuleBasedStateMachine):
    """Rules are what clients, the administrator and time do."""

    paged: ClassVar[bool]

    def __init__(self) -> None:
        super().__init__()
        self.core: Core
        self.peers: list[Peer] = []
        # How many of each body there have to be.
        self.live: Counter[str] = Counter()
        # What came to the bounded queue, by whatever way.
        self.number = 0

    @initialize(
        overflow=st.sampled_from(["block", "reject", "drop-head", "none"]),
        delay=st.sampled_from([0.0, 1.0]),
    )
    def start(self, overflow: str, delay: float) -> None:
        """Open a broker with a durable subscription."""
        common: dict[str, Any] = {
            "max_deliveries": 2,
            "expired": "dead-letter",
            "redelivery_delay": delay,
            "window_messages": 2,
        }
        bounded: dict[str, Any] = {"max_messages": MOST, "overflow": overflow}
        self.overflow = overflow
        policy = Policy(**common, **(bounded if overflow != "none" else {}))
        told = settings({IN: policy}, routes=(ROUTE,), **common)
        self.core = PagedCore(told, 2) if self.paged else Core(told)
        self.host = self.core.broker.host("/")
        durable = self.core.client(client_id="c")
        durable.subscribe(TOPIC, id="d", durable="true")
        durable.close()

    # What is known of the broker.

    def _look(self) -> None:
        """Take note of what clients got."""
        if isinstance(self.core, PagedCore):
            self.core.answer_all()
            self.core.durable()
        for peer in list(self.peers):
            for got in peer.client.take():
                if got.command == "RECEIPT":
                    self._confirmed(peer, got["receipt-id"])
                elif got.command == "MESSAGE" and peer.follower:
                    peer.seen[got.text] += 1
                elif got.command == "MESSAGE":
                    assert got["ack"] not in peer.held
                    peer.held[got["ack"]] = got
                else:
                    assert got["message"] == "queue is full", got
                    assert self.overflow == "reject"
                    self.peers.remove(peer)

    def _confirmed(self, peer: Peer, receipt: str) -> None:
        changed = peer.asked.pop(receipt)
        if receipt.startswith("enlisted"):
            assert peer.open is not None
            peer.open.update(changed)
        else:
            self.live.update(changed)

    def _frame(self, peer: Peer, command: str, changed: Counter[str], **headers: str) -> None:
        """Have a peer write a frame that changes something when it is confirmed."""
        self.number += 1
        kind = "enlisted" if peer.open is not None and command != "COMMIT" else "done"
        receipt = f"{kind}{self.number}"
        peer.asked[receipt] = changed
        body = headers.pop("body", "").encode()
        peer.client(command, body, receipt=receipt, **headers)
        self._look()

    def _peer(self, which: int, *, free: bool = True) -> Peer:
        """Return one of at most four peers that take no part in another rule at the moment."""
        ready = [p for p in self.peers if not (free and p.client.waiting) and not p.follower]
        if not ready:
            self.number += 1
            peer = Peer(self.core.client(), self.number)
            self.peers.append(peer)
            return peer
        return ready[which % len(ready)]

    # What clients do.

    @rule(
        which=st.integers(0, 3),
        topic=st.booleans(),
        copies=st.booleans(),
        group=st.sampled_from(["", "", "g"]),
        priority=st.sampled_from(["", "", "0", "9"]),
        later=st.sampled_from([{}, {}, {"delay": "1000"}, {"ttl": "3000"}]),
        persistent=st.booleans(),
        colour=st.sampled_from(["red", "blue"]),
    )
    def send(
        self,
        *,
        which: int,
        topic: bool,
        copies: bool,
        group: str,
        priority: str,
        later: dict[str, str],
        persistent: bool,
        colour: str,
    ) -> None:
        """SEND to the queue, perhaps with a copy by the route, or to the topic."""
        peer = self._peer(which)
        if topic and "ttl" in later:
            # What expires on its way to a topic is nobody's dead letter.
            later = {}
        headers = {"destination": TOPIC if topic else IN, "colour": colour, **later}
        if copies:
            headers["copy"] = "yes"
        if group:
            headers["message_group"] = group
        if priority:
            headers["priority"] = priority
        if persistent:
            headers["persistent"] = "true"
        if peer.open is not None:
            headers["transaction"] = "t"
        body = f"m{self.number}"
        count = 1 if topic else 1 + copies
        self._frame(peer, "SEND", Counter({body: count}), body=body, **headers)

    @rule(
        which=st.integers(0, 3),
        destination=st.sampled_from([IN, IN, COPY, DEAD, MOVED]),
        prefetch=st.sampled_from(["1", "2", "0"]),
        options=st.sampled_from(
            [{}, {}, {"selector": "colour = 'red'"}, {"exclusive": "true"}, {"x_priority": "2"}]
        ),
    )
    def subscribe(
        self, which: int, destination: str, prefetch: str, options: dict[str, str]
    ) -> None:
        """Subscribe to one of the queues."""
        if len(self.peers) < 5:
            self.number += 1
            self.peers.append(Peer(self.core.client(), self.number))
        peer = self._peer(which)
        ids = peer.client.session.subscriptions
        if len(ids) < 3:
            peer.client.subscribe(
                destination,
                "client-individual",
                id=f"s{self.number}",
                prefetch_count=prefetch,
                **options,
            )
            self.number += 1
            self._look()

    @rule()
    def connect_to_the_durable_subscription(self) -> None:
        """Take its place again, from whoever has it."""
        for peer in list(self.peers):
            if peer.client.session.client_id:
                peer.client.close()
                self.peers.remove(peer)
        self.number += 1
        peer = Peer(self.core.client(client_id="c"), self.number)
        self.peers.append(peer)
        peer.client.subscribe(TOPIC, "client-individual", id="d", durable="true")
        self._look()

    @rule()
    def follow(self) -> None:
        """Look at the bounded queue, and at what comes."""
        if any(peer.follower for peer in self.peers):
            return
        self.number += 1
        peer = Peer(self.core.client(), self.number, follower=True)
        self.peers.append(peer)
        queue = self.host.queues.get(IN)
        if queue is not None:
            # What somebody has already is nothing new when it comes back.
            peer.seen.update(message.body.decode() for message, _ in flying(queue))
            peer.seen.update(m.body.decode() for m in _delayed(queue) if m.redelivered)
        peer.client.subscribe(IN, browser="true", browser_end="false")
        self._look()

    @rule(which=st.integers(0, 3), one=st.integers(0, 9), how=st.sampled_from(list(SETTLED)))
    def settle(self, which: int, one: int, how: str) -> None:
        """ACK, or NACK in one way or another."""
        holders = [p for p in self.peers if p.held and not p.client.waiting]
        if not holders:
            return
        peer = holders[which % len(holders)]
        name = list(peer.held)[one % len(peer.held)]
        got = peer.held.pop(name)
        headers = {"id": name, **SETTLED[how]}
        if peer.open is not None:
            headers["transaction"] = "t"
        # Dead letters have no dead letters: rejected there is gone.
        ends = how == "ack" or (how == "dead" and got["destination"] == DEAD)
        changed = Counter({got.text: -1}) if ends else Counter()
        self._frame(peer, "ACK" if how == "ack" else "NACK", changed, **headers)

    @rule(which=st.integers(0, 3), commits=st.sampled_from([True, True, False]))
    def begin_or_end(self, which: int, *, commits: bool) -> None:
        """Open a transaction, or COMMIT or ABORT it."""
        peer = self._peer(which)
        if peer.open is None:
            peer.client("BEGIN", transaction="t")
            peer.open = Counter()
        elif commits:
            changed, peer.open = peer.open, None
            self._frame(peer, "COMMIT", changed, transaction="t")
        else:
            peer.open = None
            peer.client("ABORT", transaction="t")
            # What it had settled is outstanding again; it will not be delivered anew.
            for subscription in peer.client.session.subscriptions.values():
                for number, message in subscription.unsettled.items():
                    value = f"{peer.client.session.identity}{number}"
                    destination = message.properties["destination"]
                    headers = {"ack": value, "destination": destination}
                    peer.held[value] = Got("MESSAGE", headers, message.body)
            self._look()

    @rule(which=st.integers(0, 3), politely=st.booleans())
    def leave(self, which: int, *, politely: bool) -> None:
        """UNSUBSCRIBE from everything, or break the connection; paused or not."""
        if not self.peers:
            return
        peer = self.peers[which % len(self.peers)]
        if politely and not peer.client.waiting:
            for name in list(peer.client.session.subscriptions):
                peer.client("UNSUBSCRIBE", id=name)
            # What one of them gave back may have come to the next one.
            peer.client.take()
            peer.held.clear()
            peer.follower = False
        else:
            peer.client.close()
            self.peers.remove(peer)
        self._look()

    # What the administrator and time do.

    def _act(self, verb: str, **fields: object) -> dict[str, Any]:
        caller = Caller(self.host, "", None, Principal(trusted=True))
        replies: list[Reply] = []
        carry_out(caller, verb, json.dumps(fields).encode(), replies.append)
        self.core.run()
        while not replies:
            assert isinstance(self.core, PagedCore)
            assert self.core.answer() or self.core.durable()
        (reply,) = replies
        if not reply["ok"]:
            assert reply["error"]["code"] == "not-found", reply
            return {"done": 0}
        return dict(reply["result"])

    @rule(pauses=st.booleans())
    def pause_or_resume(self, *, pauses: bool) -> None:
        """Have the bounded queue wait, or go on."""
        self._act("pause" if pauses else "resume", destination=IN)
        self._look()

    @rule(
        destination=st.sampled_from([IN, COPY, DEAD, MOVED]),
        selector=st.sampled_from([None, "colour = 'blue'"]),
        dry_run=st.booleans(),
    )
    def purge(self, destination: str, selector: str | None, *, dry_run: bool) -> None:
        """Drop what waits in a queue."""
        queue = self.host.queues.get(destination)
        there = [] if queue is None else [*queue.waiting(), *_delayed(queue)]
        going = [
            message.body
            for message in there
            if selector is None or message.properties["colour"] == "blue"
        ]
        if queue is not None and isinstance(self.core, PagedCore):
            held = {message.place for message in there} | {m.place for m, _ in flying(queue)}
            going += [
                record.body
                for place, record in self.core.paging.kept.get(queue.key, {}).items()
                if place not in held
                and (selector is None or record.headers.get("colour") == "blue")
            ]
        result = self._act("purge", destination=destination, selector=selector, dry_run=dry_run)
        assert result["done"] == len(going)
        if not dry_run:
            self.live.subtract(Counter(body.decode() for body in going))
        self._look()

    @rule(
        way=st.sampled_from([(IN, MOVED), (MOVED, IN), (DEAD, MOVED), (COPY, IN)]),
        count=st.sampled_from([None, 1]),
        copies=st.sampled_from([False, False, True]),
    )
    def transfer(self, way: tuple[str, str], count: int | None, *, copies: bool) -> None:
        """Move or copy from queue to queue."""
        source, target = way
        if target == IN and self.overflow == "drop-head":
            # There a dead letter of an earlier overflow would be dropped.
            return
        if copies:
            # The first that waits, so that it is known which it is.
            queue = self.host.queues.get(source)
            first = next(queue.waiting(), None) if queue is not None else None
            if (
                first is not None
                and self._act("copy", source=source, target=target, count=1)["done"]
            ):
                self.live[first.body.decode()] += 1
        else:
            self._act("move", source=source, target=target, count=count)
        self._look()

    @rule()
    def requeue(self) -> None:
        """Put dead letters back to where they came from."""
        self._act("requeue", destination=DEAD)
        self._look()

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0, 20.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.core.tick(seconds)
        self._look()

    # What holds at any time.

    def _there(self) -> Counter[str]:
        """Return what there is in the whole broker, by body, and check every account."""
        there: Counter[str] = Counter()
        for topic in self.host.topics.values():
            held = [message for _, message in topic.delayed.entries()]
            behind = []
            if isinstance(self.core, PagedCore):
                places = [message.place for message in held]
                kept = self.core.paging.kept.get(topic.key, {})
                behind = [record for place, record in kept.items() if place not in places]
            bodies = [*(message.body for message in held), *(record.body for record in behind)]
            there.update(body.decode() for body in bodies)
            assert topic.delayed.tail == len(behind), topic
            assert topic.bytes == sum(message.size for message in held), topic
            assert topic.tail_bytes == sum(record.size for record in behind), topic
        for queue in self.host.all_queues():
            waiting = list(queue.waiting())
            held = [message for message, _ in flying(queue)]
            delayed = _delayed(queue)
            messages = [*waiting, *held, *delayed]
            places = [message.place for message in messages]
            assert len(set(places)) == len(places), f"doubled in {queue}"
            bodies = [message.body for message in messages]
            tail, later = [], []
            if isinstance(self.core, PagedCore):
                kept = self.core.paging.kept.get(queue.key, {})
                behind = [record for place, record in kept.items() if place not in places]
                tail = [record for record in behind if not record.due]
                later = [record for record in behind if record.due]
                bodies += [record.body for record in behind]
                stored = {message.place for message in messages if message.stored}
                assert stored == set(places) & set(kept)
            there.update(body.decode() for body in bodies)
            assert queue.depth == len(waiting) + len(tail), queue
            assert queue.tail == len(tail), queue
            assert queue.delayed.tail == len(later), queue
            assert queue.unsettled == len(held), queue
            assert queue.bytes == sum(message.size for message in messages), queue
            assert queue.octets == queue.bytes + sum(r.size for r in (*tail, *later)), queue
            assert queue.put_count - queue.count - queue.lost_count >= 0, queue
        return there

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        """What is there is what has to be there."""
        if not hasattr(self, "core"):
            return
        there = self._there()
        assert there == +self.live, (there - self.live, self.live - there)

    @invariant()
    def accounts_are_right(self) -> None:
        """Of subscriptions, and of who waits for room."""
        if not hasattr(self, "core"):
            return
        for peer in self.peers:
            session = peer.client.session
            held = {name for s in session.subscriptions.values() for name in s.unsettled}
            assert {f"{session.identity}{name}" for name in held} == set(peer.held)
            for subscription in session.subscriptions.values():
                count, octets = subscription.prefetch
                if subscription.limited:
                    sizes = [message.size for message in subscription.unsettled.values()]
                    assert subscription.credit == (count or 1 << 62) - len(sizes)
                    assert subscription.credit_bytes == (octets or 1 << 62) - sum(sizes)
            assert not (peer.client.waiting and not session.paused)
        queue = self.host.queues.get(IN)
        if queue is None:
            return
        for session in queue.blocked:
            assert queue in session.paused_by
        if queue.blocked:
            assert queue.count > MOST
        if self.overflow == "reject":
            assert queue.count <= MOST
        elif self.overflow == "drop-head":
            # What was delivered at once may be more, and comes back.
            assert queue.count <= MOST or all(message.redelivered for message in queue.waiting())

    @invariant()
    def followers_see_what_comes(self) -> None:
        """All that waits in the queue, or was delivered from it, has been seen."""
        queue = self.host.queues.get(IN) if hasattr(self, "core") else None
        if queue is None or self.paged:
            # What is in the store only when somebody begins to look is not seen.
            return
        for peer in self.peers:
            if peer.follower:
                bodies = {message.body.decode() for message in queue.waiting()}
                assert bodies <= set(peer.seen)

    def teardown(self) -> None:
        """In the end everybody leaves; what is left comes to whoever asks, and nothing stays."""
        if not hasattr(self, "core"):
            return
        while self.peers:
            self.leave(0, politely=False)
        self._act("resume", destination=IN)
        self.wait(100.0)
        for _ in range(3):
            self.wait(100.0)
        self.nothing_is_lost_or_doubled()
        last = self.core.client(client_id="c")
        last.subscribe("/queue/#", "client-individual", prefetch_count="0", id="q")
        last.subscribe(TOPIC, "client-individual", prefetch_count="0", id="d", durable="true")
        got: Counter[str] = Counter()
        while True:
            if isinstance(self.core, PagedCore):
                self.core.answer_all()
            messages = last.messages()
            if not messages:
                break
            for message in messages:
                got[message.text] += 1
                last.ack(message)
        assert got == +self.live
        for queue in self.host.all_queues():
            assert (queue.count, queue.octets, queue.unsettled) == (0, 0, 0), queue
        if isinstance(self.core, PagedCore):
            assert self.core.paging.count == 0


def _delayed(queue: Queue) -> list[Message]:
    return [message for _, message in queue.delayed.entries()]


class MemoryMachine(ConservationMachine):
    """Over the store that keeps nothing."""

    paged = False


class PagingMachine(ConservationMachine):
    """Over a store that keeps what does not fit into the window."""

    paged = True


_BOUNDED = how_hard(how_hard.default, stateful_step_count=40)

TestOverTheMemoryStore = MemoryMachine.TestCase
TestOverTheMemoryStore.settings = _BOUNDED
TestOverAPagingStore = PagingMachine.TestCase
TestOverAPagingStore.settings = _BOUNDED
