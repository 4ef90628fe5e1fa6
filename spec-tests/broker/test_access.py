"""Who may do what: every frame and every verb, with each right that it needs, and without it."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from broker.asking import REPLIES, Asker
from broker.client import Client, Core, publish, settings
from broker.restarting import RestartingCore

from stompd.broker.admin.verbs import VERBS
from stompd.broker.principal import Principal
from stompd.broker.rights import RIGHTS, Right, Rights, Rule
from stompd.broker.route import Route
from stompd.broker.session import CloseReason, Session

Need = tuple[Right, str]

CONNECT: Need = ("connect", "#")


def ruled(*rules: Rule, **more: Any) -> Core:  # noqa: ANN401 - settings
    """Return a broker with these rules."""
    return Core(settings(rights=Rights(rules), **more))


def allow(right: Right, on: str = "#", who: str = "*", vhost: str | None = None) -> Rule:
    """Return a rule that allows one right."""
    return Rule(allows=True, who=who, rights=(right,), on=on, vhost=vhost)


def deny(right: Right, on: str = "#", who: str = "*") -> Rule:
    """Return a rule that denies one right."""
    return Rule(allows=False, who=who, rights=(right,), on=on)


OPEN = tuple(allow(right) for right in RIGHTS)


def change(core: Core, *rules: Rule) -> None:
    """Have a broker read other rules."""
    core.broker.reconfigure(replace(core.broker.settings, rights=Rights(rules)))
    core.run()


def filled(rules: tuple[Rule, ...]) -> Core:
    """Return a broker with a queue, a topic and a durable subscription, made by an administrator.

    Dead letters of /queue/old are there as well.
    """
    core = ruled(*OPEN)
    root = core.user("root", "admin", client_id="root")
    publish(root, "/queue/old", ["1", "2"])
    root.send("/queue/dying", "x", expires="1")
    root.subscribe("/topic/news", id="d", durable="true")
    root("UNSUBSCRIBE", id="d")
    root.subscribe("/queue/dead", "client-individual", id="n")
    root.send("/queue/dead", "letter")
    root.nack(root.messages()[-1], requeue="false")
    root.subscribe("/topic/old", id="t")
    root.take()
    change(core, *rules)
    return core


# -- Frames ----------------------------------------------------------------------------------------


def _send_in_transaction(client: Client) -> None:
    client("BEGIN", transaction="t")
    client.send("/queue/old", transaction="t")


# What a client does, and which rights it needs for that.
FRAMES: dict[str, tuple[Callable[[Client], object], list[Need]]] = {
    "SEND to a queue": (lambda c: c.send("/queue/old"), [("send", "/queue/old")]),
    "SEND to a bare name": (lambda c: c.send("old"), [("send", "/queue/old")]),
    "SEND to a new queue": (
        lambda c: c.send("/queue/new"),
        [("send", "/queue/new"), ("create", "/queue/new")],
    ),
    "SEND to RabbitMQ's spelling": (
        lambda c: c.send("/amq/queue/old"),
        [("send", "/queue/old")],
    ),
    "SEND that says where dead letters go": (
        lambda c: c.send("/queue/new", x_dead_letter_routing_key="letters"),
        [("send", "/queue/new"), ("create", "/queue/new"), ("send", "/queue/letters")],
    ),
    "SEND that says nonsense of dead letters": (
        lambda c: c.send("/queue/old", x_dead_letter_routing_key="/nowhere"),
        [("send", "/queue/old")],
    ),
    "SUBSCRIBE that says where dead letters go": (
        lambda c: c.subscribe("/queue/new", x_dead_letter_routing_key="letters"),
        [("receive", "/queue/new"), ("create", "/queue/new"), ("send", "/queue/letters")],
    ),
    "SEND to a topic": (lambda c: c.send("/topic/new"), [("send", "/topic/new")]),
    "SEND to the exchange of topics": (
        lambda c: c.send("/exchange/amq.topic/a.b"),
        [("send", "/topic/a.b")],
    ),
    "SEND to an exchange": (
        lambda c: c.send("/exchange/amq.direct/k"),
        [("send", "/exchange/amq.direct/k")],
    ),
    "SEND to several": (
        lambda c: c.send("/queue/old,/queue/new,/topic/t"),
        [
            ("send", "/queue/old"),
            ("send", "/queue/new"),
            ("send", "/topic/t"),
            ("create", "/queue/new"),
        ],
    ),
    "SEND with a receipt": (
        lambda c: c.send("/queue/old", receipt="r"),
        [("send", "/queue/old")],
    ),
    "SEND in a transaction": (
        _send_in_transaction,
        [("send", "/queue/old")],
    ),
    "SEND to somebody's temporary queue": (
        lambda c: c.send("/remote-temp-queue/c1/r"),
        [("send", "/remote-temp-queue/c1/r")],
    ),
    "SEND to an own temporary queue": (lambda c: c.send("/temp-queue/own"), []),
    "SEND with reply-to": (
        lambda c: c.send("/queue/old", reply_to="/temp-queue/own"),
        [("send", "/queue/old")],
    ),
    "SUBSCRIBE to a queue": (lambda c: c.subscribe("/queue/old"), [("receive", "/queue/old")]),
    "SUBSCRIBE to a new queue": (
        lambda c: c.subscribe("/queue/new"),
        [("receive", "/queue/new"), ("create", "/queue/new")],
    ),
    "SUBSCRIBE to queues": (lambda c: c.subscribe("/queue/o.#"), [("receive", "/queue/o.#")]),
    "SUBSCRIBE to a topic": (lambda c: c.subscribe("/topic/new"), [("receive", "/topic/new")]),
    "SUBSCRIBE to topics": (lambda c: c.subscribe("/topic/n.*"), [("receive", "/topic/n.*")]),
    "SUBSCRIBE to several": (
        lambda c: c.subscribe("/queue/old,/topic/t"),
        [("receive", "/queue/old"), ("receive", "/topic/t")],
    ),
    "SUBSCRIBE to an own temporary queue": (lambda c: c.subscribe("/temp-queue/own"), []),
    "SUBSCRIBE to an own temporary topic": (lambda c: c.subscribe("/temp-topic/own"), []),
    "browse a queue": (
        lambda c: c.subscribe("/queue/old", browser="true"),
        [("browse", "/queue/old")],
    ),
    "browse a new queue": (
        lambda c: c.subscribe("/queue/new", browser="true"),
        [("browse", "/queue/new"), ("create", "/queue/new")],
    ),
    "a new durable subscription": (
        lambda c: c.subscribe("/topic/news", durable="true"),
        [("receive", "/topic/news"), ("create", "/topic/news")],
    ),
    "a queue bound to a topic": (
        lambda c: c.subscribe("/topic/news", durable="true", x_queue_name="old"),
        [("receive", "/topic/news"), ("receive", "/queue/old"), ("create", "/queue/old")],
    ),
    "a consumer of a virtual topic": (
        lambda c: c.subscribe("/queue/Consumer.g.VirtualTopic.x"),
        [
            ("receive", "/queue/Consumer.g.VirtualTopic.x"),
            ("receive", "/topic/VirtualTopic.x"),
            ("create", "/queue/Consumer.g.VirtualTopic.x"),
        ],
    ),
    "a consumer of virtual topics": (
        lambda c: c.subscribe("/queue/Consumer.g.#"),
        [("receive", "/queue/Consumer.g.#"), ("receive", "/topic/#")],
    ),
    "events": (
        lambda c: c.subscribe("/topic/$SYS/events/#"),
        [("monitor", "/topic/$SYS/events/#")],
    ),
    "statistics": (
        lambda c: c.subscribe("/topic/$SYS/stats/broker"),
        [("monitor", "/topic/$SYS/stats/broker")],
    ),
    "the tap": (lambda c: c.subscribe("/topic/$SYS/tap"), [("monitor", "/topic/$SYS/tap")]),
    "a request": (
        lambda c: c.send("/admin/status", reply_to=REPLIES),
        [],
    ),
    "a request that is answered elsewhere": (
        lambda c: c.send("/admin/status", reply_to="/queue/old"),
        [("send", "/queue/old")],
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_with_the_rights_that_it_needs(name: str) -> None:
    """No others are asked for."""
    act, needs = FRAMES[name]
    core = filled(tuple(allow(*need) for need in [CONNECT, *needs]))
    client = core.user("ann")
    act(client)
    assert not client.session.over, client.take()


@pytest.mark.parametrize(
    ("name", "missing"),
    [(name, need) for name, (_, needs) in FRAMES.items() for need in needs],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
@pytest.mark.parametrize("denied", [False, True], ids=["not allowed", "denied"])
def test_a_frame_without_one_of_them(name: str, missing: Need, *, denied: bool) -> None:
    """The ERROR names the right and the destination, and nothing is done or made."""
    act, needs = FRAMES[name]
    others = [allow(*need) for need in [CONNECT, *needs] if need != missing]
    core = filled((deny(*missing), *OPEN) if denied else tuple(others))
    queues = core.broker.host("/").queues
    before = {queue.name: queue.depth for queue in queues.values()}
    client = core.user("ann")
    act(client)
    error = client.error()
    right, destination = missing
    assert error["message"] == "access refused"
    assert error.text == f'{destination} needs the right "{right}"\n'
    assert client.session.reason is CloseReason.PROTOCOL_ERROR
    kept = {queue.name: queue.depth for queue in queues.values() if queue.name in before}
    assert kept == before
    assert destination in before or destination not in queues


def test_nobody_connects_without_the_right() -> None:
    """In the virtual host that is meant; it is told like a log-in that failed."""
    core = ruled(allow("connect", vhost="/b"), allow("receive"), virtual_hosts=("/", "/b"))
    client = core.user("ann")
    assert client.session.over
    assert client.session.reason is CloseReason.REFUSED
    assert client.session.fault is not None
    assert str(client.session.fault) == ('access refused: virtual host / needs the right "connect"')
    assert not core.user("ann", host="/b").session.over


def test_in_another_virtual_host_other_rights_count() -> None:
    """For the same user."""
    core = ruled(allow("connect"), allow("receive", "#", vhost="/b"), virtual_hosts=("/", "/b"))
    client = core.user("ann", host="/b")
    client.subscribe("/topic/a")
    assert client.take() == []
    client = core.user("ann")
    client.subscribe("/topic/a")
    assert client.error()["message"] == "access refused"


def test_what_a_name_is_called_makes_no_difference() -> None:
    """Rights are to a destination, however it is written."""
    core = ruled(allow("connect"), deny("send", "/queue/a.b"), allow("send"), allow("create"))
    for name in ("/queue/a.b", "/queue/a/b", "a.b", "a/b", "/amq/queue/a.b"):
        client = core.user("ann")
        client.send(name)
        assert client.error()["message"] == "access refused"


def test_a_plan_is_nobody_elses() -> None:
    """What was worked out for equal octets of somebody else is worked out again."""
    core = ruled(
        allow("connect"), allow("create"), allow("send", "/queue/a", "ann"), allow("receive")
    )
    ann, bob = core.user("ann"), core.user("bob")
    for _ in range(4):
        ann.send("/queue/a", "x")
    assert ann.take() == []
    bob.send("/queue/a", "x")
    assert bob.error().text == '/queue/a needs the right "send"\n'
    for _ in range(4):
        ann.send("/queue/a", "x")
    assert core.broker.host("/").queues["/queue/a"].depth == 8


def test_a_queue_that_is_gone_is_made_by_those_who_may() -> None:
    """Also when it was there before, and through several in one."""
    core = ruled(allow("connect"), allow("send"), allow("create", "#", "@makers"))
    maker, sender = core.user("m", "makers"), core.user("ann")
    maker.send("/queue/a", "x")
    for name in ("/queue/a", "/queue/a,/topic/t"):
        sender.send(name, "x")
        sender.send(name, "x")
    assert sender.take() == []
    host = core.broker.host("/")
    host.remove(host.queues["/queue/a"])
    for name in ("/queue/a", "/queue/a,/topic/t"):
        again = core.user("ann")
        again.send(name, "x")
        assert again.error().text == '/queue/a needs the right "create"\n'
    sender.send("/queue/a,/topic/t", "x")
    assert sender.error().text == '/queue/a needs the right "create"\n'


def test_what_routes_lead_to_needs_no_right() -> None:
    """They were set up by somebody who may; only what is named is asked for."""
    core = ruled(allow("connect"), allow("send", "/queue/in"), *(allow("admin", "#", "root"),))
    host = core.broker.host("/")
    host.add_route(Route("r", "/queue/in", ("/queue/out",), None, move=True))
    client = core.user("ann")
    client.send("/queue/in", "x")
    assert client.take() == []
    assert list(host.queues) == ["/queue/out"]


def test_names_that_were_sent_to_are_remembered_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Names without end take no memory without end."""
    monkeypatch.setattr("stompd.broker.access._MOST_KNOWN", 3)
    monkeypatch.setattr("stompd.broker.virtualhost._MOST_ACCESSES", 2)
    core = ruled(allow("connect"), allow("send", "/topic/{user}.#"))
    for name in ("ann", "bob", "eve", "ann"):
        client = core.user(name)
        for number in range(10):
            client.send(f"/topic/{name}.{number}", "x")
        assert client.take() == []


