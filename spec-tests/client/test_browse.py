"""browse and dlq show: forms, cut bodies, pages, and ActiveMQ's way of looking."""

import json
from typing import Any

import pytest
from client.admin_broker import AdminBroker, running_admin_broker
from client.programs import Stomp
from client.terminal import Terminal

from stompcli.client.testing import ClientFrame, ScriptedBroker
from stompcli.exitcodes import ExitCode


def row(n: int, **more: object) -> dict[str, Any]:
    """Return a message as the verb browse tells it."""
    body = f"body {n}"
    return {
        "id": f"c1-{n}",
        "place": n,
        "headers": {"destination": "/queue/a", "content-type": "text/plain", "x": str(n)},
        "size": len(body),
        "body": body,
        "truncated": False,
        "state": "ready",
        "age": 61.5,
        "delivery_count": 0,
        "redelivered": False,
        **more,
    }


def told(*rows: dict[str, Any], total: int | None = None) -> dict[str, Any]:
    """Return the result of the verb browse."""
    return {"messages": list(rows), "total": len(rows) if total is None else total}


def test_browse_into_a_pipe(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """Bodies, each with a line end; the broker is asked for ten whole ones."""
    admin.answers["browse"] = told(row(1), row(2))
    finished = stomp_admin("browse", "/queue/a")
    assert (finished.code, finished.out, finished.err) == (0, b"body 1\nbody 2\n", "")
    assert admin.asked == [("browse", {"destination": "/queue/a", "count": 10})]


def test_every_option_is_asked_for(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """Options of the command are fields of the request."""
    admin.answers["browse"] = told()
    words = ("--offset", "5", "--selector", "x = 1", "--headers-only", "--body-bytes", "1k")
    assert stomp_admin("browse", "/queue/a", "-n", "3", *words).out == b""
    assert admin.asked == [
        (
            "browse",
            {
                "destination": "/queue/a",
                "count": 3,
                "offset": 5,
                "selector": "x = 1",
                "headers_only": True,
                "body_bytes": 1024,
            },
        )
    ]


def test_browse_on_a_terminal(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """People see what else is known of a message, 200 octets of it, and how many there are."""
    late = row(2, state="delayed", due=1_700_000_000_000, delivery_count=3, age=None)
    long = row(3, body="x" * 300, size=1000, truncated=True, delivery_count=1)
    admin.answers["browse"] = told(row(1), late, long, total=1204)
    terminal = Terminal(stomp_admin, "browse", "/queue/a", "-n", "3")
    assert terminal.end() == 0
    assert terminal.seen == (
        "[#1] /queue/a  6 B  text/plain  id c1-1  1m 01s old\n"
        "  x: 1\n"
        "body 1\n"
        "[#2] /queue/a  6 B  text/plain  id c1-2  delayed  due 2023-11-14T22:13:20.000Z"
        "  delivered 3 times\n"
        "  x: 2\n"
        "body 2\n"
        "[#3] /queue/a  1,000 B  text/plain  id c1-3  1m 01s old  delivered once\n"
        "  x: 3\n"
        f"{'x' * 200}\n"
        "... 800 more octets\n"
        "3 of 1,204 messages\n"
    )
    assert admin.asked[0][1]["body_bytes"] == 200


def test_browse_as_json(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """An object a line, as subscribe writes it, with what is known besides; times in RFC 3339."""
    binary = row(2, body_base64="/wA=", due=0, size=2, truncated=False)
    del binary["body"]
    admin.answers["browse"] = told(row(1), binary)
    first, second = map(json.loads, stomp_admin("browse", "/queue/a", "--json").out.splitlines())
    assert first == {
        "n": 1,
        "destination": "/queue/a",
        "headers": {"content-type": "text/plain", "x": "1", "message-id": "c1-1"},
        "body": "body 1",
        "size": 6,
        "state": "ready",
        "place": 1,
        "truncated": False,
        "age": 61.5,
        "delivery_count": 0,
        "redelivered": False,
    }
    assert second["body_base64"] == "/wA="
    assert second["due"] == "1970-01-01T00:00:00.000Z"


def test_browse_by_id(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """--id shows one message; one that is not there is said to be missing."""
    admin.answers["browse"] = told(row(7))
    assert stomp_admin("browse", "/queue/a", "--id", "c1-7").out == b"body 7\n"
    assert admin.asked == [("browse", {"destination": "/queue/a", "count": 1, "id": "c1-7"})]
    admin.answers["browse"] = told()
    missing = stomp_admin("browse", "/queue/a", "--id", "c1-8")
    assert (missing.code, missing.err) == (1, "stomp: there is no message c1-8 in /queue/a\n")


def test_pages(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """A broker that tells less than was asked for is asked again, until there is no more."""

    def page(fields: dict[str, Any]) -> object:
        at = int(fields.get("after", fields.get("offset", 0)))
        more = str(at + 2) if at + 2 < 5 else None
        return {**told(*(row(n) for n in range(at, min(at + 2, 5))), total=5), "more": more}

    admin.answers["browse"] = page
    finished = stomp_admin("browse", "/queue/a", "-n", "4", "--format", "{n} {id}\\n")
    assert finished.out == b"1 c1-0\n2 c1-1\n3 c1-2\n4 c1-3\n"
    finished = stomp_admin("browse", "/queue/a", "-n", "9", "--offset", "1", "--format", "{n} ")
    assert finished.out == b"2 3 4 5 "
    asked = [(f.get("offset"), f.get("after"), f["count"]) for _, f in admin.asked]
    assert asked == [(None, None, 4), (None, "2", 2), (1, None, 9), (None, "3", 7)]


@pytest.mark.parametrize(("quiet", "said"), [([], True), (["-q"], False)])
def test_cut_bodies_are_told(
    stomp_admin: Stomp, admin: AdminBroker, quiet: list[str], *, said: bool
) -> None:
    """Where nobody reads along, bodies that were cut are told on standard error."""
    admin.answers["browse"] = told(row(1, size=99, truncated=True), row(2))
    finished = stomp_admin(*quiet, "browse", "/queue/a", "--json")
    assert json.loads(finished.out.splitlines()[0])["truncated"] is True
    assert ("1 message cut; --body-bytes" in finished.err) is said


def test_headers_only(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """Without bodies nothing counts as cut."""
    bare = row(1, size=99)
    del bare["body"]
    admin.answers["browse"] = told(bare)
    finished = stomp_admin("browse", "/queue/a", "--headers-only")
    assert b"\nx: 1\n" in finished.out
    assert finished.err == ""


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"messages": None},
        {"messages": [1], "total": 1},
        {"messages": [{}], "total": 1},
        {"messages": [{"headers": []}], "total": "x"},
    ],
)
def test_messages_without_anything(
    stomp_admin: Stomp, admin: AdminBroker, answer: dict[str, object]
) -> None:
    """What a broker leaves out is empty, and no reason to fail."""
    admin.answers["browse"] = answer
    assert stomp_admin("browse", "/queue/a", "-n", "1").code == 0


@pytest.mark.parametrize("body", ["?", 7])
def test_a_body_that_is_no_base64(stomp_admin: Stomp, admin: AdminBroker, body: object) -> None:
    """It is said to be none."""
    admin.answers["browse"] = told(row(1, body_base64=body))
    finished = stomp_admin("browse", "/queue/a")
    assert finished.code == ExitCode.FAILED
    assert finished.err == "stomp: the body of c1-1 is no base64\n"


def test_browse_in_a_script(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """In a shell messages look as those that are received."""
    admin.answers["browse"] = told(row(1))
    finished = stomp_admin("-q", stdin=b"browse /queue/a\n")
    assert finished.text == (
        "MESSAGE\ndestination: /queue/a\ncontent-type: text/plain\nx: 1\nmessage-id: c1-1\n\n"
        "body 1\n"
    )


def test_dlq_show(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """Dead letters are shown as browse does; the queue may be left out, a message-id given."""
    admin.answers["browse"] = told(row(1))
    admin.answers["dlq"] = [{"name": "/queue/DLQ.a", "ready": 1}]
    assert stomp_admin("dlq", "show").out == b"body 1\n"
    assert stomp_admin("dlq", "show", "/queue/DLQ.b", "-n", "1").out == b"body 1\n"
    assert stomp_admin("dlq", "show", "/queue/DLQ.b", "c1-1").out == b"body 1\n"
    assert [fields for verb, fields in admin.asked if verb == "browse"] == [
        {"destination": "/queue/DLQ.a", "count": 10},
        {"destination": "/queue/DLQ.b", "count": 1},
        {"destination": "/queue/DLQ.b", "count": 1, "id": "c1-1"},
    ]


# ActiveMQ.


async def browsed(broker: ScriptedBroker, subscription: ClientFrame) -> None:
    """Send three messages as ActiveMQ does to who only looks, and the mark of the end."""
    for n in range(1, 4):
        await broker.message(subscription, b"body %d" % n, message_id=f"m{n}", x=str(n))
    await broker.message(subscription, message_id="0", browser="end")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], b"body 1\nbody 2\nbody 3\n"),
        (["-n", "2"], b"body 1\nbody 2\n"),
        (["--offset", "1", "--format", "{n} {body} {header.subscription}\\n"], None),
        (["--id", "m2"], b"body 2\n"),
        (["--body-bytes", "3"], b"bod\nbod\nbod\n"),
    ],
)
def test_browse_activemq(words: list[str], shown: bytes | None) -> None:
    """ActiveMQ is looked at by its own kind of subscription, which is then ended."""
    with running_admin_broker(server="ActiveMQ/6.1.0", on_subscribe=browsed) as broker:
        finished = Stomp(broker.port)("-q", "browse", "/queue/a", *words, "--selector", "x > 0")
        assert (finished.code, finished.err) == (0, "")
        assert finished.out == (shown or b"2 body 2 \n3 body 3 \n")
        (frame,) = broker.frames
        assert frame.command == "SUBSCRIBE"
        assert frame.headers.items() >= {
            ("destination", "/queue/a"),
            ("browser", "true"),
            ("selector", "x > 0"),
            ("ack", "auto"),
        }


def test_a_message_that_activemq_does_not_have() -> None:
    """Its absence is noticed at the mark of the end."""
    with running_admin_broker(server="ActiveMQ/6.1.0", on_subscribe=browsed) as broker:
        finished = Stomp(broker.port)("browse", "/queue/a", "--id", "m9")
        assert (finished.code, finished.err) == (1, "stomp: there is no message m9 in /queue/a\n")


def test_activemq_on_a_terminal() -> None:
    """What ActiveMQ does not tell is not made up."""
    with running_admin_broker(server="ActiveMQ/6.1.0", on_subscribe=browsed) as broker:
        terminal = Terminal(Stomp(broker.port), "browse", "/queue/a", "-n", "1")
        assert terminal.end() == 0
        assert terminal.seen == "[#1] /queue/a  6 B  id m1\n  x: 1\nbody 1\n1 message\n"


def test_browse_elsewhere() -> None:
    """With any other broker it says who could be asked."""
    with running_admin_broker(server="RabbitMQ/3.12.1") as broker:
        finished = Stomp(broker.port)("browse", "/queue/a")
        assert finished.code == ExitCode.FAILED
        assert "browse needs stompd or ActiveMQ; at localhost" in finished.err
        assert broker.frames == []
