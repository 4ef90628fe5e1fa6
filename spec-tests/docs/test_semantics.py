"""What docs/semantics.md promises, seen by a client of a running daemon."""

import signal
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from wire import Broker, Frame, Wire

from docs.terminal import Terminal

POLICIES = """
[[policy]]
match = "/queue/block.#"
max-messages = 2

[[policy]]
match = "/queue/reject.#"
max-messages = 2
overflow = "reject"

[[policy]]
match = "/queue/drop-head.#"
max-messages = 2
overflow = "drop-head"

[[policy]]
match = "/queue/no-dead-letters.#"
dead-letter = "none"
max-deliveries = 1

[[policy]]
match = "/queue/own-dead-letters.#"
dead-letter = "/queue/failed.{name}"
max-deliveries = 1

[[policy]]
match = "/queue/for-ever.#"
max-deliveries = 0

[[policy]]
match = "/queue/brief.#"
auto-delete-after = "500ms"

[[policy]]
match = "/topic/#.drop-oldest"
slow-consumer = "drop-oldest"
slow-consumer-grace = "200ms"

[[policy]]
match = "/topic/#.close"
slow-consumer-grace = "200ms"
"""

_NUMBER = count(1)

Open = Callable[..., Wire]


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A daemon with a policy of each kind, and small buffers."""
    path = tmp_path_factory.mktemp("semantics") / "stompd.toml"
    path.write_text(POLICIES)
    flags = ["-c", str(path), "--set", "timeouts.error-delay=0s", "--set", "flow.outbox-high=64KiB"]
    with Terminal(*flags, "--set", "flow.outbox-low=16KiB") as running:
        yield running


def opener(running: Terminal, wires: list[Wire]) -> Open:
    """Return what opens a connection to a daemon, logged in unless ``version`` is None."""

    def connect(version: str | None = "1.2", *lines: str) -> Wire:
        wire = Wire(Broker(("127.0.0.1", running.port)))
        wires.append(wire)
        if version is not None:
            wire.connect(version, *lines)
        return wire

    return connect


@pytest.fixture
def connect(terminal: Terminal) -> Iterator[Open]:
    """Open a connection to the daemon; all are closed in the end."""
    wires: list[Wire] = []
    yield opener(terminal, wires)
    for wire in wires:
        wire.close()


def fresh(kind: str = "queue", stem: str = "a") -> str:
    """Return a destination that no other test uses."""
    return f"/{kind}/{stem}.{next(_NUMBER)}"


def ack_id(message: Frame) -> str:
    """Return the header line by which a 1.2 client settles a message."""
    return f"id:{message.text('ack')}"


# -- Destinations ----------------------------------------------------------------------------------


@pytest.mark.clause("S-03")
@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("/queue/" + "n" * 255, None),
        ("/queue/" + "é" * 127, None),
        ("/queue/x y", None),
        ("/queue/é%20b", None),
        ("/queue//a", None),
        ("bare", None),
        ("/topic/a", None),
        ("/temp-queue/a", None),
        ("/temp-topic/a", None),
        ("/remote-temp-queue/c0/a", None),
        ("/queue/" + "n" * 256, b"at most 255 octets"),
        ("/queue/" + "é" * 128, b"at most 255 octets"),
        ("/queue/", b"the name is empty"),
        ("", b"the name is empty"),
        (" /queue/a", b"begin or end with a blank"),
        ("/queue/a ", b"begin or end with a blank"),
        ("/queue/ a", b"begin or end with a blank"),
        ("/queue/a\\nb", b"no control characters"),
        ("/Queue/a", b"a destination is /queue/NAME"),
        ("/", b"a destination is /queue/NAME"),
        ("/exchange/amq.topic/a", None),
        ("/exchange/amq.direct/a", None),
        ("/exchange/amq.direct/*", None),
        ("/exchange/amq.fanout", None),
        ("/amq/queue/a", None),
        ("/queue/a,/topic/b", None),
        ("/queue/a,b", None),
        ("/exchange/logs/a", b"a route leads from or to"),
        ("/queue/a,/topic/b.*", b"wildcards are for SUBSCRIBE"),
        ("/queue/a, /topic/b", b"begin or end with a blank"),
        ("/admin/queues", b"admin requests"),
        ("/topic/$SYS/stats", b"published by the broker alone"),
        ("/queue/a.*", b"wildcards are for SUBSCRIBE"),
        ("/topic/#", b"wildcards are for SUBSCRIBE"),
        ("/topic/a.**", b"wildcards are for SUBSCRIBE"),
        ("/topic/a.>", b"wildcards are for SUBSCRIBE"),
    ],
)
def test_a_name_is_taken_as_it_is_or_refused(
    connect: Open, name: str, refusal: bytes | None
) -> None:
    """A SEND gets its RECEIPT, or an ERROR that says why the name is not accepted."""
    wire = connect()
    wire.frame_out("SEND", f"destination:{name}", "receipt:1", body=b"x")
    if refusal is None:
        wire.expect("RECEIPT", "receipt-id:1")
    else:
        assert refusal in wire.fatal("receipt-id:1").body


@pytest.mark.clause("M-03", "ESC-10")
def test_a_bare_name_is_a_queue_and_stays_as_it_was_written(connect: Open) -> None:
    """What is sent to NAME arrives from /queue/NAME, with the sender's spelling."""
    wire = connect()
    queue = fresh()
    bare = queue.removeprefix("/queue/")
    wire.subscribe("1", queue)
    wire.put(bare, b"x")
    wire.expect("MESSAGE", f"destination:{bare}", "subscription:1")
    other = connect("1.0")
    other.write(f"SEND⏎destination: {queue} ⏎⏎x^@")
    wire.expect("MESSAGE", f"destination:{queue}")


