"""The options of send, subscribe and nack in the words of each broker, and the tracing hooks."""

import re
import time
from collections.abc import Mapping
from typing import Any

import pytest
import trio
from client.programs import ROOT

from stompcli.client import UsageError, connect_stream
from stompcli.client import dialect as dialects
from stompcli.client.dialect import NackOptions, SendOptions, SubscribeOptions
from stompcli.client.testing import ClientFrame, ScriptedBroker, on_stream

NAMES = ("stompd", "rabbitmq", "activemq", "artemis")
SERVERS = {
    "stompd": "stompd/0.1",
    "rabbitmq": "RabbitMQ/3.10.8",
    "activemq": "ActiveMQ/5.17.2",
    "artemis": "ActiveMQ-Artemis/2.28.0 ActiveMQ Artemis Messaging Engine",
}
# What each broker gets for an option; a missing one is refused.
SEND: list[tuple[str, Any, dict[str, dict[str, str]]]] = [
    ("persistent", True, {name: {"persistent": "true"} for name in NAMES}),
    ("persistent", False, {name: {"persistent": "false"} for name in NAMES}),
    ("priority", 7, {name: {"priority": "7"} for name in NAMES}),
    ("ttl", 1.5, {"stompd": {"ttl": "1500"}, "rabbitmq": {"expiration": "1500"}}),
    (
        "expires",
        2.5,
        {name: {"expires": "2500"} for name in ("stompd", "activemq", "artemis")},
    ),
    (
        "delay",
        0.2,
        {
            "stompd": {"delay": "200"},
            "activemq": {"AMQ_SCHEDULED_DELAY": "200"},
            "artemis": {"AMQ_SCHEDULED_DELAY": "200"},
        },
    ),
    (
        "deliver_at",
        3,
        {"stompd": {"deliver-at": "3000"}, "artemis": {"AMQ_SCHEDULED_TIME": "3000"}},
    ),
    (
        "message_group",
        "g",
        {
            "stompd": {"message-group": "g"},
            "activemq": {"JMSXGroupID": "g", "message-group": "g"},
            "artemis": {"JMSXGroupID": "g"},
        },
    ),
    ("dedup_id", "d", {"stompd": {"dedup-id": "d"}, "artemis": {"_AMQ_DUPL_ID": "d"}}),
]
SUBSCRIBE: list[tuple[str, Any, dict[str, dict[str, str]]]] = [
    (
        "prefetch",
        5,
        {
            "stompd": {"prefetch-count": "5"},
            "rabbitmq": {"prefetch-count": "5"},
            "activemq": {"activemq.prefetchSize": "5"},
        },
    ),
    (
        "prefetch_octets",
        9,
        {"stompd": {"prefetch-bytes": "9"}, "artemis": {"consumer-window-size": "9"}},
    ),
    (
        "durable",
        "n",
        {
            "stompd": {"durable": "true", "durable-subscription-name": "n"},
            "rabbitmq": {"durable": "true", "auto-delete": "false", "x-queue-name": "n"},
            "activemq": {"activemq.subscriptionName": "n"},
            "artemis": {"durable-subscription-name": "n"},
        },
    ),
    (
        "selector",
        "a = 1",
        {name: {"selector": "a = 1"} for name in ("stompd", "activemq", "artemis")},
    ),
    (
        "exclusive",
        True,
        {"stompd": {"exclusive": "true"}, "activemq": {"activemq.exclusive": "true"}},
    ),
    ("exclusive", False, {"stompd": {}, "activemq": {}}),
    (
        "consumer_priority",
        -1,
        {"stompd": {"consumer-priority": "-1"}, "activemq": {"activemq.priority": "-1"}},
    ),
    (
        "no_local",
        True,
        {
            "stompd": {"no-local": "true"},
            "activemq": {"activemq.noLocal": "true"},
            "artemis": {"no-local": "true"},
        },
    ),
    ("browser", True, {"stompd": {"browser": "true"}, "activemq": {"browser": "true"}}),
]
NACK: list[tuple[str, Any, dict[str, dict[str, str]]]] = [
    (
        "requeue",
        False,
        {"stompd": {"requeue": "false"}, "rabbitmq": {"requeue": "false"}, "activemq": {}},
    ),
    ("requeue", True, {"stompd": {"requeue": "true"}, "rabbitmq": {"requeue": "true"}}),
    ("delay", 1, {"stompd": {"delay": "1000"}}),
    ("reason", "why", {"stompd": {"reason": "why"}}),
]


def headers_of(name: str, kind: str, option: str, value: object) -> dict[str, str]:
    """Return what an option becomes in a dialect."""
    dialect = dialects.named(name)
    assert dialect is not None
    options: Any = {option: value}
    make = {
        "send": dialect.send_headers,
        "subscribe": dialect.subscribe_headers,
        "nack": dialect.nack_headers,
    }[kind]
    return dict(make(options))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("kind", "table"), [("send", SEND), ("subscribe", SUBSCRIBE), ("nack", NACK)]
)
def test_options(
    name: str, kind: str, table: list[tuple[str, Any, Mapping[str, dict[str, str]]]]
) -> None:
    """Each option is spelt as the broker wants it, or refused if it has nothing of the kind."""
    for option, value, expected in table:
        if option == "ttl" and name in ("activemq", "artemis"):
            continue
        if name in expected:
            assert headers_of(name, kind, option, value) == expected[name], option
        else:
            with pytest.raises(UsageError, match=r"knows no|dead-letters what is NACKed"):
                headers_of(name, kind, option, value)


