"""The door for admin requests: who may, what is a request, and where the reply goes."""

import json

import pytest
from broker.asking import REPLIES, Asker
from broker.client import Core, publish, settings
from jsonschema import Draft202012Validator

from stompd.broker.admin.request import Act
from stompd.broker.admin.schema import count, flag, headers, lack, number, text, texts
from stompd.broker.admin.verbs import VERBS
from stompd.broker.policy import Policy
from stompd.broker.route import Route


def test_a_reply_goes_to_a_queue_that_was_subscribed_before(core: Core) -> None:
    """With the subscription's id, the correlation-id, and the type of its body."""
    client = core.administrator()
    client.subscribe(REPLIES, id="adm")
    client.send("/admin/users", b"{}", reply_to=REPLIES, correlation_id="a:b")
    reply = client.one("MESSAGE")
    assert reply["subscription"] == "adm"
    assert reply["correlation-id"] == "a:b"
    assert reply["content-type"] == "application/json"
    assert json.loads(reply.body) == {"ok": True, "result": []}


def test_a_reply_may_go_to_any_queue_or_topic(core: Core) -> None:
    """Also to one that somebody else reads; without a correlation-id there is none."""
    client, other = core.administrator(), core.client("1.0")
    other.subscribe("/queue/answers")
    other.subscribe("/topic/answers", id="t")
    for name in ("/queue/answers", "/topic/answers"):
        client.send("/admin/users", reply_to=name)
        message = other.one("MESSAGE")
        assert message["destination"] == name
        assert message.get("correlation-id") is None
        assert message.text == '{"ok":true,"result":[]}'


def test_a_reply_to_who_has_left_is_dropped(core: Core) -> None:
    """As what anybody sends there."""
    client = core.administrator()
    client.send("/admin/users", reply_to="/remote-temp-queue/c99/gone")
    assert client.alive()


def test_a_reply_is_no_request(core: Core) -> None:
    """Requests cannot ask each other for ever."""
    client = core.administrator()
    client.send("/admin/users", reply_to="/admin/users")
    assert client.error()["message"] == "unknown kind of destination"


def test_the_receipt_of_a_request_says_that_it_was_carried_out(core: Core) -> None:
    """The reply is on its way before it."""
    client = core.administrator()
    client.send("/admin/users", reply_to=REPLIES, receipt="r")
    assert [frame.command for frame in client.take(2)] == ["MESSAGE", "RECEIPT"]


@pytest.mark.parametrize("reply_to", [None, "", "/queue/*", "/topic/$SYS/x", "/nowhere"])
def test_a_request_needs_a_reply_to(core: Core, reply_to: str | None) -> None:
    """Nobody would ever know what came of it, so that is an ERROR."""
    client = core.administrator()
    client.send("/admin/users", **({} if reply_to is None else {"reply_to": reply_to}))
    error = client.error()
    expected = "unknown kind" if reply_to == "/nowhere" else "admin request without reply-to"
    assert expected in error["message"]


def test_replies_cannot_be_subscribed_to_at_the_door(core: Core) -> None:
    """The ERROR says where they are to be had."""
    client = core.administrator()
    client.subscribe("/admin/queues")
    error = client.error()
    assert error["message"] == "unknown kind of destination"
    assert "reply-to" in error.text


def test_a_request_in_a_transaction_is_carried_out_at_commit(core: Core) -> None:
    """Behind the SENDs before it; never, if it is aborted."""
    client = core.administrator()
    for last in ("ABORT", "COMMIT"):
        client("BEGIN", transaction="t")
        client.send("/queue/a", "1", transaction="t")
        client.send("/admin/purge", b'{"destination":"a"}', reply_to=REPLIES, transaction="t")
        assert client.take() == []
        client(last, transaction="t")
    assert json.loads(client.one("MESSAGE").body)["result"]["done"] == 1


def test_a_request_beside_a_send_that_needs_room() -> None:
    """Only the SEND is asked for room: without it nothing is carried out."""
    core = Core(settings({"/queue/full": Policy(max_messages=1, overflow="reject")}))
    client = core.administrator()
    publish(client, "/queue/full", ["1"])
    client("BEGIN", transaction="t")
    client.send("/admin/purge", b'{"destination":"full"}', reply_to=REPLIES, transaction="t")
    client.send("/queue/full", "2", transaction="t")
    client("COMMIT", transaction="t")
    assert client.error()["message"] == "queue is full"


# Rights.


def test_who_is_not_trusted_is_refused(core: Core) -> None:
    """By a reply: the session goes on."""
    asker = Asker(core, trusted=False)
    assert asker.refused("queues") == ("forbidden", "queues needs the right monitor")
    assert asker.refused("kick", connection="c1") == ("forbidden", "kick needs the right admin")
    assert asker.client.alive()


