"""The commands that look at a broker and act on it, against a real stompd, as users run them."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from client.programs import Stomp, environment, running_stompd
from client.terminal import Terminal
from server.process import daemon
from wire import Broker, Wire

from stompcli import listing
from stompcli.exitcodes import ExitCode
from stompcli.listing import Listing


@pytest.fixture
def alone() -> Iterator[Stomp]:
    """The `stomp` program against a stompd in which nothing is but what the test makes."""
    with running_stompd() as port:
        yield Stomp(port)


@contextmanager
def connected(stomp: Stomp, *lines: str) -> Iterator[Wire]:
    """Connect somebody else, with these lines of CONNECT, for the length of a block."""
    wire = Wire(Broker(("127.0.0.1", stomp.port)))
    try:
        wire.connect("1.2", *lines)
        yield wire
        if wire.ended is None:
            wire.frame_out("DISCONNECT", "receipt:bye")
            wire.expect_among("RECEIPT", "receipt-id:bye")
    finally:
        wire.close()


@pytest.fixture
def paging(tmp_path: Path) -> Iterator[Stomp]:
    """The `stomp` program against a stompd that has ten messages of a queue in memory."""
    settings = tmp_path / "stompd.toml"
    settings.write_text('[[policy]]\nmatch = "#"\nwindow-messages = 10\n')
    with daemon("-c", str(settings), data=tmp_path / "data") as running:
        yield Stomp(running.port)


def test_a_long_queue_is_reached_to_its_end(paging: Stomp) -> None:
    """Browsed, copied, moved, requeued and purged, although most of it is in the file only."""
    with connected(paging) as wire:
        put(wire, "/queue/long", *(f"{number}" for number in range(1200)), persistent="true")
    (row,) = rows(paging, "queues", "long")
    assert (row["memory_messages"], row["disk_messages"]) == (10, 1190)
    shown = paging("browse", "/queue/long", "-n", "5000", "--format", "{id} ")
    assert shown.text.split() == [str(place) for place in range(1, 1201)]
    one = paging("browse", "/queue/long", "--id", "900", "--format", "{body}")
    assert one.text == "899"
    assert codes(paging, "/queue/long", "--id", "900")[0] == "in-store"
    assert paging("copy", "/queue/long", "/queue/copy").code == 0
    assert paging("move", "/queue/long", "/queue/moved", "-n", "700", "-y").code == 0
    assert paging("purge", "/queue/copy", "--keep", "100", "-y").code == 0
    found = {row["name"]: row["ready"] for row in rows(paging, "queues")}
    assert found == {"/queue/copy": 100, "/queue/long": 500, "/queue/moved": 700}
    status = json.loads(paging("status", "--json").out)
    assert status["store"]["kind"] == "sqlite"
    assert status["store"]["commits"] > 0


def name_of(wire: Wire) -> str:
    """Return the name of a connection."""
    assert wire.connected is not None
    return wire.connected.text("session")


def put(wire: Wire, destination: str, *bodies: str, **headers: str) -> None:
    """Send messages, and wait until they are there."""
    lines = [f"{name.replace('_', '-')}:{value}" for name, value in headers.items()]
    for body in bodies:
        wire.frame_out("SEND", f"destination:{destination}", *lines, body=body.encode())
    wire.sync()


def subscribe(wire: Wire, destination: str, *lines: str) -> None:
    """Subscribe with the id s, and wait until that is done."""
    wire.frame_out("SUBSCRIBE", "id:s", f"destination:{destination}", *lines)
    wire.sync()


def reject(wire: Wire, queue: str, *bodies: str) -> None:
    """Make dead letters: send messages to a queue, receive them, and refuse each for good."""
    put(wire, queue, *bodies)
    subscribe(wire, queue, "ack:client-individual")
    for body in bodies:
        message = wire.expect("MESSAGE", body=body.encode())
        wire.frame_out("NACK", f"id:{message.text('ack')}", "requeue:false")
    wire.frame_out("UNSUBSCRIBE", "id:s")
    wire.sync()


def rows(stomp: Stomp, *words: str) -> list[dict[str, Any]]:
    """Return what a listing writes in JSON."""
    finished = stomp(*words, "--json")
    assert (finished.code, finished.err) == (0, "")
    value = json.loads(finished.out)
    assert isinstance(value, list)
    return value


def bodies(stomp: Stomp, queue: str) -> list[str]:
    """Return the bodies that browse writes into a pipe."""
    finished = stomp("browse", queue)
    assert (finished.code, finished.err) == (0, "")
    return finished.text.splitlines()


# Looking.


def test_queues(alone: Stomp) -> None:
    """A table, tabs, JSON and filters; what the listing itself needs is not in it."""
    with connected(alone) as wire:
        put(wire, "/queue/orders.de", "1", "2", "3")
        put(wire, "/queue/empty", "1")
        put(wire, "/queue/later", "1", delay="100000")
        subscribe(wire, "/queue/empty", "ack:client-individual")
        few = ("--columns", "name,ready,inflight,delayed,consumers")
        assert alone("queues", *few).text == (
            "NAME              READY  INFLIGHT  DELAYED  CONSUMERS\n"
            "/queue/empty          0         1        0          1\n"
            "/queue/later          0         0        1          0\n"
            "/queue/orders.de      3         0        0          0\n"
        )
        assert alone("queues", "orders.*", "--plain", *few).text == (
            "name\tready\tinflight\tdelayed\tconsumers\n/queue/orders.de\t3\t0\t0\t0\n"
        )
        assert alone("queues", "--non-empty", "--no-consumers", "--no-header", *few).text == (
            "/queue/later      0  0  1  0\n/queue/orders.de  3  0  0  0\n"
        )
        told = rows(alone, "queues", "--sort", "ready", "--top", "1")
        assert [(row["name"], row["ready"], row["vhost"]) for row in told] == [
            ("/queue/orders.de", 3, "/")
        ]
        assert rows(alone, "queues", "/queue/orders.#", "--columns", "name") == [
            {"name": "/queue/orders.de"}
        ]
        terminal = Terminal(alone, "queues", "--columns", "name", "orders*")
        assert terminal.end() == 0
        assert terminal.seen == "NAME\n/queue/orders.de\n1 queue, 3 messages\n"


def test_queue_info(alone: Stomp) -> None:
    """All that is known of one queue, by its name with or without its kind."""
    with connected(alone) as wire:
        put(wire, "/queue/a", "12345")
        for name in ("a", "/queue/a"):
            told = json.loads(alone("queue", "info", name, "--json").out)
            assert (told["name"], told["ready"], told["paused"]) == ("/queue/a", 1, False)
            assert told["dead_letter_queue"] == "/queue/DLQ.a"
        assert "ready              1\n" in alone("queue", "info", "a").text
        assert "oldest\t" in alone("queue", "info", "a", "--plain").text


def test_status(alone: Stomp) -> None:
    """The broker's totals; in JSON as numbers."""
    with connected(alone) as wire:
        put(wire, "/queue/a", "1", "2")
        told = json.loads(alone("status", "--json").out)
        assert (told["messages"], told["connections"], told["draining"]) == (2, 2, False)
        assert told["server"] == f"stompd/{told['version']}"
        lines = alone("status").text.splitlines()
        assert lines[0].split() == ["server", told["server"]]
        assert len(lines) == len(told)