@pytest.mark.parametrize("kind", ["queue", "topic"])
@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*", ["x"], ["x.y", "$x"]),
        ("*.b", ["a.b", "a/b"], ["a.c", "a.b.c", "b"]),
        ("a.*", ["a.b", "a/b"], ["a", "a.b.c", "a.$b"]),
        ("a.#", ["a", "a.b", "a/b.c"], ["b", "ab", "a.$b.c"]),
        ("a/**", ["a", "a.b", "a/b.c"], ["b"]),
        ("a.>", ["a", "a.b", "a.b.c"], ["b"]),
        ("#.z", ["z", "a.z", "a/b/z"], ["z.a"]),
        ("a.#.z", ["a.z", "a.b.c.z"], ["a.b"]),
    ],
)
def test_wildcards(
    connect: Open, kind: str, pattern: str, matching: list[str], others: list[str]
) -> None:
    """A pattern gets what is sent to the names that it matches, and nothing else."""
    wire = connect()
    stem = f"/{kind}/w{next(_NUMBER)}."
    wire.subscribe("1", stem + pattern)
    for name in [*others, *matching]:
        wire.put(stem + name, b"x")
    got = [wire.expect("MESSAGE", "subscription:1").text("destination") for _ in matching]
    assert got == [stem + name for name in matching]
    wire.quiet()


def test_a_wildcard_subscription_takes_from_old_and_new_queues(connect: Open) -> None:
    """Queues that were there before a wildcard subscription are served, and later ones too."""
    wire = connect()
    stem = fresh()
    wire.put(f"{stem}.old", b"old")
    wire.subscribe("1", f"{stem}.*", "ack:client-individual", "prefetch-count:1")
    wire.put(f"{stem}.new", b"new")
    first = wire.expect("MESSAGE", body=b"old")
    wire.quiet()
    wire.frame_out("ACK", ack_id(first))
    wire.expect("MESSAGE", body=b"new")


def test_overlapping_subscriptions_get_a_copy_each(connect: Open) -> None:
    """Three subscriptions that match a topic get three copies."""
    wire = connect()
    topic = fresh("topic")
    wire.subscribe("1", topic)
    wire.subscribe("2", "/topic/a.*")
    wire.subscribe("3", f"{topic}.#")
    wire.put(topic, b"x")
    assert {message.text("subscription") for message in wire.messages(3)} == {"1", "2", "3"}


def test_a_destination_that_nobody_uses_goes_unnoticed(connect: Open, terminal: Terminal) -> None:
    """An empty queue goes after its time, as the state in the log tells, and is made anew."""
    wire = connect()
    queue = fresh(stem="brief")
    wire.put(queue, b"x")
    wire.subscribe("1", queue)
    wire.expect("MESSAGE")
    wire.sync()
    assert f"'{queue}'" in terminal.dump("name='/topic/conformance.sync'")
    wire.frame_out("UNSUBSCRIBE", "id:1")
    wire.sync()
    give_up = time.monotonic() + 20
    while True:
        # Topics come after the queues, and this one is there: `sync` uses it.
        if f"'{queue}'" not in terminal.dump("name='/topic/conformance.sync'"):
            break
        assert time.monotonic() < give_up, "the queue is still there"
    wire.put(queue, b"y")
    wire.subscribe("2", queue)
    wire.expect("MESSAGE", body=b"y")


