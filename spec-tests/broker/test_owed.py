"""What waits of a user or an address: it is counted wherever it goes, and limited."""

from dataclasses import replace
from typing import Any

import pytest
from broker.asking import Asker
from broker.client import Client, Core, settings
from broker.paging import PagedCore
from broker.restarting import RestartingCore

from stompd.broker.policy import Settings
from stompd.broker.principal import Principal
from stompd.broker.queue import Queue
from stompd.broker.quota import QuotaRule

LIMIT = QuotaRule("user", "ann", backlog=1_000_000)


def come(core: Core, name: str | None, address: str = "10.0.0.1") -> Client:
    """Return a client of a user from an address."""
    client = Client(core)
    client.session.address = address
    client.principal = Principal(name)
    client.log_in({"accept-version": "1.2", "host": "/"})
    return client


def counting(*rules: QuotaRule, **policy: Any) -> Settings:  # noqa: ANN401 - a policy's fields
    """Return settings with limits, and with this policy for everything."""
    return settings(quotas=rules or (LIMIT,), persistent=True, **policy)


def queue_of(core: Core, name: str = "/queue/a") -> Queue:
    """Return a queue."""
    return core.broker.host("/").queues[name]


def check(core: PagedCore) -> dict[str, int]:
    """Compare what is counted with what is there, all of it persistent; return how many of whom."""
    there: dict[str, int] = {}
    for queue in core.broker.host("/").all_queues():
        expected: dict[tuple[str, str], tuple[int, int]] = {}
        for record in core.paging.kept.get(queue.key, {}).values():
            assert record.persistent
            if record.sender is not None:
                count, octets = expected.get(record.sender, (0, 0))
                expected[record.sender] = (count + 1, octets + record.size)
                there[record.sender[0]] = there.get(record.sender[0], 0) + 1
        assert queue.owed == expected
    return there


# -- The limit -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    [
        QuotaRule("user", "ann", backlog=1000),
        QuotaRule("user", "ann", backlog_messages=2),
        QuotaRule("address", "10.0.0.0/8", backlog=1000),
        QuotaRule("address", "*", backlog_messages=2),
        QuotaRule("vhost", backlog_messages=2),
    ],
)
def test_sends_wait_while_queues_hold_too_much(rule: QuotaRule) -> None:
    """Of one sender, in all queues together; a listing says so, and room lets it go on."""
    core = Core(settings(quotas=(rule,)))
    core.broker.observe()
    ann = come(core, "ann")
    bob = come(core, "bob", "192.168.0.1")
    ann.send("/queue/a", "x" * 600)
    ann.send("/topic/t", "x" * 600)
    ann.send("/queue/b", "x" * 600)
    core.tick(1)
    ann.send("/queue/a", "late")
    assert ann.waiting
    row = next(row for row in Asker(core)("connections") if row["user"] == "ann")
    assert row["paused_because"][0].startswith("queues hold as much of ")
    if rule.per != "vhost":
        bob.send("/queue/c", "x")
        assert not bob.waiting
    bob.subscribe("/queue/a")
    core.tick(1)
    assert not ann.waiting
    assert [message.text[:4] for message in bob.messages()][-1] == "late"


def test_who_has_no_limit_is_not_counted() -> None:
    """Neither another user, nor a broker without such a limit, nor one of virtual hosts."""
    core = Core(counting())
    come(core, "bob").send("/queue/a", "x")
    come(core, None).send("/queue/a", "x")
    assert queue_of(core).owed == {}
    for rules in ((), (QuotaRule("user", connections=5), QuotaRule("vhost", backlog=1))):
        core = Core(settings(quotas=rules))
        come(core, "ann").send("/queue/a", "x")
        assert not queue_of(core).counted
        assert not queue_of(core).special


def test_what_was_counted_wrongly_ends_with_the_queue_empty() -> None:
    """Nobody waits for ever for messages that are not there."""
    core = Core(settings(quotas=(QuotaRule("user", backlog_messages=1),)))
    core.broker.observe()
    ann = come(core, "ann")
    ann.subscribe("/queue/a")
    ann.send("/queue/a", "x")
    queue_of(core).owed["ann", ""] = (5, 500)
    core.tick(1)
    ann.send("/queue/a", "late")
    core.tick(1)
    assert not ann.waiting
    assert queue_of(core).owed == {}


def test_a_limit_that_is_new_counts_from_then_on() -> None:
    """And one that is gone pays back what it has counted."""
    core = Core(settings())
    ann = come(core, "ann")
    ann.send("/queue/a", "before")
    core.broker.reconfigure(replace(core.broker.settings, quotas=(LIMIT,)))
    ann.send("/queue/a", "x")
    assert [count for count, _ in queue_of(core).owed.values()] == [1]
    core.broker.reconfigure(replace(core.broker.settings, quotas=()))
    ann.send("/queue/a", "after")
    assert [count for count, _ in queue_of(core).owed.values()] == [1]
    core.broker.reconfigure(replace(core.broker.settings, quotas=(LIMIT,)))
    ann.subscribe("/queue/a")
    assert len(ann.messages()) == 3
    assert queue_of(core).owed == {}


# -- Wherever it goes ------------------------------------------------------------------------------