def test_topics_and_durable_subscriptions(alone: Stomp) -> None:
    """Who is subscribed, and what is kept for one who is away; then that is removed."""
    with connected(alone, "client-id:billing") as wire:
        subscribe(wire, "/topic/news", "durable-subscription-name:audit")
        used = alone("durable", "rm", "audit", "--yes")
        assert (used.code, used.err) == (
            ExitCode.FAILED,
            f'stomp: "audit" is in use by {name_of(wire)}\n',
        )
    with connected(alone) as wire:
        put(wire, "/topic/news", "1", "2")
    few = ("--columns", "name,subscribers,durable_subscriptions,received")
    assert alone("topics", "news", *few).text == (
        "NAME         SUBS  DURABLE  RECEIVED\n/topic/news     0        1         2\n"
    )
    assert alone("durable", "ls").text == (
        "NAME   CLIENT-ID  TOPIC        READY  INFLIGHT  CONSUMERS\n"
        "audit  billing    /topic/news      2         0          0\n"
    )
    removed = alone("durable", "rm", "audit", "--client-id", "billing", "--yes")
    assert (removed.code, removed.err) == (0, "Removed the durable subscription audit\n")
    assert rows(alone, "durable", "ls") == []
    assert alone("durable", "rm", "audit", "--yes").code == ExitCode.FAILED