# -- What belongs to somebody ----------------------------------------------------------------------


def test_nobody_takes_over_the_client_id_of_another_user() -> None:
    """The same user may, from another connection."""
    core = ruled(*OPEN)
    ann = core.user("ann", client_id="me")
    bob = core.user("bob", client_id="me")
    assert bob.session.over
    assert not ann.session.over
    assert (
        str(bob.session.fault) == 'client-id in use: "me" is that of another user; take another one'
    )
    again = core.user("ann", client_id="me")
    assert ann.error()["message"] == "client-id in use"
    again.close()
    assert not core.user("bob", client_id="me").session.over


def test_a_durable_subscription_is_its_users() -> None:
    """Nobody else takes what waits there, or deletes it; not after a restart either."""
    core = RestartingCore(settings(rights=Rights(OPEN)))
    ann = core.user("ann", client_id="me")
    ann.subscribe("/topic/t", id="d", durable="true")
    ann.close()
    acts: list[Callable[[Client], None]] = [
        lambda c: c.subscribe("/topic/t", id="d", durable="true"),
        lambda c: c.subscribe("/topic/other", id="d", durable="true"),
        lambda c: c("UNSUBSCRIBE", id="d", durable="true"),
    ]
    for _ in range(2):
        for act in acts:
            bob = core.user("bob", client_id="me")
            act(bob)
            assert bob.error().text == 'the durable subscription "d" is another user\'s\n'
        ann = core.user("ann", client_id="me")
        ann.subscribe("/topic/t", id="d", durable="true")
        assert ann.take() == []
        ann.close()
        core.stop()


