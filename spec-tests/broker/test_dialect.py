"""What headers ask for, in the dialect of every broker."""

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stompd.broker import dialect
from stompd.broker.cron import parse
from stompd.broker.dialect import (
    FOREIGN_SEND,
    FOREIGN_SUBSCRIBE,
    LARGEST,
    SEND_NAMES,
    SUBSCRIBE_NAMES,
    QueueSettings,
    SendOptions,
    SubscribeOptions,
    is_true,
    nack_options,
    send_options,
    subscribe_options,
    unsubscribe_durable,
)
from stompd.protocol.errors import RemoteProtocolError

T = TypeVar("T")

# What numbers, booleans and crontab lines are made of, and what they are not.
_values = st.text("-.,*/ 0159TrueFals\0é", max_size=12)


def sent(**headers: str) -> SendOptions:
    """Return what a SEND asks for; ``_`` in a name here is ``-`` in the header."""
    return send(named(headers))


def subscribed(**headers: str) -> SubscribeOptions:
    """Return what a SUBSCRIBE to a topic asks for; names as in `sent`."""
    return subscribe({"destination": "/topic/a"} | named(headers))


def named(headers: dict[str, str]) -> dict[str, str]:
    """Return headers under the names of the wire."""
    return {name.replace("_", "-"): value for name, value in headers.items()}


def send(headers: dict[str, str]) -> SendOptions:
    """Return what a SEND asks for."""
    return send_options(headers.get, headers.keys())


def subscribe(headers: dict[str, str]) -> SubscribeOptions:
    """Return what a SUBSCRIBE asks for."""
    return subscribe_options(headers.get, headers.keys())


def answer(read: Callable[[dict[str, str]], T], headers: dict[str, str]) -> T | RemoteProtocolError:
    """Return what headers ask for, or why they are refused."""
    try:
        return read(headers)
    except RemoteProtocolError as error:
        return error


def fields(options: SendOptions | SubscribeOptions) -> dict[str, object]:
    """Return everything that options say."""
    return {name: getattr(options, name) for name in options.__slots__}


# --- SEND. ---


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"destination": "/queue/a", "content-type": "text/plain", "persistent": "true"},
        {
            "correlation-id": "1",
            "type": "x",
            "JMSType": "x",
            "timestamp": "1",
            "reply-to": "/queue/b",
        },
        {"priority": "4", "expires": "0", "ttl": "0", "delay": "0", "deliver-at": "0"},
        {"priority": "", "expires": " ", "delay": "", "message-group": " ", "dedup-id": ""},
        {"retain": "false", "AMQ_SCHEDULED_CRON": "", "AMQ_SCHEDULED_REPEAT": "5"},
        {"AMQ_SCHEDULED_PERIOD": "0", "AMQ_SCHEDULED_REPEAT": "5", "JMSXGroupSeq": "1"},
        {"x-max-priority": "10", "x-queue-type": "quorum", "x-dead-letter-exchange": ""},
        {"x-max-length": "", "auto-delete": ""},
        # Nobody is told that a thing he does not want is not there.
        {"transformation": "", "x-queue-mode": " False", "x-max-age": "0"},
    ],
)
def test_a_send_that_asks_for_nothing_is_plain(headers: dict[str, str]) -> None:
    """Headers that only travel, and the values that everything has anyway, ask for nothing."""
    options = send(headers)
    assert fields(options) == fields(SendOptions())
    assert options.plain


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"priority": "9"}, {"priority": 9}),
        ({"JMSPriority": "0"}, {"priority": 0}),
        ({"priority": "255"}, {"priority": 255}),
        ({"ttl": "5000"}, {"ttl": 5000}),
        ({"expiration": "5000"}, {"ttl": 5000}),
        ({"expires": "1308690148000"}, {"expires": 1308690148000}),
        ({"JMSExpiration": "1308690148000"}, {"expires": 1308690148000}),
        ({"delay": "10"}, {"delay": 10}),
        ({"AMQ_SCHEDULED_DELAY": "10"}, {"delay": 10}),
        ({"x-delay": "10"}, {"delay": 10}),
        ({"deliver-at": "1308690148000"}, {"deliver_at": 1308690148000}),
        ({"AMQ_SCHEDULED_TIME": "1308690148000"}, {"deliver_at": 1308690148000}),
        ({"_AMQ_SCHED_DELIVERY": "1308690148000"}, {"deliver_at": 1308690148000}),
        ({"_HQ_SCHED_DELIVERY": "1308690148000"}, {"deliver_at": 1308690148000}),
        ({"AMQ_SCHEDULED_CRON": " 0 12 * * * "}, {"cron": parse("0 12 * * *")}),
        ({"message-group": "a "}, {"group": "a "}),
        ({"JMSXGroupID": "a"}, {"group": "a"}),
        ({"message_group": "a"}, {"group": "a"}),
        ({"_AMQ_GROUP_ID": "a"}, {"group": "a"}),
        ({"_HQ_GROUP_ID": "a"}, {"group": "a"}),
        ({"dedup-id": "a"}, {"dedup_id": "a"}),
        ({"_AMQ_DUPL_ID": "a"}, {"dedup_id": "a"}),
        ({"_HQ_DUPL_ID": "a"}, {"dedup_id": "a"}),
        ({"Nats-Msg-Id": "a"}, {"dedup_id": "a"}),
        ({"x-deduplication-header": "a"}, {"dedup_id": "a"}),
        ({"retain": "set"}, {"retain": "set"}),
        ({"retain": "True"}, {"retain": "set"}),
        ({"retain": " Remove"}, {"retain": "remove"}),
        ({"ActiveMQ.Retain": "true"}, {"retain": "set"}),
        ({"x-max-length": "5"}, {"settings": QueueSettings(max_messages=5)}),
    ],
)
def test_a_header_of_a_send_by_every_name(
    headers: dict[str, str], expected: dict[str, object]
) -> None:
    """Each of our headers, and each alias of it, asks for one thing and for nothing else."""
    nothing_else = {"plain": False, "simple": expected.keys() == {"priority"}}
    assert fields(send(headers)) == fields(SendOptions()) | expected | nothing_else


