"""Fail-over, reconnecting, and what becomes of everything that was under way."""

import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Literal

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from stompcli.client import (
    Address,
    BrokerError,
    BufferFullError,
    Client,
    ClosedError,
    ConnectError,
    ConnectionLostError,
    OutcomeUnknownError,
    Reconnect,
    RefusedError,
    StaleMessageError,
    TimedOutError,
    TransactionLostError,
    UsageError,
    connect,
    connect_stream,
)
from stompcli.client.testing import ClientFrame, Script, ScriptedBroker, on_dial

URL = "stomp://a"
NOBODY = ConnectionRefusedError(111, "connection refused")


async def polite(broker: ScriptedBroker) -> None:
    """Let the client in and out."""
    await broker.accept()
    await broker.serve_end()


async def brief(broker: ScriptedBroker) -> None:
    """Let the client in and close at once."""
    await broker.accept()


async def refuse(broker: ScriptedBroker) -> None:
    """Do not let the client in."""
    await broker.next()
    await broker.send("ERROR", {"message": "login failed"})
    await broker.expect_end()


async def until(condition: Callable[[], bool]) -> None:
    """Let the others work until something is so; the mock clock may jump meanwhile."""
    for _ in range(100_000):
        if condition():
            return
        await trio.sleep(0.01)
    pytest.fail("it never became so")


def is_back(client: Client, times: int = 1) -> Callable[[], bool]:
    """Return what says whether the client has reconnected so often."""
    return lambda: client.counters.reconnects >= times and client.is_connected


def recording(frames: list[ClientFrame]) -> Script:
    """Return a script that confirms what it is asked to confirm, and keeps all frames."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        while True:
            frame = await broker.next()
            frames.append(frame)
            if "receipt" in frame.headers:
                await broker.receipt(frame)
            if frame.command == "DISCONNECT":
                return

    return script


# Whom to ask, and when.


async def test_several_urls_are_tried_in_order() -> None:
    """The first broker that lets us in is taken; with several URLs the client reconnects."""
    async with (
        on_dial(NOBODY, polite) as dial,
        connect("stomp://a:1,stomp://b:2", dial=dial) as client,
    ):
        assert client.address == "b:2"
    assert [str(address) for _, address in dial.calls] == ["a:1", "b:2"]


async def test_urls_as_a_list_and_each_with_its_login() -> None:
    """A list holds URLs and addresses; each address has its own login and virtual host."""
    seen: list[dict[str, str]] = []

    async def script(broker: ScriptedBroker) -> None:
        seen.append((await broker.accept()).headers)
        await broker.serve_end()

    urls: list[str | Address] = ["stomp://u:p@a/v", Address(host="b", login="w", passcode="q")]
    async with on_dial(NOBODY, script) as dial, connect(urls, dial=dial):
        pass
    assert (seen[0]["login"], seen[0]["passcode"], seen[0]["host"]) == ("w", "q", "b")


async def test_nobody_is_there() -> None:
    """If no URL works at the start, the error says of each why; nothing is tried twice."""
    async with on_dial(NOBODY, refuse) as dial:
        with pytest.raises(ConnectError) as info:
            async with connect(["stomp://a", "stomp://b"], dial=dial):
                pytest.fail("there is no session")
    assert not isinstance(info.value, RefusedError)
    assert "a:61613: connection refused; b:61613: login failed" in str(info.value)
    assert len(dial.calls) == 2


async def test_refused_everywhere() -> None:
    """If every URL refuses the login, that is what is raised, and nothing is tried again."""
    patient = Reconnect(at_start=True)
    async with on_dial(refuse, refuse) as dial:
        with pytest.raises(RefusedError, match="login failed"):
            async with connect(["stomp://a", "stomp://b"], dial=dial, reconnect=patient):
                pytest.fail("there is no session")


async def test_patient_from_the_start(autojump_clock: MockClock) -> None:
    """With at_start the first connection is waited for, too."""
    assert autojump_clock.rate == 0
    patient = Reconnect(at_start=True, jitter=0)
    async with (
        on_dial(NOBODY, NOBODY, NOBODY, polite) as dial,
        connect(URL, dial=dial, reconnect=patient),
    ):
        pass
    assert [round(at - dial.calls[0][0], 3) for at, _ in dial.calls] == [0, 0.1, 0.3, 0.7]


async def test_pauses_double_up_to_ten_seconds(autojump_clock: MockClock) -> None:
    """The pauses between rounds double from a tenth of a second up to ten seconds."""
    assert autojump_clock.rate == 0
    async with (
        on_dial(brief, *[NOBODY] * 10, polite) as dial,
        connect(URL, dial=dial, reconnect=Reconnect(jitter=0)) as client,
    ):
        await until(is_back(client))
    gaps = [late - early for (early, _), (late, _) in itertools.pairwise(dial.calls)]
    assert [round(gap, 2) for gap in gaps] == [
        *(0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4),
        *(10, 10, 10, 10),
    ]


async def test_jitter_spreads_the_pauses(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of each pause is left to chance, by default a half."""
    assert autojump_clock.rate == 0
    chances = iter([0.0, 1.0, 0.5])
    monkeypatch.setattr(random, "random", lambda: next(chances))
    async with (
        on_dial(brief, NOBODY, NOBODY, polite) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
    ):
        await until(is_back(client))
    gaps = [late - early for (early, _), (late, _) in itertools.pairwise(dial.calls)]
    assert [round(gap, 3) for gap in gaps] == [0.1, 0.1, 0.3]