def test_who_deletes_what_is_away_needs_the_right_to_receive_from_it() -> None:
    """A durable subscription, and a queue that is bound to a topic."""
    core = ruled(*OPEN)
    ann = core.user("ann", client_id="me")
    ann.subscribe("/topic/t", id="d", durable="true")
    ann.subscribe("/topic/t", id="q", durable="true", x_queue_name="bound")
    ann.close()
    change(core, allow("connect"))
    for headers, name in (
        ({"id": "d"}, "/topic/t"),
        ({"id": "x", "x_queue_name": "bound"}, "/queue/bound"),
    ):
        ann = core.user("ann", client_id="me")
        ann("UNSUBSCRIBE", durable="true", **headers)
        assert ann.error().text == f'{name} needs the right "receive"\n'


# -- Rules that change -----------------------------------------------------------------------------


def test_new_rules_hold_at_once() -> None:
    """For a SEND that went a hundred times; connections stay, whose rights are the same."""
    core = ruled(*OPEN)
    ann, bob = core.user("ann"), core.user("bob")
    for _ in range(3):
        ann.send("/queue/a", "x")
    bob.subscribe("/topic/t")
    change(core, deny("send", "/queue/a"), *OPEN)
    ann.send("/queue/a", "x")
    assert ann.error().text == '/queue/a needs the right "send"\n'
    assert bob.alive()


