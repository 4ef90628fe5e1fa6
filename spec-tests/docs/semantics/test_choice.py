"""Who gets what, as docs/semantics.md promises it: selectors, ranks, groups, browsers."""

import pytest

from docs.semantics.daemon import Open, ack_id, bodies, fresh


@pytest.mark.clause("V10-11")
@pytest.mark.parametrize("version", ["1.0", "1.2"])
def test_a_selector_leaves_the_rest_to_others(connect: Open, version: str) -> None:
    """It finds its messages wherever they stand; the others keep their order."""
    red, any_ = connect(version), connect()
    queue = fresh()
    for number in range(6):
        colour = "red" if number in (3, 5) else "blue"
        red.put(queue, b"%d" % number, f"colour:{colour}")
    red.subscribe("1", queue, "selector:colour = 'red'")
    assert bodies(red, 2) == ["3", "5"]
    red.quiet()
    any_.subscribe("1", queue, "selector:")
    assert bodies(any_, 4) == ["0", "1", "2", "4"]


def test_a_selector_sees_what_explains_a_dead_letter(connect: Open) -> None:
    """Dead letters can be picked by their reason."""
    wire = connect()
    queue = fresh()
    wire.subscribe("1", queue, "ack:client-individual")
    wire.put(queue, b"x")
    wire.frame_out("NACK", ack_id(wire.expect("MESSAGE")), "requeue:false", "reason:bad")
    letters = queue.replace("/queue/", "/queue/DLQ.")
    wire.subscribe("2", letters, "selector:dead-letter-reason = 'expired'")
    wire.subscribe("3", letters, "selector:dead-letter-detail = 'bad'")
    wire.expect("MESSAGE", "subscription:3", body=b"x")


def test_a_selector_of_a_wildcard_counts_for_every_queue(connect: Open) -> None:
    """For those that are there and for those that are made later."""
    wire = connect()
    stem = fresh()
    wire.put(f"{stem}.old", b"1", "n:1")
    wire.put(f"{stem}.old", b"2", "n:2")
    wire.subscribe("1", f"{stem}.*", "selector:n > 1")
    wire.expect("MESSAGE", body=b"2")
    wire.put(f"{stem}.new", b"3", "n:1")
    wire.put(f"{stem}.new", b"4", "n:3")
    wire.expect("MESSAGE", body=b"4")
    wire.quiet()


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_a_malformed_selector_is_an_error(connect: Open, kind: str) -> None:
    """Its body tells the column."""
    wire = connect()
    wire.frame_out("SUBSCRIBE", "id:1", f"destination:{fresh(kind)}", "selector:a ==", "receipt:r")
    assert b"column 4" in wire.fatal("message:malformed selector", "receipt-id:r").body


def test_a_higher_consumer_is_served_first(connect: Open) -> None:
    """As far as its credit goes; the rest goes to the lower ones, equal ones take turns."""
    wire = connect()
    queue = fresh()
    explicit = "ack:client-individual"
    wire.subscribe("low", queue, explicit, "consumer-priority:-1")
    wire.subscribe("a", queue, explicit, "prefetch-count:1")
    wire.subscribe("b", queue, explicit, "prefetch-count:1", "consumer-priority:0")
    wire.subscribe("high", queue, explicit, "prefetch-count:2", "consumer-priority:7")
    for number in range(5):
        wire.put(queue, b"%d" % number)
    served = [message.text("subscription") for message in wire.messages(5)]
    assert served[:2] == ["high", "high"]
    assert set(served[2:4]) == {"a", "b"}
    assert served[4] == "low"


def test_an_exclusive_consumer_is_served_alone(connect: Open) -> None:
    """Until it ends, also without credit; the next exclusive one follows, then everybody."""
    wire = connect()
    queue = fresh()
    explicit = "ack:client-individual"
    wire.subscribe("plain", queue, explicit, "exclusive:false")
    wire.put(queue, b"0")
    wire.expect("MESSAGE", "subscription:plain", body=b"0")
    wire.subscribe("first", queue, explicit, "exclusive:true", "prefetch-count:1")
    wire.subscribe("second", queue, explicit, "exclusive:true", "prefetch-count:1")
    for number in range(1, 4):
        wire.put(queue, b"%d" % number)
    message = wire.expect("MESSAGE", "subscription:first", body=b"1")
    wire.quiet()
    wire.frame_out("ACK", ack_id(message))
    wire.expect("MESSAGE", "subscription:first", body=b"2")
    wire.frame_out("UNSUBSCRIBE", "id:first")
    wire.expect("MESSAGE", "subscription:second", body=b"2")
    wire.frame_out("UNSUBSCRIBE", "id:second")
    for body in (b"2", b"3"):
        wire.expect("MESSAGE", "subscription:plain", body=body)