def test_subscriptions_and_connections(alone: Stomp) -> None:
    """Who receives from what, and from where; only of one connection or some destinations."""
    with connected(alone, "client-id:me") as wire, connected(alone) as other:
        us = name_of(wire)
        subscribe(wire, "/queue/jobs", "ack:client", "selector:kind = 'a'", "prefetch-count:7")
        subscribe(other, "/topic/jobs")
        (told,) = rows(alone, "subscriptions", "--connection", us)
        assert (told["destination"], told["ack"], told["selector"]) == (
            "/queue/jobs",
            "client",
            "kind = 'a'",
        )
        assert told["prefetch_count"] == 7
        for glob, found in (
            ("jobs", ["/queue/jobs", "/topic/jobs"]),
            ("jo*", ["/queue/jobs", "/topic/jobs"]),
            ("jobs.#", ["/queue/jobs", "/topic/jobs"]),
            ("/topic/*", ["/topic/jobs"]),
            ("nothing", []),
        ):
            told_of = rows(alone, "subscriptions", glob)
            assert [row["destination"] for row in told_of] == found, glob
        everybody = rows(alone, "connections")
        assert [row["client_id"] for row in everybody] == ["me", None, None]
        (mine,) = rows(alone, "connections", "m?")
        assert (mine["id"], mine["version"], mine["subscriptions"]) == (us, "1.2", 1)
        assert alone("connections", us, "--plain", "--columns", "id,peer").text == (
            f"id\tpeer\n{us}\t{mine['peer']}\n"
        )


def test_routes(alone: Stomp) -> None:
    """A route holds from when it is added until it is removed; explain knows of it."""
    added = alone(
        *("route", "add", "/topic/order.*", "/queue/audit", "--name", "audit"),
        *("--when", "total > 10"),
    )
    assert (added.code, added.err) == (0, "Added the route audit: /topic/order.* to /queue/audit\n")
    made_up = json.loads(alone("route", "add", "/queue/in", "/queue/x", "--json").out)
    assert (made_up["done"], made_up["name"]) == (1, "route-1")
    twice = alone("route", "add", "/queue/in", "/queue/y", "--name", "audit")
    assert twice.code == ExitCode.FAILED
    assert alone("route", "add", "/queue/in", "/queue/*").code == ExitCode.USAGE
    with connected(alone) as wire:
        put(wire, "/topic/order.new", "small", total="1")
        put(wire, "/topic/order.new", "large", total="100")
    assert bodies(alone, "/queue/audit") == ["large"]
    assert alone("routes", "--plain", "audit").text == (
        "vhost\tname\tmatch\tto\twhen\tmove\tconfigured\n"
        "/\taudit\t/topic/order.*\t/queue/audit\ttotal > 10\tfalse\tfalse\n"
    )
    told = alone("explain", "/topic/order.new", "-H", "total:11")
    assert told.text.endswith(
        "  goes to:\n    /topic/order.new (0 subscriptions)\n"
        "    /queue/audit (by audit, 0 subscriptions)\n"
    )
    assert "/queue/audit" not in alone("explain", "/topic/order.new", "-H", "total:9").text
    removed = alone("route", "rm", "audit")
    assert (removed.code, removed.err) == (0, "Removed the route audit\n")
    again = alone("route", "rm", "audit")
    assert (again.code, again.err) == (ExitCode.FAILED, 'stomp: no such route: "audit"\n')


