"""Definitions of a broker that runs: told as a document, and made of one."""

from typing import Any

import pytest
from broker.asking import Asker
from broker.client import Core, settings
from broker.restarting import RestartingCore

from stompd.broker.definitions import BadDefinitionError, read
from stompd.broker.destination import parse_subscribed
from stompd.broker.route import Route

QUEUE = {"kind": "queue", "key": ["/", "/queue/q"], "record": {"settings": {"max_messages": 5}}}
FED = {"kind": "queue", "key": ["/", "/queue/bound"], "record": {}}
BINDING = {"kind": "binding", "key": ["/", "/queue/bound", "/topic/c.*"], "record": {}}
ROUTE = {
    "kind": "route",
    "key": ["/", "audit"],
    "record": {"match": "/topic/x", "to": ["/queue/y"], "when": "n > 1", "move": True},
}
DURABLE = {
    "kind": "durable",
    "key": ["/", "me", "1"],
    "record": {"destination": "/topic/a", "label": ["queue", "me", "1"], "selector": "n > 1"},
}
ALL = [FED, QUEUE, ROUTE, DURABLE, BINDING]


def entries(asker: Asker) -> list[dict[str, Any]]:
    """Return what is there."""
    document = asker("definitions")
    assert document["stompd-definitions"] == 1
    return list(document["definitions"])


def put(asker: Asker, *definitions: object, **fields: object) -> tuple[int, int, int]:
    """Import definitions; return how many were new, changed and the same."""
    told = asker("definitions-import", definitions=list(definitions), **fields)
    return told["new"], told["changed"], told["same"]


def test_what_clients_have_made_is_told() -> None:
    """In one order; what ends with somebody is not, nor what is nothing but its name."""
    core = Core()
    asker = Asker(core)
    client = core.client(client_id="me")
    client.subscribe("/queue/q", id="q", x_max_length="5")
    client.subscribe("/topic/a", id="1", durable="true", selector="n > 1")
    client.subscribe("/queue/plain", id="2")
    client.subscribe("/temp-queue/t", id="3")
    asker("route-add", name="audit", match="/topic/x", to=["/queue/y"], when="n > 1", move=True)
    host = core.broker.host("/")
    host.feeds.keep_bound(host.queues["/queue/plain"], parse_subscribed("/topic/t"))
    assert [(e["kind"], e["key"][-1]) for e in entries(asker)] == [
        ("queue", "/queue/plain"),
        ("queue", "/queue/q"),
        ("route", "audit"),
        ("durable", "1"),
        ("binding", "/topic/t"),
    ]


def test_a_document_is_made_and_told_again() -> None:
    """All that it lists is there at once, and works; twice changes nothing."""
    core = RestartingCore(settings())
    asker = Asker(core)
    core.client().subscribe("/topic/c.d")
    assert put(asker, *ALL, dry_run=True, **{"stompd-definitions": 1}) == (5, 0, 0)
    assert entries(asker) == []
    assert put(asker, *reversed(ALL)) == (5, 0, 0)
    assert entries(asker) == ALL
    assert put(asker, *ALL) == (0, 0, 5)
    client = core.client()
    client.send("/topic/c.d", "fed", persistent="true")
    client.send("/topic/a", "kept", n="2", persistent="true")
    client.send("/topic/a", "left out", n="1")
    client.send("/topic/x", "routed", n="2", persistent="true")
    queues = core.broker.host("/").queues
    assert (queues["/queue/bound"].depth, queues["/queue/y"].depth) == (1, 1)
    assert queues["/queue/q"].policy.max_messages == 5
    core.sync()
    core.crash()
    asker = Asker(core)
    assert entries(asker) == [FED, QUEUE, DURABLE, BINDING]
    client = core.client(client_id="me")
    client.subscribe("/topic/a", id="1", durable="true", selector="n > 1")
    core.answer_all()
    assert client.bodies() == ["kept"]


def test_what_is_named_is_as_the_document_has_it() -> None:
    """Settings come and go, a pause as well, a route leads elsewhere; what is not named stays."""
    core = Core()
    asker = Asker(core)
    put(asker, *ALL)
    changed = [
        {**QUEUE, "record": {"settings": {"max_messages": 7}, "paused": True}},
        {**FED, "record": {"dead_letters": True, "settings": {"max_bytes": 9}}},
        {**DURABLE, "record": {**DURABLE["record"], "user": "ann", "paused": True}},  # type: ignore[dict-item]
        {**ROUTE, "record": {"match": "/topic/x", "to": ["/queue/z"]}},
    ]
    assert put(asker, *changed) == (0, 4, 0)
    assert entries(asker) == [changed[1], changed[0], changed[3], changed[2], BINDING]
    host = core.broker.host("/")
    queue = host.queues["/queue/q"]
    assert queue.paused
    assert host.queues["/queue/bound"].policy.auto_delete_after is None
    assert put(asker, FED, {**QUEUE, "record": {"paused": False}}) == (0, 2, 0)
    assert not queue.paused
    assert queue.policy.max_messages is None
    # It was nothing but its name then.
    assert entries(asker)[0] == FED
    assert len(entries(asker)) == 4


