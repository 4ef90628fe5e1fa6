"""What tests ask of the broker: what was sent, what waits, who is there, and how failures read."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

import stompd.testing
from stompcli.client import RefusedError, connect_stream
from stompd.broker import admin
from stompd.testing import Message, TrioBroker, in_trio

JSON = {"content-type": "application/json"}


async def test_messages_wait_in_a_queue() -> None:
    """messages() shows what waits in its order, with headers, text and JSON; nothing is taken."""
    async with in_trio() as broker, connect_stream(broker.stream()) as client:
        await client.send("/queue/a", "one", headers={"color": "red"})
        await client.send("a", '{"n": 2}', headers=JSON, receipt=True)
        one, two = broker.messages("a")
        assert (one.text, one.headers["color"], one.destination) == ("one", "red", "/queue/a")
        assert two.json() == {"n": 2}
        assert not one.redelivered
        assert len(broker.messages("/queue/a")) == 2
        assert broker.messages("/queue/nothing") == []
        assert broker.messages("/no/such/kind") == broker.sent("/no/such/kind") == []


async def test_messages_that_come_back_are_marked() -> None:
    """A message that was refused waits at its old place, redelivered, with its failures."""
    async with in_trio() as broker, connect_stream(broker.stream()) as client:
        broker.put("/queue/a", "one")
        broker.put("/queue/a", "two")
        mode = "client-individual"
        async with client.subscribe("/queue/a", ack=mode) as messages:
            first = await messages.receive()
            second = await messages.receive()
            assert broker.unsettled("/queue/a") == 2
            await second.nack(receipt=True)
            await first.ack(receipt=True)
            again = await messages.receive()
            assert again.redelivered
        await broker.wait_until(lambda: broker.messages("/queue/a"))
        (left,) = broker.messages("/queue/a")
        assert (left.text, left.redelivered, left.failures) == ("two", True, 1)
        assert broker.settled("/queue/a") == 1
        broker.put("/queue/a", "three")
        assert [message.text for message in broker.messages("/queue/a")] == ["two", "three"]


async def test_sent_tells_of_topics_and_transactions() -> None:
    """sent() has what went to topics, and what a COMMIT sent; what was aborted is not there."""
    async with in_trio() as broker, connect_stream(broker.stream()) as client:
        await client.send("/topic/t", "to nobody")
        undone = await client.begin()
        await undone.send("/queue/a", "never")
        await undone.abort()
        async with client.transaction() as transaction:
            await transaction.send("/queue/a", "later")
            await client.ping()
            assert broker.sent("/queue/a") == []
        assert [message.text for message in broker.sent("/queue/a")] == ["later"]
        assert [message.text for message in broker.sent()] == ["to nobody", "later"]
        (connection,) = broker.connections()
        assert broker.sent("/topic/t")[0].connection == connection.id


async def test_what_a_lost_connection_has_not_committed_was_never_sent() -> None:
    """SENDs of an open transaction are forgotten with their connection."""
    async with in_trio() as broker:
        stream = broker.stream()
        async with connect_stream(stream) as client:
            transaction = await client.begin()
            await transaction.send("/queue/a", "never")
            await client.ping()
            broker.drop_connections()
            await client.wait_ended()
        assert broker.sent() == []
        assert broker.connections() == []


async def test_put_is_not_what_programs_sent() -> None:
    """put() reaches subscribers and queues with its headers, and is not in sent()."""
    async with in_trio() as broker, connect_stream(broker.stream()) as client:
        async with client.subscribe("/topic/t") as messages:
            broker.put("/topic/t", json=["x"], headers={"color": "red"})
            got = await messages.receive()
        assert (got.body, got.headers["content-type"]) == (b'["x"]', "application/json")
        assert got.headers["color"] == "red"
        broker.put("/queue/a", b"\0\xff")
        assert broker.messages("/queue/a")[0].body == b"\0\xff"
        assert broker.sent() == []
        assert [connection.id for connection in broker.connections()] == [client.session]


async def test_put_that_the_broker_refuses() -> None:
    """A message that the broker refuses is a ValueError with its reason; the next one is taken."""
    async with in_trio(
        policy=[{"match": "/queue/full", "max-messages": 1, "overflow": "reject"}]
    ) as broker:
        broker.put("/queue/full", "1")
        with pytest.raises(ValueError, match="queue is full"):
            broker.put("/queue/full", "2")
        with pytest.raises(ValueError, match="wildcard"):
            broker.put("/queue/*")
        with pytest.raises(ValueError, match="header"):
            broker.put("/queue/a", headers={"long": "x" * 100_000})
        broker.put("/queue/a", "3")
        assert [message.text for message in broker.messages("/queue/a")] == ["3"]


async def test_expect_returns_each_message_once() -> None:
    """expect() waits, matches body, JSON, headers and a function, and takes each message once."""
    async with in_trio() as broker, connect_stream(broker.stream()) as client:

        async def program() -> None:
            for body in ("a", "a", "b"):
                await client.send("/queue/a", body, headers={"n": "1"})
            await client.send("/queue/a", '{"id": 7}', headers=JSON)
            await client.send("/queue/a", b"\xff")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(program)
            first = await broker.expect("a", body="a", headers={"n": "1", "m": None})
            second = await broker.expect("/queue/a", body=b"a")
            assert first is not second
            assert (await broker.expect("/queue/a", json={"id": 7})).json() == {"id": 7}
            found = await broker.expect("/queue/a", where=lambda message: message.body > b"z")
            assert found.body == b"\xff"
            with pytest.raises(AssertionError, match=r"a: JSON \{'id': 8\}, where is_large"):
                await broker.expect("/queue/a", json={"id": 8}, where=is_large, timeout=0)
        assert [message.text for message in broker.unexpected("/queue/a")] == ["b"]
        assert len(broker.sent("/queue/a")) == 5


async def test_expect_many() -> None:
    """expect_many() waits for so many and returns them in order."""
    async with in_trio() as broker, connect_stream(broker.stream()) as client:
        for number in range(3):
            await client.send("/topic/t", str(number))
        found = await broker.expect_many("/topic/t", 3)
        assert [message.text for message in found] == ["0", "1", "2"]
        assert broker.unexpected() == []


async def test_what_a_failed_expectation_says(autojump_clock: MockClock) -> None:
    """It names what was expected, what came there instead, and what came elsewhere."""
    async with in_trio() as broker, connect_stream(broker.stream()) as client:
        await client.send("/queue/a", "what\never", headers={"color": "red"})
        await client.send("/queue/a", '{"id": 1}', headers=JSON)
        await client.send("/queue/b", "b")
        transaction = await client.begin()
        await transaction.send("/queue/a", "c")
        await client.ping()
        await broker.expect("/queue/a", body="what\never")
        with pytest.raises(AssertionError) as failure:
            await broker.expect(
                "/queue/a", json={"id": 1}, headers={"color": "red", "n": None}, timeout=3
            )
        lines = str(failure.value).splitlines()
        assert lines[:2] == [
            "within 3 s there came no message to /queue/a: JSON {'id': 1}, color:red, no header n",
            "what came to /queue/a:",
        ]
        assert lines[2].startswith('  1. "what\\never"  ')
        assert "color:red" in lines[2]
        assert lines[2].endswith("(expected before)")
        assert lines[3].startswith('  2. "{"id": 1}"')
        assert lines[4:6] == ["what came elsewhere:", "  /queue/b: 1"]
        assert lines[6] == "not committed:"
        assert lines[7].startswith("  1 in transaction ")
        with pytest.raises(AssertionError, match="there came 1 of 2 messages to /queue/b: body"):
            await broker.expect_many("/queue/b", 2, body="b")
        with pytest.raises(AssertionError, match="nothing came to /queue/c"):
            await broker.expect("/queue/c", where=str)
        await transaction.abort()


async def test_a_failure_shows_the_last_of_many(autojump_clock: MockClock) -> None:
    """Of many messages, and of a large body, a part is shown."""
    async with in_trio() as broker, connect_stream(broker.stream()) as client:
        for number in range(30):
            await client.send("/queue/a", str(number))
        await client.send("/queue/a", "x" * 1000)
        with pytest.raises(AssertionError) as failure:
            await broker.expect("/queue/a", body="y")
        text = str(failure.value)
        assert "(11 before)" in text
        assert '"10"' not in text
        assert '"11"' in text
        assert "... and 700 octets more" in text


async def test_assert_empty(autojump_clock: MockClock) -> None:
    """It waits until all is acknowledged; else it shows what waits and what is unsettled."""
    async with in_trio() as broker, connect_stream(broker.stream()) as client:
        await broker.assert_empty("/queue/never-used")
        for body in ("one", "two", "three"):
            broker.put("/queue/a", body)

        async def consume() -> None:
            headers = {"prefetch-count": "1"}
            async with client.subscribe("/queue/a", ack="client", headers=headers) as messages:
                for _ in range(3):
                    message = await messages.receive()
                    await trio.sleep(2)
                    await message.ack()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            with pytest.raises(AssertionError) as failure:
                await broker.assert_empty("/queue/a", timeout=1)
            assert str(failure.value).splitlines() == [
                (
                    "/queue/a is not empty after 1 s: 2 messages wait, 0 are not due yet, "
                    "1 are delivered and not acknowledged, 1 subscribers"
                ),
                '  1. "two"',
                '  2. "three"',
            ]
            await broker.assert_empty("/queue/a", timeout=60)
        assert broker.counts("/queue/a").settled == 3


async def test_who_is_there(autojump_clock: MockClock) -> None:
    """Subscribers and connections can be waited for; a failure tells who is connected."""
    async with in_trio() as broker:
        with pytest.raises(AssertionError, match="nobody is connected"):
            await broker.wait_for_connection()

        async def program() -> None:
            async with connect_stream(broker.stream(), login="fred") as client:
                await trio.sleep(1)
                async with client.subscribe("/topic/a.*"):
                    await trio.sleep(100)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(program)
            connection = await broker.wait_for_connection()
            assert (connection.user, connection.version, connection.open) == ("fred", "1.2", True)
            assert connection.headers["accept-version"] == "1.0,1.1,1.2"
            await broker.wait_for_subscriber("/topic/a.b")
            assert list(connection.subscriptions.values()) == ["/topic/a.*"]
            with pytest.raises(AssertionError, match=r"0 of 1 .* /topic/b") as failure:
                await broker.wait_for_subscriber("/topic/b")
            assert f"1. <Connection {connection.id} open user=fred" in str(failure.value)
            with pytest.raises(AssertionError, match="fewer than 2 programs logged in"):
                await broker.wait_for_connections(2)
            assert await broker.wait_for_connections(1) == [connection]
            nursery.cancel_scope.cancel()
        await broker.wait_until(lambda: not connection.open)
        assert connection.reason == "closed by peer"


async def test_wait_until(autojump_clock: MockClock) -> None:
    """It returns what the condition returned, or names it."""
    async with in_trio() as broker, connect_stream(broker.stream()):
        assert await broker.wait_until(lambda: len(broker.connections())) == 1
        with pytest.raises(AssertionError, match="not true within 5 s: two connections"):
            await broker.wait_until(lambda: len(broker.connections()) == 2, "two connections")


async def test_frames() -> None:
    """frames() has every frame that was carried out, with who wrote it; not the refused one."""
    async with in_trio() as broker:
        async with connect_stream(broker.stream()) as client:
            await client.send("/queue/a", "x", receipt=True)
            await client.send("/queue/*", "x")
            await client.wait_ended()
        assert [frame.command for frame in broker.frames()] == ["CONNECT", "SEND"]
        (send,) = broker.frames("SEND")
        assert (send.body, send.headers["destination"]) == (b"x", "/queue/a")
        assert str(send).startswith(f"{send.connection} SEND destination:/queue/a")
        assert str(send).endswith('  "x"')


async def test_looking_deeper() -> None:
    """run_in_broker() hands out the core, for what has no word of its own here."""
    async with in_trio() as broker:
        broker.put("/queue/a", "x")
        assert [row["name"] for row in broker.run_in_broker(admin.queues)] == ["/queue/a"]
        assert "TrioBroker" in repr(broker)


def test_text_follows_the_content_type() -> None:
    """A message's text is decoded by the charset that it names, UTF-8 without one."""
    latin = Message("/queue/a", {"content-type": 'text/plain; charset="Latin-1"'}, b"\xe4")
    assert latin.text == "ä"
    assert Message("/queue/a", {}, "ä".encode()).text == "ä"
    with pytest.raises(UnicodeDecodeError):
        _ = Message("/queue/a", {}, b"\xe4").text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"listen": ["127.0.0.1:1"]}, "listen is a setting of the daemon"),
        ({"http": {}}, "http is a setting of the daemon"),
        ({"log": {}}, "log is a setting of the daemon"),
        ({"limits": {"conections": 1}}, "conections"),
        ({"heart-beat": {"minimum": "2 parsecs"}}, "is not a duration"),
    ],
)
async def test_settings_that_are_wrong(settings: dict[str, Any], words: str) -> None:
    """Unknown or unfit settings are a ValueError that names them."""
    with pytest.raises(ValueError, match=words):
        async with in_trio(**settings):
            pass


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    """A failing test is not wrapped into a group of exceptions."""
    with pytest.raises(KeyError, match="mine"):
        async with in_trio() as broker, connect_stream(broker.stream()):
            raise KeyError("mine")