async def test_the_next_url_is_tried_first(autojump_clock: MockClock) -> None:
    """After a loss the next broker is asked before the one that was lost, with no pause."""
    assert autojump_clock.rate == 0
    async with (
        on_dial(brief, NOBODY, polite) as dial,
        connect(["stomp://a", "stomp://b"], dial=dial) as client,
    ):
        await until(is_back(client))
        assert client.address == "a:61613"
    assert [address.host for _, address in dial.calls] == ["a", "b", "a"]
    assert dial.calls[1][0] == dial.calls[2][0]


async def test_pauses_begin_anew_after_a_steady_connection(autojump_clock: MockClock) -> None:
    """A connection that is lost at once lets the pauses grow; one that has lasted does not."""
    assert autojump_clock.rate == 0

    async def steady(broker: ScriptedBroker) -> None:
        await broker.accept()
        await trio.sleep(10)

    async with (
        on_dial(brief, brief, steady, brief, polite) as dial,
        connect(URL, dial=dial, reconnect=Reconnect(jitter=0), heartbeat=(0, 0)) as client,
    ):
        await until(is_back(client, 4))
    gaps = [late - early for (early, _), (late, _) in itertools.pairwise(dial.calls)]
    assert [round(gap, 3) for gap in gaps] == [0.1, 0.2, 10.1, 0.2]


@pytest.mark.parametrize(
    ("limit", "calls"), [(Reconnect(rounds=3, jitter=0), 4), (Reconnect(patience=1, jitter=0), 5)]
)
async def test_giving_up(autojump_clock: MockClock, limit: Reconnect, calls: int) -> None:
    """After so many rounds, or seconds, the session ends and says why."""
    assert autojump_clock.rate == 0
    async with (
        on_dial(brief) as dial,
        connect(URL, dial=dial, reconnect=limit) as client,
    ):
        error = await client.wait_ended()
        assert isinstance(error, ConnectionLostError)
        assert "lost for good: cannot connect to a:61613" in str(error)
        with pytest.raises(ConnectionLostError, match="lost for good"):
            await client.send("/queue/a", "x")
    assert len(dial.calls) == calls


async def test_login_refused_later(autojump_clock: MockClock) -> None:
    """A broker that refuses the login three times is not asked again; if all do, it ends."""
    assert autojump_clock.rate == 0
    others: list[Script | OSError] = [refuse, NOBODY, refuse, NOBODY, refuse, NOBODY]
    async with (
        on_dial(brief, *others, refuse, refuse, refuse) as dial,
        connect(["stomp://a", "stomp://b"], dial=dial) as client,
    ):
        error = await client.wait_ended()
    assert "login failed" in str(error)
    assert error is not None
    assert isinstance(error.__cause__, RefusedError)
    assert "".join(address.host for _, address in dial.calls) == "a" + "ba" * 3 + "aaa"


async def test_login_refused_for_a_moment(autojump_clock: MockClock) -> None:
    """A broker that refuses a client that it knows, perhaps since it stops, is asked once more."""
    assert autojump_clock.rate == 0
    async with (
        on_dial(brief, refuse, NOBODY, refuse, brief, refuse, refuse, polite) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
    ):
        await until(is_back(client, 2))
    assert len(dial.calls) == 8


async def test_same_version_again() -> None:
    """What was agreed at first is what later connections offer: the program relies on it."""
    offers: list[str] = []

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept("1.1")

    async def second(broker: ScriptedBroker) -> None:
        offers.append((await broker.accept()).headers["accept-version"])
        await broker.serve_end()

    async with on_dial(first, second) as dial, connect(URL, dial=dial, reconnect=True) as client:
        await until(is_back(client))
        assert client.version == "1.1"
    assert offers == ["1.1"]