def test_definitions(alone: Stomp, tmp_path: Path) -> None:
    """They go to a file and back, the routes of this run among them; what is wrong is told."""
    alone("route", "add", "/topic/o", "/queue/audit", "--name", "d")
    file, bad = tmp_path / "all.json", tmp_path / "bad.json"
    written = alone("definitions", "export", str(file))
    assert (written.code, written.err) == (0, f"wrote 1 definition to {file}\n")
    assert alone("definitions", "export").text == file.read_text("utf-8")
    alone("route", "rm", "d")
    dry = alone("definitions", "import", str(file), "--dry-run")
    assert dry.err == "1 new, 0 changed, 0 the same (nothing was changed)\n"
    assert alone("definitions", "import", str(file)).err == "1 new, 0 changed, 0 the same\n"
    again = alone("definitions", "import", "-", "--json", stdin=file.read_bytes())
    assert json.loads(again.out) == {"new": 0, "changed": 0, "same": 1}
    for text, code, told in (
        ("{", ExitCode.BAD_INPUT, "is not JSON"),
        ("[]", ExitCode.BAD_INPUT, 'has no "stompd-definitions"'),
        ('{"stompd-definitions": 1, "x": 1}', ExitCode.BAD_INPUT, 'has a "x"'),
        ('{"stompd-definitions": 1}', ExitCode.USAGE, "needs the field definitions"),
        ('{"stompd-definitions": 1, "definitions": [{}]}', ExitCode.USAGE, "definition 1: "),
    ):
        bad.write_text(text)
        refused = alone("definitions", "import", str(bad))
        assert refused.code == code
        assert told in refused.err
    assert alone("definitions", "import").code == ExitCode.USAGE
    assert alone("definitions", "export", str(tmp_path / "none" / "x")).code == ExitCode.FAILED
    assert alone("definitions", "export", "--dry-run").code == ExitCode.USAGE


def test_browse(stomp: Stomp, queue: str) -> None:
    """Messages that wait, are delivered, or not due yet, in every form; and they stay."""
    with connected(stomp) as wire:
        put(wire, queue, "one", kind="a")
        subscribe(wire, queue, "ack:client-individual", "prefetch-count:1")
        put(wire, queue, "two", "three", kind="b")
        put(wire, queue, "later", delay="100000")
        put(wire, queue, "x" * 1000)
        wire.frame_out("SEND", f"destination:{queue}", "content-length:2", body=b"\xff\0")
        wire.sync()
        for _ in range(2):
            told = [json.loads(line) for line in stomp("browse", queue, "--json").out.splitlines()]
        assert [(row["n"], row["state"], row.get("body")) for row in told] == [
            (1, "ready", "two"),
            (2, "ready", "three"),
            (3, "ready", "x" * 1000),
            (4, "ready", None),
            (5, "inflight", "one"),
            (6, "delayed", "later"),
        ]
        assert told[3]["body_base64"] == "/wA="
        assert told[5]["due"].endswith("Z")
        name = told[1]["headers"]["message-id"]
        assert stomp("browse", queue, "--id", name).text == "three\n"
        assert stomp("browse", queue, "--selector", "kind = 'b'", "-n", "1").text == "two\n"
        assert stomp("browse", queue, "--offset", "1", "-n", "1").text == "three\n"
        assert stomp("--raw", "browse", queue, "--id", told[3]["headers"]["message-id"]).out == (
            b"\xff\0"
        )
        heads = stomp("browse", queue, "--headers-only", "--id", name)
        assert "kind: b\n" in heads.text
        assert "three" not in heads.text
        cut = stomp("browse", queue, "--body-bytes", "2", "-n", "1")
        assert cut.text == "tw\n"
        assert cut.err.endswith("1 message cut; --body-bytes says how long bodies are\n")
        absent = stomp("browse", queue, "--id", "99")
        assert (absent.code, absent.err) == (
            ExitCode.FAILED,
            f'stomp: there is no message "99" in {queue}\n',
        )
        terminal = Terminal(stomp, "browse", queue, "--offset", "2", "-n", "1")
        assert terminal.end() == 0
        assert terminal.seen.startswith(f"[#3] {queue}  1,000 B  id 5")
        assert terminal.seen.endswith("... 800 more octets\n1 of 6 messages\n")


def test_every_field_that_the_program_knows_is_told(alone: Stomp) -> None:
    """The columns of each listing, shown or only offered, are fields of the broker's rows."""
    with connected(alone, "client-id:me") as wire:
        reject(wire, "/queue/a", "1")
        subscribe(wire, "/topic/news", "durable:true")
        commands: list[tuple[Listing, tuple[str, ...]]] = [
            (listing.QUEUES, ("queues",)),
            (listing.TOPICS, ("topics",)),
            (listing.SUBSCRIPTIONS, ("subscriptions",)),
            (listing.CONNECTIONS, ("connections",)),
            (listing.DURABLES, ("durable", "ls")),
            (listing.DEAD_LETTERS, ("dlq", "ls")),
        ]
        for kind, words in commands:
            for row in rows(alone, *words):
                assert {*kind.columns, *kind.more} <= set(row), words


# Why nothing is delivered.