def test_every_name_of_a_send_is_known() -> None:
    """The names that make it worth to look at a SEND are those that it looks at."""
    assert {"priority", "JMSXGroupID", "_AMQ_LVQ_NAME", "auto-delete"} < SEND_NAMES
    assert set(FOREIGN_SEND) < SEND_NAMES
    assert SEND_NAMES.isdisjoint({"destination", "persistent", "content-type", "x-max-priority"})


def test_ours_counts_before_aliases_in_their_order() -> None:
    """The first name of the table that is present counts, wherever it is in the frame."""
    headers = {"_AMQ_GROUP_ID": "4", "message_group": "3", "JMSXGroupID": "2", "message-group": "1"}
    for expected in ("1", "2", "3", "4"):
        assert send(headers).group == expected
        assert send(dict(reversed(headers.items()))).group == expected
        del headers[next(name for name, value in headers.items() if value == expected)]


@pytest.mark.parametrize(
    ("headers", "delay", "period", "repeat"),
    [
        # ActiveMQ: without a delay the first one comes after one period.
        ({"AMQ_SCHEDULED_PERIOD": "50"}, 50, 50, 0),
        ({"AMQ_SCHEDULED_PERIOD": "50", "AMQ_SCHEDULED_REPEAT": "9"}, 50, 50, 9),
        ({"AMQ_SCHEDULED_PERIOD": "50", "AMQ_SCHEDULED_DELAY": "7"}, 7, 50, 0),
        ({"AMQ_SCHEDULED_PERIOD": "50", "AMQ_SCHEDULED_REPEAT": "-1"}, 50, 50, -1),
        ({"AMQ_SCHEDULED_PERIOD": "50", "AMQ_SCHEDULED_REPEAT": "-7"}, 50, 50, -1),
        ({"AMQ_SCHEDULED_PERIOD": "50", "deliver-at": "99"}, 0, 50, 0),
        ({"AMQ_SCHEDULED_PERIOD": "50", "AMQ_SCHEDULED_CRON": "* * * * *"}, 0, 50, 0),
        # Nothing can be repeated without time in between.
        ({"AMQ_SCHEDULED_DELAY": "7", "AMQ_SCHEDULED_REPEAT": "9"}, 7, 0, 0),
        ({"x-delay": "-7"}, 0, 0, 0),
    ],
)
def test_delay_and_repetition(
    headers: dict[str, str], delay: int, period: int, repeat: int
) -> None:
    """A message comes after its delay, and then as often as asked, one period after the other."""
    options = send(headers)
    assert (options.delay, options.period, options.repeat) == (delay, period, repeat)


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({"_AMQ_LVQ_NAME": "a", "transformation": "jms-xml"}, ("_AMQ_LVQ_NAME", "transformation")),
        # Values of no use.
        ({"JMSPriority": "high"}, ("JMSPriority",)),
        ({"JMSPriority": "256"}, ("JMSPriority",)),
        ({"JMSPriority": "-1"}, ("JMSPriority",)),
        ({"AMQ_SCHEDULED_DELAY": "soon"}, ("AMQ_SCHEDULED_DELAY",)),
        ({"expiration": "None"}, ("expiration",)),
        ({"ActiveMQ.Retain": "maybe"}, ("ActiveMQ.Retain",)),
        ({"x-max-length": "0"}, ("x-max-length",)),
        ({"x-message-ttl": "long"}, ("x-message-ttl",)),
        ({"x-overflow": "panic"}, ("x-overflow",)),
        # Values that ask for what there is not.
        ({"JMSXGroupSeq": "-1"}, ("JMSXGroupSeq",)),
        ({"x-dead-letter-exchange": "dlx"}, ("x-dead-letter-exchange",)),
        ({"x-queue-type": "Stream"}, ("x-queue-type",)),
        # Other brokers' way to say never.
        ({"JMSExpiration": "-1", "AMQ_SCHEDULED_TIME": "-1"}, ()),
    ],
)
def test_what_is_not_honoured_is_reported(
    headers: dict[str, str], foreign: tuple[str, ...]
) -> None:
    """Another broker's header that we cannot honour is named, and changes nothing else."""
    assert fields(send(headers)) == fields(SendOptions()) | {"foreign": foreign}


