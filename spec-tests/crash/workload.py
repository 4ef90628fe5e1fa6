"""Producers and consumers who use everything that a restart might harm.

Each of them works through one life of the broker, in a thread of its own, until its connection is
gone or it is told to stop; what it does is drawn from a random number generator of its own.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count

from crash.client import PATIENCE, Client, Gone, Stuck
from crash.config import (
    APART,
    AUTO,
    COLOURS,
    CRON,
    DURABLES,
    MOVED,
    QUEUES,
    RULES,
    TOPICS,
    TRANSIENT,
    VALUES,
    WORK,
)
from crash.history import History, Retained, Standing
from crash.special import SPECIAL

# What one session does at most before it leaves.
MOST = 400

# So many of what has queues of its own are used in each life.
FEATURES = 4

# Messages on their way beyond which producers wait for consumers.
BACKLOG = 500

Role = Callable[[int, int, random.Random], None]


@dataclass(frozen=True)
class Once:
    """A message that may be sent again, and comes once."""

    uid: str
    destination: str
    delay: int
    colour: str | None

    def send(self, client: Client) -> None:
        """Send it."""
        line = f"dedup-id:{self.uid}"
        client.send(self.uid, self.destination, line, delay=self.delay, colour=self.colour)


class Workload:
    """What the clients of all lives have in common."""

    def __init__(self, history: History, seed: int, *, bad_network: bool = False) -> None:
        """Draw from ``seed``; on a bad network clients give up who get no answer in 2 s."""
        self._bad_network = bad_network
        self.history = history
        self.stopping = threading.Event()
        """Set when the workers of this life should leave in good order."""
        self.failures: list[BaseException] = []
        self.refused: list[str] = []
        """Messages of ERRORs."""
        self._random = random.Random(seed)  # noqa: S311 - it decides nothing secret
        self._numbers = count(1)
        self._again: list[Once] = []
        self._lock = threading.Lock()

    def run(self, life: int, port: int, *, durable: bool = True) -> list[threading.Thread]:
        """Start the clients of one life; they end by themselves when the broker does."""
        self.stopping.clear()
        self.history.apart = frozenset(APART)
        for rule in RULES:
            self.history.note(rule)
        roles: list[Role] = [self._produce, self._produce, self._produce_transactions, self._value]
        roles += [self._work, self._work, self._work_cumulatively, self._move, self._automatic]
        roles += [self._follow, self._follow] if durable else []
        for special, users in self._random.sample(SPECIAL, FEATURES):
            roles += [partial(special, self)] * users
        threads = []
        for role in roles:
            chance = random.Random(self._random.random())  # noqa: S311
            thread = threading.Thread(target=self._guard, args=(role, life, port, chance))
            thread.start()
            threads.append(thread)
        return threads

    def _guard(
        self,
        role: Role,
        life: int,
        port: int,
        chance: random.Random,
    ) -> None:
        while not self.stopping.is_set():
            try:
                role(life, port, chance)
            except Gone as gone:
                self.refused.append(str(gone))
                # Whoever stops the broker tells so soon; until then the network may be at fault.
                self.stopping.wait(0.05)
            except BaseException as failure:  # noqa: BLE001 - who runs this raises it
                self.failures.append(failure)
                return

    def forget(self) -> None:
        """Begin a new history: do not send again what belongs to the one before."""
        with self._lock:
            self._again.clear()

    def raise_failures(self) -> None:
        """Raise what has ended a worker, if it was not the end of the broker."""
        if self.failures:
            raise self.failures[0]

    def uid(self) -> str:
        """Return the id of a message to be sent."""
        with self._lock:
            return f"m{next(self._numbers)}"

    def client(self, life: int, port: int, name: str, *lines: str) -> Client:
        """Connect; ``name`` says what the client is."""
        patience = 2.0 if self._bad_network else PATIENCE
        return Client(
            self.history,
            life,
            port,
            name,
            *lines,
            patience=patience,
            bad_network=self._bad_network,
        )

    # -- Producers -----------------------------------------------------------------------------

    def _produce(self, life: int, port: int, chance: random.Random) -> None:
        client = self.client(life, port, "producer")
        try:
            self._send_again(client)
            for _ in range(chance.randrange(20, MOST)):
                self.rest()
                if self.stopping.is_set():
                    break
                self._send_some(client, chance)
            client.confirmed()
            client.disconnect()
        except Gone:
            client.drop()
            raise

    def rest(self) -> None:
        """Wait until consumers have caught up."""
        while self.history.under_way > BACKLOG and not self.stopping.wait(0.02):
            pass

    def _send_some(self, client: Client, chance: random.Random) -> None:
        what = chance.random()
        octets = chance.choice((20, 200, 1000, 20_000)) if chance.random() < 0.3 else 100
        queue = chance.choice(WORK)
        if what < 0.35:
            client.send(self.uid(), queue, priority=chance.choice((4, 4, 1, 9)), octets=octets)
            if chance.random() < 0.5:
                client.confirmed()
        elif what < 0.5:
            # Only the last of them asks.
            for _ in range(chance.randrange(1, 20)):
                client.send(self.uid(), queue, receipt=False, octets=octets)
            client.send(self.uid(), queue)
            client.confirmed()
        elif what < 0.65:
            client.send(
                self.uid(),
                chance.choice(TOPICS),
                octets=octets,
                receipt=chance.random() < 0.8,
                colour=chance.choice(COLOURS),
            )
        elif what < 0.75:
            client.send(self.uid(), queue, delay=chance.choice((1, 50, 500, 1500)))
        elif what < 0.85:
            client.send(self.uid(), TRANSIENT, persistent=False)
        elif what < 0.93:
            where = chance.choice((*WORK, MOVED, *TOPICS))
            delay = chance.choice((0, 0, 100, 1000))
            once = Once(self.uid(), where, delay, chance.choice(COLOURS))
            again = chance.random() < 0.2
            try:
                once.send(client)
                client.confirmed()
            except Gone:
                again = True
                raise
            finally:
                if again:
                    with self._lock:
                        self._again.append(once)
        else:
            client.send(self.uid(), AUTO)
        if len(client.unanswered) > 20:
            client.confirmed()

    def _send_again(self, client: Client) -> None:
        """Repeat what may have arrived, as a careful client does after a crash."""
        with self._lock:
            again, self._again = self._again, []
        try:
            for once in again:
                once.send(client)
            client.confirmed()
        except Gone:
            with self._lock:
                self._again += again
            raise

    def _produce_transactions(self, life: int, port: int, chance: random.Random) -> None:
        client = self.client(life, port, "transactions")
        try:
            for _ in range(MOST // 4):
                self.rest()
                if self.stopping.is_set():
                    break
                transaction = client.begin()
                for _ in range(chance.randrange(1, 7)):
                    client.send(
                        self.uid(),
                        chance.choice((*WORK, MOVED, *TOPICS[1:])),
                        colour=chance.choice(COLOURS),
                        receipt=chance.random() < 0.3,
                        transaction=transaction,
                        octets=chance.choice((50, 3000)),
                    )
                if chance.random() < 0.1:
                    client.abort(transaction)
                else:
                    client.commit(transaction, receipt=chance.random() < 0.8)
                if len(client.unanswered) > 5:
                    client.confirmed()
            client.confirmed()
            client.disconnect()
        except Gone:
            client.drop()
            raise

    def _value(self, life: int, port: int, chance: random.Random) -> None:
        """Set the retained message of a topic, and look at it as a newcomer."""
        client = self.client(life, port, "value")
        try:
            for _ in range(MOST // 10):
                if self.stopping.is_set():
                    break
                topic = chance.choice(VALUES)
                if chance.random() < 0.7:
                    removes = chance.random() < 0.2
                    client.send(self.uid(), topic, retained=not removes, removes=removes)
                    if chance.random() < 0.7:
                        client.confirmed()
                else:
                    self.look(client, topic)
            client.disconnect()
        except Gone:
            client.drop()
            raise

    def look(self, client: Client, topic: str) -> None:
        """Subscribe to a topic with a retained message and note what it is."""
        client.confirmed()
        client.retained.clear()
        frame = client.subscribe("value", topic, "auto")
        client.confirmed()
        # It is the first that comes; the answer to this comes behind it.
        client.ask("UNSUBSCRIBE", "id:value")
        uid = client.retained[0] if client.retained else None
        self.history.note(Retained(client.name, topic, uid, frame))

    # -- Consumers -----------------------------------------------------------------------------

    def _work(self, life: int, port: int, chance: random.Random) -> None:
        """Take messages one by one, reject some, leave now and then."""
        client = self.client(life, port, "worker")
        try:
            credit = f"prefetch-count:{chance.choice((1, 10, 100))}"
            client.subscribe("a", WORK[0], "client-individual", credit)
            client.subscribe("t", TRANSIENT, "client-individual", credit)
            for _ in range(chance.randrange(10, MOST)):
                got = client.next(0.2)
                if self.stopping.is_set():
                    break
                if got is None:
                    continue
                what = chance.random()
                receipt = chance.random() < 0.6
                if what < 0.9:
                    client.settle(got[1].delivery, receipt=receipt)
                elif what < 0.96:
                    client.settle(got[1].delivery, "nack", delay=chance.choice((0, 0, 200)))
                elif what < 0.98:
                    client.settle(got[1].delivery, "dead", receipt=receipt)
                if len(client.unanswered) > 10:
                    client.confirmed()
            if chance.random() < 0.5:
                client.confirmed()
                client.disconnect()
            else:
                client.drop(reset=chance.random() < 0.5)
        except Gone:
            client.drop()
            raise

    def _work_cumulatively(self, life: int, port: int, chance: random.Random) -> None:
        client = self.client(life, port, "cumulative")
        try:
            client.subscribe("b", WORK[1], "client", "prefetch-count:200")
            since = 0
            for _ in range(chance.randrange(50, MOST)):
                got = client.next(0.2)
                if self.stopping.is_set():
                    break
                since += got is not None
                outstanding = client.subscriptions["b"].outstanding
                if outstanding and (since >= 30 or got is None or chance.random() < 0.1):
                    since = 0
                    client.settle(outstanding[-1], receipt=chance.random() < 0.7)
                if len(client.unanswered) > 10:
                    client.confirmed()
            client.confirmed()
            client.disconnect()
        except Gone:
            client.drop()
            raise

    def _move(self, life: int, port: int, chance: random.Random) -> None:
        """Take messages of one queue and send others to the next, both in one transaction."""
        client = self.client(life, port, "mover")
        try:
            client.subscribe("m", WORK[0], "client-individual", "prefetch-count:20")
            client.subscribe("n", MOVED, "client-individual", "prefetch-count:20")
            transaction = client.begin()
            parts = 0
            for _ in range(MOST):
                got = client.next(0.2)
                if self.stopping.is_set():
                    break
                if got is not None:
                    identifier, delivered = got
                    parts += 1
                    client.settle(delivered.delivery, receipt=False, transaction=transaction)
                    if identifier == "m":
                        client.send(self.uid(), MOVED, receipt=False, transaction=transaction)
                if parts and (got is None or chance.random() < 0.3):
                    if chance.random() < 0.05:
                        client.abort(transaction)
                        client.latest.extend(
                            (identifier, delivered)
                            for identifier, delivered in ([got] if got else [])
                        )
                    else:
                        client.commit(transaction, receipt=chance.random() < 0.7)
                    parts = 0
                    transaction = client.begin()
                if len(client.unanswered) > 3:
                    client.confirmed()
            client.confirmed()
            client.disconnect()
        except Gone:
            client.drop()
            raise

    def _automatic(self, life: int, port: int, chance: random.Random) -> None:
        client = self.client(life, port, "automatic")
        try:
            client.subscribe("auto", AUTO, "auto")
            for _ in range(chance.randrange(50, MOST)):
                client.next(0.2)
                if self.stopping.is_set():
                    break
            client.disconnect()
        except Gone:
            client.drop()
            raise

    def _follow(self, life: int, port: int, chance: random.Random) -> None:
        """Take part in a durable subscription, and be away for a while."""
        # One is shared more often than not.
        name, topic, wants = chance.choice((*DURABLES, DURABLES[-1]))
        client = self.client(life, port, "follower")
        try:
            client.subscribe("d", topic, durable_name=name, topic=topic, wants=wants)
            client.confirmed()
            for _ in range(chance.randrange(10, 100)):
                got = client.next(0.2)
                if self.stopping.is_set():
                    break
                if got is not None:
                    client.settle(got[1].delivery, receipt=chance.random() < 0.6)
                if len(client.unanswered) > 10:
                    client.confirmed()
            client.confirmed()
            client.disconnect()
        except Gone:
            client.drop()
            raise

    # -- The end -------------------------------------------------------------------------------

    def drain(self, life: int, port: int, *, durable: bool = True) -> None:
        """Take and settle all that is there, dead letters and delayed messages included.

        Raises `Stuck` if the broker counts messages that it does not deliver.
        """
        client = Client(self.history, life, port, "drain")
        for topic in VALUES:
            self.look(client, topic)
        self._stand(client)
        for place in QUEUES:
            client.subscribe(place, place)
            name = place.removeprefix("/queue/")
            client.subscribe(f"dead-{name}", f"/queue/DLQ.{name}", dead_of=place)
        for name, topic, wants in DURABLES if durable else ():
            client.subscribe(name, topic, durable_name=name, topic=topic, wants=wants)
            client.subscribe(f"dead-{name}", f"/queue/DLQ.{name}", dead_of=f"durable {name}")
        until = time.monotonic() + PATIENCE
        while True:
            while (got := client.next(0)) is not None:
                client.settle(got[1].delivery)
                until = time.monotonic() + PATIENCE
                if len(client.unanswered) > 100:
                    client.confirmed()
            client.confirmed()
            held = self._held(client)
            if not held and not client.latest:
                break
            if time.monotonic() > until:
                raise Stuck(f"not delivered: {held}")
            got = client.next(0.2)
            if got is not None:
                client.latest.appendleft(got)
        client.disconnect()

    def _stand(self, client: Client) -> None:
        """Note what is sent without end, and end it."""
        answer = client.request("browse", {"destination": CRON, "count": 1000})
        if not answer["ok"]:
            assert answer["error"]["code"] == "not-found", answer
            return
        uids = [
            message["headers"]["uid"]
            for message in answer["result"]["messages"]
            if message["state"] == "delayed" and not message["redelivered"]
        ]
        self.history.note(Standing(client.name, CRON, tuple(uids)))
        answer = client.request("purge", {"destination": CRON})
        assert answer["ok"], answer

    def _held(self, client: Client) -> dict[str, int]:
        """Return the queues and topics that the broker says hold messages, with how many."""
        counts = {}
        for verb, columns in (
            ("queues", ("ready", "inflight", "delayed")),
            ("topics", ("delayed",)),
        ):
            answer = client.request(verb, {})
            assert answer["ok"], answer
            for row in answer["result"]:
                counts[row["name"]] = sum(row[column] for column in columns)
        return {name: number for name, number in counts.items() if number}