@pytest.mark.parametrize(
    ("subscribed", "headers", "need"),
    [
        ("/queue/old", {}, ("receive", "/queue/old")),
        ("/queue/old", {"browser": "true", "browser-end": "false"}, ("browse", "/queue/old")),
        ("/topic/t", {}, ("receive", "/topic/t")),
        ("/topic/#", {}, ("receive", "/topic/secret")),
        ("/topic/t", {"durable": "true"}, ("receive", "/topic/t")),
        ("/topic/t", {"durable": "true", "x-queue-name": "b"}, ("receive", "/queue/b")),
        ("/topic/$SYS/tap", {}, ("monitor", "/topic/$SYS/tap")),
        ("/queue/Consumer.g.VirtualTopic.x", {}, ("receive", "/topic/VirtualTopic.x")),
    ],
)
def test_a_subscription_that_is_not_allowed_any_more_ends(
    subscribed: str, headers: dict[str, str], need: Need
) -> None:
    """With its connection: what it holds goes to others."""
    core = ruled(*OPEN)
    client = core.user("ann", client_id="me")
    client.subscribe(subscribed, id="s", **headers)
    client.take()
    other = core.user("bob")
    change(core, deny(*need, "ann"), *OPEN)
    error = client.error()
    assert error["message"] == "access refused"
    assert error["subscription"] == "s"
    assert client.session.reason is CloseReason.WITHDRAWN
    assert other.alive()