@pytest.mark.parametrize("name", sorted(FOREIGN_SEND))
def test_every_foreign_header_of_a_send(name: str) -> None:
    """Each name of the table is reported."""
    options = send({"destination": "/queue/a", name: "1"})
    assert options.foreign == (name,)
    assert options.plain


@pytest.mark.parametrize(
    ("headers", "message", "detail"),
    [
        (
            {"priority": "high"},
            "priority is not a number",
            '"high"; it is a whole number, 0 to 255',
        ),
        ({"priority": "256"}, "priority is out of range", '"256"; it is a number from 0 to 255'),
        ({"priority": "-1"}, "priority is out of range", '"-1"; it is a number from 0 to 255'),
        ({"ttl": "5s"}, "ttl is not a number", '"5s"; it is a whole number, milliseconds'),
        ({"ttl": "-5"}, "ttl is not a number", '"-5"'),
        ({"ttl": "5.5"}, "ttl is not a number", '"5.5"'),
        ({"ttl": "9" * 20}, "ttl is not a number", "999"),
        ({"ttl": "9" * 1_000_000}, "ttl is not a number", "999"),
        ({"delay": "٣"}, "delay is not a number", "it is a whole number"),
        ({"expires": "tomorrow"}, "expires is not a number", "milliseconds since 1970"),
        ({"deliver-at": "12:00"}, "deliver-at is not a number", "milliseconds since 1970"),
        ({"retain": "maybe"}, "unknown retain", '"maybe"; it is set or remove'),
        ({"auto-delete": "no"}, "auto-delete is not a boolean", '"no"; it is true or false'),
        ({"AMQ_SCHEDULED_PERIOD": "x"}, "AMQ_SCHEDULED_PERIOD is not a number", "milliseconds"),
        (
            {"AMQ_SCHEDULED_PERIOD": "1", "AMQ_SCHEDULED_REPEAT": "x"},
            "AMQ_SCHEDULED_REPEAT is not a number",
            "-1 for ever",
        ),
        ({"AMQ_SCHEDULED_CRON": "daily"}, "malformed AMQ_SCHEDULED_CRON", '"daily"'),
    ],
)
def test_a_meaningless_value_of_ours_is_an_error(
    headers: dict[str, str], message: str, detail: str
) -> None:
    """The error names the header, shows the value, and says what belongs there."""
    with pytest.raises(RemoteProtocolError) as caught:
        send(headers)
    assert caught.value.message == message
    assert detail in caught.value.detail
    assert len(caught.value.detail) < 200


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7", 7),
        ("  7 ", 7),
        ("007", 7),
        ("7.0", 7),
        ("7.", 7),
        ("9223372036854775807", LARGEST),
        ("999999999999999999", LARGEST),
    ],
)
def test_numbers(value: str, expected: int) -> None:
    """Blanks and a fraction of nothing do no harm; Java's largest number is as large as any."""
    assert sent(delay=value).delay == expected
    assert send({"x-delay": value}).delay == expected


