"""A broker that crashes at any time keeps every promise that it made (hypothesis).

The model knows of each message whether its RECEIPT came, whether the RECEIPT of its ACK came, and
of each transaction whether that of its COMMIT did. The disk gets batches when chance says so, and a
crash loses those that are not on it. Afterwards:

* what was confirmed is there, unless somebody has acknowledged it since;
* what was acknowledged, and that was confirmed, is not;
* a transaction is there as a whole, or not at all;
* nothing is there twice, and everything is in the order in which it was sent.
"""

from dataclasses import dataclass, field

from broker.client import Client, Got
from broker.restarting import RestartingCore
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stompd.broker.policy import Policies, Policy, Settings

QUEUES = ("/queue/a", "/queue/b")


@dataclass
class Sent:
    """What is known of a message that was sent to a queue."""

    persistent: bool
    # The id of the RECEIPT that says that it is there, and of the one that says that it is not.
    promised: str
    settled: str = ""
    # What it is a part of.
    transaction: int = 0


@dataclass
class World:
    """What the clients know."""

    sent: dict[str, dict[str, Sent]] = field(default_factory=lambda: {name: {} for name in QUEUES})
    # The receipt-ids that came.
    receipts: set[str] = field(default_factory=set)


class Crashes(RuleBasedStateMachine):
    """Sends, acknowledges, commits, writes, crashes."""

    @initialize()
    def begin(self) -> None:
        """Start a broker with an empty disk, and connect."""
        # However often something comes back, it is no dead letter for that.
        policies = Policies(default=Policy(max_deliveries=0))
        self.core = RestartingCore(Settings(policies=policies))
        self.world = World()
        self.number = 0
        self.connect()

    def connect(self) -> None:
        """Connect one client that sends and takes."""
        self.client: Client = self.core.client()
        # Deliveries that are not acknowledged, by queue.
        self.held: dict[str, list[Got]] = {name: [] for name in QUEUES}
        for name in QUEUES:
            self.client.subscribe(name, "client-individual", id=name, prefetch_count="3")
        self.look()

    def next(self) -> str:
        """Return a number that was never used."""
        self.number += 1
        return str(self.number)

    def look(self) -> None:
        """Note what came."""
        for frame in self.client.take():
            if frame.command == "RECEIPT":
                self.world.receipts.add(frame["receipt-id"])
            else:
                assert frame.command == "MESSAGE", frame
                self.held[frame["destination"]].append(frame)

    @rule(name=st.sampled_from(QUEUES), persistent=st.booleans())
    def send(self, name: str, persistent: bool) -> None:  # noqa: FBT001 - drawn
        """Send a message and ask for its RECEIPT."""
        body = self.next()
        header = {"persistent": "true"} if persistent else {}
        self.world.sent[name][body] = Sent(persistent, f"r{body}")
        self.client.send(name, body, receipt=f"r{body}", **header)
        self.look()

    @rule(name=st.sampled_from(QUEUES), at=st.integers(0, 2))
    def acknowledge(self, name: str, at: int) -> None:
        """Acknowledge one of the deliveries."""
        held = self.held[name]
        if at >= len(held):
            return
        message = held.pop(at)
        receipt = f"a{self.next()}"
        self.world.sent[name][message.text].settled = receipt
        self.client.ack(message, receipt=receipt)
        self.look()

    @rule(name=st.sampled_from(QUEUES), requeue=st.booleans())
    def refuse(self, name: str, requeue: bool) -> None:  # noqa: FBT001 - drawn
        """Give one of the deliveries back, or away: it becomes a dead letter."""
        if not self.held[name]:
            return
        message = self.held[name].pop(0)
        receipt = f"n{self.next()}"
        if not requeue:
            self.world.sent[name][message.text].settled = receipt
        self.client.nack(message, requeue="true" if requeue else "false", receipt=receipt)
        self.look()

    @rule(count=st.integers(1, 3), acks=st.booleans())
    def transact(self, count: int, acks: bool) -> None:  # noqa: FBT001 - drawn
        """Send to both queues and acknowledge from them in one transaction."""
        transaction = int(self.next())
        receipt = f"c{transaction}"
        self.client("BEGIN", transaction="t")
        for name in QUEUES:
            if acks and self.held[name]:
                message = self.held[name].pop(0)
                self.world.sent[name][message.text].settled = receipt
                self.client.ack(message, transaction="t")
            for _ in range(count):
                body = self.next()
                self.world.sent[name][body] = Sent(True, receipt, transaction=transaction)  # noqa: FBT003
                self.client.send(name, body, transaction="t", persistent="true")
        self.client("COMMIT", transaction="t", receipt=receipt)
        self.look()

    @rule()
    def write(self) -> None:
        """Have everything on disk."""
        self.core.sync()
        self.core.answer_all()
        self.look()

    @rule()
    def answer(self) -> None:
        """Have the store answer what it was asked."""
        self.core.answer_all()
        self.look()

    @rule()
    def write_late(self) -> None:
        """Have a batch on disk without anybody having heard of it: the crash comes in between."""
        ticket, _ = self.core.restarting.take_batch()
        self.core.restarting.confirmed(ticket)
        self.after_crash()

    @rule()
    def crash(self) -> None:
        """Lose what is not on disk."""
        self.after_crash()

    def after_crash(self) -> None:
        """Look at all that is there, and compare it with what was promised."""
        self.core.crash()
        assert self.core.troubles == []
        there = {
            name: [
                record.body.decode()
                for _, record in sorted(self.core.restarting.kept.get(("/", name), {}).items())
            ]
            for name in QUEUES
        }
        whole: dict[int, set[bool]] = {}
        for name, sent in self.world.sent.items():
            bodies = there[name]
            assert len(bodies) == len(set(bodies))
            assert [body for body in sent if body in bodies] == bodies
            for body, message in sent.items():
                if message.persistent and message.promised in self.world.receipts:
                    assert body in bodies or message.settled
                if message.settled in self.world.receipts:
                    assert body not in bodies
                if message.transaction and not message.settled:
                    whole.setdefault(message.transaction, set()).add(body in bodies)
        assert all(len(found) == 1 for found in whole.values())
        # From here on the clients know what is there.
        self.world.sent = {
            name: {body: Sent(True, "") for body in bodies}  # noqa: FBT003
            for name, bodies in there.items()
        }
        self.connect()
        self.core.answer_all()
        self.look()

    @rule()
    def stop(self) -> None:
        """End in good order: nothing is lost that nobody has acknowledged, transient or not."""
        self.core.sync()
        self.core.answer_all()
        self.look()
        left = {
            name: [body for body, message in sent.items() if not message.settled]
            for name, sent in self.world.sent.items()
        }
        self.core.stop()
        for name, bodies in left.items():
            records = self.core.restarting.kept.get(("/", name), {})
            assert [record.body.decode() for _, record in sorted(records.items())] == bodies
        self.world.sent = {
            # A crash takes the transient ones, whenever they came.
            name: {body: Sent(sent[body].persistent, "") for body in left[name]}
            for name, sent in self.world.sent.items()
        }
        self.connect()
        self.core.answer_all()
        self.look()

    @invariant()
    def alive(self) -> None:
        """Nobody is thrown out for what happens here."""
        assert not self.client.session.over


Crashes.TestCase.settings = hypothesis_settings(
    max_examples=100, stateful_step_count=30, deadline=None
)
TestCrashes = Crashes.TestCase