def test_what_is_settled_is_not_counted() -> None:
    """In every mode, on whatever way it was delivered."""
    core = PagedCore(counting())
    ann, bob = come(core, "ann"), come(core, "bob")
    for _ in range(4):
        ann.send("/queue/a", "x")
        bob.send("/queue/a", "x")
    assert check(core) == {"ann": 4}
    bob.subscribe("/queue/a", "client-individual")
    held = bob.messages()
    assert check(core) == {"ann": 4}
    bob.ack(held[0])
    bob.nack(held[2])
    assert check(core) == {"ann": 3}
    bob.close()
    assert check(core) == {"ann": 3}
    come(core, "carl").subscribe("/queue/a")
    core.durable()
    assert check(core) == {}


def test_dead_letters_are_still_its_own() -> None:
    """Whether it expired, was given up or pushed out; a letter that is dropped is not."""
    core = PagedCore(counting(max_deliveries=1, expired="dead-letter", max_messages=3))
    ann, bob = come(core, "ann"), come(core, "bob")
    for _ in range(4):
        ann.send("/queue/a", "x", ttl="60000")
    bob.subscribe("/queue/a", "client-individual", prefetch_count="1")
    (held,) = bob.messages()
    bob.nack(held, requeue="false")
    bob.close()
    assert check(core)["ann"] == 4
    core.tick(120)
    assert check(core)["ann"] >= 3
    assert queue_of(core).count == 0


def test_what_expires_is_not_counted() -> None:
    """In memory, in the store, or already when it comes."""
    core = PagedCore(counting(window_messages=4))
    ann = come(core, "ann")
    for _ in range(12):
        ann.send("/queue/a", "x", ttl="1000")
    core.tick(0.5)
    ann.send("/queue/a", "x", expires="1")
    assert check(core) == {"ann": 12}
    assert queue_of(core).tail
    for _ in range(5):
        core.tick(5)
        core.answer_all()
    assert check(core) == {}


@pytest.mark.parametrize("delay", [{}, {"delay": "60000"}])
def test_what_is_purged_is_not_counted(delay: dict[str, str]) -> None:
    """What is in memory, in the store only, or not due yet."""
    core = PagedCore(counting(window_messages=4))
    asker = Asker(core)
    ann, bob = come(core, "ann"), come(core, "bob")
    for _ in range(10):
        ann.send("/queue/a", "x", **delay)
        bob.send("/queue/a", "x", **delay)
    assert check(core) == {"ann": 10}
    assert asker("purge", destination="/queue/a")["done"] == 20
    assert check(core) == {}
    assert queue_of(core).count == 0


def test_what_is_moved_is_counted_where_it_is() -> None:
    """Also what is fetched for that; a copy counts beside it."""
    core = PagedCore(counting(window_messages=4))
    asker = Asker(core)
    ann = come(core, "ann")
    for _ in range(10):
        ann.send("/queue/a", "x")
    asker("move", source="/queue/a", target="/queue/b", count=7)
    assert check(core) == {"ann": 10}
    asker("copy", source="/queue/b", target="/queue/c")
    assert check(core) == {"ann": 17}
    asker("move", source="/queue/c", target="/topic/t")
    assert check(core) == {"ann": 10}
    asker("delete", destination="/queue/b")
    assert check(core) == {"ann": 3}


def test_copies_and_repetitions_count() -> None:
    """For each durable subscription that gets one, and each time that a schedule brings one."""
    core = PagedCore(counting())
    ann = come(core, "ann")
    reader = come(core, "bob")
    reader.subscribe("/topic/t", id="d", durable="true")
    reader.close()
    ann.send("/topic/t", "x")
    ann.write(
        b"SEND\ndestination:/queue/a\nAMQ_SCHEDULED_DELAY:1000\nAMQ_SCHEDULED_PERIOD:1000\n"
        b"AMQ_SCHEDULED_REPEAT:2\n\nx\0"
    )
    before = check(core)["ann"]
    for _ in range(5):
        core.tick(1)
        core.answer_all()
    assert check(core)["ann"] == before + 2


def test_a_transaction_counts_when_it_commits() -> None:
    """Not before, and not if it is undone."""
    core = PagedCore(counting())
    ann = come(core, "ann")
    for end in ("ABORT", "COMMIT"):
        ann("BEGIN", transaction="t")
        ann.send("/queue/a", "x", transaction="t")
        assert check(core) == {}
        ann(end, transaction="t")
    assert check(core) == {"ann": 1}


# -- Through a restart -----------------------------------------------------------------------------


def test_it_is_counted_after_a_restart() -> None:
    """What waits, what is not due yet, and what was delivered: from the first moment on."""
    rule = QuotaRule("user", "ann", backlog_messages=5)
    core = RestartingCore(counting(rule, window_messages=4))
    ann, bob = come(core, "ann"), come(core, "bob")
    for _ in range(8):
        ann.send("/queue/a", "x")
        bob.send("/queue/a", "x")
    ann.send("/queue/a", "x", delay="60000")
    bob.subscribe("/queue/a", "client-individual", prefetch_count="2")
    core.answer_all()
    core.sync()
    core.crash()
    core.broker.observe()
    assert check(core) == {"ann": 9}
    ann = come(core, "ann")
    core.tick(1)
    ann.send("/queue/a", "late")
    assert ann.waiting
    bob = come(core, "bob")
    bob.subscribe("/queue/a")
    core.answer_all()
    core.tick(1)
    assert not ann.waiting
    core.answer_all()
    assert check(core) == {"ann": 1}