def test_who_may_not_connect_any_more_is_sent_away() -> None:
    """Own temporary destinations are no reason to be."""
    core = ruled(*OPEN)
    ann, bob = core.user("ann"), core.user("bob")
    bob.subscribe("/temp-queue/own")
    change(core, deny("connect", who="ann"), *OPEN)
    assert ann.error().text == 'virtual host / needs the right "connect"\n'
    assert bob.alive()


def test_who_is_no_user_any_more_is_sent_away() -> None:
    """And who is in another group has its rights from now on."""
    core = ruled(allow("connect"), allow("send", "/topic/a", "@a"), allow("send", "/topic/b", "@b"))
    ann, bob = core.user("ann", "a"), core.user("bob", "a")
    leaving = core.user("eve", "a")
    ann.send("/topic/a")

    def renew(session: Session) -> Principal | None:
        principal = session.principal
        return replace(principal, groups=frozenset("b")) if principal.name == "ann" else None

    core.broker.durable_ticket = -1
    leaving("DISCONNECT", receipt="r")
    core.broker.durable_ticket = 0
    core.broker.reconfigure(core.broker.settings, renew)
    core.run()
    assert bob.error()["message"] == "log-in withdrawn"
    ann.send("/topic/b")
    assert ann.take() == []
    ann.send("/topic/a")
    assert ann.error()["message"] == "access refused"
    assert leaving.session.fault is None