@pytest.mark.parametrize("name", ["activemq", "artemis"])
def test_ttl_as_a_time(name: str) -> None:
    """Brokers that know only a time get one, by this machine's clock."""
    before = time.time()
    made = headers_of(name, "send", "ttl", 60)
    assert before + 59 < int(made["expires"]) / 1000 < time.time() + 61


def test_every_option_is_in_a_table() -> None:
    """No option is left out of the tests, and every header stands in the handbook."""
    for kind, table in ((SendOptions, SEND), (SubscribeOptions, SUBSCRIBE), (NackOptions, NACK)):
        assert {option for option, _, _ in table} == set(kind.__annotations__)
    text = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
    for option, _, expected in (*SEND, *SUBSCRIBE, *NACK):
        rows = [line for line in text.splitlines() if re.match(rf"\| .*`{option}`", line)]
        for headers in expected.values():
            for header in headers:
                assert any(f"`{header}" in row for row in rows), (option, header)


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        ("send", "ttl", -1),
        ("send", "delay", -0.5),
        ("send", "message_group", ""),
        ("subscribe", "prefetch", -1),
        ("subscribe", "durable", ""),
    ],
)
def test_senseless_values(kind: str, option: str, value: object) -> None:
    """What no broker could understand is refused."""
    for name in ("stompd", "activemq"):
        with pytest.raises(UsageError, match="must not be"):
            headers_of(name, kind, option, value)


@pytest.mark.parametrize("name", NAMES)
def test_dialect_is_told_by_the_server_header(name: str) -> None:
    """A broker is known by what it calls itself; an unknown one speaks stompd's dialect."""
    assert dialects.spoken_by(SERVERS[name]) is dialects.named(name)
    assert dialects.spoken_by("") is dialects.spoken_by("Other/1") is dialects.STOMPD
    assert dialects.named("auto") is None
    with pytest.raises(UsageError, match="is none of auto, stompd, rabbitmq, activemq, artemis"):
        dialects.named("hornetq")


async def listen(
    frames: list[ClientFrame], broker: ScriptedBroker, server: str = "stompd/1"
) -> None:
    """Confirm everything, deliver a message to each subscription, and keep the frames."""
    frames.append(await broker.accept(headers={"server": server}))
    while True:
        frame = await broker.next()
        frames.append(frame)
        if "receipt" in frame.headers:
            await broker.receipt(frame)
        if frame.command == "SUBSCRIBE":
            await broker.message(frame, b"x", traceparent="00-1")
        if frame.command == "DISCONNECT":
            return


async def test_options_on_the_wire() -> None:
    """send, submit, a transaction, subscribe and nack all take the options of the dialect."""
    frames: list[ClientFrame] = []
    async with (
        on_stream(lambda b: listen(frames, b, SERVERS["activemq"])) as stream,
        connect_stream(stream) as client,
    ):
        assert client.dialect is dialects.ACTIVEMQ
        await client.send("/queue/a", "x", message_group="g", headers={"k": "v"})
        await (await client.submit("/queue/a", "x", priority=9)).wait()
        async with client.transaction() as tx:
            await tx.send("/queue/a", "x", persistent=True)
        async with client.subscribe("/queue/a", ack="client", prefetch=1) as messages:
            await (await messages.receive()).nack(requeue=False)
            with pytest.raises(UsageError, match="given twice"):
                await client.send("/queue/a", priority=1, headers={"priority": "2"})
    sends = [frame.headers for frame in frames if frame.command == "SEND"]
    assert (sends[0]["JMSXGroupID"], sends[0]["k"]) == ("g", "v")
    assert sends[1]["priority"] == "9"
    assert sends[2]["persistent"] == "true"
    subscribe = next(frame for frame in frames if frame.command == "SUBSCRIBE")
    assert subscribe.headers["activemq.prefetchSize"] == "1"


