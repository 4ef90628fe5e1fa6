"""Transactions: everything of a COMMIT or nothing, SENDs, ACKs and NACKs alike."""

import pytest
from broker.client import Client, Core, numbers, publish, settings

from stompd.broker.policy import Policy, SessionLimits
from stompd.broker.subscription import Subscription


@pytest.fixture
def watcher(core: Core) -> Client:
    """A consumer of queue a and topic a."""
    client = core.client()
    client.subscribe("/queue/a", id="q")
    client.subscribe("/topic/a", id="t")
    return client


def _held(core: Core, count: int, ack: str = "client-individual", **headers: str) -> Client:
    """Return a consumer to which that many messages of queue in were delivered."""
    publish(core.client(), "/queue/in", numbers(1, count))
    consumer = core.client()
    consumer.subscribe("/queue/in", ack, **headers)
    return consumer


def _ready(core: Core, name: str = "/queue/in") -> tuple[int, int]:
    queue = core.broker.host("/").queues[name]
    return queue.depth, queue.unsettled


@pytest.mark.clause("TX-01", "TX-03", "TX-09", "S-04", "R-09")
def test_sends_become_visible_at_commit(core: Core, watcher: Client) -> None:
    """Nothing before COMMIT, then all in order; each SEND's receipt comes when it is enlisted."""
    client = core.client()
    client("BEGIN", transaction="t", receipt="b")
    for number in numbers(1, 3):
        client.send("/queue/a", f"q{number}", transaction="t", receipt=f"q{number}")
        client.send("/topic/a", f"t{number}", transaction="t", receipt=f"t{number}")
    assert client.receipts() == ["b", "q1", "t1", "q2", "t2", "q3", "t3"]
    assert watcher.take() == []
    client("COMMIT", transaction="t", receipt="c")
    assert client.receipts() == ["c"]
    assert watcher.bodies() == ["q1", "t1", "q2", "t2", "q3", "t3"]


@pytest.mark.clause("TX-03")
def test_frames_without_the_header_take_effect_at_once(core: Core, watcher: Client) -> None:
    """An open transaction holds back only what names it."""
    client = core.client()
    client("BEGIN", transaction="t")
    client.send("/queue/a", "in", transaction="t")
    client.send("/queue/a", "out")
    assert watcher.bodies() == ["out"]
    client("COMMIT", transaction="t")
    assert watcher.bodies() == ["in"]


@pytest.mark.clause("TX-11")
def test_abort_undoes_sends_and_acks(core: Core, watcher: Client) -> None:
    """Nothing was sent, and what was acknowledged is outstanding and can be acknowledged again."""
    client = _held(core, 3)
    one, two, _ = client.messages(3)
    client("BEGIN", transaction="t")
    client.send("/queue/a", "x", transaction="t")
    client.ack(one, transaction="t")
    client.nack(two, transaction="t", requeue="false")
    client("ABORT", transaction="t", receipt="a")
    assert client.receipts() == ["a"]
    assert watcher.take() == []
    assert _ready(core) == (0, 3)
    client.ack(one, receipt="again")
    assert client.receipts() == ["again"]
    assert _ready(core) == (0, 2)
    client.close()
    assert _ready(core) == (2, 0)


@pytest.mark.clause("ACK-12", "TX-01")
@pytest.mark.parametrize("commit", [True, False])
def test_an_ack_counts_from_commit_on(core: Core, *, commit: bool) -> None:
    """Without COMMIT a broken connection brings the message back, with it nothing comes."""
    client = _held(core, 1)
    message = client.messages(1)[0]
    client("BEGIN", transaction="t")
    client.ack(message, transaction="t", receipt="a")
    if commit:
        client("COMMIT", transaction="t", receipt="c")
    assert client.receipts() == (["a", "c"] if commit else ["a"])
    client.close()
    assert _ready(core) == ((0, 0) if commit else (1, 0))


@pytest.mark.clause("ACK-14", "ACK-13")
def test_a_nack_counts_from_commit_on(core: Core) -> None:
    """The messages come back, or go to the dead letters, when the transaction commits."""
    client = _held(core, 3)
    one, two, three = client.messages(3)
    client("BEGIN", transaction="t")
    client.nack(one, transaction="t")
    client.nack(two, transaction="t", requeue="false", reason="why")
    client.ack(three, transaction="t")
    assert client.take() == []
    client("COMMIT", transaction="t", receipt="c")
    again, receipt = client.take(2)
    assert (again.text, again["delivery-count"]) == ("1", "2")
    assert receipt.command == "RECEIPT"
    dead = core.client()
    dead.subscribe("/queue/DLQ.in")
    assert dead.messages(1)[0]["dead-letter-detail"] == "why"
    assert _ready(core) == (0, 1)