def test_a_log_in_ends_when_it_expires() -> None:
    """At the time that it was told, or that it is told when users are read again."""
    core = Core(settings(rights=Rights(OPEN)), epoch=1000.0)

    def until(expires: float | None) -> Client:
        return core.user("ann", expires=expires)

    soon, later, never, begins = until(1030.0), until(1200.0), until(None), until(None)
    assert until(999.0).session.over
    core.broker.reconfigure(
        core.broker.settings,
        lambda session: (
            replace(session.principal, expires=1100.0)
            if session is begins.session
            else session.principal
        ),
    )
    core.tick(29.9)
    assert not soon.session.over
    core.tick(0.2)
    assert soon.error()["message"] == "log-in expired"
    assert soon.session.reason is CloseReason.WITHDRAWN
    for _ in range(2):
        core.tick(60)
    assert not later.session.over
    assert begins.error()["message"] == "log-in expired"
    later.session.principal = replace(later.session.principal, expires=None)
    core.tick(60)
    assert never.alive()
    assert later.alive()


# -- Requests --------------------------------------------------------------------------------------

# The fields of a request, and which rights it needs; a list tells only what one may monitor.
REQUESTS: dict[str, tuple[dict[str, Any], list[Need]]] = {
    **{
        verb: ({}, [("monitor", f"/admin/{verb}")])
        for verb in ("verbs", "status", "stats", "health", "users", "policies")
    },
    "browse": (
        {"destination": "/queue/old"},
        [("browse", "/queue/old"), ("monitor", "/queue/old")],
    ),
    "explain": ({"destination": "/queue/old"}, [("monitor", "/queue/old")]),
    "purge": ({"destination": "/queue/old"}, [("admin", "/queue/old")]),
    "move": (
        {"source": "/queue/old", "target": "/queue/new"},
        [("admin", "/queue/old"), ("admin", "/queue/new")],
    ),
    "copy": (
        {"source": "/queue/old", "target": "/topic/new"},
        [("admin", "/queue/old"), ("admin", "/topic/new")],
    ),
    "requeue": (
        {"destination": "/queue/DLQ.dead", "to": "/queue/new"},
        [("admin", "/queue/DLQ.dead"), ("admin", "/queue/new")],
    ),
    "delete": ({"destination": "/queue/old"}, [("admin", "/queue/old")]),
    "pause": ({"destination": "/queue/old"}, [("admin", "/queue/old")]),
    "resume": ({"destination": "/queue/old"}, [("admin", "/queue/old")]),
    "durable-rm": ({"name": "d"}, [("admin", "/topic/news")]),
    "route-add": (
        {"match": "/queue/a", "to": ["/queue/b"]},
        [("admin", "/admin/route-add")],
    ),
    "route-rm": ({"name": "none"}, [("admin", "/admin/route-rm")]),
    "kick": ({"connection": "c1"}, [("admin", "/admin/kick")]),
    "definitions": ({}, [("admin", "/admin/definitions")]),
    "definitions-import": (
        {"definitions": [{"kind": "queue", "key": ["/", "/queue/new"], "record": {}}]},
        [("admin", "/admin/definitions-import")],
    ),
}
# What a list tells of, if one may monitor this and nothing else.
LISTS: dict[str, tuple[str, int]] = {
    "queues": ("/queue/old", 1),
    "topics": ("/topic/old", 1),
    "destinations": ("/queue/old", 1),
    "durables": ("/topic/news", 1),
    "dlq": ("/queue/DLQ.dead", 1),
    "subscriptions": ("/topic/old", 1),
    "connections": ("/admin/connections", 2),
    "transactions": ("/admin/transactions", 0),
    "routes": ("/admin/routes", 1),
}


def test_every_verb_is_in_the_tables() -> None:
    """One that is not would not be tested."""
    assert {*REQUESTS, *LISTS} == set(VERBS)


def asker(core: Core) -> Asker:
    """Return somebody who asks and may connect."""
    return Asker(core, client=core.user("ann"))