async def test_without_reconnect_nothing_is_tried_again() -> None:
    """By default one URL means one connection, as before."""
    async with on_dial(brief) as dial, connect(URL, dial=dial) as client:
        assert isinstance(await client.wait_ended(), ConnectionLostError)
        assert not client.is_connected
    assert len(dial.calls) == 1


async def test_stream_cannot_be_opened_again() -> None:
    """A session over a given stream has one connection only."""
    near, _ = trio.testing.memory_stream_pair()
    with pytest.raises(UsageError, match="give connect"):
        async with connect_stream(near, reconnect=True):
            pytest.fail("there is no session")


@pytest.mark.parametrize(
    "values", [{"first": -1}, {"first": 5, "longest": 1}, {"factor": 0.5}, {"jitter": 2}]
)
def test_senseless_pauses(values: dict[str, float]) -> None:
    """Pauses that are negative or shrink are refused."""
    with pytest.raises(UsageError):
        Reconnect(**values)  # type: ignore[arg-type]


async def test_leaving_while_away(autojump_clock: MockClock) -> None:
    """Leaving the block ends the search for a broker at once; so does cancellation."""
    assert autojump_clock.rate == 0
    for cancel in (False, True):
        async with on_dial(brief) as dial:
            with trio.CancelScope() as scope:
                async with connect(URL, dial=dial, reconnect=True) as client:
                    await until(lambda client=client: not client.is_connected)  # type: ignore[misc]
                    assert "reconnecting" in repr(client)
                    if cancel:
                        scope.cancel()
            assert not client.confirmed
            with pytest.raises(ClosedError):
                client.check_alive()


async def test_block_that_raises_while_away(autojump_clock: MockClock) -> None:
    """An exception does not wait for a broker that is gone; it passes on at once."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.expect("SEND")

    async with on_dial(first) as dial:
        started = trio.current_time()
        with pytest.raises(KeyError, match="boom"):  # noqa: PT012 - the block is what is tested
            async with connect(URL, dial=dial, reconnect=True) as client:
                await client.send("/queue/a", "1")
                await until(lambda: not client.is_connected)
                raise KeyError("boom")
        assert trio.current_time() - started < 1
    assert len(client.unconfirmed) == 1


async def test_silent_broker(autojump_clock: MockClock) -> None:
    """A broker that is silent against its word is given up, and another connection is made."""
    assert autojump_clock.rate == 0

    async def silent(broker: ScriptedBroker) -> None:
        await broker.accept(heart_beat="1000,0")
        while await broker.read():
            pass

    async with (
        on_dial(silent, polite) as dial,
        connect(URL, dial=dial, reconnect=True, heartbeat=(0, 1000)) as client,
    ):
        await until(is_back(client))
    assert 3 < dial.calls[1][0] - dial.calls[0][0] < 4


async def test_events_are_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What happens to the connection stands in the log of the library."""
    assert autojump_clock.rate == 0
    caplog.set_level("INFO", "stompcli.client")
    async with (
        on_dial(brief, NOBODY, polite) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
    ):
        await until(is_back(client))
    assert caplog.messages == [
        "a:61613 closed the connection; connecting again",
        "cannot connect to a:61613: connection refused; trying again",
        "connected again, with a:61613",
    ]


# What was sent.


async def test_unconfirmed_messages_are_sent_again(autojump_clock: MockClock) -> None:
    """Unconfirmed SENDs are repeated in their order, marked, before any new one; others are not."""
    assert autojump_clock.rate == 0
    again: list[ClientFrame] = []

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        frames = [await broker.expect("SEND") for _ in range(4)]
        await broker.receipt(frames[0])
        await broker.receipt(frames[2])

    async with (
        on_dial(first, recording(again)) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
    ):
        for n in range(4):
            await client.send("/queue/a", str(n), headers={"n": str(n)})
        await until(lambda: not client.is_connected)
        assert [entry.headers["n"] for entry in client.unconfirmed] == ["1", "3"]
        await client.send("/queue/a", "4", receipt=True)
        assert client.unconfirmed == []
        assert client.counters.messages_repeated == 2
    marks = [(frame.body, frame.headers.get("possible-duplicate")) for frame in again[:3]]
    assert marks == [(b"1", "true"), (b"3", "true"), (b"4", None)]