def test_what_a_cumulative_ack_covers_is_fixed_when_it_is_read(core: Core) -> None:
    """Messages delivered between ACK and COMMIT are not covered by it."""
    client = _held(core, 2, "client")
    _, two = client.messages(2)
    client("BEGIN", transaction="t")
    client.ack(two, transaction="t")
    publish(core.client(), "/queue/in", ["3"])
    three = client.messages(1)[0]
    client("COMMIT", transaction="t")
    assert _ready(core) == (0, 1)
    client("BEGIN", transaction="t")
    client.ack(three, transaction="t")
    client("ABORT", transaction="t")
    client("UNSUBSCRIBE", id="0")
    assert _ready(core) == (1, 0)


def test_credit_returns_when_the_ack_is_enlisted(core: Core) -> None:
    """A transaction may be larger than the prefetch; after ABORT the credit is overdrawn."""
    client = _held(core, 5, prefetch_count="2")
    client("BEGIN", transaction="t")
    seen = []
    for _ in range(2):
        for message in client.messages(2):
            seen.append(message.text)
            client.ack(message, transaction="t")
    seen += client.bodies()
    assert seen == numbers(1, 5)
    client("ABORT", transaction="t")
    assert _ready(core) == (0, 5)
    publish(core.client(), "/queue/in", ["6"])
    assert client.take() == []
    client.close()
    other = core.client()
    other.subscribe("/queue/in", "client")
    messages = other.messages(6)
    assert [message.text for message in messages] == numbers(1, 6)


def test_octets_of_credit_are_overdrawn_by_abort_too(core: Core) -> None:
    """What is outstanding again counts, and with it settled there is room again."""
    publish(core.client(), "/queue/in", ["x" * 1000] * 4)
    client = core.client()
    client.subscribe("/queue/in", "client-individual", prefetch_bytes="1500")
    one, two = client.messages(2)
    client("BEGIN", transaction="t")
    client.ack(one, transaction="t")
    client.ack(two, transaction="t")
    three, four = client.messages(2)
    client("ABORT", transaction="t")
    publish(core.client(), "/queue/in", ["y"])
    client.ack(three)
    client.ack(four)
    assert client.take() == []
    client.ack(one)
    assert client.bodies() == ["y"]


def test_an_aborted_nack_leaves_the_order(core: Core) -> None:
    """After ABORT a cumulative ACK covers what came before, enlisted once or not."""
    client = _held(core, 4, "client")
    _, two, three, _ = client.messages(4)
    client("BEGIN", transaction="t")
    client.nack(two, transaction="t")
    client("ABORT", transaction="t")
    client.ack(three)
    client.close()
    assert _ready(core) == (1, 0)


@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_an_enlisted_delivery_may_be_acknowledged_again(core: Core, ack: str) -> None:
    """In the transaction or outside of it, a repetition changes nothing."""
    client = _held(core, 2, ack)
    one, _ = client.messages(2)
    client("BEGIN", transaction="t")
    client("BEGIN", transaction="u")
    client.ack(one, transaction="t")
    client.ack(one, transaction="t")
    client.ack(one, transaction="u", receipt="u")
    client.ack(one, receipt="r")
    assert client.receipts() == ["u", "r"]
    assert _ready(core) == (0, 2)
    client("ABORT", transaction="u")
    client("COMMIT", transaction="t")
    assert _ready(core) == (0, 1)
    client("BEGIN", transaction="t")
    client.ack(one, transaction="t", receipt="late")
    client("COMMIT", transaction="t", receipt="c")
    assert client.receipts() == ["late", "c"]


@pytest.mark.clause("TX-06", "TX-07")
@pytest.mark.parametrize("end", ["DISCONNECT", "close"])
def test_the_end_of_the_connection_aborts(core: Core, watcher: Client, end: str) -> None:
    """An open transaction is undone by DISCONNECT and by a broken connection."""
    client = _held(core, 1)
    message = client.messages(1)[0]
    client("BEGIN", transaction="t")
    client.send("/queue/a", "x", transaction="t")
    client.ack(message, transaction="t")
    if end == "close":
        client.close()
    else:
        client("DISCONNECT", receipt="d")
        assert client.receipts() == ["d"]
    assert watcher.take() == []
    assert _ready(core) == (1, 0)


@pytest.mark.clause("TX-05")
def test_transactions_belong_to_their_connection(core: Core, watcher: Client) -> None:
    """Two connections use one id independently; after the end it may be used again."""
    one, two = core.client(), core.client()
    for client, body in ((one, "1"), (two, "2")):
        client("BEGIN", transaction="t")
        client.send("/queue/a", body, transaction="t")
    one("ABORT", transaction="t")
    two("COMMIT", transaction="t")
    assert watcher.bodies() == ["2"]
    for end in ("COMMIT", "ABORT", "COMMIT"):
        one("BEGIN", transaction="t")
        one.send("/queue/a", end, transaction="t")
        one(end, transaction="t")
    assert watcher.bodies() == ["COMMIT", "COMMIT"]


