"""What a crash leaves of messages that topics copy into queues, whoever made them persistent."""

import pytest
from broker.restarting import RestartingCore

from stompd.broker.policy import Policies, Policy, PolicyRule, Settings
from stompd.broker.virtualtopic import VirtualTopics

P = {"persistent": "true"}
TOPIC = "/topic/VirtualTopic.x"
QUEUE = "/queue/Consumer.web.VirtualTopic.x"
OTHER = "/queue/Consumer.app.VirtualTopic.x"


@pytest.fixture
def core() -> RestartingCore:
    """A core with virtual topics; what their consumers' queues hold outlives it."""
    rules = [PolicyRule("/queue/Consumer.#", Policy(persistent=True))]
    return RestartingCore(Settings(policies=Policies(rules), virtual_topics=VirtualTopics()))


def waiting(core: RestartingCore, queue: str = QUEUE) -> list[str]:
    """Return the bodies of all that waits in a queue; it is consumed."""
    client = core.client()
    client.subscribe(queue)
    core.answer_all()
    client("UNSUBSCRIBE", id="0")
    core.answer_all()
    return client.bodies()


def test_an_id_lasts_as_long_as_the_copy_that_a_feeds_policy_keeps(core: RestartingCore) -> None:
    """The sender said nothing of persistence: the copy is kept, so a repetition has to go."""
    assert waiting(core) == []
    client = core.client()
    client.send(TOPIC, "1", dedup_id="x", receipt="r")
    core.sync()
    assert client.receipts() == ["r"]
    core.crash()
    core.client().send(TOPIC, "again", dedup_id="x")
    core.client().send(TOPIC, "2", dedup_id="y", persistent="false")
    assert waiting(core) == ["1", "2"]


def test_what_a_topic_delays_is_kept_for_a_feeds_policy(core: RestartingCore) -> None:
    """It is persistent from the start: else its id would outlive it, or it its id."""
    assert waiting(core) == []
    core.client().send(TOPIC, "1", dedup_id="x", delay="5000")
    core.client().send(TOPIC, "transient", delay="5000", persistent="false")
    core.sync()
    core.crash()
    core.client().send(TOPIC, "again", dedup_id="x", delay="5000")
    core.answer_all()
    core.tick(6)
    assert waiting(core) == ["1"]


def test_a_queue_that_is_made_before_the_last_value_is_there_gets_it(core: RestartingCore) -> None:
    """SUBSCRIBE would wait for it; a SEND that makes a virtual topic's queue does not."""
    core.client().send(TOPIC, "last", retain="set", **P)
    core.sync()
    core.crash()
    core.client().send(QUEUE, "made")
    core.answer_all()
    assert waiting(core) == ["made", "last"]
    core.client().send(TOPIC, "next")
    assert waiting(core) == ["next"]


def test_a_last_value_that_is_replaced_meanwhile_comes_to_no_new_queue(
    core: RestartingCore,
) -> None:
    """The new one is published to it, and is the last value now."""
    core.client().send(TOPIC, "old", retain="set", **P)
    core.sync()
    core.crash()
    core.client().send(QUEUE, "made")
    core.client().send(TOPIC, "new", retain="set", **P)
    core.answer_all()
    assert waiting(core) == ["made", "new"]


def test_a_queue_that_is_gone_before_the_last_value_is_there_gets_nothing(
    core: RestartingCore,
) -> None:
    """Others do."""
    core.client().send(TOPIC, "last", retain="set", **P)
    core.sync()
    core.crash()
    core.client().send(QUEUE, "made")
    core.client().send(OTHER, "made")
    host = core.broker.host("/")
    host.remove(host.queues[QUEUE])
    core.answer_all()
    assert waiting(core, OTHER) == ["made", "last"]
    assert QUEUE not in host.queues


def test_the_last_value_lasts_where_the_queues_policy_says_so(core: RestartingCore) -> None:
    """A copy of it is a message of that queue as any other."""
    core.client().send(TOPIC, "last", retain="set")
    core.client().send(QUEUE, "made")
    core.sync()
    core.crash()
    core.answer_all()
    assert waiting(core) == ["last", "made"]