async def test_waiting_send_outlives_its_connection(autojump_clock: MockClock) -> None:
    """send(receipt=True) and submit() return when a later connection has confirmed the message."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.expect("SEND")
        await broker.expect("SEND")

    frames: list[ClientFrame] = []
    async with (
        on_dial(first, *[NOBODY] * 8, recording(frames)) as dial,
        connect(URL, dial=dial, reconnect=True, receipt_timeout=5) as client,
    ):
        # It is away for longer than a receipt may take: the time counts from the new connection on.
        receipt = await client.submit("/queue/a", "1")
        await client.send("/queue/a", "2", receipt=True)
        await receipt.wait()
    assert [frame.body for frame in frames[:2]] == [b"1", b"2"]


async def test_receipt_that_does_not_come_after_all(autojump_clock: MockClock) -> None:
    """A new connection that confirms nothing is a TimedOutError after the usual time."""
    assert autojump_clock.rate == 0

    async def mute(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.expect("SEND")
        while await broker.read():
            pass

    async with on_dial(brief, mute) as dial:
        with pytest.raises(TimedOutError, match="no RECEIPT for SEND within 5 s"):
            async with connect(
                URL, dial=dial, reconnect=True, receipt_timeout=5, heartbeat=(0, 0)
            ) as client:
                await client.send("/queue/a", "1", receipt=True)


@pytest.mark.parametrize(("bound", "octets"), [(3, 1000), (1000, 3)])
async def test_window_paces_the_sender(bound: int, octets: int, autojump_clock: MockClock) -> None:
    """No more than the window is ever unconfirmed, in messages or octets."""
    assert autojump_clock.rate == 0
    most = 0

    async def slow(broker: ScriptedBroker) -> None:
        nonlocal most
        await broker.accept()
        for _ in range(10):
            frame = await broker.expect("SEND")
            await trio.sleep(1)
            await broker.receipt(frame)

    frames: list[ClientFrame] = []
    async with (
        on_dial(slow, recording(frames)) as dial,
        connect(
            URL, dial=dial, reconnect=True, heartbeat=(0, 0), window=bound, window_octets=octets
        ) as client,
    ):
        for n in range(20):
            await client.send("/queue/a", str(n % 10))
            most = max(most, len(client.unconfirmed))
    assert most == 3
    # What the first one did not confirm, the second one has.
    assert len([frame for frame in frames if frame.command == "SEND"]) == 10


async def test_broker_that_confirms_nothing(autojump_clock: MockClock) -> None:
    """Room in the window is waited for as long as a receipt may take, and no longer."""
    assert autojump_clock.rate == 0

    async def mute(broker: ScriptedBroker) -> None:
        await broker.accept()
        while (frame := await broker.next()).command != "DISCONNECT":
            pass
        await broker.receipt(frame)

    async with (
        on_dial(mute) as dial,
        connect(URL, dial=dial, confirm="window", window=3, receipt_timeout=5) as client,
    ):
        for n in range(3):
            await client.send("/queue/a", str(n))
        started = trio.current_time()
        with pytest.raises(TimedOutError, match="no RECEIPT for 3 SENDs within 5 s"):
            await client.send("/queue/a", "3")
        assert trio.current_time() - started == 5
        await client.disconnect(flush=False)


async def test_confirm_await_and_none(autojump_clock: MockClock) -> None:
    """confirm="await" makes each send() wait; "none" asks for no receipt and keeps nothing."""
    assert autojump_clock.rate == 0
    modes: list[Literal["await", "none"]] = ["await", "none"]
    for confirm in modes:
        frames: list[ClientFrame] = []
        async with (
            on_dial(recording(frames)) as dial,
            connect(URL, dial=dial, reconnect=True, confirm=confirm) as client,
        ):
            await client.send("/queue/a", "1")
            assert client.unconfirmed == []
            await client.send("/queue/a", "2", receipt=False)
        asked = ["receipt" in frame.headers for frame in frames[:2]]
        assert asked == [confirm == "await", False]


async def test_window_without_reconnecting() -> None:
    """A window can be had with one connection, too: what it leaves unconfirmed is raised."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.receipt(await broker.expect("SEND"))
        await broker.expect("SEND")

    async with on_dial(script) as dial:
        with pytest.raises(ConnectionLostError, match="closed the connection"):  # noqa: PT012 - the block is what is tested
            async with connect(URL, dial=dial, confirm="window") as client:
                await client.send("/queue/a", "1")
                await client.send("/queue/b", "2")
        assert [(entry.destination, entry.body) for entry in client.unconfirmed] == [
            ("/queue/b", b"2")
        ]
        assert "/queue/b" in repr(client.unconfirmed)