@given(st.integers(0, LARGEST), st.sampled_from(["", " ", "\t"]))
def test_every_number_is_read_back(number: int, blank: str) -> None:
    """What fits is what is read."""
    assert sent(delay=f"{blank}{number}{blank}").delay == number


@given(st.dictionaries(st.sampled_from(sorted(SEND_NAMES)), _values))
def test_no_value_breaks_a_send(headers: dict[str, str]) -> None:
    """Whatever somebody writes, there is an answer or a protocol error."""
    options = answer(send, headers)
    if isinstance(options, RemoteProtocolError):
        assert options.detail
    else:
        assert 0 <= options.priority <= 255
        assert set(options.foreign) <= set(headers)
        assert len(set(options.foreign)) == len(options.foreign)


# --- Settings of queues. ---


def test_settings_of_queues() -> None:
    """RabbitMQ's queue arguments mean the same on SEND and on SUBSCRIBE."""
    headers = {
        "x-max-length": "5",
        "x-max-length-bytes": " 500 ",
        "x-message-ttl": "1000",
        "x-expires": "2000",
        "x-dead-letter-routing-key": " dead ",
        "x-dead-letter-exchange": "",
        "x-overflow": "drop-head",
        "auto-delete": "True",
    }
    expected = QueueSettings(
        max_messages=5,
        max_bytes=500,
        message_ttl=1000,
        expires=2000,
        dead_letter="dead",
        overflow="drop-head",
        auto_delete=True,
    )
    assert send(headers).settings == expected
    assert subscribe(headers).settings == expected
    assert send(headers).foreign == subscribe(headers).foreign == ()
    assert not send(headers).plain


@pytest.mark.parametrize("value", ["reject-publish", "Reject-Publish-DLX"])
def test_rejecting_is_one_overflow(value: str) -> None:
    """RabbitMQ's two ways of rejecting are one of ours."""
    assert send({"x-overflow": value}).settings == QueueSettings(overflow="reject")