# -- Queues ----------------------------------------------------------------------------------------


@pytest.mark.clause("ACK-04", "ACK-13", "S-09")
def test_what_comes_back_takes_its_old_place_and_says_so(connect: Open) -> None:
    """After a NACK a message comes before younger ones, with the headers of a redelivery."""
    wire = connect()
    queue = fresh()
    wire.subscribe("1", queue, "ack:client-individual", "prefetch-count:1")
    for body in (b"1", b"2"):
        wire.put(queue, body, "foo:bar")
    first = wire.expect("MESSAGE", body=b"1")
    assert first.raw("redelivered") is None
    wire.frame_out("NACK", ack_id(first))
    again = wire.expect("MESSAGE", "redelivered:true", "delivery-count:2", "foo:bar", body=b"1")
    assert again.text("original-message-id") == first.text("message-id")
    wire.frame_out("NACK", ack_id(again))
    third = wire.expect("MESSAGE", "delivery-count:3", body=b"1")
    assert third.text("original-message-id") == first.text("message-id")
    wire.frame_out("ACK", ack_id(third))
    wire.expect("MESSAGE", body=b"2")


@pytest.mark.clause("ACK-13")
@pytest.mark.parametrize(
    ("ending", "counts"),
    [("close", "211"), ("error", "211"), ("disconnect", "111"), ("unsubscribe", "111")],
)
def test_only_the_oldest_message_of_a_broken_connection_is_blamed(
    connect: Open, ending: str, counts: str
) -> None:
    """An attempt is counted where a consumer probably died over a message, and nowhere else."""
    queue = fresh()
    dying = connect()
    dying.subscribe("1", queue, "ack:client")
    for _ in counts:
        dying.put(queue, b"x")
    dying.messages(len(counts))
    if ending == "close":
        dying.close()
    elif ending == "error":
        dying.frame_out("NONSENSE")
        dying.fatal()
    elif ending == "disconnect":
        dying.frame_out("DISCONNECT")
        dying.eos()
    else:
        dying.frame_out("UNSUBSCRIBE", "id:1")
        dying.sync()
    wire = connect()
    wire.subscribe("1", queue, "ack:client")
    assert "".join(m.text("delivery-count") for m in wire.messages(len(counts))) == counts


@pytest.mark.clause("ACK-13")
def test_a_message_that_fails_five_times_becomes_a_dead_letter(connect: Open) -> None:
    """It is in DLQ.NAME, with what explains it, and stays there however often it fails."""
    wire = connect()
    queue = fresh()
    letters = queue.replace("/queue/", "/queue/DLQ.")
    wire.subscribe("1", queue, "ack:client-individual")
    wire.put(queue, b"x", "foo:bar")
    for _ in range(5):
        wire.frame_out("NACK", ack_id(wire.expect("MESSAGE")), "reason:no good")
    wire.subscribe("2", letters, "ack:client-individual")
    letter = wire.expect(
        "MESSAGE",
        f"destination:{letters}",
        f"original-destination:{queue}",
        "dead-letter-reason:max-deliveries",
        "dead-letter-detail:no good",
        "delivery-count:5",
        "foo:bar",
        body=b"x",
    )
    assert abs(int(letter.text("dead-letter-time")) / 1000 - time.time()) < 60
    for _ in range(7):
        wire.frame_out("NACK", ack_id(letter))
        letter = wire.expect("MESSAGE", "delivery-count:5", "redelivered:true")
    wire.frame_out("NACK", ack_id(letter), "requeue:false")
    wire.quiet()


def test_requeue_false_makes_a_dead_letter_at_once(connect: Open) -> None:
    """NACK with requeue:false rejects a message after its first attempt."""
    wire = connect()
    queue = fresh()
    wire.subscribe("1", queue, "ack:client")
    wire.subscribe("2", queue.replace("/queue/", "/queue/DLQ."))
    wire.put(queue, b"x")
    wire.frame_out("NACK", ack_id(wire.expect("MESSAGE")), "requeue:false", "reason:bad")
    wire.expect(
        "MESSAGE", "dead-letter-reason:rejected", "dead-letter-detail:bad", "delivery-count:1"
    )