@pytest.mark.clause("TX-02", "TX-08", "TX-10")
@pytest.mark.parametrize("command", ["BEGIN", "COMMIT", "ABORT"])
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_the_transaction_header_is_required(core: Core, command: str, version: str) -> None:
    """Without it the frame is an ERROR in every version."""
    client = core.client(version)
    client(command, receipt="r")
    error = client.error()
    assert error["message"] == f"{command} without transaction"
    assert error["receipt-id"] == "r"


@pytest.mark.clause("TX-08", "TX-10", "TX-12")
@pytest.mark.parametrize("command", ["COMMIT", "ABORT", "SEND", "ACK", "NACK"])
def test_a_transaction_that_was_not_begun(core: Core, command: str) -> None:
    """Naming it is an ERROR, and nothing is done."""
    client = _held(core, 1)
    message = client.messages(1)[0]
    if command == "SEND":
        client.send("/queue/in", "x", transaction="none")
    elif command in ("ACK", "NACK"):
        client.ack(message, command, transaction="none")
    else:
        client(command, transaction="none")
    assert client.error()["message"] == "no such transaction"
    assert _ready(core) == (1, 0)


@pytest.mark.clause("TX-04", "V11-19")
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_begin_twice(core: Core, version: str) -> None:
    """An id that is in use is an ERROR."""
    client = core.client(version)
    client("BEGIN", transaction="t")
    client("BEGIN", transaction="t")
    assert client.error()["message"] == "transaction already open"


def test_sends_of_a_transaction_are_contiguous(core: Core, watcher: Client) -> None:
    """What others sent meanwhile stands before or after all of them."""
    client, other = core.client(), core.client()
    client("BEGIN", transaction="t")
    for number in numbers(1, 3):
        client.send("/queue/a", f"t{number}", transaction="t")
        other.send("/queue/a", f"o{number}")
    client("COMMIT", transaction="t")
    assert watcher.bodies() == ["o1", "o2", "o3", "t1", "t2", "t3"]


def test_commit_refused_by_a_full_queue_does_nothing() -> None:
    """When one of its queues rejects, neither its other SENDs nor its ACKs take effect."""
    core = Core(settings({"/queue/full": Policy(max_messages=2, overflow="reject")}))
    client = _held(core, 1)
    message = client.messages(1)[0]
    client("BEGIN", transaction="t")
    client.ack(message, transaction="t")
    client.send("/queue/free", "x", transaction="t")
    for number in numbers(1, 3):
        client.send("/queue/full", number, transaction="t")
    client("COMMIT", transaction="t", receipt="c")
    error = client.error()
    assert (error["message"], error["receipt-id"]) == ("queue is full", "c")
    assert _ready(core) == (1, 0)
    assert _ready(core, "/queue/free") == (0, 0)
    assert _ready(core, "/queue/full") == (0, 0)


def test_a_queue_that_ended_meanwhile_is_made_again() -> None:
    """COMMIT delivers although a queue was removed for being idle."""
    core = Core(settings(auto_delete_after=10.0))
    client = core.client()
    client("BEGIN", transaction="t")
    client.send("/queue/a", "x", transaction="t")
    core.tick(20)
    assert core.broker.host("/").queues == {}
    client("COMMIT", transaction="t", receipt="c")
    assert client.receipts() == ["c"]
    assert _ready(core, "/queue/a") == (1, 0)


def test_acks_survive_unsubscribe_within_a_transaction(core: Core) -> None:
    """UNSUBSCRIBE gives back what is outstanding; COMMIT settles what it holds."""
    client = _held(core, 3)
    one, *_ = client.messages(3)
    client("BEGIN", transaction="t")
    client.ack(one, transaction="t")
    client("UNSUBSCRIBE", id="0")
    assert _ready(core) == (2, 1)
    client("COMMIT", transaction="t", receipt="c")
    assert client.receipts() == ["c"]
    assert _ready(core) == (2, 0)


def test_abort_after_unsubscribe_gives_back_to_whoever_waits(core: Core) -> None:
    """The messages return to their places, are delivered at once, and tell their first id."""
    client = _held(core, 2)
    one, two = client.messages(2)
    client("BEGIN", transaction="t")
    client.ack(one, transaction="t")
    client.ack(two, transaction="t")
    client("UNSUBSCRIBE", id="0")
    other = core.client()
    other.subscribe("/queue/in", "client")
    assert other.take() == []
    client("ABORT", transaction="t")
    messages = other.messages(2)
    assert [message.text for message in messages] == ["1", "2"]
    assert [message["original-message-id"] for message in messages] == [
        one["message-id"],
        two["message-id"],
    ]
    assert not client.session.busy


