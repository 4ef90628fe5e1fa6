"""The commands that look at stompd and act on it: requests, output, questions, exit codes."""

import json
import re
from typing import Any

import pytest
from client.admin_broker import AdminBroker, Refusal, running_admin_broker
from client.programs import Finished, Stomp
from client.terminal import Terminal
from client.test_program import run_against
from client.test_render import HOSTILE, harmless

from stompcli import table, words
from stompcli.admin import Admin
from stompcli.client import connect_stream
from stompcli.client.testing import ScriptedBroker, on_stream
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure
from stompcli.options import SHELL

QUEUES = [
    {
        "vhost": "/", "name": "/queue/orders", "ready": 1204, "inflight": 16, "delayed": 0,
        "consumers": 2, "browsers": 0, "bytes": 99, "received": 5, "in_rate": 83.0,
        "out_rate": 81.5, "oldest": 14.2, "paused": False, "of_the_future": {"x": 1},
    },
    {
        "vhost": "/", "name": "/queue/DLQ.orders", "ready": 17, "inflight": 0, "delayed": 0,
        "consumers": 0, "browsers": 0, "bytes": 9, "received": 5, "in_rate": 0.0,
        "out_rate": 0.0, "oldest": 183_605, "paused": False,
    },
    {
        "vhost": "/", "name": "/queue/empty", "ready": 0, "inflight": 0, "delayed": 0,
        "consumers": 0, "browsers": 0, "bytes": 0, "received": 0, "in_rate": 0.0,
        "out_rate": 0.0, "oldest": None, "paused": True,
    },
]  # fmt: skip

TABLE = """\
NAME               READY  INFLIGHT  CONSUMERS  IN/s  OUT/s  OLDEST
/queue/DLQ.orders     17         0          0   0.0    0.0  2d 03h
/queue/orders      1,204        16          2  83.0   81.5     14s
"""


def done(count: int = 0, failed: int = 0, *reasons: str) -> dict[str, object]:
    """Return the result of a verb that acts on messages."""
    return {"done": count, "failed": failed, "reasons": list(reasons)}


# Listings.


def test_queues(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """The sample of the manual; into a pipe no footer and no colour."""
    admin.answers["queues"] = QUEUES
    finished = stomp_admin("queues", "--non-empty")
    assert (finished.code, finished.text, finished.err) == (0, TABLE, "")
    assert admin.asked == [("queues", {})]


def test_queues_on_a_terminal(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """A terminal gets a footer besides, and no escape sequence."""
    admin.answers["queues"] = QUEUES
    terminal = Terminal(stomp_admin, "queues", "--non-empty")
    assert terminal.end() == 0
    assert terminal.seen == TABLE + "2 of 3 queues, 1,221 messages\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["--plain", "--columns", "name,ready,oldest,paused"],
            (
                "name\tready\toldest\tpaused\n/queue/DLQ.orders\t17\t183605\tfalse\n"
                "/queue/empty\t0\t\ttrue\n/queue/orders\t1204\t14.2\tfalse\n"
            ),
        ),
        (
            ["--plain", "--no-header", "--columns", "NAME", "--sort", "ready", "--top", "1"],
            "/queue/orders\n",
        ),
        (
            ["--no-header", "--columns", "ready,name", "--sort", "ready", "--reverse"],
            "    0  /queue/empty\n   17  /queue/DLQ.orders\n1,204  /queue/orders\n",
        ),
        (["--no-consumers", "--non-empty", "--no-header", "--columns", "name"], None),
        (["/queue/DLQ*", "--no-header", "--columns", "name"], None),
        (["DLQ.orders", "--no-header", "--columns", "name"], None),
    ],
)
def test_listing_options(
    stomp_admin: Stomp, admin: AdminBroker, words: list[str], text: str | None
) -> None:
    """Columns, order, filters and forms, each as the manual says."""
    admin.answers["queues"] = QUEUES
    finished = stomp_admin("queues", *words)
    assert (finished.code, finished.err) == (0, "")
    assert finished.text == (text or "/queue/DLQ.orders\n")