def test_credit_in_messages_and_octets(connect: Open) -> None:
    """No more than the credit is delivered; what uses up the last octets still is."""
    wire = connect()
    queue = fresh()
    for body in (b"1" * 100, b"2", b"3"):
        wire.put(queue, body)
    wire.subscribe("1", queue, "ack:client-individual", "prefetch-bytes:10")
    first = wire.expect("MESSAGE", body=b"1" * 100)
    wire.quiet()
    wire.frame_out("UNSUBSCRIBE", "id:1")
    wire.subscribe("2", queue, "ack:client-individual", "prefetch-count:2")
    first, _ = wire.messages(2)
    wire.quiet()
    wire.frame_out("ACK", ack_id(first))
    wire.expect("MESSAGE", body=b"3")
    wire.frame_out("SUBSCRIBE", "id:3", f"destination:{queue}", "prefetch-count:x", "receipt:r")
    wire.fatal("message:prefetch-count is not a number", "receipt-id:r", "subscription:3")


# -- Topics ----------------------------------------------------------------------------------------


def test_a_topic_keeps_nothing(connect: Open) -> None:
    """What nobody subscribed to is gone, and NACK brings no copy back."""
    wire = connect()
    topic = fresh("topic")
    wire.put(topic, b"nobody")
    wire.subscribe("1", topic, "ack:client-individual", "prefetch-count:1")
    wire.put(topic, b"1")
    wire.put(topic, b"2")
    first, _ = wire.messages(2)
    wire.frame_out("NACK", ack_id(first), "receipt:n")
    wire.expect("RECEIPT", "receipt-id:n")
    wire.frame_out("ACK", ack_id(first), "receipt:a")
    wire.expect("RECEIPT", "receipt-id:a")
    wire.quiet()


@pytest.mark.slow
def test_a_slow_subscriber_is_closed(connect: Open) -> None:
    """Who does not read is closed after the grace; the publisher is held up no longer."""
    topic = fresh("topic") + ".close"
    slow, publisher = connect(), connect()
    slow.subscribe("s", topic)
    for _ in range(200):
        publisher.frame_out("SEND", f"destination:{topic}", body=b"x" * 100_000)
    publisher.sync()
    while (frame := slow.frame()).command == b"MESSAGE":
        pass
    assert (frame.command, frame.text("message")) == (b"ERROR", "slow consumer")
    assert frame.text("subscription") == "s"
    slow.eos()


@pytest.mark.slow
def test_a_slow_subscriber_loses_the_oldest_where_the_policy_says_so(connect: Open) -> None:
    """With drop-oldest the publisher goes on, and the subscriber gets the latest messages."""
    topic = fresh("topic") + ".drop-oldest"
    slow, publisher = connect(), connect()
    slow.subscribe("s", topic)
    for number in range(200):
        publisher.frame_out("SEND", f"destination:{topic}", body=b"%-100000d" % number)
    publisher.sync()
    got: list[int] = []
    while not got or got[-1] < 199:
        got.append(int(slow.expect("MESSAGE").body))
    assert got == sorted(got)
    assert len(got) < 200
    publisher.put(topic, b"200")
    slow.expect("MESSAGE", body=b"200")


# -- Temporary destinations and replies ------------------------------------------------------------


def test_a_reply_comes_back_to_who_asked(connect: Open) -> None:
    """reply-to becomes a public name, the sender is subscribed, and the answer arrives."""
    asking, answering = connect(), connect()
    queue = fresh()
    answering.subscribe("1", queue)
    assert asking.connected is not None
    public = f"/remote-temp-queue/{asking.connected.text('session')}/answers"
    lines = ("reply-to:/temp-queue/answers", "correlation-id:7")
    asking.put(queue, b"question", *lines)
    answering.expect("MESSAGE", f"reply-to:{public}", "correlation-id:7", body=b"question")
    answering.put(public, b"answer", "correlation-id:7")
    asking.expect(
        "MESSAGE",
        f"destination:{public}",
        "subscription:/temp-queue/answers",
        "correlation-id:7",
        body=b"answer",
    )
    asking.frame_out("UNSUBSCRIBE", "id:/temp-queue/answers", "receipt:u")
    asking.expect("RECEIPT", "receipt-id:u")
    asking.frame_out("DISCONNECT")
    asking.eos()
    answering.put(public, b"too late")


