"""Durable subscriptions against a naive model: whatever happens, each message comes to an end once.

What has to hold:

* a durable subscription gets what is published on its topics from its making to its deletion,
  whether a subscriber is connected or not, and whether the topic is there in between or not;
* acknowledged from the oldest on, it is acknowledged in the order of publishing, nothing twice;
* a plain subscriber gets exactly what is published while it is subscribed;
* when everybody has left and everything is deleted, nothing is left.

It runs over the memory store and over one that pages and answers late.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from broker.client import Client, Core, Got, settings
from broker.paging import PagedCore
from hypothesis import settings as how_hard
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

TOPICS = ("/topic/a.x", "/topic/a/x", "/topic/a.y", "/topic/b")
# What is subscribed to, and which topics that means.
SUBSCRIBED = {
    "/topic/a.x": ("/topic/a.x",),
    "/topic/a/x": ("/topic/a/x",),
    "/topic/a.*": ("/topic/a.x", "/topic/a/x", "/topic/a.y"),
    "/topic/#": TOPICS,
}
CLIENTS = ("one", "two")


@dataclass
class Kept:
    """A durable subscription as the model knows it."""

    destination: str
    # Whether it wants even numbers only.
    even: bool
    # Published and not acknowledged, oldest first.
    owed: list[str] = field(default_factory=list)


class DurableMachine(RuleBasedStateMachine):
    """Clients that subscribe, publish, acknowledge and vanish."""

    core_type: ClassVar[type[Core]] = Core

    @initialize()
    def begin(self) -> None:
        """Open the broker, with a publisher and a plain subscriber to everything."""
        self.core = self.core_type(settings(window_messages=3, max_deliveries=0))
        self.number = 0
        self.publisher = self.core.client()
        self.plain = self.core.client()
        self.plain.subscribe("/topic/#")
        self.kept: dict[str, Kept] = {}
        self.live: dict[str, Client] = {}
        # What each of them holds, oldest first.
        self.held: dict[str, list[Got]] = {}

    @rule(topic=st.sampled_from(TOPICS), size=st.sampled_from((1, 2000)))
    def publish(self, topic: str, size: int) -> None:
        """Publish a message; everybody who is there for it is owed one."""
        self.number += 1
        body = f"{self.number}" + "." * size
        self.publisher.send(topic, body, n=str(self.number % 2))
        assert self.plain.bodies() == [body]
        for kept in self.kept.values():
            if topic in SUBSCRIBED[kept.destination] and not (kept.even and self.number % 2):
                kept.owed.append(body)

    @precondition(lambda self: len(self.live) < len(CLIENTS))
    @rule(
        data=st.data(),
        destination=st.sampled_from(sorted(SUBSCRIBED)),
        even=st.booleans(),
        credit=st.integers(1, 5),
    )
    def connect(self, data: st.DataObject, destination: str, even: bool, credit: int) -> None:  # noqa: FBT001 - hypothesis names it
        """Come back to a durable subscription, or make one; another topic makes it anew."""
        name = data.draw(st.sampled_from([name for name in CLIENTS if name not in self.live]))
        client = self.live[name] = self.core.client(client_id=name)
        self.held[name] = []
        headers = {"selector": "n = 0"} if even else {}
        client.subscribe(
            destination, "client-individual", durable="true", prefetch_count=str(credit), **headers
        )
        kept = self.kept.get(name)
        if kept is None or (kept.destination, kept.even) != (destination, even):
            self.kept[name] = Kept(destination, even)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), way=st.sampled_from(("break", "disconnect", "unsubscribe", "take over")))
    def leave(self, data: st.DataObject, way: str) -> None:
        """End the connection; what it holds goes back."""
        name = data.draw(st.sampled_from(sorted(self.live)))
        client = self.live.pop(name)
        del self.held[name]
        if way == "break":
            client.close()
        elif way == "disconnect":
            client("DISCONNECT")
        elif way == "unsubscribe":
            client("UNSUBSCRIBE", id="0")
            client("DISCONNECT")
        else:
            self.core.client(client_id=name)("DISCONNECT")

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Delete a durable subscription, connected or not."""
        name = data.draw(st.sampled_from(sorted(self.kept)))
        client = self.live.pop(name, None) or self.core.client(client_id=name)
        client("UNSUBSCRIBE", id="0", durable="true")
        client("DISCONNECT")
        del self.kept[name]
        self.held.pop(name, None)

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), nack=st.booleans())
    def settle(self, data: st.DataObject, nack: bool) -> None:  # noqa: FBT001 - hypothesis names it
        """Acknowledge the oldest that a subscriber holds, or give it back."""
        name = data.draw(st.sampled_from([name for name, held in self.held.items() if held]))
        self.look()
        message = self.held[name].pop(0)
        assert message.text == self.kept[name].owed[0]
        if nack:
            self.live[name].nack(message)
            # It comes before everything that was not delivered; what is held is older now.
            (again, *more) = self.live[name].messages()
            assert (again.text, again["redelivered"]) == (message.text, "true")
            self.held[name] = [again, *self.held[name], *more]
        else:
            self.live[name].ack(message)
            self.kept[name].owed.pop(0)

    @rule()
    def time_passes(self) -> None:
        """Let what is idle go."""
        self.core.tick(300.0)

    @invariant()
    def look(self) -> None:
        """Take what came; together with what is held it is the beginning of what is owed."""
        if isinstance(self.core, PagedCore):
            self.core.answer_all()
        for name, client in self.live.items():
            self.held[name] += client.messages()
            bodies = [message.text for message in self.held[name]]
            assert bodies == self.kept[name].owed[: len(bodies)]
            assert bodies or not self.kept[name].owed

    def teardown(self) -> None:
        """Everybody leaves and deletes what is his."""
        for name in CLIENTS:
            if name in self.kept:
                client = self.core.client(client_id=name)
                client("UNSUBSCRIBE", id="0", durable="true")
        for client in self.core.clients:
            client.close()
        for _ in range(3):
            self.core.tick(300.0)
        host = self.core.broker.host("/")
        assert not host.queues
        assert not host.topics
        assert not host.durables
        assert not host.clients
        if isinstance(self.core, PagedCore):
            assert self.core.paging.count == 0


class PagedDurableMachine(DurableMachine):
    """The same with a store that pages."""

    core_type = PagedCore


_BOUNDED = how_hard(how_hard.default, stateful_step_count=40)

TestOverTheMemoryStore = DurableMachine.TestCase
TestOverTheMemoryStore.settings = _BOUNDED
TestOverAPagingStore = PagedDurableMachine.TestCase
TestOverAPagingStore.settings = _BOUNDED