def test_nothing_comes_after_unsubscribe_whatever_is_acknowledged(core: Core) -> None:
    """ACKs that follow for deliveries of a transaction give no credit to a dead subscription."""
    client = _held(core, 3, prefetch_count="1")
    one = client.messages(1)[0]
    client("BEGIN", transaction="t")
    client.ack(one, transaction="t")
    assert client.bodies() == ["2"]
    client("UNSUBSCRIBE", id="0")
    client.ack(one, transaction="t")
    client.ack(one)
    assert client.take() == []
    assert _ready(core) == (2, 1)
    client("ABORT", transaction="t")
    assert client.take() == []
    assert _ready(core) == (3, 0)


def test_implicit_begin() -> None:
    """Where settings allow it, SEND, ACK and NACK begin what is not open; COMMIT never does."""
    core = Core(settings(implicit_begin=True))
    client = _held(core, 2)
    one, two = client.messages(2)
    client.ack(one, transaction="a")
    client.nack(two, transaction="n", requeue="false")
    client.send("/queue/out", "x", transaction="s")
    assert _ready(core, "/queue/out") == (0, 0)
    for name in "ans":
        client("COMMIT", transaction=name)
    assert _ready(core, "/queue/out") == (1, 0)
    assert _ready(core) == (0, 0)
    client("COMMIT", transaction="never")
    assert client.error()["message"] == "no such transaction"


@pytest.mark.clause("LIM-01")
def test_transactions_are_limited() -> None:
    """In number per connection, in frames and in octets; each limit is named in its ERROR."""
    limits = SessionLimits(transactions=2, transaction_frames=3, transaction_bytes=200)
    core = Core(settings(limits=limits))
    client = core.client()
    for name in "abc":
        client("BEGIN", transaction=name)
    error = client.error()
    assert error["message"] == "too many open transactions"
    assert b"2" in error.body
    client = core.client()
    client("BEGIN", transaction="t")
    for _ in range(4):
        client.send("/queue/a", transaction="t")
    error = client.error()
    assert error["message"] == "transaction over the limit"
    assert b"3 frames" in error.body
    client = core.client()
    client("BEGIN", transaction="t")
    client.send("/queue/a", "x" * 200, transaction="t")
    error = client.error()
    assert error["message"] == "transaction over the limit"
    assert b"200 octets" in error.body
    assert _ready(core, "/queue/a") == (0, 0)


@pytest.mark.clause("U-01")
def test_a_dead_subscription_that_waited_for_room_stays_dead() -> None:
    """An ACK repeated in its transaction does not put it in line again."""
    core = Core(settings(outbox_high=200))
    publish(core.client(), "/queue/in", ["x" * 100] * 5)
    client = core.client()
    client.reading = False
    client.subscribe("/queue/in", "client-individual")
    client("BEGIN", transaction="t")
    client.read_some(later=True)
    one, *_ = client.messages()
    client.ack(one, transaction="t")
    client.reading = True
    client("UNSUBSCRIBE", id="0", receipt="u")
    assert client.take()[-1]["receipt-id"] == "u"
    client.ack(one, transaction="t")
    client.ack(one, receipt="again")
    assert client.receipts() == ["again"]


def test_abort_restores_deliveries_of_several_frames_in_order(core: Core) -> None:
    """Whatever the order of the ACKs was, what is outstanding again is in the order it came in."""
    publish(core.client(), "/queue/in", numbers(1, 6))
    client = core.client()
    client.subscribe("/queue/in", "client-individual")
    messages = client.messages(6)
    client("BEGIN", transaction="t")
    for place in (4, 0, 2):
        client.ack(messages[place], transaction="t")
    client("ABORT", transaction="t")
    (subscription,) = client.session.subscriptions.values()
    assert [message.body for message in subscription.unsettled.values()] == [
        str(number).encode() for number in range(1, 7)
    ]


def test_abort_puts_each_subscription_in_order_once(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction of many ACKs is undone in the time that they took, not in its square."""
    restored: list[int] = []
    restore = Subscription.restore

    def counted(subscription: Subscription, enlisted: list[int]) -> None:
        restored.append(len(enlisted))
        restore(subscription, enlisted)

    monkeypatch.setattr(Subscription, "restore", counted)
    publish(core.client(), "/queue/in", numbers(1, 50))
    client = core.client()
    client.subscribe("/queue/in", "client-individual")
    client("BEGIN", transaction="t")
    for message in client.messages(50):
        client.ack(message, transaction="t")
    client("ABORT", transaction="t")
    assert restored == [50]