def codes(stomp: Stomp, *words: str) -> list[str]:
    """Return the codes of the reasons that explain gives."""
    finished = stomp("explain", *words, "--json")
    assert (finished.code, finished.err) == (0, "")
    return [reason["code"] for reason in json.loads(finished.out)["reasons"]]


def test_explain_a_stuck_queue(stomp: Stomp, queue: str) -> None:
    """Nobody there, a selector, a consumer that settles nothing, a pause: each is told."""
    assert codes(stomp, queue) == ["not-there"]
    with connected(stomp) as wire:
        put(wire, queue, "1", "2", kind="b")
        assert codes(stomp, queue) == ["no-consumer"]
        subscribe(wire, queue, "ack:client-individual", "selector:kind = 'a'", "prefetch-count:1")
        us = name_of(wire)
        assert stomp("explain", queue).text == (
            f"{queue} (queue)\n"
            f"  selector: {us}/s takes none of what waits: kind = 'a'\n"
            f"  goes to:\n    {queue} (1 subscription)\n"
        )
        assert codes(stomp, queue, "-H", "kind:b") == ["selector"]
        assert codes(stomp, queue, "-H", "kind:a") == []
        put(wire, queue, "3", "4", kind="a")
        assert codes(stomp, queue) == ["in-flight", "no-credit"]
        assert codes(stomp, queue, "--id", "3") == ["in-flight"]
        assert codes(stomp, queue, "--id", "4") == ["behind", "no-credit", "waits"]
        message = wire.expect("MESSAGE", body=b"3")
        told = stomp("explain", queue, "--id", message.text("message-id"))
        assert "  gone: no message of a queue has such an id; `browse` tells the ids" in told.text
    assert stomp("pause", queue).code == 0
    assert "paused" in codes(stomp, queue)


def test_explain_a_topic(stomp: Stomp, queue: str) -> None:
    """What waits for nobody; in JSON with the places that a message goes to."""
    topic = queue.replace("/queue/", "/topic/")
    with connected(stomp) as wire:
        put(wire, topic, "1")
        assert codes(stomp, topic) == ["no-subscriber"]
        subscribe(wire, topic)
        told = json.loads(stomp("explain", topic, "--json").out)
        assert told["goes_to"] == [
            {
                "destination": topic,
                "kind": "topic",
                "routes": [],
                "topic": None,
                "exists": True,
                "subscriptions": 1,
            }
        ]
        assert stomp("explain", topic).text == (
            f"{topic} (topic)\n  nothing keeps messages from being delivered\n"
            f"  goes to:\n    {topic} (1 subscription)\n"
        )


# Acting.


def test_purge(stomp: Stomp, queue: str) -> None:
    """Some, all but some, or all that wait; a dry run does nothing; what is delivered stays."""
    with connected(stomp) as wire:
        put(wire, queue, "0")
        subscribe(wire, queue, "ack:client-individual", "prefetch-count:1")
        put(wire, queue, "1", "2", "3", kind="a")
        put(wire, queue, "4", "5", kind="b")
        dry = stomp("purge", queue, "--dry-run")
        assert (dry.code, dry.text, dry.err) == (0, f"would purge 5 messages from {queue}\n", "")
        assert stomp("purge", queue, "--older-than", "1h", "--dry-run", "--json").text == (
            f'{{"destination":"{queue}","dry_run":true,"done":0,"failed":0,"reasons":[]}}\n'
        )
        wrong = stomp("purge", queue, "--selector", "kind =", "--yes")
        assert (wrong.code, wrong.err[:45]) == (
            ExitCode.USAGE,
            "stomp: malformed selector: column 7: expected",
        )
        assert bodies(stomp, queue) == ["1", "2", "3", "4", "5", "0"]
        some = stomp("purge", queue, "--selector", "kind = 'a'", "--keep", "1", "--yes")
        assert (some.code, some.err) == (0, f"Purged 2 messages from {queue}\n")
        assert bodies(stomp, queue) == ["3", "4", "5", "0"]
        terminal = Terminal(stomp, "purge", queue)
        terminal.answer(f"Purge 3 messages from {queue}? Type its name to go on: ", "yes")
        assert terminal.end() == ExitCode.FAILED
        terminal = Terminal(stomp, "purge", queue)
        terminal.answer("Type its name to go on: ", queue)
        assert terminal.end() == 0
        assert bodies(stomp, queue) == ["0"]