def test_exclusiveness_of_a_wildcard_is_each_queues_own(connect: Open) -> None:
    """A queue that somebody else has alone is his; the others are served."""
    wire = connect()
    stem = fresh()
    wire.subscribe("one", f"{stem}.one", "exclusive:true")
    wire.subscribe("all", f"{stem}.*", "exclusive:true")
    wire.put(f"{stem}.one", b"1")
    wire.put(f"{stem}.two", b"2")
    wire.expect("MESSAGE", "subscription:one", body=b"1")
    wire.expect("MESSAGE", "subscription:all", body=b"2")


def test_a_group_stays_with_one_subscription(connect: Open) -> None:
    """While it lives, also when it has no credit; then it moves on with what is unsettled."""
    wire = connect()
    queue = fresh()
    explicit = "ack:client-individual"
    wire.subscribe("a", queue, explicit, "prefetch-count:1")
    wire.put(queue, b"1", "message-group:g")
    wire.expect("MESSAGE", "subscription:a", body=b"1")
    wire.subscribe("b", queue, explicit)
    wire.put(queue, b"2", "message-group:g")
    wire.put(queue, b"3", "message-group:h")
    wire.put(queue, b"4", "message-group:")
    for body in (b"3", b"4"):
        wire.expect("MESSAGE", "subscription:b", body=body)
    wire.quiet()
    wire.frame_out("UNSUBSCRIBE", "id:a")
    wire.expect("MESSAGE", "subscription:b", "redelivered:true", body=b"1")
    wire.expect("MESSAGE", "subscription:b", body=b"2")


def test_what_a_groups_subscription_does_not_select_waits(connect: Open) -> None:
    """It goes to nobody else of that group, and comes to the next one in its place."""
    wire = connect()
    queue = fresh()
    wire.subscribe("a", queue, "selector:n = 1")
    wire.put(queue, b"1", "message-group:g", "n:1")
    wire.expect("MESSAGE", "subscription:a", body=b"1")
    wire.subscribe("b", queue)
    wire.put(queue, b"2", "message-group:g", "n:2")
    wire.quiet()
    wire.frame_out("UNSUBSCRIBE", "id:a")
    wire.expect("MESSAGE", "subscription:b", body=b"2")


def test_browsing_shows_copies_and_takes_nothing(connect: Open) -> None:
    """In the order of delivery, what is held left out, then the end; settling does nothing."""
    wire, browser = connect(), connect()
    queue = fresh()
    wire.put(queue, b"held")
    wire.subscribe("1", queue, "ack:client-individual", "prefetch-count:1")
    held = wire.expect("MESSAGE", body=b"held")
    wire.put(queue, b"blue", "colour:blue")
    wire.put(queue, b"red", "colour:red")
    wire.put(queue, b"urgent", "colour:red", "priority:9")
    wire.put(queue, b"late", "delay:600000")
    browser.subscribe("b", queue, "browser:true", "ack:client-individual")
    copies = browser.messages(3)
    assert [copy.body for copy in copies] == [b"urgent", b"blue", b"red"]
    browser.expect("MESSAGE", "subscription:b", "browser:end", f"destination:{queue}", body=b"")
    for command in ("NACK", "ACK"):
        browser.frame_out(command, ack_id(copies[0]))
    wire.frame_out("NACK", ack_id(held))
    wire.expect("MESSAGE", body=b"urgent")
    browser.subscribe("c", queue, "browser:true", "selector:colour IS NULL")
    browser.expect("MESSAGE", "redelivered:true", "delivery-count:2", body=b"held")
    browser.expect("MESSAGE", "subscription:c", "browser:end")
    browser.subscribe("empty", fresh(), "browser:true")
    browser.expect("MESSAGE", "subscription:empty", "browser:end")
    browser.quiet()