# --- SUBSCRIBE. ---


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"destination": "/queue/a", "id": "0", "ack": "client"},
        {"selector": "  ", "browser": "false", "exclusive": "False", "no-local": "0"},
        {"prefetch-count": "", "consumer-priority": "", "browser-end": "", "credit": " "},
        {"durable": "", "persistent": "false", "durable-subscription-name": ""},
        {"destination": "/queue/a", "x-queue-name": "b"},
    ],
)
def test_a_subscribe_that_asks_for_nothing(headers: dict[str, str]) -> None:
    """Absent and empty headers leave everything to the policy."""
    assert fields(subscribe(headers)) == fields(SubscribeOptions())


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"prefetch-count": "1"}, {"prefetch_count": 1}),
        ({"prefetch-count": "0"}, {"prefetch_count": 0}),
        ({"activemq.prefetchSize": "1"}, {"prefetch_count": 1}),
        ({"activemq.prefetchSize": "-1"}, {"prefetch_count": 0}),
        ({"prefetch-bytes": "100"}, {"prefetch_bytes": 100}),
        ({"prefetch-bytes": "0"}, {"prefetch_bytes": 0}),
        ({"consumer-window-size": "100"}, {"prefetch_bytes": 100}),
        # Artemis: -1 is no limit, and 0 one message after the other.
        ({"consumer-window-size": "-1"}, {"prefetch_bytes": 0}),
        ({"consumer-window-size": "0"}, {"prefetch_bytes": 1}),
        ({"credit": "5"}, {"prefetch_count": 5}),
        ({"credit": "5,0"}, {"prefetch_count": 5, "prefetch_bytes": 0}),
        ({"credit": " 5 , 70 ,false"}, {"prefetch_count": 5, "prefetch_bytes": 70}),
        (
            {"credit": "5,70", "activemq.prefetchSize": "6", "consumer-window-size": "80"},
            {"prefetch_count": 6, "prefetch_bytes": 80},
        ),
        ({"selector": " a = 1 "}, {"selector": "a = 1"}),
        ({"activemq.selector": "a = 1"}, {"selector": "a = 1"}),
        ({"browser": "true"}, {"browser": True}),
        ({"activemq.browser": "TRUE"}, {"browser": True}),
        ({"browser-end": "false"}, {"browser_end": False}),
        ({"exclusive": " True "}, {"exclusive": True}),
        ({"activemq.exclusive": "1"}, {"exclusive": True}),
        ({"x-single-active-consumer": "true"}, {"exclusive": True}),
        ({"consumer-priority": "-5"}, {"consumer_priority": -5}),
        ({"activemq.priority": "-5"}, {"consumer_priority": -5}),
        ({"x-priority": "5"}, {"consumer_priority": 5}),
        ({"no-local": "true"}, {"no_local": True}),
        ({"activemq.noLocal": "true"}, {"no_local": True}),
        ({"durable": "true"}, {"durable": True}),
        ({"persistent": "true"}, {"durable": True}),
        *(
            ({name: "a b "}, {"durable": True, "durable_name": "a b "})
            for name in (
                "durable-subscription-name",
                "durable-subscriber-name",
                "activemq.subscriptionName",
                "activemq.subcriptionName",
            )
        ),
        ({"durable": "false", "activemq.subscriptionName": "a"}, {}),
        ({"activemq.prefetchSize": "many"}, {"foreign": ("activemq.prefetchSize",)}),
        ({"activemq.exclusive": "yes"}, {"foreign": ("activemq.exclusive",)}),
        ({"activemq.exclusive": ""}, {}),
        ({"activemq.prefetchSize": ""}, {}),
        ({"persistent": "maybe"}, {"foreign": ("persistent",)}),
        ({"x-queue-type": "stream"}, {"foreign": ("x-queue-type",)}),
        *(({"credit": value}, {"foreign": ("credit",)}) for value in ("x", "5,", "-1", "0,0")),
    ],
)
def test_a_header_of_a_subscribe_by_every_name(
    headers: dict[str, str], expected: dict[str, object]
) -> None:
    """Each of our headers, and each alias of it, asks for one thing and for nothing else."""
    headers = {"destination": "/topic/a", **headers}
    assert fields(subscribe(headers)) == fields(SubscribeOptions()) | expected


@pytest.mark.parametrize(
    ("headers", "auto_delete"),
    [
        # RabbitMQ's named queue goes with its last subscriber.
        ({}, True),
        ({"durable": "false"}, True),
        ({"auto-delete": "true"}, True),
        ({"auto-delete": "false"}, False),
        ({"durable": "true"}, None),
        ({"persistent": "true", "auto-delete": "false"}, False),
    ],
)
@pytest.mark.parametrize("destination", ["/topic/a", "/exchange/amq.topic/a"])
def test_a_queue_name_for_a_topic_is_a_durable_subscription(
    *, headers: dict[str, str], auto_delete: bool | None, destination: str
) -> None:
    """Whoever gives the same name shares it; how long it is kept is RabbitMQ's rule."""
    options = subscribe({"destination": destination, "x-queue-name": "b", **headers})
    assert (options.durable, options.durable_name) == (True, "b")
    settings = options.settings or QueueSettings()
    assert settings == QueueSettings(auto_delete=auto_delete)


def test_another_name_counts_before_that_of_a_queue() -> None:
    """With a durable subscription's name, x-queue-name changes nothing."""
    options = subscribe(
        {"destination": "/topic/a", "x-queue-name": "b", "durable-subscription-name": "c"}
    )
    assert (options.durable_name, options.settings) == ("c", None)


@pytest.mark.parametrize("name", sorted(FOREIGN_SUBSCRIBE))
def test_every_foreign_header_of_a_subscribe(name: str) -> None:
    """Each name of the table is reported, and changes nothing else."""
    options = subscribe({"destination": "/topic/a", name: "1"})
    assert fields(options) == fields(SubscribeOptions()) | {"foreign": (name,)}
    assert name in SUBSCRIBE_NAMES