def test_purge_a_pattern(alone: Stomp) -> None:
    """Each queue that it matches, and no other."""
    with connected(alone) as wire:
        for name in ("log.a", "log.b.c", "other"):
            put(wire, f"/queue/{name}", "1")
    assert json.loads(alone("purge", "/queue/log.#", "--yes", "--json").out)["done"] == 2
    assert bodies(alone, "/queue/other") == ["1"]


def test_move_and_copy(stomp: Stomp, queue: str) -> None:
    """In their order, with their headers; a copy leaves them where they are."""
    with connected(stomp) as wire:
        put(wire, queue, "1", "2", "3", kind="a")
        put(wire, queue, "4", kind="b")
    target = f"{queue}.target"
    dry = stomp("move", queue, target, "--dry-run")
    assert (dry.code, dry.text) == (0, f"would move 4 messages from {queue} to {target}\n")
    copied = stomp("copy", queue, target, "-n", "2", "--selector", "kind = 'a'")
    assert (copied.code, copied.err) == (0, f"Copied 2 messages from {queue} to {target}\n")
    assert (bodies(stomp, queue), bodies(stomp, target)) == (["1", "2", "3", "4"], ["1", "2"])
    moved = stomp("move", queue, target, "-n", "3", "--yes", "--json")
    assert json.loads(moved.out) == {"destination": queue, "done": 3, "failed": 0, "reasons": []}
    assert (bodies(stomp, queue), bodies(stomp, target)) == (["4"], ["1", "2", "1", "2", "3"])
    terminal = Terminal(stomp, "move", queue, target)
    terminal.answer(f"Move 1 message from {queue} to {target}? [y/N] ", "y")
    assert terminal.end() == 0
    assert [
        json.loads(line)["headers"]["kind"]
        for line in stomp("browse", target, "--json").out.splitlines()
    ] == ["a", "a", "a", "a", "a", "b"]


def test_dead_letters(alone: Stomp) -> None:
    """What was refused is listed and shown with its reason, and goes back where it came from."""
    assert alone("dlq", "show").err == "stomp: there are no dead letters\n"
    with connected(alone) as wire:
        reject(wire, "/queue/orders", "1", "2", "3", "4")
    assert alone("dlq", "ls", "--columns", "name,of,ready,reasons").text == (
        "NAME               OF             READY  REASONS\n"
        "/queue/DLQ.orders  /queue/orders      4  rejected 4\n"
    )
    (row,) = rows(alone, "dlq", "ls", "--non-empty")
    assert row["reasons"] == {"rejected": 4}
    shown = [json.loads(line) for line in alone("dlq", "show", "--json").out.splitlines()]
    assert [message["body"] for message in shown] == ["1", "2", "3", "4"]
    assert shown[0]["headers"]["original-destination"] == "/queue/orders"
    assert shown[0]["headers"]["dead-letter-reason"] == "rejected"
    ids = [message["headers"]["message-id"] for message in shown]

    dry = alone("dlq", "requeue", "--all", "--dry-run")
    assert dry.text == "would requeue 4 messages from /queue/DLQ.orders\n"
    partly = alone("dlq", "requeue", ids[1], "999", "--yes")
    assert (partly.code, partly.err) == (
        ExitCode.PARTIAL,
        "Requeued 1; 1 failed and stays in /queue/DLQ.orders (no such message)\n",
    )
    assert alone("dlq", "requeue", "-n", "1", "--to", "/queue/x", "--yes").code == 0
    terminal = Terminal(alone, "dlq", "requeue", "--all", "/queue/DLQ.orders")
    question = "Requeue 2 messages from /queue/DLQ.orders to their original destinations? [y/N] "
    terminal.answer(question, "y")
    assert terminal.end() == 0
    assert (bodies(alone, "/queue/orders"), bodies(alone, "/queue/x")) == (["2", "3", "4"], ["1"])
    (alive,) = (json.loads(line) for line in alone("browse", "/queue/x", "--json").out.splitlines())
    assert not [name for name in alive["headers"] if name.startswith("dead-letter")]
    assert rows(alone, "dlq", "ls", "--non-empty") == []