async def test_leaving_waits_for_the_window(autojump_clock: MockClock) -> None:
    """The block is left when everything is confirmed, by a second connection if need be."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.expect("SEND")
        await trio.sleep(3)

    frames: list[ClientFrame] = []
    async with (
        on_dial(first, recording(frames)) as dial,
        connect(URL, dial=dial, reconnect=True, heartbeat=(0, 0)) as client,
    ):
        await client.send("/queue/a", "1")
    assert [frame.command for frame in frames] == ["SEND", "DISCONNECT"]
    assert client.confirmed


async def test_leaving_with_unconfirmed_messages(autojump_clock: MockClock) -> None:
    """If there is no broker to confirm them in time, leaving raises and says how many."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.expect("SEND")

    async with on_dial(first) as dial:
        with pytest.raises(TimedOutError, match="1 messages were sent and not confirmed"):
            async with connect(URL, dial=dial, reconnect=True, receipt_timeout=5) as client:
                await client.send("/queue/a", "1")
        assert len(client.unconfirmed) == 1


async def test_flush() -> None:
    """flush() returns when all that was sent is confirmed."""
    async with on_dial(polite) as dial, connect(URL, dial=dial, reconnect=True) as client:
        for n in range(5):
            await client.send("/queue/a", str(n))
        await client.flush()
        assert client.unconfirmed == []


async def test_refused_message_that_is_waited_for(autojump_clock: MockClock) -> None:
    """A SEND that the broker refuses raises where it is waited for; the session goes on."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        frame = await broker.expect("SEND")
        await broker.expect("SEND")
        receipt = {"receipt-id": frame.headers["receipt"], "message": "queue is full"}
        await broker.send("ERROR", receipt)
        await broker.expect_end()

    frames: list[ClientFrame] = []
    async with (
        on_dial(first, recording(frames)) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
    ):
        receipt = await client.submit("/queue/full", "1")
        await client.send("/queue/a", "2")
        with pytest.raises(BrokerError, match="queue is full"):
            await receipt.wait()
        await client.flush()
    assert [frame.body for frame in frames if frame.command == "SEND"] == [b"2"]


async def test_nobody_else_is_to_blame(autojump_clock: MockClock) -> None:
    """Of an ERROR that names one frame the others hear only that the connection is gone."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.message(await broker.subscribed(), b"x")
        await broker.expect("ACK")
        frame = await broker.expect("SEND")
        await broker.send("ERROR", {"receipt-id": frame.headers["receipt"], "message": "no"})
        await broker.expect_end()

    async with (
        on_dial(first, polite) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
    ):
        messages = await client.open_subscription("/queue/a", ack="client")
        message = await messages.receive()

        async def acknowledge() -> None:
            with pytest.raises(ConnectionLostError, match="ended the connection: no") as info:
                await message.ack(receipt=True)
            assert not isinstance(info.value, BrokerError)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(acknowledge)
            await wait_all_tasks_blocked()
            with pytest.raises(BrokerError, match="no"):
                await client.send("/queue/full", "1", receipt=True)
        await client.ping()


async def test_refused_message_that_nobody_waits_for() -> None:
    """If nobody would hear that the broker refused a message, the session ends with that."""

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        frame = await broker.expect("SEND")
        await broker.send("ERROR", {"receipt-id": frame.headers["receipt"], "message": "no"})
        await broker.expect_end()

    with trio.fail_after(60):
        async with on_dial(first) as dial, connect(URL, dial=dial, reconnect=True) as client:
            await client.send("/queue/full", "1")
            assert isinstance(await client.wait_ended(), BrokerError)


@pytest.mark.parametrize("what", ["error", "nonsense"])
async def test_error_with_every_connection(autojump_clock: MockClock, what: str) -> None:
    """An ERROR that belongs to no frame and comes again and again ends the session."""
    assert autojump_clock.rate == 0

    async def angry(broker: ScriptedBroker) -> None:
        await broker.accept()
        if what == "error":
            await broker.send("ERROR", {"message": "out of order"})
        else:
            await broker.send_raw(b"NONSENSE\n\n\0")
        await broker.expect_end()

    async with (
        on_dial(angry, angry, angry) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
    ):
        error = await client.wait_ended()
    assert ("out of order" if what == "error" else "broke the protocol") in str(error)
    assert len(dial.calls) == 3


# Subscriptions and their messages.


async def test_subscriptions_are_repeated(autojump_clock: MockClock) -> None:
    """A new connection gets the same SUBSCRIBEs, with the same ids and headers, in their order."""
    assert autojump_clock.rate == 0
    texts: list[bytes] = []
    heads: list[list[dict[str, str]]] = []

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        frames = [await broker.subscribed() for _ in range(2)]
        heads.append([{**frame.headers, "receipt": ""} for frame in frames])
        await broker.message(frames[0], str(len(heads)).encode())
        if len(heads) == 2:
            await broker.serve_end()

    async with (
        on_dial(script, script) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
        client.subscribe("/queue/a", headers={"selector": "x = 1"}) as messages,
        client.subscribe("/queue/b", ack="client"),
    ):
        texts.extend([(await messages.receive()).body for _ in range(2)])
    assert texts == [b"1", b"2"]
    assert heads[0] == heads[1]
    assert heads[0][0]["selector"] == "x = 1"
    assert [head["id"] for head in heads[0]] == ["1", "2"]