@pytest.mark.parametrize(
    ("headers", "message", "detail"),
    [
        (
            {"prefetch_count": "many"},
            "prefetch-count is not a number",
            '"many"; it is a whole number, 0 for no limit',
        ),
        ({"prefetch_count": "-1"}, "prefetch-count is not a number", '"-1"'),
        ({"prefetch_bytes": "1k"}, "prefetch-bytes is not a number", "0 for no limit"),
        ({"consumer_priority": "high"}, "consumer-priority is not a number", "higher first"),
        ({"durable": "yes"}, "durable is not a boolean", '"yes"; it is true or false'),
        ({"browser": "2"}, "browser is not a boolean", '"2"'),
        ({"browser_end": "end"}, "browser-end is not a boolean", '"end"'),
        ({"exclusive": "no"}, "exclusive is not a boolean", '"no"'),
        ({"no_local": "x"}, "no-local is not a boolean", '"x"'),
    ],
)
def test_a_meaningless_value_in_a_subscribe_is_an_error(
    headers: dict[str, str], message: str, detail: str
) -> None:
    """The error names the header, shows the value, and says what belongs there."""
    with pytest.raises(RemoteProtocolError) as caught:
        subscribed(**headers)
    assert caught.value.message == message
    assert detail in caught.value.detail


@given(st.dictionaries(st.sampled_from(sorted(SUBSCRIBE_NAMES)), _values))
def test_no_value_breaks_a_subscribe(headers: dict[str, str]) -> None:
    """Whatever somebody writes, there is an answer or a protocol error."""
    options = answer(subscribe, {"destination": "/topic/a", **headers})
    if isinstance(options, RemoteProtocolError):
        assert options.detail
    else:
        assert options.durable or options.durable_name is None
        assert (options.prefetch_count or 0) >= 0
        assert (options.prefetch_bytes or 0) >= 0
        assert set(options.foreign) <= set(headers)


# --- What real programs send. ---


def test_django_stomp_speaks_two_dialects_at_once() -> None:
    """One SUBSCRIBE for ActiveMQ and RabbitMQ: the parts agree, and nothing is left over."""
    headers = {
        "destination": "/topic/orders",
        "id": "5e6b-listener",
        "ack": "client",
        "client-id": "app-listener",
        "activemq.prefetchSize": "1",
        "prefetch-count": "1",
        "x-dead-letter-routing-key": "DLQ.orders",
        "x-dead-letter-exchange": "",
        "activemq.subscriptionName": "app-listener",
        "activemq.subcriptionName": "app-listener",
        "durable": "true",
        "auto-delete": "false",
        "exclusive": "False",
    }
    expected = {
        "prefetch_count": 1,
        "durable": True,
        "durable_name": "app-listener",
        "settings": QueueSettings(dead_letter="DLQ.orders", auto_delete=False),
    }
    assert fields(subscribe(headers)) == fields(SubscribeOptions()) | expected


def test_workflows_speaks_activemq() -> None:
    """Its options are honoured; what ActiveMQ alone can do is reported."""
    headers = {
        "destination": "/queue/zocalo.transient.service",
        "id": "1",
        "ack": "client-individual",
        "activemq.exclusive": "true",
        "activemq.priority": "5",
        "activemq.retroactive": "true",
        "selector": "beamline = 'i03'",
        "transformation": "jms-object-json",
    }
    expected = {
        "exclusive": True,
        "consumer_priority": 5,
        "selector": "beamline = 'i03'",
        "foreign": ("activemq.retroactive", "transformation"),
    }
    assert fields(subscribe(headers)) == fields(SubscribeOptions()) | expected
    options = send({"AMQ_SCHEDULED_DELAY": "120000", "expires": "1764000000000"})
    assert (options.delay, options.expires) == (120000, 1764000000000)