def test_a_temporary_destination_is_private(connect: Open) -> None:
    """The same name means another queue in another connection, and nobody else may subscribe."""
    mine, theirs = connect(), connect()
    for wire in (mine, theirs):
        wire.subscribe("1", "/temp-queue/private")
    mine.put("/temp-queue/private", b"mine")
    mine.expect("MESSAGE", body=b"mine")
    theirs.quiet()
    assert mine.connected is not None
    session = mine.connected.text("session")
    for name, refusal in {
        f"/remote-temp-queue/{session}/private": "SUBSCRIBE to somebody's temporary destination",
        "/remote-temp-queue/#": "malformed destination name",
        "/temp-queue/*": "malformed destination name",
    }.items():
        wire = connect()
        wire.frame_out("SUBSCRIBE", "id:1", f"destination:{name}")
        wire.fatal(f"message:{refusal}")


# -- Connecting ------------------------------------------------------------------------------------


@pytest.mark.clause("C-13", "C-14", "C-21")
def test_any_login_is_accepted_and_versions_are_mixed(connect: Open) -> None:
    """A message of a 1.2 client is read by a 1.0 client, each in its version."""
    new, old = connect("1.2", "login:anybody", "passcode:anything"), connect("1.0")
    assert new.connected is not None
    assert old.connected is not None
    assert new.connected.text("heart-beat") == "10000,10000"
    assert old.connected.raw("heart-beat") is None
    assert new.connected.text("session") != old.connected.text("session")
    queue = fresh()
    old.write(f"SUBSCRIBE⏎destination:{queue}⏎receipt:s⏎⏎^@")
    old.expect("RECEIPT", "receipt-id:s")
    new.put(queue, b"x", "path:c\\cd\\\\e")
    message = old.expect("MESSAGE", "path:c:d\\e")
    assert message.raw("subscription") is None


def test_half_close_has_everything_carried_out(connect: Open) -> None:
    """Whole frames before the end of a client's stream are answered, half a frame is dropped."""
    wire = connect(None)
    queue = fresh()
    wire.write(
        f"CONNECT⏎accept-version:1.2⏎host:x⏎⏎^@SEND⏎destination:{queue}⏎receipt:1⏎⏎whole^@"
        f"SEND⏎destination:{queue}⏎⏎half"
    )
    wire.half_close()
    wire.await_connected()
    wire.expect("RECEIPT", "receipt-id:1")
    wire.eos()
    other = connect()
    other.subscribe("1", queue)
    other.expect("MESSAGE", body=b"whole")
    other.quiet()


def test_a_stop_lets_those_finish_who_hold_something() -> None:
    """At SIGTERM an idle connection is closed, one with a message may still ACK it."""
    wires: list[Wire] = []
    with Terminal() as running:
        connect = opener(running, wires)
        idle, busy = connect(), connect()
        busy.subscribe("1", "/queue/a", "ack:client")
        busy.put("/queue/a", b"1")
        message = busy.expect("MESSAGE")
        running.signal(signal.SIGTERM)
        idle.fatal("message:the server is stopping")
        busy.frame_out("SEND", "destination:/queue/a", "receipt:s", body=b"2")
        busy.expect("RECEIPT", "receipt-id:s")
        busy.frame_out("ACK", ack_id(message), "receipt:a")
        busy.expect("RECEIPT", "receipt-id:a")
        busy.fatal("message:the server is stopping")
        assert running.wait() == 0
    for wire in wires:
        wire.close()


def test_an_address_that_errs_again_and_again_is_slowed_down() -> None:
    """The sixth ERROR in a row is not followed by the close at once."""
    wires: list[Wire] = []
    with Terminal("--set", "timeouts.error-delay=1s") as running:
        connect = opener(running, wires)
        for _ in range(5):
            connect(None).write("NONSENSE⏎⏎^@")
            wires[-1].fatal()
        began = time.monotonic()
        connect(None).write("NONSENSE⏎⏎^@")
        wires[-1].expect("ERROR")
        wires[-1].eos()
        assert time.monotonic() - began >= 1
    for wire in wires:
        wire.close()


# -- Headers ---------------------------------------------------------------------------------------


@pytest.mark.clause("S-07", "HDR-02", "HDR-04", "M-10")
def test_what_is_passed_on_and_what_is_not(connect: Open) -> None:
    """The sender's headers arrive once each and in order; those that are not his do not."""
    wire = connect()
    queue = fresh()
    wire.subscribe("1", queue)
    forged = ["message-id", "subscription", "ack", "redelivered", "delivery-count"]
    passed = ["b:2", "persistent:true", "a:1", "priority:9", "ttl:1", "expires:1", "delay:99999"]
    wire.put(
        queue, b"x", *passed, "a:second", "original-message-id:f", *(f"{n}:forged" for n in forged)
    )
    message = wire.expect("MESSAGE")
    lines = [line.decode() for line in message.lines]
    assert [line for line in lines if line in passed] == passed
    assert "forged" not in "".join(lines)
    assert {"receipt", "ack", "original-message-id", "content-type"}.isdisjoint(
        line.partition(":")[0] for line in lines
    )
    assert len({line.partition(":")[0] for line in lines}) == len(lines)
    assert message.text("content-length") == "1"