async def test_subscriptions_come_before_repeated_messages(autojump_clock: MockClock) -> None:
    """Whoever answers a repeated message finds the subscription that waits for the answer."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.subscribed()
        await broker.expect("SEND")

    frames: list[ClientFrame] = []
    async with (
        on_dial(first, recording(frames)) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
        client.subscribe("/queue/answers"),
    ):
        await client.send("/queue/a", "1", receipt=True)
    assert [frame.command for frame in frames[:2]] == ["SUBSCRIBE", "SEND"]


@pytest.mark.parametrize("ack", ["auto", "client", "client-individual"])
async def test_messages_that_waited(ack: str, autojump_clock: MockClock) -> None:
    """What waits in auto mode is kept; in the explicit modes it comes again, so it is dropped."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed()
        for n in range(3):
            await broker.message(subscription, str(n).encode(), message_id=f"old{n}")

    async def second(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed()
        for n in range(3) if ack != "auto" else (3,):
            await broker.message(subscription, str(n).encode(), message_id=f"new{n}")
        await broker.serve_end()

    async with (
        on_dial(first, second) as dial,
        connect(URL, dial=dial, reconnect=True, buffer_messages=4) as client,
        client.subscribe("/queue/a", ack=ack) as messages,
    ):
        await until(is_back(client))
        expected = [b"0", b"1", b"2", b"3"] if ack == "auto" else [b"0", b"1", b"2"]
        assert [(await messages.receive()).body for _ in expected] == expected
        assert client.counters.messages_stale == (0 if ack == "auto" else 3)


async def test_message_of_a_lost_connection_is_void(autojump_clock: MockClock) -> None:
    """What was taken and not settled cannot be settled: ack() says so, a block does not."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed()
        for n in range(3):
            await broker.message(subscription, str(n).encode(), message_id="m")

    frames: list[ClientFrame] = []
    async with (
        on_dial(first, recording(frames)) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
        client.subscribe("/queue/a", ack="client-individual") as messages,
    ):
        one = await messages.receive()
        assert not one.stale
        await until(lambda: not client.is_connected)
        for back in (False, True):
            if back:
                await until(is_back(client))
            assert one.stale
            with pytest.raises(StaleMessageError, match="will be delivered again"):
                await one.ack()
            with pytest.raises(StaleMessageError):
                await one.nack(receipt=True)
            async with one:
                pass
            with pytest.raises(ZeroDivisionError):
                async with one:
                    raise ZeroDivisionError
            assert not one.settled
        assert client.counters.messages_stale == 2 + 2
    assert {"ACK", "NACK"}.isdisjoint(frame.command for frame in frames)


async def test_loop_goes_on_over_a_lost_connection(autojump_clock: MockClock) -> None:
    """The usual loop survives a loss in the middle of a message: the message comes again."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed()
        for n in range(3):
            await broker.message(subscription, str(n).encode(), message_id=f"a{n}")
        await broker.expect("ACK", id="a0")

    async def second(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed()
        for n in range(1, 3):
            await broker.message(
                subscription, str(n).encode(), message_id=f"b{n}", redelivered="true"
            )
        await broker.expect("ACK", id="b1")
        await broker.expect("ACK", id="b2")
        await broker.serve_end()

    seen: list[tuple[bytes, bool]] = []
    async with (
        on_dial(first, second) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
        client.subscribe("/queue/a", ack="client-individual") as messages,
    ):
        async for message in messages:
            async with message:
                seen.append((message.body, message.redelivered))
                if message.body == b"1" and not message.redelivered:
                    await until(is_back(client))
            if message.body == b"2":
                break
    assert seen == [(b"0", False), (b"1", False), (b"1", True), (b"2", True)]


async def test_browsers_are_not_repeated(autojump_clock: MockClock) -> None:
    """A browser would bring its copies all over: it ends with its connection; so does who asks."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        for _ in range(2):
            await broker.subscribed()

    frames: list[ClientFrame] = []
    async with (
        on_dial(first, recording(frames)) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
        client.subscribe("/queue/a", headers={"browser": "true"}) as browser,
        client.subscribe("/queue/a", resubscribe=False) as once,
    ):
        await until(is_back(client))
        for messages in (browser, once):
            with pytest.raises(ConnectionLostError, match="closed the connection"):
                await messages.receive()
    assert [frame.command for frame in frames] == ["DISCONNECT"]


async def test_subscription_refused_later(autojump_clock: MockClock) -> None:
    """A new broker that refuses a subscription ends that one, in words; the others go on."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.subscribed()
        await broker.subscribed()

    async def second(broker: ScriptedBroker) -> None:
        await broker.accept()
        frame = await broker.expect("SUBSCRIBE")
        error = {"receipt-id": frame.headers["receipt"], "message": "no right to receive"}
        await broker.send("ERROR", error)
        while await broker.read():
            pass

    async def third(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.message(await broker.subscribed(destination="/queue/b"), b"x")
        await broker.serve_end()

    async with (
        on_dial(first, second, third) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
    ):
        a = await client.open_subscription("/queue/a")
        b = await client.open_subscription("/queue/b")
        assert (await b.receive()).body == b"x"
        with pytest.raises(BrokerError, match="no right to receive"):
            await a.receive()
        assert client.subscriptions == [b]


async def test_subscribe_while_the_connection_breaks(autojump_clock: MockClock) -> None:
    """subscribe() waits for a confirmation, be it that of the next connection."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.expect("SUBSCRIBE")

    async def second(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.subscribed(id="1")
        await broker.serve_end()

    async with (
        on_dial(first, second) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
        client.subscribe("/queue/a") as messages,
    ):
        assert client.counters.reconnects == 1
        assert client.subscriptions == [messages]


async def test_two_that_subscribe_while_away(autojump_clock: MockClock) -> None:
    """Operations wait for the new connection; what they were given is theirs alone."""
    assert autojump_clock.rate == 0
    frames: list[ClientFrame] = []
    async with (
        on_dial(brief, NOBODY, recording(frames)) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
    ):
        await until(lambda: not client.is_connected)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(client.open_subscription, "/queue/a")
                nursery.start_soon(client.begin)
        assert sorted(one.id for one in client.subscriptions) == ["1", "2"]
    begun = {frame.headers["transaction"] for frame in frames if frame.command == "BEGIN"}
    assert begun == {"tx-1", "tx-2"}


async def test_unsubscribe_without_a_connection(autojump_clock: MockClock) -> None:
    """A subscription that is ended while there is no connection, or just then, is not repeated."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.subscribed()
        await broker.subscribed()
        await broker.expect("UNSUBSCRIBE")

    frames: list[ClientFrame] = []
    async with (
        on_dial(first, NOBODY, recording(frames)) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
    ):
        async with client.subscribe("/queue/a"):
            async with client.subscribe("/queue/b"):
                pass
            assert not client.is_connected
        assert client.subscriptions == []
        await until(is_back(client))
    assert [frame.command for frame in frames] == ["DISCONNECT"]


async def test_buffers_hold_across_connections(autojump_clock: MockClock) -> None:
    """Messages kept in auto mode count against the buffer of the next connection as well."""
    assert autojump_clock.rate == 0
    written = 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed()
        for n in range(9):
            await broker.message(subscription, str(n).encode())

    async def second(broker: ScriptedBroker) -> None:
        nonlocal written
        await broker.accept()
        subscription = await broker.subscribed()
        for n in range(9, 40):
            await broker.message(subscription, str(n).encode())
            await wait_all_tasks_blocked()
            written += 1
        await broker.serve_end()

    async with (
        on_dial(first, second) as dial,
        connect(URL, dial=dial, reconnect=True, buffer_messages=10, heartbeat=(0, 0)) as client,
        client.subscribe("/queue/a") as messages,
    ):
        await until(is_back(client))
        await trio.sleep(1)
        assert client._waiting_messages <= 11  # noqa: SLF001 - the bound itself
        got = [int((await messages.receive()).body) for _ in range(40)]
        assert got == list(range(40))
        assert client._waiting_messages == 0  # noqa: SLF001


async def test_full_buffer_is_no_reason_to_reconnect() -> None:
    """A program that takes no messages is told so; a new connection would not help it."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed()
        await broker.expect("SEND")
        try:
            for _ in range(10_000):
                await broker.message(subscription, b"x")
                await wait_all_tasks_blocked()
        except trio.BrokenResourceError:
            return
        pytest.fail("the client read for ever")

    async with (
        on_dial(script) as dial,
        connect(URL, dial=dial, reconnect=True, buffer_messages=10) as client,
    ):
        await client.open_subscription("/queue/a")
        with pytest.raises(BufferFullError, match="were not taken"):
            await client.send("/queue/b", "x", receipt=True)


# Transactions.


async def test_open_transaction_is_lost(autojump_clock: MockClock) -> None:
    """A transaction that was open when the connection broke fails, whatever is asked of it."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed()
        await broker.message(subscription, b"x")
        for _ in range(2):
            await broker.expect("BEGIN")
        await broker.expect("SEND")

    frames: list[ClientFrame] = []
    async with (
        on_dial(first, recording(frames)) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
        client.subscribe("/queue/in", ack="client") as messages,
    ):
        message = await messages.receive()
        tx = await client.begin()
        with pytest.raises(TransactionLostError, match="begin it anew"):  # noqa: PT012 - the block is what is tested
            async with client.transaction("named") as named:
                await client.send("/queue/a", "1", transaction="named")
                await until(is_back(client))
                for wrong in (
                    lambda: tx.send("/queue/a", "2"),
                    lambda: tx.ack(message),
                    lambda: client.send("/queue/a", "3", transaction="named", receipt=True),
                    lambda: client.submit("/queue/a", "4", transaction=named),
                    lambda: message.ack(transaction="named"),
                    tx.commit,
                    tx.abort,
                ):
                    await raises_lost(wrong)
        with pytest.raises(TransactionLostError):
            tx.abort_nowait()
        assert (tx.state, named.state) == ("lost", "lost")
        async with client.transaction("named"):
            await client.send("/queue/a", "5", transaction="named")
    assert [frame.command for frame in frames if "transaction" in frame.headers] == [
        "BEGIN",
        "SEND",
        "COMMIT",
    ]


async def raises_lost(action: Callable[[], Awaitable[object]]) -> None:
    """Do something that raises TransactionLostError."""
    with pytest.raises(TransactionLostError):
        await action()


@pytest.mark.parametrize("reconnect", [False, True])
async def test_outcome_of_commit_is_unknown(reconnect: bool, autojump_clock: MockClock) -> None:  # noqa: FBT001
    """A COMMIT that was not confirmed may have happened: that is an error of its own."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.expect("BEGIN")
        await broker.expect("COMMIT")

    async with (
        on_dial(first, polite) as dial,
        connect(URL, dial=dial, reconnect=reconnect) as client,
    ):
        tx = await client.begin()
        with pytest.raises(OutcomeUnknownError, match="as a whole, or not at all"):
            await tx.commit()
        assert tx.state == "unknown"
        if reconnect:
            await until(is_back(client))


async def test_commit_that_is_refused(autojump_clock: MockClock) -> None:
    """A COMMIT that the broker refuses has not happened, and the session goes on."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.expect("BEGIN")
        frame = await broker.expect("COMMIT")
        await broker.send("ERROR", {"receipt-id": frame.headers["receipt"], "message": "no room"})
        await broker.expect_end()

    async with (
        on_dial(first, polite) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
    ):
        tx = await client.begin()
        with pytest.raises(BrokerError, match="no room"):
            await tx.commit()
        assert tx.state == "aborted"
        await client.ping()


async def test_error_that_may_not_be_of_the_commit(autojump_clock: MockClock) -> None:
    """An ERROR that does not name the COMMIT says nothing of its outcome; its words are kept."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.expect("BEGIN")
        await broker.expect("COMMIT")
        await broker.send("ERROR", {"message": "slow consumer"})
        await broker.expect_end()

    async with on_dial(first) as dial, connect(URL, dial=dial) as client:
        tx = await client.begin()
        with pytest.raises(OutcomeUnknownError, match="slow consumer") as info:
            await tx.commit()
        assert isinstance(info.value.__cause__, BrokerError)


async def test_abort_is_done_by_a_loss(autojump_clock: MockClock) -> None:
    """An ABORT that was not confirmed has happened all the same: a loss undoes as well."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.expect("BEGIN")
        await broker.expect("ABORT")

    async with (
        on_dial(first, polite) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
    ):
        tx = await client.begin()
        await tx.abort()
        assert tx.state == "aborted"
        await until(is_back(client))


async def test_ack_whose_receipt_is_lost(autojump_clock: MockClock) -> None:
    """ack(receipt=True) raises if its connection breaks: the message may come again."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.message(await broker.subscribed(), b"x")
        await broker.expect("ACK")

    async with (
        on_dial(first, polite) as dial,
        connect(URL, dial=dial, reconnect=True) as client,
        client.subscribe("/queue/in", ack="client") as messages,
    ):
        message = await messages.receive()
        with pytest.raises(ConnectionLostError):
            await message.ack(receipt=True)
        await until(is_back(client))