def test_acts_are_told_with_who_did_them(core: Core) -> None:
    """Those that were refused as well; looking is not."""
    acts: list[Act] = []
    core.broker.acted = acts.append
    asker = Asker(core)
    asker.client.session.user = "ann"
    asker("queues")
    assert acts == []
    publish(asker.client, "/queue/a", ["1", "2"])
    asker("purge", destination="/queue/a", keep=1)
    asker.refused("pause", destination="/queue/b")
    Asker(core, trusted=False).refused("purge", destination="/queue/a")
    assert [(act.verb, act.user, act.connection, act.vhost) for act in acts] == [
        ("purge", "ann", "c1", "/"),
        ("pause", "ann", "c1", "/"),
        ("purge", None, "c2", "/"),
    ]
    assert acts[0].fields == {"destination": "/queue/a", "keep": 1}
    assert acts[0].reply == {"ok": True, "result": {"done": 1, "failed": 0, "reasons": []}}
    assert [act.reply["error"]["code"] for act in acts[1:]] == ["not-found", "forbidden"]


# What is a request.


def test_an_unknown_verb_is_not_found(core: Core) -> None:
    """Trusted or not."""
    for trusted in (True, False):
        assert Asker(core, trusted=trusted).refused("quues") == (
            "not-found",
            'there is no verb "quues"; `verbs` tells which there are',
        )


@pytest.mark.parametrize("body", [b"", b" \n", b"{}", b'{"match":null}'])
def test_a_body_without_fields(core: Core, body: bytes) -> None:
    """An empty one and an empty object are the same; null is as if it were not there."""
    assert Asker(core).reply("queues", body)["result"][0]["name"].startswith("/remote-temp-queue/")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "the body is no JSON object"),
        (b"3", "the body is no JSON object"),
        (b"{", "the body is no JSON"),
        (b'{"match":"\xff"}', "the body is no JSON"),
        (b"[" * 100_000, "the body is no JSON"),
        (b'{"matches":1}', 'queues has no field "matches"; there are: match, vhost'),
        (b'{"match":1}', "match has to be a text"),
        (b'{"match":"\\ud800"}', "match has to be a text"),
    ],
)
def test_bodies_that_are_no_request(core: Core, body: bytes, message: str) -> None:
    """Each is told what is wrong with it."""
    error = Asker(core).reply("queues", body)["error"]
    assert error["code"] == "bad-request"
    assert message in error["message"]


def test_a_verb_without_fields_says_so(core: Core) -> None:
    """And one that needs a field names it."""
    asker = Asker(core)
    assert asker.refused("status", a=1)[1].endswith("there are: none")
    assert asker.refused("browse") == ("bad-request", "browse needs the field destination")


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (text(""), ["", "é"], [1, None, ["a"]]),
        (flag(""), [True, False], [0, 1, "true"]),
        (count(""), [0, 7, 2**53 - 1], [-1, 2**53, True, 1.0, "1"]),
        (count("", least=2), [2], [1]),
        (number(""), [0, 0.5], [-0.5, 10**400, True, float("nan"), float("inf"), "1"]),
        (texts(""), [[], ["a"]], ["a", [1]]),
        (headers(""), [{}, {"a": "b"}], [[], {"a": 1}, {"\ud800": "b"}]),
    ],
)
def test_what_fits_a_schema(
    schema: dict[str, object], good: list[object], bad: list[object]
) -> None:
    """What is accepted is what the schema says, and what is refused is told what it has to be."""
    for value in good:
        assert lack(value, schema) == ""
        Draft202012Validator(schema).validate(value)
    for value in bad:
        assert lack(value, schema)


def test_every_verb_tells_its_schemas(core: Core) -> None:
    """By a verb of its own; they are schemas."""
    rows = Asker(core)("verbs")
    assert [row["verb"] for row in rows] == list(VERBS)
    for row in rows:
        Draft202012Validator.check_schema(row["request"])
        Draft202012Validator.check_schema(row["reply"])


def test_a_reply_that_cannot_be_sent_any_more_does_not_undo_a_commit(core: Core) -> None:
    """All that stands behind the request in its transaction is carried out; the reply is dropped.

    Its exchange was there when the request was made, and is gone with its only route.
    """
    client = Asker(core).client
    host = core.broker.host("/")
    host.add_route(Route("r", "/exchange/e", ("/queue/replies",)))
    client("BEGIN", transaction="t")
    client.send("/queue/a", "1", transaction="t")
    client.send("/admin/users", reply_to="/exchange/e/k", transaction="t")
    client.send("/queue/b", "2", transaction="t")
    host.remove_route("r")
    client("COMMIT", transaction="t", receipt="c")
    assert client.receipts() == ["c"]
    assert (host.queues["/queue/a"].depth, host.queues["/queue/b"].depth) == (1, 1)
    assert host.dropped == 1


def test_a_reply_needs_an_exchange_that_is_there(core: Core) -> None:
    """Otherwise the request is refused before anything is done."""
    client = Asker(core).client
    client.send("/admin/users", reply_to="/exchange/nowhere/k")
    assert client.error()["message"] == "no such exchange"


@pytest.mark.parametrize(
    ("verb", "field"),
    [("browse", "offset"), ("browse", "count"), ("purge", "older_than"), ("purge", "keep")],
)
def test_numbers_of_a_request_have_a_limit(core: Core, verb: str, field: str) -> None:
    """One with which nobody can reckon is refused, and the connection goes on."""
    asker = Asker(core)
    asker.client.send("/queue/a", "x")
    for large in (10**400, 2**53):
        code, text = asker.refused(verb, destination="/queue/a", **{field: large})
        assert code == "bad-request"
        assert "up to" in text
    asker(verb, destination="/queue/a", **{field: 2**53 - 1})