@pytest.mark.clause("V10-11")
@pytest.mark.parametrize(
    ("kind", "line", "refused"),
    [
        ("queue", "selector:a = 1", True),
        ("queue", "browser:true", True),
        ("topic", "durable:true", True),
        ("topic", "selector:a = 1", True),
        ("queue", "browser:false", False),
        ("queue", "durable:true", False),
        ("queue", "exclusive:true", False),
        ("topic", "no-local:true", False),
        ("queue", "x-whatever:1", False),
    ],
)
def test_what_would_do_harm_is_refused(
    connect: Open, kind: str, line: str, *, refused: bool
) -> None:
    """A header of SUBSCRIBE that cannot be honoured is refused if ignoring it does harm."""
    wire = connect()
    wire.frame_out("SUBSCRIBE", "id:1", f"destination:{fresh(kind)}", line, "receipt:1")
    if refused:
        wire.fatal(f"message:{line.partition(':')[0]} is not available", "receipt-id:1")
    else:
        wire.expect("RECEIPT", "receipt-id:1")


# -- Policies --------------------------------------------------------------------------------------


def test_a_full_queue_blocks_its_senders(connect: Open) -> None:
    """The SEND over the limit has its RECEIPT; what follows waits until there is room."""
    sender, taker = connect(), connect()
    queue = fresh(stem="block")
    for number in range(3):
        sender.put(queue, b"x", f"n:{number}")
    sender.frame_out("SEND", f"destination:{queue}", "receipt:fourth", body=b"x")
    sender.quiet()
    taker.subscribe("1", queue)
    taker.messages(4)
    sender.expect("RECEIPT", "receipt-id:fourth")


def test_a_full_queue_rejects(connect: Open) -> None:
    """With reject the SEND over the limit gets ERROR and closes; a COMMIT takes no effect."""
    queue = fresh(stem="reject")
    sender = connect()
    sender.frame_out("BEGIN", "transaction:t")
    for _ in range(3):
        sender.frame_out("SEND", f"destination:{queue}", "transaction:t", body=b"x")
    sender.frame_out("COMMIT", "transaction:t", "receipt:c")
    sender.fatal("message:queue is full", "receipt-id:c")
    sender = connect()
    sender.put(queue, b"1")
    sender.put(queue, b"2")
    sender.frame_out("SEND", f"destination:{queue}", "receipt:r", body=b"3")
    sender.fatal("message:queue is full", "receipt-id:r")
    taker = connect()
    taker.subscribe("1", queue)
    assert [message.body for message in taker.messages(2)] == [b"1", b"2"]
    taker.quiet()


def test_a_full_queue_drops_its_oldest(connect: Open) -> None:
    """With drop-head the oldest messages become dead letters."""
    wire = connect()
    queue = fresh(stem="drop-head")
    for body in (b"1", b"2", b"3"):
        wire.put(queue, body)
    wire.subscribe("1", queue)
    assert [message.body for message in wire.messages(2)] == [b"2", b"3"]
    wire.subscribe("2", queue.replace("/queue/", "/queue/DLQ."))
    wire.expect("MESSAGE", "dead-letter-reason:overflow", "delivery-count:0", body=b"1")


def test_a_policy_says_what_becomes_of_dead_letters(connect: Open) -> None:
    """They go to the queue that it names, or nowhere; without a limit there are none."""
    wire = connect()
    own, none = fresh(stem="own-dead-letters"), fresh(stem="no-dead-letters")
    never = fresh(stem="for-ever")
    for identifier, queue in enumerate((own, none, never)):
        wire.subscribe(str(identifier), queue, "ack:client-individual")
        wire.put(queue, b"x")
        wire.frame_out("NACK", ack_id(wire.expect("MESSAGE")))
    message = wire.expect("MESSAGE", f"destination:{never}")
    for number in range(3, 12):
        wire.frame_out("NACK", ack_id(message))
        message = wire.expect("MESSAGE", f"delivery-count:{number}")
    wire.subscribe("own", own.replace("/queue/", "/queue/failed."))
    wire.expect("MESSAGE", f"original-destination:{own}")
    wire.subscribe("none", none.replace("/queue/", "/queue/DLQ."))
    wire.quiet()