async def test_users() -> None:
    """With users, only they are let in, and the ERROR is the one of a refused log-in."""
    async with in_trio(users={"fred": "secret"}) as broker:
        async with connect_stream(broker.stream(), login="fred", passcode="secret"):
            (connection,) = broker.connections()
            assert connection.user == "fred"
            assert "passcode" not in connection.headers
        for login, passcode in ((None, None), ("fred", "x"), ("fred", None), ("x", None)):
            assert "login refused" in await refusal(broker, login, passcode)


async def test_failures_of_several_tasks_stay_a_group() -> None:
    """Only a single failure is unwrapped."""
    with pytest.RaisesGroup(KeyError, ZeroDivisionError, flatten_subgroups=True):
        async with in_trio() as broker:

            def due() -> None:
                raise ZeroDivisionError

            broker.run_in_broker(lambda core: core.at(core.now, due))
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError


def test_names_of_the_package() -> None:
    """The package gives its names when they are asked for, and no others."""
    assert set(dir(stompd.testing)) >= set(stompd.testing.__all__)
    for name in stompd.testing.__all__:
        assert getattr(stompd.testing, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = stompd.testing.nothing


async def test_limits_on_connections() -> None:
    """The limit on connections holds, and says so."""
    async with in_trio(limits={"connections": 1}) as broker, connect_stream(broker.stream()):
        assert "too many connections" in await refusal(broker)


def is_large(message: Message) -> bool:
    """Tell whether a body is large."""
    return len(message.body) > 1000


async def refusal(broker: TrioBroker, login: str | None = None, passcode: str | None = None) -> str:
    """Return why a client is not let in."""
    with pytest.raises(RefusedError) as refused:
        async with connect_stream(broker.stream(), login=login, passcode=passcode):
            pass
    return str(refused.value)


async def test_requests_to_the_broker_are_answered(mock_clock: MockClock) -> None:
    """Programs may ask what is going on, as with a daemon without users, and watch it."""
    async with (
        in_trio() as broker,
        connect_stream(broker.stream(), heartbeat=(0, 0)) as client,
        client.subscribe("/temp-queue/answers") as answers,
        client.subscribe("/topic/$SYS/stats/#") as statistics,
    ):
        broker.put("/queue/a", "x")
        headers = {"reply-to": "/temp-queue/answers"}
        await client.send("/admin/queues", "{}", headers=headers)
        assert '"/queue/a"' in (await answers.receive()).text
        broker.clock.advance(2)
        assert (await statistics.receive()).destination.startswith("/topic/$SYS/stats/")


async def test_with_users_nobody_may_act() -> None:
    """With users a program is not trusted with requests to the broker."""
    async with (
        in_trio(users={"fred": "secret"}) as broker,
        connect_stream(broker.stream(), login="fred", passcode="secret") as client,
        client.subscribe("/temp-queue/answers") as answers,
    ):
        headers = {"reply-to": "/temp-queue/answers"}
        await client.send("/admin/queues", "{}", headers=headers)
        assert '"ok":false' in (await answers.receive()).text.replace(" ", "")


async def test_the_memory_mark(autojump_clock: MockClock) -> None:
    """Over the memory mark producers wait, as with the daemon, and go on when there is room."""
    sent = trio.Event()
    async with (
        in_trio(flow={"memory-mark": "1MiB"}) as broker,
        connect_stream(broker.stream()) as client,
        trio.open_nursery() as nursery,
    ):

        async def produce() -> None:
            for _ in range(20):
                await client.send("/queue/a", "x" * 100_000)
            await client.ping()
            sent.set()

        nursery.start_soon(produce)
        with trio.move_on_after(5) as scope:
            await sent.wait()
        assert scope.cancelled_caught
        assert len(broker.messages("/queue/a")) < 20
        async with (
            connect_stream(broker.stream()) as other,
            other.subscribe("/queue/a") as messages,
        ):
            for _ in range(20):
                await messages.receive()
        await sent.wait()