def test_dead_letters_thrown_away(alone: Stomp) -> None:
    """Those of one queue of several; never the messages of the queue that they come from."""
    with connected(alone) as wire:
        reject(wire, "/queue/a", "1", "2")
        reject(wire, "/queue/b", "3")
        put(wire, "/queue/a", "alive")
    several = alone("dlq", "purge", "--yes")
    assert several.code == ExitCode.USAGE
    assert several.err.endswith("  /queue/DLQ.a\n  /queue/DLQ.b\n")
    mistaken = alone("dlq", "purge", "/queue/a", "--yes")
    assert mistaken.code == ExitCode.FAILED
    assert mistaken.err.endswith("  the dead letters of /queue/a are in /queue/DLQ.a\n")
    alive = alone("dlq", "requeue", "--all", "/queue/a", "--yes")
    assert alive.code == ExitCode.PARTIAL
    assert bodies(alone, "/queue/a") == ["alive"]
    kept = alone("dlq", "purge", "/queue/DLQ.a", "--keep", "1", "--yes")
    assert (kept.code, kept.err) == (0, "Purged 1 message from /queue/DLQ.a\n")
    assert (bodies(alone, "/queue/DLQ.a"), bodies(alone, "/queue/DLQ.b")) == (["2"], ["3"])


def test_pause_and_resume(stomp: Stomp, queue: str) -> None:
    """Nothing is delivered in between, and nothing is lost."""
    with connected(stomp) as wire:
        subscribe(wire, queue)
        paused = stomp("pause", queue)
        assert (paused.code, paused.err) == (0, f"Paused {queue}\n")
        put(wire, queue, "1")
        wire.quiet()
        assert rows(stomp, "queues", queue)[0]["paused"]
        resumed = stomp("resume", queue)
        assert (resumed.code, resumed.err) == (0, f"Resumed {queue}\n")
        wire.expect("MESSAGE", body=b"1")


def test_kick(stomp: Stomp, queue: str) -> None:
    """The connection ends with an ERROR that says why; what it had goes back to the queue."""
    with connected(stomp) as wire:
        put(wire, queue, "1")
        subscribe(wire, queue, "ack:client-individual")
        wire.expect("MESSAGE", body=b"1")
        name = name_of(wire)
        terminal = Terminal(stomp, "kick", name, "--reason", "please upgrade")
        terminal.answer(f"Close the connection {name} (127.0.0.1:", "y")
        assert terminal.end() == 0
        assert terminal.seen.endswith(f"Closed {name}\n")
        error = wire.fatal("message:closed by an administrator")
        assert b"please upgrade" in error.body
    gone = Terminal(stomp, "kick", name)
    assert gone.end() == ExitCode.FAILED
    assert gone.seen == f'stomp: there is no connection "{name}"\n'
    (row,) = rows(stomp, "queues", queue)
    assert (row["ready"], row["inflight"], row["consumers"]) == (1, 0, 0)
    assert rows(stomp, "connections", name) == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["queue", "info", "/queue/none"], ExitCode.FAILED, "there is no queue /queue/none"),
        (["browse", "/queue/none"], ExitCode.FAILED, "there is no queue /queue/none"),
        (["browse", "/topic/none"], ExitCode.USAGE, "is a topic, which holds no messages"),
        (["explain", "/queue/*"], ExitCode.USAGE, '"/queue/*" is no one queue or topic'),
        (["purge", "/queue/none", "-y"], ExitCode.FAILED, "there is no queue /queue/none"),
        (["move", "/queue/none", "/queue/b", "-y"], ExitCode.FAILED, "there is no queue"),
        (["copy", "/queue/none", "/queue/b"], ExitCode.FAILED, "there is no queue"),
        (["pause", "/queue/none"], ExitCode.FAILED, "there is no queue /queue/none"),
        (["resume", "/queue/none"], ExitCode.FAILED, "there is no queue /queue/none"),
        (["kick", "c0", "-y"], ExitCode.FAILED, 'there is no connection "c0"'),
        (["durable", "rm", "none", "-y"], ExitCode.FAILED, "there is no durable subscription"),
        (["route", "rm", "none"], ExitCode.FAILED, 'no such route: "none"'),
        (["connections", "--sort", "nonsense"], ExitCode.USAGE, 'have no column "nonsense"'),
    ],
)
def test_what_cannot_be_done(stomp: Stomp, words: list[str], code: int, said: str) -> None:
    """What is not there ends with 1, what makes no sense with 2; as JSON if that is asked for."""
    finished = stomp(*words)
    assert finished.code == code
    assert said in finished.err
    wrong = json.loads(stomp("--json", *words).err)["error"]
    assert said in wrong["message"]