def test_plain_before_the_command(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """The global option and its variable mean tabs for listings, too."""
    admin.answers["queues"] = QUEUES[:1]
    expected = "name\tready\n/queue/orders\t1204\n"
    assert stomp_admin("--plain", "queues", "--columns", "name,ready").text == expected
    finished = stomp_admin("queues", "--columns", "name,ready", env={"STOMP_PLAIN": "1"})
    assert finished.text == expected


def test_queues_as_json(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """One array, with every field that came, or those that are asked for."""
    admin.answers["queues"] = QUEUES
    assert json.loads(stomp_admin("queues", "--json").out) == [QUEUES[1], QUEUES[2], QUEUES[0]]
    words = (
        "queues",
        "--json",
        "--columns",
        "ready,of-the-future",
        "--top",
        "1",
        "--sort",
        "ready",
    )
    assert json.loads(stomp_admin(*words).out) == [{"ready": 1204, "of_the_future": {"x": 1}}]


def test_a_glob_is_asked_for(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """The broker is asked for what a GLOB may mean; one with # is its own pattern."""
    admin.answers["queues"] = admin.answers["topics"] = []
    for glob in ("orders", "or*", "/queue/a.#"):
        assert stomp_admin("queues", glob, "--no-header").out == b""
    stomp_admin("topics", "news")
    assert [fields["match"] for _, fields in admin.asked] == [
        "/queue/orders",
        "/queue/#",
        "/queue/a.#",
        "/topic/news",
    ]


@pytest.mark.parametrize(
    ("words", "verb", "fields", "row", "text"),
    [
        (
            ["topics"],
            "topics",
            {},
            {
                "vhost": "/", "name": "/topic/a", "subscribers": 3, "durable_subscriptions": 1,
                "received": 1000, "retained": True, "delayed": 0, "in_rate": 0.25,
            },
            ("NAME      SUBS  DURABLE  RECEIVED  IN/s\n"
            "/topic/a     3        1     1,000   0.2\n"),
        ),
        (
            ["subscriptions", "/queue/a", "--connection", "c1"],
            "subscriptions",
            {"match": "/queue/a", "connection": "c1"},
            {
                "connection": "c1", "id": "s1", "destination": "/queue/a", "ack": "client",
                "unsettled": 2, "delivered": 7, "dropped": 0, "held": False, "selector": None,
            },
            ("CONN  ID  DESTINATION  ACK     UNSETTLED  DELIVERED  DROPPED  SELECTOR\n"
            "c1    s1  /queue/a     client          2          7        0  -\n"),
        ),
        (
            ["connections", "c*", "--columns", "id,user,paused_by,age"],
            "connections",
            {},
            {
                "id": "c17", "peer": "127.0.0.1:5", "user": "guest", "client_id": None,
                "version": "1.2", "state": "open", "paused_by": ["/queue/a", "memory"],
                "age": 4000.5, "unhonoured": [],
            },
            ("ID   USER   PAUSED-BY            AGE\n"
            "c17  guest  /queue/a, memory  1h 06m\n"),
        ),
        (
            ["durable", "ls"],
            "durables",
            {},
            {
                "vhost": "/", "name": "audit", "client_id": "b", "topic": "/topic/a",
                "ready": 4, "inflight": 0, "delayed": 0, "bytes": 9, "consumers": 0,
            },
            ("NAME   CLIENT-ID  TOPIC     READY  INFLIGHT  CONSUMERS\n"
            "audit  b          /topic/a      4         0          0\n"),
        ),
        (
            ["routes"],
            "routes",
            {},
            {"name": "r1", "from": "/topic/a", "to": ["/queue/a", "/queue/b"], "copy": False},
            "NAME  FROM      TO                  COPY\nr1    /topic/a  /queue/a, /queue/b  no\n",
        ),
        (
            ["dlq", "ls"],
            "dlq",
            {},
            {
                "vhost": "/", "name": "/queue/DLQ.a", "of": "/queue/a", "ready": 3,
                "reasons": {"rejected": 2, "expired": 1}, "oldest": 61,
            },
            ("NAME          OF        READY  OLDEST  REASONS\n"
            "/queue/DLQ.a  /queue/a      3  1m 01s  rejected 2, expired 1\n"),
        ),
    ],
)  # fmt: skip
def test_other_listings(
    stomp_admin: Stomp,
    admin: AdminBroker,
    words: list[str],
    verb: str,
    fields: dict[str, str],
    row: dict[str, object],
    text: str,
) -> None:
    """Each listing asks its verb and has its columns; --json has all fields of the rows."""
    admin.answers[verb] = [row]
    finished = stomp_admin(*words)
    assert (finished.code, finished.text, finished.err) == (0, text, "")
    assert admin.asked == [(verb, fields)]
    if "--columns" not in words:
        assert json.loads(stomp_admin(*words, "--json").out) == [row]


def test_reasons_of_some_dead_letters(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """Where the broker has not looked at all of them people are told."""
    admin.answers["dlq"] = [
        {
            "name": "/queue/DLQ.a",
            "ready": 70_000,
            "counted": 10_000,
            "reasons": {"expired": 10_000},
        },
        {"name": "/queue/DLQ.b", "ready": 2, "counted": 2, "reasons": {"expired": 2}},
    ]
    told = "/queue/DLQ.a: these are the reasons of the first 10000 only\n"
    assert stomp_admin("dlq", "ls").err == told
    assert stomp_admin("dlq", "ls", "--json").err == ""


@pytest.mark.parametrize(
    ("words", "verb", "field"),
    [
        (["topics", "/topic/nothing*"], "topics", "name"),
        (["subscriptions", "/topic/nothing*"], "subscriptions", "destination"),
        (["connections", "nothing*"], "connections", "peer"),
        (["durable", "ls", "nothing*"], "durables", "name"),
        (["routes", "nothing*"], "routes", "from"),
        (["dlq", "ls", "/queue/nothing*"], "dlq", "name"),
    ],
)
def test_globs_filter_every_listing(
    stomp_admin: Stomp, admin: AdminBroker, words: list[str], verb: str, field: str
) -> None:
    """A row that does not match is not shown, whatever the broker has told."""
    admin.answers[verb] = [{field: "/queue/a", "subscribers": 1}]
    assert stomp_admin(*words, "--no-header").out == b""
    assert stomp_admin(*words[:-1], "*/a", "--no-header").out != b""


def test_a_glob_for_subscriptions(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """Without a slash at its head it is for queues and topics; `#` is left to the broker."""
    admin.answers["subscriptions"] = [
        {"connection": "c1", "destination": name}
        for name in ("/queue/a.b", "/topic/a.b", "/temp-queue/a.b")
    ]
    words = ("subscriptions", "--no-header", "--columns", "destination")
    for glob in ("a.b", "a*"):
        assert stomp_admin(*words, glob).text == "/queue/a.b\n/topic/a.b\n"
    assert len(stomp_admin(*words, "a.#").text.splitlines()) == 3
    assert stomp_admin(*words, "/topic/a.b").text == "/topic/a.b\n"
    assert [fields.get("match") for _, fields in admin.asked] == [
        None,
        None,
        "a.#",
        "/topic/a.b",
    ]


def test_the_queue_of_the_answers_is_left_out(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """What was made for the listing itself or for Tab is no news; that of another session is."""
    admin.session = "c7"
    admin.answers["queues"] = [
        {"name": "/remote-temp-queue/c7/stomp-admin", "owner": "c7"},
        {"name": "/remote-temp-queue/c8/stomp-admin", "owner": "c8"},
        # A shell asks for completion over another connection.
        {"name": "/remote-temp-queue/c9/stomp-completion", "owner": "c9"},
        {"name": "/queue/stomp-completion", "owner": None},
    ]
    admin.answers["subscriptions"] = [
        {"connection": owner, "destination": f"/temp-queue/{name}"}
        for owner, name in (
            ("c7", "stomp-admin"),
            ("c7", "mine"),
            ("c8", "stomp-admin"),
            ("c9", "stomp-completion"),
        )
    ]
    finished = stomp_admin("queues", "--no-header", "--columns", "name")
    assert finished.text == "/queue/stomp-completion\n/remote-temp-queue/c8/stomp-admin\n"
    finished = stomp_admin("subscriptions", "--plain", "--no-header", "--sort", "connection")
    assert [line.split("\t")[0::2][:2] for line in finished.text.splitlines()] == [
        ["c7", "/temp-queue/mine"],
        ["c8", "/temp-queue/stomp-admin"],
    ]


def test_queue_info(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """Everything that is known of one queue, a line each; one that is not there is said to be."""
    admin.answers["queues"] = [row for row in QUEUES if row["name"] == "/queue/empty"]
    finished = stomp_admin("queue", "info", "empty")
    assert finished.code == 0
    assert finished.text.startswith("vhost      /\nname       /queue/empty\nready      0\n")
    assert finished.text.endswith("oldest     -\npaused     yes\n")
    assert admin.asked == [("queues", {"match": "/queue/empty"})]
    missing = stomp_admin("queue", "info", "/queue/x")
    assert (missing.code, missing.err) == (1, "stomp: there is no queue /queue/x\n")


def test_status(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """A field on each line, tabs with --plain, an object with --json."""
    record = {"server": "stompd/1.2.3", "uptime": 183_605.5, "memory_mark": None, "bytes": 4096}
    admin.answers["status"] = record
    assert stomp_admin("status").text == (
        "server       stompd/1.2.3\nuptime       2d 03h\nmemory mark  -\nbytes        4,096\n"
    )
    assert stomp_admin("status", "--plain", "--no-header").text == (
        "server\tstompd/1.2.3\nuptime\t183605.5\nmemory_mark\t\nbytes\t4096\n"
    )
    assert json.loads(stomp_admin("status", "--json").out) == record


# What the broker may answer.


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("bad-request", ExitCode.USAGE),
        ("forbidden", ExitCode.REFUSED),
        ("not-found", ExitCode.FAILED),
        ("conflict", ExitCode.FAILED),
        ("failed", ExitCode.FAILED),
        ("of-the-future", ExitCode.FAILED),
    ],
)
def test_refusals(stomp_admin: Stomp, admin: AdminBroker, code: str, exit_code: ExitCode) -> None:
    """Each code of a refusal has its exit code; its sentence is shown without its controls."""

    def refuse(_: dict[str, Any]) -> object:
        raise Refusal(code, "no: \x1b[31mred")

    admin.answers["queues"] = refuse
    finished = stomp_admin("queues")
    assert (finished.code, finished.out) == (exit_code, b"")
    assert finished.err == "stomp: no: \\x1b[31mred\n"
    told = json.loads(stomp_admin("queues", "--json").err)
    assert told == {"error": {"code": code, "message": "no: \x1b[31mred"}}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no JSON",
        b"\xff",
        b"[]",
        b'{"ok":false}',
        b'{"ok":false,"error":"x"}',
        b'{"ok":true}',
        b'{"ok":true,"result":{}}',
        b'{"ok":true,"result":[1]}',
    ],
)
def test_answers_that_are_none(stomp_admin: Stomp, admin: AdminBroker, answer: bytes) -> None:
    """What is not what the verb promises is said to be so, without a traceback."""
    admin.answers["queues"] = answer
    finished = stomp_admin("queues")
    assert finished.code == ExitCode.FAILED
    assert finished.err == "stomp: what the broker answered to queues is no answer to it\n"
    admin.answers["status"] = b'{"ok":true,"result":[]}'
    assert "status is no answer" in stomp_admin("status").err


def test_no_answer(stomp_admin: Stomp) -> None:
    """--timeout ends the wait for an answer that does not come."""
    finished = stomp_admin("queues", "--timeout", "300ms")
    assert (finished.code, finished.err) == (75, "stomp: timed out after 0.3 s\n")


@pytest.mark.parametrize(
    ("server", "name"),
    [("RabbitMQ/3.12.1", "RabbitMQ/3.12.1"), ("", "a broker without a name")],
)
@pytest.mark.parametrize(
    "words",
    [
        ["queues"],
        ["status"],
        ["purge", "/queue/a", "-y"],
        ["explain", "/queue/a"],
        ["dlq", "ls"],
        ["dlq", "show", "/queue/a"],
        ["durable", "rm", "x", "-y"],
        ["kick", "c1", "-y"],
        ["pause", "/queue/a"],
    ],
)
def test_another_broker(server: str, name: str, words: list[str]) -> None:
    """A broker that is not stompd is asked nothing; which one answers is said."""
    with running_admin_broker(server=server) as broker:
        finished = Stomp(broker.port)(*words)
        assert finished.code == ExitCode.FAILED
        assert finished.err.endswith(f" needs stompd; at localhost:{broker.port} answers {name}\n")
        assert broker.frames == []
        told = json.loads(Stomp(broker.port)(*words, "--json").err)
        assert told["error"]["code"] == "unsupported"


async def test_no_answer_at_all(autojump_clock: object) -> None:  # noqa: ARG001 - no waiting
    """A request waits no longer for its answer than anything does for its receipt."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(headers={"server": "stompd/1"})
        await broker.subscribed()
        await broker.expect("SEND", destination="/admin/status", correlation_id="1")
        await broker.serve_end()

    async with (
        on_stream(script) as stream,
        connect_stream(stream, receipt_timeout=7) as client,
        client.subscribe("/temp-queue/x") as answers,
    ):
        with pytest.raises(Failure, match="not answered the request status within 7 s") as caught:
            await Admin(client, answers).ask("status")
        assert caught.value.code == ExitCode.TIMED_OUT


async def test_a_broker_without_admin_requests() -> None:
    """An ERROR instead of an answer is told in words."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(headers={"server": "stompd/0.1"})
        await broker.subscribed()
        await broker.expect("SEND")
        await broker.send("ERROR", {"message": "unknown kind of destination"})
        await broker.expect_end()

    finished = await run_against(script, "status")
    assert finished.returncode == ExitCode.FAILED
    assert finished.stderr == b"stomp: the broker answered ERROR: unknown kind of destination\n"


# Purge.


def test_purge_without_a_question(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """--yes purges at once, every queue, and says what was done on standard error."""
    admin.answers["purge"] = lambda fields: done(len(fields["destination"]))
    words = ("--selector", "a = 1", "--older-than", "2m", "--keep", "3")
    finished = stomp_admin("purge", "/queue/a", "/queue/bc", "-y", *words)
    assert (finished.code, finished.out) == (0, b"")
    assert finished.err == ("Purged 8 messages from /queue/a\nPurged 9 messages from /queue/bc\n")
    common = {"selector": "a = 1", "older_than": 120.0, "keep": 3}
    assert admin.asked == [
        ("purge", {"destination": "/queue/a", **common}),
        ("purge", {"destination": "/queue/bc", **common}),
    ]
    assert stomp_admin("-q", "purge", "/queue/a", "-y").err == ""


def test_purge_dry_run(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """--dry-run asks the broker how many it would be, and nobody else anything."""
    admin.answers["purge"] = done(1204)
    finished = stomp_admin("purge", "/queue/a", "--dry-run")
    assert (finished.code, finished.text) == (0, "would purge 1,204 messages from /queue/a\n")
    assert admin.asked == [("purge", {"destination": "/queue/a", "dry_run": True})]
    assert json.loads(stomp_admin("purge", "/queue/a", "--dry-run", "--json").out) == {
        "destination": "/queue/a",
        "dry_run": True,
        **done(1204),
    }


def test_purge_as_json(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """With --json an object for each queue, and the exit code of partial success."""
    admin.answers["purge"] = done(2, 1, "locked")
    finished = stomp_admin("purge", "/queue/a", "-y", "--json")
    assert finished.code == ExitCode.PARTIAL
    assert json.loads(finished.out) == {"destination": "/queue/a", **done(2, 1, "locked")}


@pytest.mark.parametrize(
    "words",
    [
        ["purge", "/queue/a"],
        ["move", "/queue/a", "/queue/b"],
        ["dlq", "requeue", "--all", "/queue/DLQ.a"],
        ["dlq", "purge", "/queue/DLQ.a"],
        ["durable", "rm", "audit"],
        ["kick", "c1"],
    ],
)
def test_nobody_to_ask(stomp_admin: Stomp, admin: AdminBroker, words: list[str]) -> None:
    """Without a terminal and without --yes nothing is done, and the exit code is 2."""
    for finished in (
        stomp_admin(*words, stdin=b"y\n/queue/a\n"),
        stomp_admin("-q", stdin=" ".join(words).encode() + b"\ny\n"),
    ):
        assert (finished.code, finished.out) == (ExitCode.USAGE, b"")
        assert "nobody is there to answer; nothing was done\n" in finished.err
        assert "--yes" in finished.err
        assert ("--dry-run" in finished.err) == (
            words[:2] not in (["durable", "rm"], ["kick", "c1"])
        )
    assert admin.asked == []


@pytest.mark.parametrize(
    ("typed", "code"), [("/queue/test", 0), ("y", 1), ("/queue/tes", 1), ("", 1), (None, 1)]
)
def test_purge_wants_the_name(
    stomp_admin: Stomp, admin: AdminBroker, typed: str | None, code: int
) -> None:
    """On a terminal the name of the queue has to be typed; anything else does nothing."""
    admin.answers["purge"] = done(1204)
    terminal = Terminal(stomp_admin, "purge", "/queue/test")
    terminal.answer("Purge 1,204 messages from /queue/test? Type its name to go on: ", typed)
    assert terminal.end() == code
    asked = [("purge", {"destination": "/queue/test", "dry_run": True})]
    if code == 0:
        asked.append(("purge", {"destination": "/queue/test"}))
        assert terminal.seen.endswith("Purged 1,204 messages from /queue/test\n")
    else:
        assert terminal.seen.endswith("stomp: not confirmed; nothing was done\n")
    assert admin.asked == asked


def test_how_far_it_is(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """A bar on a terminal, which is gone when the command is done; nothing of it elsewhere."""
    admin.answers["requeue"] = done(800)
    admin.notes = [
        {"done": 0, "failed": 0, "looked_at": 0, "of": 0},
        {"done": 300, "failed": 0, "looked_at": 400, "of": 800},
    ]
    command = ("dlq", "requeue", "--all", "/queue/DLQ.a", "-y")
    terminal = Terminal(stomp_admin, *command)
    assert terminal.end() == 0
    seen = terminal.seen
    assert f"Requeuing [{'#' * 15}{'.' * 15}] 50 %, 300 done" in seen
    assert seen.endswith("\r\x1b[KRequeued 800 messages from /queue/DLQ.a\n")
    finished = stomp_admin(*command)
    assert finished.err == "Requeued 800 messages from /queue/DLQ.a\n"
    quiet = Terminal(stomp_admin, "-q", *command)
    assert quiet.end() == 0
    assert "#" not in quiet.seen


def test_nothing_to_purge(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """An empty queue is neither asked about nor purged: what comes meanwhile is safe."""
    admin.answers["purge"] = done(0)
    terminal = Terminal(stomp_admin, "purge", "/queue/test")
    assert terminal.end() == 0
    assert terminal.seen == "Purged 0 messages from /queue/test\n"
    assert admin.asked == [("purge", {"destination": "/queue/test", "dry_run": True})]


def test_ctrl_c_at_the_question(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """Ctrl-C at a question ends the program, and nothing is done."""
    admin.answers["purge"] = done(1)
    terminal = Terminal(stomp_admin, "purge", "/queue/test")
    terminal.child.expect_exact("Type its name to go on: ")
    terminal.child.sendintr()
    assert terminal.end() == ExitCode.INTERRUPTED
    assert [fields.get("dry_run") for _, fields in admin.asked] == [True]


def test_questions_in_the_line_reader(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """At the prompt the same questions are put, and the answer is no command."""
    admin.answers["purge"] = done(3)
    admin.answers["queues"] = QUEUES[:1]
    prompt = f"localhost:{stomp_admin.port}> "
    terminal = Terminal(stomp_admin, "--plain", "-q")
    terminal.answer(prompt, "purge /queue/a")
    terminal.answer("Purge 3 messages from /queue/a? Type its name to go on: ", "/queue/b")
    terminal.answer(prompt, "purge /queue/a")
    terminal.answer("Type its name to go on: ", "/queue/a")
    terminal.answer(prompt, "queues --columns name")
    terminal.answer(prompt, "purge /queue/a")
    terminal.answer("Type its name to go on: ", None)
    terminal.answer(prompt, None)
    assert terminal.end() == 0
    shown = terminal.seen
    assert "not confirmed; nothing was done\n" in shown
    assert "name\n/queue/orders\n" in shown
    assert [fields.get("dry_run", False) for verb, fields in admin.asked if verb == "purge"] == [
        True,
        True,
        False,
        True,
    ]
    assert "\x1b" not in shown


# Move, copy, dead letters.


@pytest.mark.parametrize(
    ("words", "verb", "fields", "said"),
    [
        (
            ["move", "/queue/a", "/queue/b", "-y", "-n", "5", "--selector", "x = 1"],
            "move",
            {"source": "/queue/a", "target": "/queue/b", "count": 5, "selector": "x = 1"},
            "Moved 2 messages from /queue/a to /queue/b\n",
        ),
        (
            ["copy", "/queue/a", "/topic/b"],
            "copy",
            {"source": "/queue/a", "target": "/topic/b"},
            "Copied 2 messages from /queue/a to /topic/b\n",
        ),
        (
            ["dlq", "requeue", "/queue/DLQ.a", "m1", "m2", "-y"],
            "requeue",
            {"destination": "/queue/DLQ.a", "ids": ["m1", "m2"]},
            "Requeued 2 messages from /queue/DLQ.a\n",
        ),
        (
            ["dlq", "requeue", "/queue/DLQ.a", "--older-than", "1h", "--to", "/queue/x", "-y"],
            "requeue",
            {"destination": "/queue/DLQ.a", "older_than": 3600.0, "to": "/queue/x"},
            "Requeued 2 messages from /queue/DLQ.a\n",
        ),
        (
            ["dlq", "purge", "/queue/DLQ.a", "--keep", "1", "-y"],
            "purge",
            {"destination": "/queue/DLQ.a", "keep": 1},
            "Purged 2 messages from /queue/DLQ.a\n",
        ),
    ],
)
def test_acting_on_messages(
    stomp_admin: Stomp,
    admin: AdminBroker,
    words: list[str],
    verb: str,
    fields: dict[str, object],
    said: str,
) -> None:
    """What is asked of the broker, and what is said of its answer, or told beforehand."""
    admin.answers[verb] = done(2)
    admin.answers["dlq"] = [{"name": "/queue/DLQ.a", "sources": ["/queue/a"], "ready": 2}]
    finished = stomp_admin(*words)
    assert (finished.code, finished.out, finished.err) == (0, b"", said)
    dry = stomp_admin(*(word for word in words if word != "-y"), "--dry-run")
    assert dry.text.startswith(f"would {verb} 2 messages from /queue/")
    asked = [one for one in admin.asked if one[0] != "dlq"]
    assert asked == [(verb, fields), (verb, {**fields, "dry_run": True})]


def test_only_dead_letters_are_purged_as_such(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """The queue that dead letters come from is easily named by mistake; it stays as it is."""
    admin.answers["dlq"] = [{"name": "/queue/DLQ.a", "sources": ["/queue/a"], "ready": 2}]
    finished = stomp_admin("dlq", "purge", "/queue/a", "--yes")
    assert finished.code == ExitCode.FAILED
    assert finished.err == (
        "stomp: /queue/a is no dead-letter queue; dlq ls lists them, purge empties any queue\n"
        "  the dead letters of /queue/a are in /queue/DLQ.a\n"
    )
    finished = stomp_admin("dlq", "purge", "/queue/b", "--yes")
    assert finished.code == ExitCode.FAILED
    assert "dead letters of" not in finished.err
    assert admin.asked == [("dlq", {})] * 2


def test_partial_success(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """What failed is said with its reasons, also with --quiet, and the exit code is 3."""
    admin.answers["requeue"] = done(1201, 3, "no original-destination header", "\x1b[2J")
    finished = stomp_admin("-q", "dlq", "requeue", "--all", "/queue/DLQ.a", "-y")
    assert finished.code == ExitCode.PARTIAL
    assert finished.err == (
        "Requeued 1,201; 3 failed and stay in /queue/DLQ.a "
        "(no original-destination header; \\x1b[2J)\n"
    )
    dry = stomp_admin("dlq", "requeue", "--all", "/queue/DLQ.a", "--dry-run")
    assert "; 3 would fail (no original-destination header" in dry.text


@pytest.mark.parametrize(
    ("words", "question", "verbs"),
    [
        (
            ["move", "/queue/a", "/queue/b"],
            "Move 7 messages from /queue/a to /queue/b? [y/N] ",
            ["move", "move"],
        ),
        (
            ["dlq", "requeue", "--all", "/queue/DLQ.a"],
            "Requeue 7 messages from /queue/DLQ.a to their original destinations? [y/N] ",
            ["requeue", "requeue"],
        ),
        (
            ["dlq", "requeue", "-n", "9", "/queue/DLQ.a", "--to", "/queue/x"],
            "Requeue 7 messages from /queue/DLQ.a to /queue/x? [y/N] ",
            ["requeue", "requeue"],
        ),
        (["kick", "c1"], "Close the connection c1 (guest at 127.0.0.1:5)? [y/N] ", ["kick"]),
        (["kick", "c9"], "Close the connection c9? [y/N] ", ["kick"]),
        (
            ["durable", "rm", "audit"],
            "Remove the durable subscription audit and the messages that it keeps? [y/N] ",
            ["durable-rm"],
        ),
    ],
)
@pytest.mark.parametrize("typed", ["y", "n"])
def test_questions(
    stomp_admin: Stomp,
    admin: AdminBroker,
    words: list[str],
    question: str,
    verbs: list[str],
    typed: str,
) -> None:
    """Each destructive command says what it is about to do; anything but yes is no."""
    admin.answers.update(dict.fromkeys(("move", "requeue", "kick", "durable-rm"), done(7)))
    admin.answers["connections"] = [
        {"id": "c1", "user": "guest", "peer": "127.0.0.1:5"},
        {"id": "c9", "user": None},
    ]
    terminal = Terminal(stomp_admin, *words)
    terminal.answer(question, typed)
    assert terminal.end() == (0 if typed == "y" else 1)
    acting = [verb for verb, fields in admin.asked if verb != "connections"]
    assert acting == (verbs if typed == "y" else verbs[:-1])
    assert all(fields.get("dry_run") for verb, fields in admin.asked[:-1] if verb in verbs)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["dlq", "requeue", "/queue/DLQ.a", "-y"], "say which"),
        (["dlq", "requeue", "m1", "--all", "-y"], "exclude each other"),
        (["dlq", "requeue", "m1", "-n", "2", "-y"], "exclude each other"),
        (["dlq", "ls", "--to", "x"], "dlq ls takes no --to; it is for dlq requeue"),
        (["dlq", "purge", "--all"], "dlq purge takes no --all"),
        (["dlq", "show", "--keep", "1"], "dlq show takes no --keep"),
        (["dlq", "ls", "a", "b"], '"b" is one word too many'),
        (["dlq", "purge", "/queue/a", "m1", "-y"], '"m1" is one word too many'),
        (["dlq", "show", "m1", "m2"], "one MSGID"),
        (["dlq", "nonsense"], "nonsense"),
        (["move", "/queue/a", "/queue/a", "-y"], "the same"),
        (["copy", "/queue/a", "/queue/a"], "the same"),
        (["durable", "rm"], "say which one"),
        (
            ["durable", "rm", "x", "--sort", "name"],
            "rm takes no --sort; it is for durable ls",
        ),
        (["durable", "ls", "--client-id", "x"], "durable ls takes no --client-id"),
        (["dlq", "requeue", "m", "--no-header"], "dlq requeue takes no --no-header"),
        (["dlq", "show", "--dry-run"], "it is for dlq requeue and dlq purge"),
        (["queues", "--columns", "a,,b"], "not a list of columns"),
        (["browse", "/queue/a", "-n", "0"], "0"),
        (["route", "add", "/queue/a"], "where from and where to"),
        (["route", "rm", "a", "b"], "the name of one route"),
        (["route", "rm", "a", "--move"], "route rm takes no --move"),
    ],
)
def test_wrong_words(
    stomp_admin: Stomp, admin: AdminBroker, words: list[str], complaint: str
) -> None:
    """Words that make no sense are refused with 2, and the broker is asked nothing."""
    finished = stomp_admin(*words)
    assert finished.code == ExitCode.USAGE
    assert complaint in finished.err
    assert admin.asked == []


def test_the_only_dead_letter_queue(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """A dead-letter queue need not be named while only one holds messages."""
    admin.answers["requeue"] = admin.answers["purge"] = done(1)
    empty = {"name": "/queue/DLQ.x", "ready": 0}
    admin.answers["dlq"] = [empty, {"name": "/queue/DLQ.a", "ready": 1}]
    assert stomp_admin("dlq", "requeue", "--all", "-y").code == 0
    assert stomp_admin("dlq", "purge", "-y").code == 0
    assert [f.get("destination") for v, f in admin.asked if v != "dlq"] == ["/queue/DLQ.a"] * 2
    admin.answers["dlq"] = [{"name": "/queue/DLQ.b", "ready": 1}, {"name": "/queue/A", "ready": 2}]
    several = stomp_admin("dlq", "purge", "-y")
    assert several.code == ExitCode.USAGE
    assert several.err.endswith("name one\n  /queue/A\n  /queue/DLQ.b\n")
    admin.answers["dlq"] = [empty]
    none = stomp_admin("dlq", "show")
    assert (none.code, none.err) == (1, "stomp: there are no dead letters\n")


# Kick, pause, resume, durable rm, explain.


@pytest.mark.parametrize(
    ("words", "request_", "what", "said"),
    [
        (
            ["kick", "c1", "-y", "--reason", "bye"],
            ("kick", {"connection": "c1", "reason": "bye"}),
            "kick c1",
            "Closed c1",
        ),
        (
            ["pause", "/queue/a"],
            ("pause", {"destination": "/queue/a"}),
            "pause /queue/a",
            "Paused /queue/a",
        ),
        (
            ["resume", "/queue/a"],
            ("resume", {"destination": "/queue/a"}),
            "resume /queue/a",
            "Resumed /queue/a",
        ),
        (
            ["durable", "rm", "audit", "--client-id", "b", "-y"],
            ("durable-rm", {"name": "audit", "client_id": "b"}),
            "durable rm audit",
            "Removed the durable subscription audit",
        ),
    ],
)
def test_acting_on_one_thing(
    stomp_admin: Stomp,
    admin: AdminBroker,
    words: list[str],
    request_: tuple[str, dict[str, str]],
    what: str,
    said: str,
) -> None:
    """One request, one sentence on standard error, nothing with --quiet, an object as JSON."""
    admin.answers[request_[0]] = None
    finished = stomp_admin(*words)
    assert (finished.code, finished.out, finished.err) == (0, b"", f"{said}\n")
    assert admin.asked == [request_]
    assert stomp_admin("-q", *words).err == ""
    admin.answers[request_[0]] = done(0, 1, "busy")
    failed = stomp_admin(*words)
    assert (failed.code, failed.err) == (3, f"{what} failed (busy)\n")
    assert json.loads(stomp_admin(*words, "--json").out) == done(0, 1, "busy")


def test_routes_at_run_time(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """A route is added with what was said of it, under the name that the broker tells."""
    admin.answers["route-add"] = {"name": "r7"}
    admin.answers["route-rm"] = {}
    words = ("route", "add", "/topic/a.*", "/queue/b", "/topic/c")
    finished = stomp_admin(*words, "--when", "x = 1", "--move")
    assert (finished.code, finished.out) == (0, b"")
    assert finished.err == "Added the route r7: /topic/a.* to /queue/b, /topic/c\n"
    assert json.loads(stomp_admin(*words, "--json").out) == {"name": "r7"}
    admin.answers["route-add"] = None
    assert stomp_admin(*words, "--name", "n").err.startswith("Added the route n: /topic/a.* to ")
    assert stomp_admin(*words).err.startswith("Added the route: /topic/a.* to ")
    assert stomp_admin("route", "rm", "r7").err == "Removed the route r7\n"
    common = {"match": "/topic/a.*", "to": ["/queue/b", "/topic/c"]}
    assert admin.asked == [
        ("route-add", {**common, "when": "x = 1", "move": True}),
        ("route-add", common),
        ("route-add", {**common, "name": "n"}),
        ("route-add", common),
        ("route-rm", {"name": "r7"}),
    ]


def test_explain(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """The reasons, and where a message goes; the broker is told which message is meant."""
    record = {
        "destination": "/queue/orders",
        "kind": "queue",
        "reasons": [{"code": "paused", "text": "it is paused\x1b[2J"}, "another"],
        "goes_to": [
            "/queue/b",
            {"destination": "/topic/c", "routes": ["r1", "r2"], "exists": True, "subscriptions": 2},
            {"destination": "/queue/d", "routes": [], "exists": True, "subscriptions": 1},
            {"destination": "/queue/e", "routes": ["r3"], "exists": False, "subscriptions": 0},
            {"destination": "/queue/f"},
        ],
    }
    admin.answers["explain"] = record
    finished = stomp_admin("explain", "/queue/orders", "--id", "m1", "-H", "a:1", "-H", "b:")
    assert finished.text == (
        "/queue/orders (queue)\n"
        "  paused: it is paused\\x1b[2J\n"
        "  another\n"
        "  goes to:\n"
        "    /queue/b\n"
        "    /topic/c (by r1 and r2, 2 subscriptions)\n"
        "    /queue/d (1 subscription)\n"
        "    /queue/e (by r3, not there yet)\n"
        "    /queue/f\n"
    )
    assert admin.asked == [
        ("explain", {"destination": "/queue/orders", "id": "m1", "headers": {"a": "1", "b": ""}})
    ]
    assert json.loads(stomp_admin("explain", "/queue/orders", "--json").out) == record
    admin.answers["explain"] = {"reasons": []}
    assert stomp_admin("explain", "/queue/x").text == (
        "/queue/x\n  nothing keeps messages from being delivered\n"
    )


# Strangers' names, and the table.


@pytest.mark.parametrize(
    "words",
    [
        ["queues"],
        ["queues", "--plain"],
        ["queues", "--json"],
        ["connections"],
        ["status"],
        ["explain", "/queue/a"],
        ["browse", "/queue/a"],
        ["browse", "/queue/a", "--json"],
        ["dlq", "ls"],
        ["routes"],
    ],
)
def test_hostile_names_on_a_terminal(
    stomp_admin: Stomp, admin: AdminBroker, words: list[str]
) -> None:
    """No name, header or body that a stranger chose reaches the terminal raw, in any form."""
    evil = f"/queue/{HOSTILE}"
    rows = [{"name": evil, "id": evil, "peer": evil, "of": evil, "reasons": {evil: 1}, evil: evil}]
    for verb in ("queues", "connections", "dlq", "routes"):
        admin.answers[verb] = rows
    admin.answers["status"] = rows[0]
    admin.answers["explain"] = {
        "destination": evil,
        "kind": evil,
        "reasons": [{"code": evil, "text": evil}],
        "goes_to": [evil, {evil: evil}],
    }
    admin.answers["browse"] = {
        "messages": [{"id": evil, "headers": {evil: evil}, "body": evil, "state": evil}],
        "total": 1,
    }
    terminal = Terminal(stomp_admin, *words, width=4000)
    assert terminal.end() == 0
    assert harmless(terminal.seen)
    assert "evil" in terminal.seen


@pytest.mark.parametrize(
    ("line", "argv"),
    [
        ("queues /queue/a* --sort ready --top 3", ["--sort=ready", "--top", "3", "/queue/a*"]),
        ("queues --columns 'name, in-rate'", ["--columns", "name,in_rate"]),
        ("purge /queue/a '/queue/b c' -y", ["-y", "/queue/a", "/queue/b c"]),
        ("move a b --selector \"x = 'y z'\" -n 2", ["a", "b", "-n2", "--selector", "x = 'y z'"]),
        ("dlq requeue /queue/DLQ m1 m2 --to b", ["requeue", "--to", "b", "/queue/DLQ", "m1", "m2"]),
        ("browse /queue/a -n 3 --body-bytes 1k", ["/queue/a", "--body-bytes", "1024", "-n", "3"]),
    ],
)
def test_lines_and_argv_agree(line: str, argv: list[str]) -> None:
    """A line and the command line of the same meaning give equal parameters."""
    word, rest = words.split(line)
    record = table.find(word)
    assert record is not None
    parser = record.load_parser()
    typed = parser.make_context(word, words.arguments(rest), obj=SHELL).params
    assert typed == parser.make_context(word, argv).params


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("queues --no-header --columns name", "/queue/orders\n"),
        ("status --plain --no-header", "server\tstompd/1\n"),
        ("queues --nonsense", None),
        ("purge", None),
        ("explain /queue/a -H x", None),
    ],
)
def test_commands_in_a_script(
    stomp_admin: Stomp, admin: AdminBroker, line: str, text: str | None
) -> None:
    """The same commands work in a script; a wrong one ends it with 2."""
    admin.answers.update({"queues": QUEUES[:1], "status": {"server": "stompd/1"}})
    finished: Finished = stomp_admin("-q", stdin=f"{line}\n{line}\n".encode())
    if text is None:
        assert finished.code == ExitCode.USAGE
        assert re.search(
            r"Expecting: purge <queue>|No such option|\"x\" has no value", finished.err
        )
    else:
        assert (finished.code, finished.text, finished.err) == (0, text * 2, "")


def test_commands_that_ask() -> None:
    """Commands that are marked as destructive have --yes; copy takes it for the sake of move."""
    for record in table.TABLE:
        options = {name for param in record.load_parser().params for name in param.opts}
        assert ("--yes" in options) is (record.destructive or record.name == "copy")