@pytest.mark.parametrize("verb", REQUESTS)
def test_a_request_with_the_rights_that_it_needs(verb: str) -> None:
    """It is carried out, or refused for another reason."""
    fields, needs = REQUESTS[verb]
    ask = asker(filled(tuple(allow(*need) for need in [CONNECT, *needs])))
    reply = ask.reply(verb, json.dumps(fields).encode())
    assert reply["ok"] or reply["error"]["code"] != "forbidden", reply


@pytest.mark.parametrize(
    ("verb", "missing"), [(verb, need) for verb, (_, needs) in REQUESTS.items() for need in needs]
)
def test_a_request_without_one_of_them(verb: str, missing: Need) -> None:
    """The reply says which, and the session goes on; nothing is done."""
    fields, _ = REQUESTS[verb]
    core = filled((deny(*missing), *OPEN))
    host = core.broker.host("/")
    before = {queue.name: queue.depth for queue in host.queues.values()}, len(host.durables)
    ask = asker(core)
    assert ask.refused(verb, **fields) == (
        "forbidden",
        f'{missing[1]} needs the right "{missing[0]}"',
    )
    assert before == (
        {q.name: q.depth for q in host.queues.values() if q.owner is None},
        len(host.durables),
    )
    assert ask.client.alive()


@pytest.mark.parametrize("verb", VERBS)
def test_who_may_do_nothing_of_the_kind_is_told_so(verb: str) -> None:
    """Before its fields are looked at."""
    right = VERBS[verb].right
    rules = [allow(other) for other in RIGHTS if other != right]
    assert asker(filled(tuple(rules))).refused(verb, nonsense=1) == (
        "forbidden",
        f"{verb} needs the right {right}",
    )


@pytest.mark.parametrize("verb", LISTS)
def test_a_list_tells_what_one_may_monitor(verb: str) -> None:
    """And of nothing else that it is there."""
    name, count = LISTS[verb]
    core = filled((CONNECT_ONLY, allow("monitor", name)))
    core.broker.host("/").add_route(_route())
    rows = asker(core)(verb)
    assert len(rows) == count
    assert "secret" not in json.dumps(rows)
    core = filled((CONNECT_ONLY, deny("monitor", name), allow("monitor")))
    core.broker.host("/").add_route(_route())
    everything = filled(OPEN)
    everything.broker.host("/").add_route(_route())
    assert len(asker(core)(verb)) == len(asker(everything)(verb)) - count


CONNECT_ONLY = allow("connect")


def _route() -> Any:  # noqa: ANN401 - a route
    return Route("r", "/queue/routed", ("/queue/x",), None, move=False)


def test_dead_letters_go_back_where_one_may_send() -> None:
    """Each of the others stays, with the reason."""
    core = filled((allow("connect"), allow("admin", "/queue/DLQ.#")))
    reasons = asker(core)("requeue", destination="/queue/DLQ.dead")
    assert reasons["failed"] == 1
    assert reasons["reasons"] == ['/queue/dead needs the right "send"']
    core = filled((allow("connect"), allow("admin", "/queue/DLQ.#"), allow("send", "/queue/dead")))
    assert asker(core)("requeue", destination="/queue/DLQ.dead")["done"] == 1


def test_a_pattern_of_a_request_needs_the_right_for_all_of_it() -> None:
    """As that of a SUBSCRIBE does."""
    core = filled((allow("connect"), allow("admin", "/queue/o.#")))
    ask = asker(core)
    assert ask("purge", destination="/queue/o.*")["done"] == 0
    assert ask.refused("purge", destination="/queue/#")[0] == "forbidden"


def test_the_queue_of_a_durable_subscription_is_its_topics() -> None:
    """One that is not there is so only for those who may do everything."""
    core = filled(
        (allow("connect"), allow("admin", "/topic/news"), allow("monitor", "/topic/news"))
    )
    ask = asker(core)
    assert ask("purge", destination="/durable/root/d")["done"] == 0
    assert ask("explain", destination="/durable/root/d")["kind"] == "queue"
    assert ask.refused("purge", destination="/durable/root/none") == (
        "forbidden",
        '/durable/root/none needs the right "admin"',
    )
    assert asker(filled(OPEN)).refused("purge", destination="/durable/root/none")[0] == "not-found"