# Prompt, script, events.


def test_at_the_prompt(alone: Stomp) -> None:
    """Looking and acting on the connection that the prompt has, with questions in between."""
    with connected(alone) as wire:
        put(wire, "/queue/a", "1", "2")
    prompt = f"localhost:{alone.port}> "
    terminal = Terminal(alone)
    terminal.answer(prompt, "subscribe /topic/news")
    terminal.answer(prompt, "queues --columns name,ready")
    terminal.answer(prompt, "subscriptions --columns destination")
    terminal.answer(prompt, "purge /queue/a")
    terminal.answer("Purge 2 messages from /queue/a? Type its name to go on: ", "/queue/a")
    terminal.answer(prompt, "explain /queue/a")
    terminal.answer(prompt, "quit")
    assert terminal.end() == 0
    assert "NAME      READY\n/queue/a      2\n1 queue, 2 messages\n" in terminal.seen
    assert "DESTINATION\n/topic/news\n1 subscription\n" in terminal.seen
    assert "Purged 2 messages from /queue/a\n" in terminal.seen
    assert "  empty: it holds no messages\n" in terminal.seen


def test_in_a_script(stomp: Stomp, queue: str) -> None:
    """Commands follow one another on one connection; the first that fails ends the script."""
    script = (
        f"send {queue} one\nsend {queue} two\npurge {queue} --keep 1 --yes\n"
        f"queues {queue} --plain --no-header --columns name,ready\n"
        f"browse {queue}\npause {queue}.none\nresume {queue}\n"
    )
    finished = stomp("-q", stdin=script.encode())
    assert finished.code == ExitCode.FAILED
    assert finished.text.startswith(f"{queue}\t1\nMESSAGE\ndestination: {queue}\n")
    assert finished.text.endswith("\n\ntwo\n")
    assert f"there is no queue {queue}.none" in finished.err
    assert "Resumed" not in finished.err


@contextmanager
def watching(stomp: Stomp, *words: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """Subscribe with the program for the length of a block; yield what reads the next body."""
    process = subprocess.Popen(
        stomp.argv("subscribe", *words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    out = process.stdout
    try:
        assert "subscribed to" in process.stderr.readline()
        yield lambda: json.loads(out.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == ExitCode.INTERRUPTED
    finally:
        process.kill()
        process.communicate()


def test_events(alone: Stomp) -> None:
    """Who comes, what is made and what somebody does is told to whoever subscribes."""
    with watching(alone, "/topic/$SYS/events/#") as event:
        with connected(alone) as wire:
            reject(wire, "/queue/a", "1")
            name = name_of(wire)
        assert alone("purge", "/queue/DLQ.a", "--yes").code == 0
        told: list[dict[str, Any]] = []
        while not told or told[-1]["event"] != "acted":
            told.append(event())
        about = [(e["event"], e.get("queue")) for e in told if e.get("connection") == name]
        assert about[0] == ("connected", None)
        assert about[-1] == ("disconnected", None)
        assert ("queue-created", "/queue/a") in [(e["event"], e.get("queue")) for e in told]
        dead = next(e for e in told if e["event"] == "dead-lettered")
        assert dead["queue"] == "/queue/a"
        assert (told[-1]["verb"], told[-1]["ok"]) == ("purge", True)


def test_the_tap(stomp: Stomp, queue: str) -> None:
    """Frames of one destination, in and out, in their order, with their bodies."""
    with (
        watching(
            stomp, "/topic/$SYS/tap", "-H", f"match:{queue}", "-H", "frames:SEND MESSAGE"
        ) as frame,
        connected(stomp) as wire,
    ):
        subscribe(wire, queue)
        put(wire, queue, "hello")
        put(wire, f"{queue}.other", "not this one")
        put(wire, queue, "again")
        told = [frame() for _ in range(4)]
        assert [(f["direction"], f["command"], f["body"]) for f in told] == [
            ("in", "SEND", "hello"),
            ("out", "MESSAGE", "hello"),
            ("in", "SEND", "again"),
            ("out", "MESSAGE", "again"),
        ]
        assert {f["connection"] for f in told} == {name_of(wire)}