@pytest.mark.parametrize(
    ("dialect", "given", "host"),
    [
        ("rabbitmq", None, "/"),
        ("rabbitmq", "v", "v"),
        ("auto", None, "localhost"),
        ("activemq", None, "localhost"),
    ],
)
async def test_virtual_host(dialect: Any, given: str | None, host: str) -> None:  # noqa: ANN401
    """RabbitMQ's virtual host is / unless something else is said."""
    frames: list[ClientFrame] = []
    async with (
        on_stream(lambda b: listen(frames, b)) as stream,
        connect_stream(stream, dialect=dialect, virtual_host=given),
    ):
        pass
    assert frames[0].headers["host"] == host


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stompd", [{"durable": "true", "durable-subscription-name": "n"}]),
        ("rabbitmq", [{"durable": "true", "x-queue-name": "n"}]),
        ("activemq", [{}, {"activemq.subscriptionName": "n"}]),
        ("artemis", [{"durable-subscription-name": "n"}]),
    ],
)
async def test_durable_subscriptions(name: Any, expected: list[dict[str, str]]) -> None:  # noqa: ANN401
    """unsubscribe() leaves a durable subscription in place; forget=True deletes it."""
    frames: list[ClientFrame] = []
    async with (
        on_stream(lambda b: listen(frames, b, SERVERS[name])) as stream,
        connect_stream(stream, headers={"client-id": "c"}) as client,
    ):
        kept = await client.open_subscription("/topic/a", durable="n")
        await kept.unsubscribe()
        gone = await client.open_subscription("/topic/a", durable="n")
        await gone.unsubscribe(forget=True)
        plain = await client.open_subscription("/topic/a")
        with pytest.raises(UsageError, match="is not durable"):
            await plain.unsubscribe(forget=True)
    ends = [
        {header: value for header, value in frame.headers.items() if header != "receipt"}
        for frame in frames
        if frame.command == "UNSUBSCRIBE"
    ]
    assert ends == [{"id": "1"}, *({"id": "2", **more} for more in expected)]


@pytest.mark.parametrize("name", ["activemq", "artemis"])
async def test_durable_subscription_without_client_id(name: Any) -> None:  # noqa: ANN401
    """Where durable subscriptions belong to a client-id, one without is refused in words."""
    frames: list[ClientFrame] = []
    async with (
        on_stream(lambda b: listen(frames, b)) as stream,
        connect_stream(stream, dialect=name) as client,
    ):
        with pytest.raises(UsageError, match="belongs to a client-id"):
            await client.open_subscription("/topic/a", durable="n")


async def test_dedup_ids() -> None:
    """With dedup each message that is kept has an id of its own, unless it was given one."""
    frames: list[ClientFrame] = []
    async with (
        on_stream(lambda b: listen(frames, b)) as stream,
        connect_stream(stream, confirm="window", dedup=True) as client,
    ):
        await client.send("/queue/a", "1")
        await client.send("/queue/a", "2", receipt=True)
        await client.send("/queue/a", "3", dedup_id="mine")
        await client.send("/queue/a", "4", receipt=False)
    ids = [frame.headers.get("dedup-id") for frame in frames if frame.command == "SEND"]
    assert ids[0] is not None
    assert ids[1] is not None
    assert (len({*ids}), ids[2], ids[3]) == (4, "mine", None)
    assert ids[0].partition("-")[0] == ids[1].partition("-")[0]


async def test_dedup_that_the_broker_has_not() -> None:
    """A broker that drops no repetitions cannot be asked to."""
    frames: list[ClientFrame] = []
    async with (
        on_stream(lambda b: listen(frames, b, SERVERS["rabbitmq"])) as stream,
        connect_stream(stream, confirm="window", dedup=True) as client,
    ):
        with pytest.raises(UsageError, match="RabbitMQ knows no dedup_id"):
            await client.send("/queue/a", "1")


async def test_tracing_hooks() -> None:
    """Inject adds headers to every SEND, extract sees every message in the task that takes it."""
    frames: list[ClientFrame] = []
    seen: list[tuple[str, trio.lowlevel.Task]] = []
    asked: list[tuple[str, dict[str, str]]] = []

    def inject(destination: str, headers: Mapping[str, str]) -> dict[str, str] | None:
        asked.append((destination, dict(headers)))
        return {"traceparent": f"00-{len(asked)}"} if destination != "/queue/untraced" else None

    def extract(headers: Mapping[str, str]) -> None:
        seen.append((headers["traceparent"], trio.lowlevel.current_task()))

    async with (
        on_stream(lambda b: listen(frames, b)) as stream,
        connect_stream(stream, inject=inject, extract=extract) as client,
        client.subscribe("/queue/a") as messages,
    ):
        await client.send("/queue/a", "x", headers={"k": "v"})
        await client.submit("/queue/untraced", "x")
        async with client.transaction() as tx:
            await tx.send("/queue/b", "x")
        await messages.receive()
        assert seen == [("00-1", trio.lowlevel.current_task())]
    assert asked[0] == ("/queue/a", {"k": "v"})
    sends = [frame.headers.get("traceparent") for frame in frames if frame.command == "SEND"]
    assert sends == ["00-1", None, "00-3"]


@pytest.mark.parametrize(
    "options", [{"confirm": "maybe"}, {"window": 0}, {"window_octets": 0}, {"dialect": "x"}]
)
async def test_senseless_options(options: Any) -> None:  # noqa: ANN401
    """Options that mean nothing are refused before anything is sent."""
    near, far = trio.testing.memory_stream_pair()
    with pytest.raises(UsageError):
        async with connect_stream(near, **options):
            pytest.fail("there is no session")
    await near.aclose()
    assert await far.receive_some() == b""
