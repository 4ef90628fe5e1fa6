"""Walks over a queue while everything else happens to it: nothing is lost, doubled or miscounted.

Producers, consumers and administrators work on one queue over a store that answers when the test
says so. Messages have bodies that are never used twice, so that each can be followed.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator

import pytest
from broker.client import Client, Got, settings
from broker.paging import PagedCore
from hypothesis import settings as how_hard
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stompd.broker import walk
from stompd.broker.admin.errand import Reply
from stompd.broker.admin.request import Act, Caller
from stompd.broker.admin.verbs import carry_out
from stompd.broker.principal import Principal
from stompd.broker.walk import flying

SOURCE, MOVED, COPIED = "/queue/a", "/queue/b", "/queue/c"
SELECTORS = ["TRUE", "colour = 'red'", "colour = 'blue'"]


@pytest.fixture(autouse=True)
def _small_pages() -> Iterator[None]:
    """Pages of three messages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "PAGE", 3)
        yield


class WalkMachine(RuleBasedStateMachine):
    """Rules are what clients, administrators and the store do."""

    def __init__(self) -> None:
        super().__init__()
        self.core = PagedCore(settings(window_messages=3))
        self.core.broker.acted = self._acted
        self.host = self.core.broker.host("/")
        self.producer = self.core.client()
        self.consumers: list[tuple[Client, list[Got]]] = []
        self.askers: list[Client] = []
        self.sent = 0
        self.acked: set[str] = set()
        self.wanted: Counter[str] = Counter()
        self.done: Counter[str] = Counter()

    def _acted(self, act: Act) -> None:
        """Count what a request has done that came to its end, or to that of its connection."""
        self.wanted[act.verb] -= 1
        if act.reply["ok"]:
            assert act.reply["result"]["failed"] == 0
            self.done[act.verb] += act.reply["result"]["done"]
        else:
            text = act.reply["error"]["message"]
            match = re.fullmatch(r"the connection that asked is gone; by then .* with (\d+)", text)
            assert match, text
            self.done[act.verb] += int(match[1])

    # Clients.

    @rule(
        count=st.integers(1, 9),
        red=st.booleans(),
        persistent=st.booleans(),
        headers=st.sampled_from([{}, {}, {"priority": "7"}, {"priority": "1"}, {"delay": "1000"}]),
    )
    def send(self, *, count: int, red: bool, persistent: bool, headers: dict[str, str]) -> None:
        """SEND some messages."""
        more = {**headers, "persistent": "true"} if persistent else headers
        for _ in range(count):
            self.sent += 1
            colour = "red" if red else "blue"
            self.producer.send(SOURCE, str(self.sent), colour=colour, **more)

    @rule(prefetch=st.sampled_from(["1", "3"]))
    def consume(self, prefetch: str) -> None:
        """SUBSCRIBE."""
        if len(self.consumers) < 2:
            client = self.core.client()
            client.subscribe(SOURCE, "client-individual", prefetch_count=prefetch)
            self.consumers.append((client, []))

    @rule(which=st.integers(0, 1), how=st.sampled_from(["ack", "nack", "later", "leave"]))
    def settle(self, which: int, how: str) -> None:
        """ACK, NACK, or break off."""
        if not self.consumers:
            return
        client, held = self.consumers[which % len(self.consumers)]
        held += client.messages()
        if how == "leave":
            self.consumers.remove((client, held))
            client.close()
        elif held:
            got = held.pop(0)
            if how == "ack":
                self.acked.add(got.text)
                client.ack(got)
            else:
                client.nack(got, **({"delay": "1000"} if how == "later" else {}))

    # Administrators.

    @rule(
        verb=st.sampled_from(["purge", "move", "copy"]),
        selector=st.sampled_from(SELECTORS),
        count=st.sampled_from([None, None, 2, 7]),
    )
    def ask(self, verb: str, selector: str, count: int | None) -> None:
        """Begin a walk."""
        fields: dict[str, object] = {"selector": selector}
        if verb == "purge":
            fields["destination"] = SOURCE
        else:
            fields |= {"source": SOURCE, "target": MOVED if verb == "move" else COPIED}
            fields["count"] = count
        if SOURCE not in self.host.queues:
            return
        client = self.core.administrator()
        self.askers.append(client)
        self.wanted[verb] += 1
        client(
            "SEND",
            json.dumps(fields).encode(),
            destination=f"/admin/{verb}",
            reply_to="/temp-queue/replies",
        )

    @rule(which=st.integers(0, 9))
    def hang_up(self, which: int) -> None:
        """Have an administrator go away, whether he has a reply or not."""
        if self.askers:
            self.askers.pop(which % len(self.askers)).close()

    @rule(count=st.integers(0, 3))
    def keep(self, count: int) -> None:
        """Purge all but the newest."""
        if SOURCE in self.host.queues:
            caller = Caller(self.host, "", None, Principal(trusted=True))
            self.wanted["purge"] += 1
            replies: list[Reply] = []
            body = json.dumps({"destination": SOURCE, "keep": count, "selector": "TRUE"})
            carry_out(caller, "purge", body.encode(), replies.append)
            self.core.run()

    # The store, and time.

    @rule(count=st.integers(1, 3))
    def answer(self, count: int) -> None:
        """Answer questions."""
        for _ in range(count):
            self.core.answer()

    @rule()
    def answer_out_of_turn(self) -> None:
        """Answer the second question before the first; both were answered in turn."""
        if len(self.core.paging.asked) > 1:
            first, second = self.core.paging.answer(), self.core.paging.answer()
            self.core.broker.fetched(*second)
            self.core.broker.fetched(*first)
            self.core.run()

    @rule()
    def durable(self) -> None:
        """Have all on disk."""
        self.core.durable()

    @rule(seconds=st.sampled_from([0.5, 2.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.core.tick(seconds)

    # What holds at any time.

    def _there(self, name: str) -> Counter[str]:
        """Return the bodies in a queue, and check its account."""
        queue = self.host.queues.get(name)
        if queue is None:
            return Counter()
        waiting = list(queue.waiting())
        delayed = [message for _, message in queue.delayed.entries()]
        held = [message for message, _ in flying(queue)]
        memory = [*waiting, *delayed, *held]
        places = {message.place for message in memory}
        assert len(places) == len(memory), f"doubled in {queue}"
        kept = self.core.paging.kept.get(queue.key, {})
        tail = [record for place, record in kept.items() if place not in places]
        assert {message.place for message in memory if message.stored} == places & set(kept)
        assert queue.tail + queue.delayed.tail == len(tail), queue
        assert queue.depth == len(waiting) + queue.tail, queue
        assert queue.unsettled == len(held), queue
        assert queue.octets == sum(m.size for m in memory) + sum(r.size for r in tail), queue
        assert queue.put_count - queue.count - queue.lost_count >= 0, queue
        return Counter(
            [message.body.decode() for message in memory] + [r.body.decode() for r in tail]
        )

    @invariant()
    def each_message_is_in_one_place(self) -> None:
        """In the queue or in the one that it was moved to; never once more, nor after its ACK."""
        there = self._there(SOURCE) + self._there(MOVED)
        assert not there or max(there.values()) == 1, there
        assert not self.acked & set(there)
        self._there(COPIED)

    def teardown(self) -> None:
        """In the end all requests have been answered, and their counts add up."""
        while self.core.answer() or self.core.durable():
            pass
        assert not +self.wanted, self.wanted
        self.each_message_is_in_one_place()
        there = self._there(SOURCE) + self._there(MOVED)
        assert there.total() == self.sent - len(self.acked) - self.done["purge"]
        assert self._there(MOVED).total() == self.done["move"]
        assert self._there(COPIED).total() == self.done["copy"]


TestWalks = WalkMachine.TestCase
TestWalks.settings = how_hard(how_hard.default, stateful_step_count=40)