def test_what_is_not_there_is_not_told_to_those_who_may_not_know() -> None:
    """Neither a connection nor a durable subscription, nor a queue."""
    core = filled((allow("connect"), allow("admin", "/queue/mine")))
    ask = asker(core)
    for verb, fields in (
        ("kick", {"connection": "c99"}),
        ("durable-rm", {"name": "none"}),
        ("purge", {"destination": "/queue/none"}),
        ("pause", {"destination": "/queue/none"}),
        ("delete", {"destination": "/queue/none"}),
    ):
        assert ask.refused(verb, **fields)[0] == "forbidden"
    assert ask.refused("pause", destination="/queue/mine")[0] == "not-found"


def test_answers_do_not_name_what_one_may_not_monitor() -> None:
    """Where a SEND goes on, and where dead letters come from."""
    rules = (
        allow("connect"),
        allow("monitor", "/queue/old"),
        allow("monitor", "/queue/seen"),
        allow("monitor", "/queue/DLQ.dead"),
        allow("monitor", "/topic/news"),
    )
    core = filled(rules)
    core.broker.host("/").add_route(Route("r", "/queue/old", ("/queue/seen", "/queue/hidden")))
    ask = asker(core)
    rows = ask("explain", destination="/queue/old")["goes_to"]
    assert [row["destination"] for row in rows] == ["/queue/old", "/queue/seen"]
    rows = ask("explain", destination="/topic/news")["goes_to"]
    assert [row["destination"] for row in rows] == ["/topic/news"]
    (row,) = ask("dlq")
    assert row["sources"] == []
    assert asker(filled(OPEN))("dlq")[0]["sources"] == ["/queue/dead"]


def test_requests_look_into_other_virtual_hosts_with_the_rights_there() -> None:
    """And lists tell of each host what one may monitor in it."""
    core = ruled(
        allow("connect"),
        allow("create"),
        allow("send"),
        allow("monitor", "/queue/#", vhost="/b"),
        virtual_hosts=("/", "/b"),
    )
    for host in ("/", "/b"):
        core.user("ann", host=host).send("/queue/a", "x")
    ask = asker(core)
    assert [row["vhost"] for row in ask("queues")] == ["/b"]
    assert ask("queues", vhost="/") == []
    assert ask("explain", destination="/queue/a", vhost="/b")["kind"] == "queue"
    assert ask.refused("explain", destination="/queue/a")[0] == "forbidden"


# -- The tap ---------------------------------------------------------------------------------------


def test_a_tap_shows_what_one_may_monitor_and_browse() -> None:
    """Frames of other destinations are left out; bodies need the right to browse."""
    core = ruled(
        allow("connect"),
        allow("monitor", "/topic/$SYS/tap"),
        allow("monitor", "/queue/#"),
        deny("browse", "/queue/private"),
        allow("browse", "/queue/#"),
        allow("send"),
        allow("create"),
    )
    tapper, sender = core.user("ann"), core.user("bob")
    tapper.subscribe("/topic/$SYS/tap", frames="SEND,ERROR")
    for name in ("/queue/a", "/queue/private", "/topic/secret", "b"):
        sender.send(name, "body")
    sender.send("/nowhere", "x")
    sender.take()
    lines = [json.loads(message.body) for message in tapper.messages()]
    shown = [(line["headers"].get("destination"), line.get("body")) for line in lines[:3]]
    assert shown == [("/queue/a", "body"), ("/queue/private", None), ("b", "body")]
    assert [line["command"] for line in lines[3:]] == ["ERROR"]
    assert lines[1]["truncated"]