def test_a_binding_that_would_have_ended_stays() -> None:
    """One that a client made for as long as it is there."""
    core = Core()
    asker = Asker(core)
    client = core.client()
    client.subscribe("/queue/bound", id="1")
    client.subscribe("/topic/c.*", x_queue_name="bound", auto_delete="true")
    assert put(asker, BINDING)[0] == 1
    client.close()
    core.tick(1)
    assert BINDING in entries(asker)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({}, '"kind" is None'),
        ({**QUEUE, "kind": "shelf"}, "not one of queue, route, durable, binding"),
        ({**QUEUE, "key": "x"}, "\"key\" is 'x'"),
        ({**QUEUE, "key": ["/"]}, '"key" has 1 parts'),
        ({**QUEUE, "record": 1}, '"record" is no object'),
        ({**QUEUE, "key": ["/", "/topic/a"]}, "no queue with a name for everybody"),
        ({**QUEUE, "key": ["/", "/temp-queue/a"]}, "no queue with a name for everybody"),
        ({**QUEUE, "key": ["/", "/queue/*"]}, "no queue with a name for everybody"),
        ({**QUEUE, "record": {"paused": 1}}, '"paused" is 1'),
        ({**BINDING, "key": ["/", "/queue/a", "/queue/b"]}, "'/queue/b' is no topic"),
        ({**DURABLE, "record": {**DURABLE["record"], "user": 1}}, '"user" is 1'),  # type: ignore[dict-item]
        ({**ROUTE, "record": {"match": "/topic/x", "to": "x"}}, "\"to\" is 'x'"),
        ({**ROUTE, "record": {"from": "x"}}, 'a route has no "from"'),
    ],
)
def test_what_can_be_none_is_refused_whole(wrong: dict[str, Any], told: str) -> None:
    """Its number and what is wrong with it are told; nothing is made."""
    asker = Asker(Core())
    code, sentence = asker.refused("definitions-import", definitions=[QUEUE, wrong])
    assert code == "bad-request"
    assert sentence.startswith("definition 2: ")
    assert told in sentence
    assert entries(asker) == []


def test_an_entry_that_is_no_object_is_refused() -> None:
    """As a file may have one."""
    with pytest.raises(BadDefinitionError, match="definition 1: it is no object"):
        read([1])


def test_a_durable_subscription_without_a_selector() -> None:
    """One that takes everything."""
    asker = Asker(Core())
    plain = {**DURABLE, "record": {"destination": "/topic/a", "label": ["queue", "me", "1"]}}
    assert put(asker, plain) == (1, 0, 0)
    assert put(asker, plain) == (0, 0, 1)


def test_what_stands_in_the_way_is_a_conflict() -> None:
    """What would lose messages, or is the settings' matter, or leads in a circle."""
    core = Core(settings(routes=(Route("mine", "/topic/m", ("/queue/m",)),)))
    asker = Asker(core)
    put(asker, DURABLE)
    other = {**DURABLE["record"], "destination": "/topic/b"}  # type: ignore[dict-item]
    mine = {**ROUTE, "key": ["/", "mine"]}
    nowhere = {**ROUTE, "record": {"match": "/exchange/none/x", "to": ["/queue/*"]}}
    exchange = {**BINDING, "key": ["/", "/queue/b", "/exchange/none/x"]}
    for wrong in ({**DURABLE, "record": other}, mine, nowhere, exchange):
        code, _ = asker.refused("definitions-import", definitions=[QUEUE, wrong])
        assert code in ("conflict", "bad-request")
        assert entries(asker) == [DURABLE]
    host = {**QUEUE, "key": ["/none", "/queue/q"]}
    assert asker.refused("definitions-import", definitions=[host])[0] == "not-found"
    told = asker.refused("definitions-import", definitions=[], **{"stompd-definitions": 2})
    assert told == ("bad-request", 'this stompd reads "stompd-definitions": 1')
    told = asker.refused("definitions-import", definitions=["x"])
    assert told == ("bad-request", "definitions has to be a list of objects")


def test_both_need_the_right_to_administer() -> None:
    """Whoever may only look learns nothing of it."""
    core = Core()
    asker = Asker(core, trusted=False)
    assert asker.refused("definitions")[0] == "forbidden"
    assert asker.refused("definitions-import", definitions=[])[0] == "forbidden"


def test_the_log_has_no_whole_document() -> None:
    """It has how many definitions it was."""
    core = Core()
    acts: list[Any] = []
    core.broker.acted = acts.append
    put(Asker(core), *ALL)
    assert acts[0].fields == {"definitions": 5}