def test_nms_writes_every_option_it_has() -> None:
    """The .NET library writes defaults, too: they ask for nothing."""
    headers = {
        "destination": "/queue/a",
        "id": "ID:1",
        "ack": "client",
        "selector": "",
        "no-local": "False",
        "durable-subscriber-name": "",
        "activemq.dispatchAsync": "False",
        "activemq.exclusive": "False",
        "activemq.maximumPendingMessageLimit": "0",
        "activemq.prefetchSize": "1000",
        "activemq.priority": "0",
        "activemq.retroactive": "False",
    }
    assert fields(subscribe(headers)) == fields(SubscribeOptions()) | {"prefetch_count": 1000}
    written = {"reply-to": "", "correlation-id": "", "expires": "0", "priority": "4", "type": ""}
    assert send(written).plain


# --- UNSUBSCRIBE and NACK. ---


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"id": "1"}, (False, None, False)),
        ({"id": "1", "durable": "true"}, (True, None, False)),
        ({"id": "1", "durable": "false", "activemq.subscriptionName": "a"}, (False, "a", False)),
        ({"id": "1", "persistent": "true"}, (True, None, False)),
        ({"durable-subscription-name": "a", "durable-subscriber-name": "b"}, (True, "a", False)),
        ({"durable-subscriber-name": "a"}, (True, "a", False)),
        ({"activemq.subscriptionName": "a"}, (True, "a", False)),
        ({"activemq.subcriptionName": "a"}, (True, "a", False)),
        ({"id": "1", "x-queue-name": "a"}, (False, "a", True)),
        ({"id": "1", "x-queue-name": "a", "durable": "true"}, (True, "a", True)),
    ],
)
def test_unsubscribe_durable(
    headers: dict[str, str], expected: tuple[bool, str | None, bool]
) -> None:
    """UNSUBSCRIBE deletes a durable subscription where the other brokers would."""
    assert unsubscribe_durable(headers.get) == expected


def test_an_unsubscribe_is_as_strict_as_a_subscribe() -> None:
    """A durable that is no boolean is an error here, too."""
    with pytest.raises(RemoteProtocolError, match="durable is not a boolean"):
        unsubscribe_durable({"durable": "yes"}.get)


@pytest.mark.parametrize(
    ("headers", "requeue", "delay", "reason"),
    [
        ({}, True, None, ""),
        ({"requeue": "true", "delay": "", "reason": ""}, True, None, ""),
        ({"requeue": "False"}, False, None, ""),
        ({"requeue": " 0 "}, False, None, ""),
        ({"delay": "0"}, True, 0, ""),
        ({"delay": "500", "reason": " no stock "}, True, 500, " no stock "),
    ],
)
def test_nack_options(
    *, headers: dict[str, str], requeue: bool, delay: int | None, reason: str
) -> None:
    """A NACK puts a message back unless it says otherwise."""
    options = nack_options(headers.get)
    assert (options.requeue, options.delay, options.reason) == (requeue, delay, reason)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"requeue": "no"}, "requeue is not a boolean"),
        ({"delay": "-1"}, "delay is not a number"),
        ({"delay": "1s"}, "delay is not a number"),
    ],
)
def test_a_meaningless_nack_is_an_error(headers: dict[str, str], message: str) -> None:
    """The error names the header."""
    with pytest.raises(RemoteProtocolError) as caught:
        nack_options(headers.get)
    assert caught.value.message == message


# --- Values on their own. ---


@pytest.mark.parametrize("value", ["true", "True", "TRUE", " true ", "1"])
def test_is_true(value: str) -> None:
    """What says yes."""
    assert is_true(value)
    assert dialect.boolean(value, "x") is True


@pytest.mark.parametrize("value", ["false", "False", " 0 "])
def test_is_false(value: str) -> None:
    """What says no."""
    assert not is_true(value)
    assert dialect.boolean(value, "x") is False


@pytest.mark.parametrize("value", [None, "", "  "])
def test_says_nothing(value: str | None) -> None:
    """What is as if it were absent."""
    assert not is_true(value)
    assert dialect.boolean(value, "x") is None
    assert dialect.whole_number(value, "x") is None


def test_is_true_is_never_an_error() -> None:
    """Everything else is no."""
    assert not is_true("yes")


@pytest.mark.parametrize("table", [FOREIGN_SEND, FOREIGN_SUBSCRIBE])
def test_every_foreign_header_has_its_reason(table: dict[str, str]) -> None:
    """Nothing is refused without saying why."""
    assert all(reason and not reason.endswith(".") for reason in table.values())
