"""What a look once a second tells: rates, and ages that are true to a second or a twentieth."""

from broker.asking import Asker
from broker.client import Core, publish
from hypothesis import given
from hypothesis import strategies as st

from stompd.broker.sample import Sample


@given(st.lists(st.integers(0, 5), min_size=1, max_size=2000))
def test_ages_are_true_to_a_second_or_a_twentieth(arrivals: list[int]) -> None:
    """Whatever came when: never more than the true age, and hardly less."""
    sample = Sample(0.0, 0, 0)
    came: list[float] = []
    for second, number in enumerate(arrivals):
        came += [second + 0.5] * number
        sample.mark(second + 1.0, len(came) + 1)
    now = float(len(arrivals))
    for place, time in enumerate(came, 1):
        age = sample.age(place, now)
        assert age <= now - time
        assert age >= (now - time) * 0.9 - 1.0


def test_notes_are_few() -> None:
    """However long messages come and stay."""
    sample = Sample(0.0, 0, 0)
    for second in range(20_000):
        sample.mark(float(second), second + 2)
    assert len(sample._places) <= 401  # noqa: SLF001 - nothing else tells what is kept
    assert sample.age(1, 20_000.0) >= 19_000


def test_rates_are_those_of_the_last_period() -> None:
    """What came and what left; what comes back has not left."""
    core = Core()
    asker = Asker(core)
    consumer = core.client()
    consumer.subscribe("/queue/a", "client-individual", prefetch_count="4")
    core.tick(1)
    publish(asker.client, "/queue/a", ["x"] * 6)
    publish(asker.client, "/topic/t", ["x"] * 3)
    for message in consumer.messages(4)[:2]:
        consumer.ack(message)
    core.tick(1)
    row = asker("queues", match="a")[0]
    assert (row["in_rate"], row["out_rate"]) == (6.0, 2.0)
    assert asker("topics")[0]["in_rate"] == 3.0
    assert asker("stats")["in_rate"] >= 9.0
    consumer.close()
    core.tick(2)
    row = asker("queues", match="a")[0]
    assert (row["in_rate"], row["out_rate"], row["settled"]) == (0.0, 0.0, 2)


def test_rates_of_a_durable_subscription() -> None:
    """What it keeps came at a rate, too, and leaves at one."""
    core = Core()
    asker = Asker(core)
    consumer = core.client()
    headers = {"durable": "true", "durable_subscription_name": "d"}
    consumer.subscribe("/topic/t", "client-individual", **headers)
    core.tick(1)
    publish(asker.client, "/topic/t", ["x"] * 3)
    for message in consumer.messages(3)[:2]:
        consumer.ack(message)
    core.tick(1)
    (row,) = asker("durables")
    assert (row["in_rate"], row["out_rate"]) == (3.0, 2.0)


def test_the_age_of_the_oldest(core: Core) -> None:
    """Of what waits; when nothing does there is none, and what comes then is new."""
    asker = Asker(core)
    publish(asker.client, "/queue/a", ["1"])
    core.tick(0.5)
    assert asker("queues", match="a")[0]["oldest"] == 0.0
    for _ in range(5):
        core.tick(1)
    assert asker("queues", match="a")[0]["oldest"] == 4.0
    asker("purge", destination="a")
    core.tick(1)
    assert asker("queues", match="a")[0]["oldest"] is None
    publish(asker.client, "/queue/a", ["2"])
    assert asker("queues", match="a")[0]["oldest"] == 0.0
    core.tick(3)
    assert asker("browse", destination="a")["messages"][0]["age"] == 0.0
    core.tick(1)
    assert asker("browse", destination="a")["messages"][0]["age"] == 1.0


def test_what_came_before_the_first_look_is_no_rate(core: Core) -> None:
    """It may have taken any time."""
    publish(core.client(), "/queue/a", ["x"] * 3)
    publish(core.client(), "/topic/a", ["x"] * 3)
    core.tick(5)
    asker = Asker(core)
    assert asker("queues", match="a")[0]["in_rate"] == 0.0
    core.tick(1)
    assert asker("stats")["in_rate"] < 3.0