def test_a_browser_of_a_wildcard_ends_once(connect: Open) -> None:
    """It shows one queue after the other."""
    wire = connect()
    stem = fresh()
    for name in ("x", "y"):
        for number in range(2):
            wire.put(f"{stem}.{name}", f"{name}{number}".encode())
    wire.subscribe("b", f"{stem}.*", "browser:true")
    assert bodies(wire, 4) == ["x0", "x1", "y0", "y1"]
    wire.expect("MESSAGE", "browser:end")
    wire.quiet()


def test_a_browser_may_follow(connect: Open) -> None:
    """Without an end it sees what comes, whoever gets it, each once."""
    wire, browser = connect(), connect()
    queue = fresh()
    wire.put(queue, b"1")
    browser.subscribe("b", queue, "browser:true", "browser-end:false")
    browser.expect("MESSAGE", body=b"1")
    wire.subscribe("1", queue, "ack:client-individual")
    wire.frame_out("NACK", ack_id(wire.expect("MESSAGE", body=b"1")))
    wire.put(queue, b"2", "delay:50")
    wire.put(queue, b"3")
    assert sorted(bodies(browser, 2)) == ["2", "3"]
    browser.quiet()


@pytest.mark.slow
def test_a_browser_that_does_not_read_holds_nobody_up(connect: Open) -> None:
    """Who follows loses what it has no room for; who does not is shown all when it reads."""
    wire, follower, browser = connect(), connect(), connect()
    queue = fresh()
    follower.subscribe("f", queue, "browser:true", "browser-end:false")
    for number in range(200):
        wire.frame_out("SEND", f"destination:{queue}", body=b"%-100000d" % number)
    wire.sync()
    browser.subscribe("b", queue, "browser:true")
    wire.put(queue, b"later")
    seen = [int(message.body) for message in browser.messages(200)]
    assert seen == list(range(200))
    browser.expect("MESSAGE", "browser:end")
    follower.frame_out("UNSUBSCRIBE", "id:f", "receipt:u")
    shown = []
    while (frame := follower.frame()).command == b"MESSAGE":
        shown.append(int(frame.body))
    assert (frame.command, frame.text("receipt-id")) == (b"RECEIPT", "u")
    assert shown == sorted(shown)
    assert len(shown) < 200


def test_a_topic_cannot_be_browsed(connect: Open) -> None:
    """It holds nothing to look at."""
    wire = connect()
    wire.frame_out("SUBSCRIBE", "id:1", f"destination:{fresh('topic')}", "browser:true")
    wire.fatal("message:nothing to browse")


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_a_duplicate_gets_its_receipt_and_goes_nowhere(connect: Open, kind: str) -> None:
    """Each destination remembers for itself; a transaction's ids count at COMMIT."""
    wire = connect()
    name, other = fresh(kind), fresh(kind)
    for destination in (name, other):
        wire.subscribe(destination, destination)
    wire.frame_out("BEGIN", "transaction:t")
    lines = ("transaction:t", "dedup-id:7")
    wire.frame_out("SEND", f"destination:{name}", *lines, body=b"aborted")
    wire.frame_out("ABORT", "transaction:t")
    wire.put(name, b"1", "dedup-id:7")
    wire.put(name, b"2", "dedup-id:7")
    wire.put(name, b"3", "dedup-id:8")
    wire.put(other, b"4", "dedup-id:7")
    assert bodies(wire, 3) == ["1", "3", "4"]
    wire.quiet()


def test_a_policy_says_how_many_ids_are_remembered(connect: Open) -> None:
    """Of more of them the oldest are forgotten."""
    wire = connect()
    queue = fresh(stem="forgetful")
    wire.subscribe("1", queue)
    for number in (1, 2, 3, 3, 1):
        wire.put(queue, b"%d" % number, f"dedup-id:{number}")
    assert bodies(wire, 4) == ["1", "2", "3", "1"]


def test_a_policy_says_how_long_ids_are_remembered(connect: Open) -> None:
    """After the window the same id is a new one."""
    wire = connect()
    queue = fresh(stem="short-memory")
    wire.subscribe("1", queue)
    wire.put(queue, b"1", "dedup-id:x")
    wire.expect("MESSAGE", body=b"1")
    wire.quiet()
    wire.put(queue, b"2", "dedup-id:x")
    wire.expect("MESSAGE", body=b"2")
