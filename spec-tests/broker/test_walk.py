"""Requests that go over all of a queue: page by page, while others go on."""

import json
from typing import Any

import pytest
from broker.asking import REPLIES, Asker, done
from broker.client import Client, Core, numbers, publish, settings
from broker.paging import PagedCore
from broker.restarting import RestartingCore

from stompd.broker import walk
from stompd.broker.admin import letters
from stompd.broker.admin.request import Act
from stompd.broker.policy import Policy


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of three messages."""
    monkeypatch.setattr(walk, "PAGE", 3)


@pytest.fixture
def core() -> PagedCore:
    """A core whose windows hold two messages."""
    return PagedCore(settings(window_messages=2))


def requested(client: Client, verb: str, **fields: object) -> None:
    """Have a client make a request, and see that there is no reply yet."""
    client("SEND", json.dumps(fields).encode(), destination=f"/admin/{verb}", reply_to=REPLIES)
    assert client.take() == []


def replied(core: PagedCore, client: Client) -> dict[str, Any]:
    """Have everything done that is to be waited for, and return the one reply."""
    while core.answer() or core.durable():
        pass
    return dict(json.loads(client.one("MESSAGE").body))


def depth(core: PagedCore, name: str = "/queue/a") -> int:
    """Return how many messages wait in a queue."""
    return core.broker.host("/").queues[name].depth


def some(core: Core, count: int) -> None:
    """Send messages of two colours to /queue/a."""
    client = core.client()
    for number in range(1, count + 1):
        client.send("/queue/a", str(number), colour="red" if number % 2 else "blue")


# Purging.


def test_a_purge_by_a_selector_reaches_all(core: PagedCore) -> None:
    """Memory with the first page of the store; what it is not true of stays in order."""
    some(core, 12)
    client = core.administrator()
    requested(client, "purge", destination="a", selector="colour = 'red'")
    core.answer()
    assert depth(core) == 12 - 3
    assert replied(core, client) == {"ok": True, "result": done(6)}
    assert core.paging.count == 4 + 1
    consumer = core.client()
    consumer.subscribe("/queue/a")
    core.answer_all()
    assert consumer.bodies() == numbers(2, 12)[::2]


def test_the_reply_comes_when_it_is_on_disk(core: PagedCore) -> None:
    """Of a purge of everything as well; a dry run waits for nothing."""
    publish(core.client(), "/queue/a", ["1"], persistent="true")
    client = core.administrator()
    client.send("/admin/purge", b'{"destination":"a","dry_run":true}', reply_to=REPLIES)
    assert json.loads(client.one("MESSAGE").body)["result"] == done(1)
    requested(client, "purge", destination="a")
    core.durable()
    assert json.loads(client.one("MESSAGE").body)["result"] == done(1)


def test_what_comes_meanwhile_stays(core: PagedCore) -> None:
    """A request is about what was there when it was made."""
    some(core, 6)
    client = core.administrator()
    requested(client, "purge", destination="a", selector="TRUE")
    some(core, 3)
    assert replied(core, client)["result"] == done(6)
    assert depth(core) == 3


def test_what_came_into_memory_meanwhile_is_found_there(core: PagedCore) -> None:
    """Between question and answer; what was delivered by then stays."""
    some(core, 12)
    client = core.administrator()
    requested(client, "purge", destination="a", selector="colour = 'red'")
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", prefetch_count="2")
    first, second = core.paging.answer(), core.paging.answer()
    core.broker.fetched(*second)
    core.broker.fetched(*first)
    assert replied(core, client)["result"] == done(5)
    assert consumer.bodies() == ["1", "2"]
    assert Asker(core).bodies("a") == [*numbers(4, 12)[::2], "1", "2"]


def test_what_is_on_its_way_into_memory_does_not_come_back(core: PagedCore) -> None:
    """The window had asked for messages when they were purged."""
    some(core, 9)
    client = core.administrator()
    requested(client, "purge", destination="a", selector="colour = 'blue'")
    core.client().subscribe("/queue/a", "client", prefetch_count="1")
    # The answer to the walk first: the other one is on its way.
    assert [fetch.after for fetch in core.paging.asked] == [2, 2]
    fetch, messages, dues = core.paging.answer()
    other = core.paging.answer()
    core.broker.fetched(fetch, messages, dues)
    core.broker.fetched(*other)
    core.run()
    assert replied(core, client)["result"] == done(4)
    queue = core.broker.host("/").queues["/queue/a"]
    left = [message.body for message in queue.waiting()]
    assert all(int(body) % 2 for body in left)
    assert queue.count == 5


def test_two_purges_at_once(core: PagedCore) -> None:
    """Each message is counted once, by the one that took it."""
    some(core, 20)
    one, two = core.administrator(), core.administrator()
    requested(one, "purge", destination="a", selector="TRUE")
    requested(two, "purge", destination="a", selector="colour IS NOT NULL")
    while core.answer() or core.durable():
        pass
    counts = [json.loads(c.one("MESSAGE").body)["result"]["done"] for c in (one, two)]
    assert sum(counts) == 20
    assert (depth(core), core.paging.count) == (0, 0)


def test_a_purge_that_keeps_the_newest(core: PagedCore) -> None:
    """Wherever they are; also of those that a selector is true of."""
    some(core, 12)
    ask = Asker(core)
    assert ask("purge", destination="a", keep=4, selector="colour = 'red'") == done(2)
    assert ask.bodies("a") == ["2", "4", "5", *numbers(6, 12)]
    assert ask("purge", destination="a", keep=3) == done(7)
    assert ask.bodies("a") == ["10", "11", "12"]
    assert ask("purge", destination="a", keep=3) == done(0)


def test_a_purge_by_age(core: PagedCore) -> None:
    """What is too young is not even read."""
    ask = Asker(core)
    some(core, 6)
    for _ in range(3):
        core.tick(1)
    some(core, 6)
    core.tick(1)
    assert ask("purge", destination="a", older_than=2) == done(6)
    assert depth(core) == 6
    assert ask("purge", destination="a", older_than=1000) == done(0)


def test_a_purge_makes_room() -> None:
    """Who waited for it goes on."""
    core = PagedCore(settings(window_messages=2, max_messages=5))
    producer, ask = core.client(), Asker(core)
    publish(producer, "/queue/a", numbers(1, 3), colour="red")
    publish(producer, "/queue/a", numbers(4, 6), colour="blue")
    assert producer.session.paused
    # All of these are in the store only.
    assert ask("purge", destination="/queue/a", selector="colour = 'blue'") == done(3)
    assert not producer.session.paused


def test_a_purge_of_many_queues(core: PagedCore) -> None:
    """One after the other, however many there are."""
    for number in range(300):
        core.client().send(f"/queue/q.{number}", "x")
    publish(core.client(), "/queue/q.0", numbers(1, 9))
    assert Asker(core)("purge", destination="q.*", selector="TRUE") == done(309)
    assert Asker(core)("purge", destination="r.*", selector="TRUE") == done(0)


# Moving.


def test_a_move_of_all(core: PagedCore) -> None:
    """In their order, into the tail of the other queue if need be."""
    some(core, 10)
    ask = Asker(core)
    assert ask("move", source="a", target="b", dry_run=True) == done(10)
    assert ask("move", source="a", target="b") == done(10)
    assert (depth(core), depth(core, "/queue/b")) == (0, 10)
    assert ask.bodies("b") == numbers(1, 10)
    assert {key[1] for key, kept in core.paging.kept.items() if kept} == {"/queue/b"}


def test_a_copy_of_all(core: PagedCore) -> None:
    """All stay, and those in the store stay there."""
    some(core, 10)
    ask = Asker(core)
    assert ask("copy", source="a", target="b") == done(10)
    assert ask.bodies("a") == ask.bodies("b") == numbers(1, 10)
    assert "tail=8 " in core.queue("/queue/a")


def test_a_move_of_so_many(core: PagedCore) -> None:
    """The first ones, and no page more than that takes."""
    some(core, 12)
    ask = Asker(core)
    assert ask("move", source="a", target="b", count=0) == done(0)
    assert ask("move", source="a", target="b", count=4) == done(4)
    assert ask.bodies("b") == numbers(1, 4)
    assert ask("move", source="a", target="b", count=2, selector="colour = 'red'") == done(2)
    assert ask.bodies("b") == [*numbers(1, 5), "7"]


def test_a_move_of_some_by_their_ids(core: PagedCore) -> None:
    """Only what may hold them is read; those that are not there are told."""
    some(core, 30)
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", prefetch_count="1")
    ask = Asker(core)
    ids = ["1", "2", "20", "28", "99", "x", "020"]
    result = ask("move", source="a", target="b", ids=ids)
    assert result == done(3, 4, "delivered and not settled yet", "no such message (3)")
    assert ask.bodies("b") == ["2", "20", "28"]


def test_a_page_is_moved_whole_or_not_at_all() -> None:
    """A crash in the middle leaves each message in one of the queues."""
    core = RestartingCore(settings(window_messages=2))
    publish(core.client(), "/queue/a", numbers(1, 11), persistent="true")
    core.sync()
    client = core.administrator()
    requested(client, "move", source="a", target="b")
    # The window and the first page are on disk, the second one is not.
    core.sync()
    core.answer()
    core.sync()
    core.answer()
    core.crash()
    ask = Asker(core)
    assert ask.bodies("b") == numbers(1, 5)
    assert ask.bodies("a") == numbers(6, 11)


def test_a_move_into_a_full_queue() -> None:
    """What finds no room stays; room that comes in the meantime is used."""
    core = PagedCore(settings({"/queue/b": Policy(max_messages=4)}, window_messages=2))
    some(core, 9)
    ask = Asker(core)
    publish(ask.client, "/queue/b", ["0"])
    result = done(3, 6, "no room in /queue/b (6)")
    assert ask("move", source="a", target="b", dry_run=True) == result
    assert ask("move", source="a", target="b") == result
    assert ask.bodies("a") == numbers(4, 9)


def test_a_move_while_the_disk_is_full(core: PagedCore) -> None:
    """What would have to be written stays; what is transient goes."""
    publish(core.client(), "/queue/a", ["kept"], persistent="true")
    publish(core.client(), "/queue/a", ["light"])
    core.paging.full = True
    ask = Asker(core)
    assert ask("move", source="a", target="b") == done(1, 1, "no room on the disk")
    assert (ask.bodies("a"), ask.bodies("b")) == (["kept"], ["light"])


def test_what_expired_in_the_store_is_not_moved(core: PagedCore) -> None:
    """Nor shown; it may be dropped or be there yet, and a purge takes it."""
    some(core, 3)
    core.client().send("/queue/a", "short", ttl="1000")
    core.tick(2)
    ask = Asker(core)
    assert ask("copy", source="a", target="b") == done(3)
    assert ask.bodies("a") == numbers(1, 3)
    assert ask("purge", destination="a", selector="TRUE")["done"] in (3, 4)
    assert core.paging.count == 6 - 3 - 2


def test_a_target_that_goes_away(core: PagedCore) -> None:
    """A queue is made anew; what cannot be is told."""
    some(core, 8)
    client = core.administrator()
    requested(client, "move", source="a", target="b")
    core.answer()
    host = core.broker.host("/")
    host.remove(host.queues["/queue/b"])
    assert replied(core, client)["result"] == done(8)
    assert depth(core, "/queue/b") == 3
    some(core, 8)
    owner = core.client()
    owner.subscribe("/temp-queue/t", "client", prefetch_count="1")
    name = f"/remote-temp-queue/{owner.session.id}/t"
    requested(client, "move", source="a", target=name)
    core.answer()
    owner.close()
    assert replied(core, client)["result"] == done(5, 3, f"{name} is gone (3)")


def test_a_queue_that_goes_away(core: PagedCore) -> None:
    """What was done is told; of the rest there is nothing."""
    some(core, 9)
    client = core.administrator()
    requested(client, "move", source="a", target="b")
    core.answer()
    core.durable()
    host = core.broker.host("/")
    host.remove(host.queues["/queue/a"])
    assert replied(core, client)["result"] == done(5)


def test_dead_letters_are_requeued_from_the_store(core: PagedCore) -> None:
    """All of them, each to where it came from."""
    consumer = core.client()
    some(core, 8)
    consumer.subscribe("/queue/a", "client-individual", prefetch_count="1")
    for _ in range(8):
        core.answer_all()
        consumer.nack(consumer.one("MESSAGE"), requeue="false")
    consumer.close()
    ask = Asker(core)
    assert "tail=6 " in core.queue("/queue/DLQ.a")
    assert ask("requeue", destination="/queue/DLQ.a") == done(8)
    assert ask.bodies("a") == numbers(1, 8)


# Priorities and delays.


def test_the_order_is_that_of_delivery(core: PagedCore) -> None:
    """Higher priorities first, then what is in memory and in the store, and the delayed last."""
    client = core.client()
    client.send("/queue/a", "low", priority="1")
    some(core, 7)
    client.send("/queue/a", "high", priority="8")
    client.send("/queue/a", "late", delay="9000")
    ask = Asker(core)
    order = ["high", *numbers(1, 7), "low", "late"]
    assert ask.bodies("a") == order
    assert ask("move", source="a", target="b") == done(10)
    assert ask.bodies("b") == order
    (late,) = (row for row in ask("browse", destination="b")["messages"] if row["body"] == "late")
    assert (late["state"], late["due"]) == ("delayed", 9000)


def test_what_becomes_due_meanwhile_is_met_once(core: PagedCore) -> None:
    """Whether the walk has been where it waits then, or not."""
    client, asker = core.client(), core.administrator()
    client.send("/queue/a", "late", delay="1000")
    client.send("/queue/a", "later", delay="9000")
    some(core, 8)
    requested(asker, "copy", source="a", target="b")
    core.answer()
    core.tick(2)
    assert replied(core, asker)["result"] == done(10)
    assert sorted(Asker(core).bodies("b")) == sorted([*numbers(1, 8), "late", "later"])


def test_a_plain_queue_has_one_priority(core: PagedCore) -> None:
    """What is asked of another one is nothing."""
    some(core, 3)
    queue = core.broker.host("/").queues["/queue/a"]
    assert queue.waiting_priorities() == {4}
    assert queue.waiting_behind(8, 0) == []
    assert [message.place for message in queue.waiting_behind(4, 1)] == [2]


# Browsing.


def test_browsing_in_parts_reads_nothing_twice(core: PagedCore) -> None:
    """`more` of an answer leads on, through memory, store, what is in flight, what is delayed."""
    client = core.client()
    client.send("/queue/a", "late", delay="1500")
    client.send("/queue/a", "later", delay="2500")
    some(core, 10)
    core.client().subscribe("/queue/a", "client", prefetch_count="2")
    core.answer_all()
    ask = Asker(core)
    found: list[str] = []
    after: dict[str, object] = {}
    while True:
        answer = ask("browse", destination="a", count=1, **after)
        found += [row["body"] for row in answer["messages"]]
        assert answer["total"] == 12
        assert (answer["next"] == 1) is (not after)
        if answer["more"] is None:
            break
        after = {"after": answer["more"]}
    assert found == [*numbers(3, 10), "1", "2", "late", "later"]


def test_browsing_goes_on_behind_what_has_left(core: PagedCore) -> None:
    """Nothing is left out and nothing shown twice because others were consumed."""
    some(core, 9)
    ask = Asker(core)
    first = ask("browse", destination="a", count=4)
    consumer = core.client()
    consumer.subscribe("/queue/a", "client-individual", prefetch_count="2")
    for message in consumer.messages(2):
        consumer.ack(message)
    consumer.close()
    core.answer_all()
    rest = ask("browse", destination="a", after=first["more"])
    assert [row["body"] for row in rest["messages"]] == numbers(5, 9)


def test_browsing_with_an_offset_and_a_selector(core: PagedCore) -> None:
    """How many there are is known when all was looked at."""
    some(core, 12)
    ask = Asker(core)
    assert ask.bodies("a", offset=7, count=3) == ["8", "9", "10"]
    some_red = ask("browse", destination="a", selector="colour = 'red'", count=2)
    assert (some_red["total"], some_red["next"]) == (None, 2)
    red = ask("browse", destination="a", selector="colour = 'red'", offset=4)
    assert [row["body"] for row in red["messages"]] == ["9", "11"]
    assert (red["total"], red["more"]) == (6, None)


def test_one_message_in_the_store(core: PagedCore) -> None:
    """It is found without reading the others."""
    some(core, 30)
    ask = Asker(core)
    answer = ask("browse", destination="a", id="25")
    assert (answer["messages"][0]["body"], answer["total"]) == ("25", 1)
    assert ask.refused("browse", destination="a", id="31")[0] == "not-found"
    assert ask("browse", destination="a", id="25", count=0)["messages"] == []


@pytest.mark.parametrize("after", ["", "1", "3:0:1", "0:x:1", "0:0:-1", "0:inf:1"])
def test_an_after_that_none_was(core: PagedCore, after: str) -> None:
    """It is refused."""
    some(core, 1)
    assert Asker(core).refused("browse", destination="a", after=after)[0] == "bad-request"


# Being on the way.


def test_progress_is_told_now_and_then(core: PagedCore) -> None:
    """Only if it is wanted, and some time after the last note."""
    some(core, 12)
    client = core.administrator()
    requested(client, "copy", source="a", target="b", progress=True)
    core.answer()
    assert client.take() == []
    core.tick(0.25)
    core.durable()
    note = json.loads(client.one("MESSAGE").body)
    assert note == {"ok": True, "progress": {"done": 5, "failed": 0, "looked_at": 5, "of": 12}}
    assert replied(core, client)["result"] == done(12)
    ask = Asker(core)
    ask("browse", destination="a", progress=True)
    assert ask.notes == []


def test_browsing_tells_how_far_it_is(core: PagedCore) -> None:
    """A selector may be true of nothing for long."""
    some(core, 12)
    client = core.administrator()
    requested(client, "browse", destination="a", selector="colour = 'red'", progress=True)
    core.tick(1)
    core.answer()
    note = json.loads(client.one("MESSAGE").body)["progress"]
    assert note == {"done": 3, "failed": 0, "looked_at": 5, "of": 12}


def test_a_connection_that_is_gone_ends_its_walk(core: PagedCore) -> None:
    """What was done is done, and is in the log."""
    acts: list[Act] = []
    core.broker.acted = acts.append
    some(core, 12)
    client = core.administrator()
    requested(client, "purge", destination="a", selector="TRUE")
    core.answer()
    client.close()
    while core.answer() or core.durable():
        pass
    assert depth(core) == 7
    assert acts[0].reply["error"] == {
        "code": "failed",
        "message": "the connection that asked is gone; by then it was done with 5",
    }
    assert core.broker.host("/").dropped == 1


def test_a_selector_that_is_wrong_is_refused_at_once(core: PagedCore) -> None:
    """Before anything is looked at."""
    some(core, 5)
    assert Asker(core).refused("move", source="a", target="b", selector="(")[0] == "bad-request"
    assert core.paging.asked == []


# Dead letters.


def test_reasons_are_those_of_the_store_too(core: PagedCore) -> None:
    """All that waits is looked through, whether it is in memory or not."""
    ask = Asker(core)
    some(core, 12)
    consumer = core.client()
    consumer.subscribe("/queue/a", "client-individual")
    core.answer_all()
    for message in consumer.messages():
        consumer.nack(message, requeue="false")
        core.answer_all()
    core.client().send("/queue/DLQ.a", "x", ttl="1000")
    core.client().send("/queue/DLQ.a", "y")
    (row,) = ask("dlq")
    assert (row["counted"], row["ready"]) == (14, 14)
    assert row["reasons"] == {"none": 2, "rejected": 12}
    assert row["sources"] == ["/queue/a"]


def test_what_is_not_due_or_has_expired_is_no_dead_letter_that_waits(core: PagedCore) -> None:
    """Neither is counted in the store; in memory an alarm is about to drop what has expired."""
    ask = Asker(core)
    for ttl in ("1", "", "", "1"):
        core.client().send("/queue/DLQ.a", "x", **({"ttl": ttl} if ttl else {}))
    core.client().send("/queue/DLQ.a", "x", delay="5000")
    core.client().send("/queue/a", "x")
    core.now += 1
    (row,) = ask("dlq")
    assert row["reasons"] == {"none": 3}


def test_only_the_first_dead_letters_are_looked_at(
    core: PagedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row says how many that were."""
    monkeypatch.setattr(letters, "LOOKED_AT", 5)
    ask = Asker(core)
    for queue in ("/queue/DLQ.a", "/queue/a"):
        publish(core.client(), queue, numbers(1, 8))
    (row,) = ask("dlq")
    assert (row["ready"], row["counted"], row["reasons"]) == (8, 5, {"none": 5})


def test_a_queue_of_dead_letters_that_is_removed_meanwhile_has_no_row(core: PagedCore) -> None:
    """While another one was looked through."""
    for name in ("a", "b"):
        publish(core.client(), f"/queue/DLQ.{name}", numbers(1, 8))
        core.client().send(f"/queue/{name}", "x")
    client = core.administrator()
    requested(client, "dlq")
    host = core.broker.host("/")
    host.remove(host.queues["/queue/DLQ.b"])
    reply = replied(core, client)
    assert [row["name"] for row in reply["result"]] == ["/queue/DLQ.a"]
