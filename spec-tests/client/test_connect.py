"""Connecting, negotiation, heart-beats and the end of a session, seen from the wire."""

import itertools

import pytest
import trio
from trio.testing import MockClock

from stompcli.client import (
    Client,
    ClosedError,
    ConnectError,
    ConnectionLostError,
    HeartbeatError,
    RefusedError,
    UsageError,
    connect,
    connect_stream,
)
from stompcli.client.testing import ScriptedBroker, on_socket, on_stream

CONNECTED = b"CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0"


async def polite(broker: ScriptedBroker) -> None:
    """Let the client in and out."""
    await broker.accept()
    await broker.serve_end()


@pytest.mark.clause("C-01", "C-06", "C-08", "C-09", "C-18", "C-19", "FH-01", "BOD-02")
async def test_connect_frame() -> None:
    """The client speaks first: CONNECT with versions in increasing order, host, no body."""
    async with on_stream(lambda b: read_frame(b, seen)) as stream:
        seen: list[bytes] = []
        async with connect_stream(stream, host="example.org"):
            pass
    assert seen == [
        b"CONNECT\naccept-version:1.0,1.1,1.2\nhost:example.org\nheart-beat:10000,10000\n\n\0"
    ]


async def read_frame(broker: ScriptedBroker, seen: list[bytes]) -> None:
    """Note the octets of the first frame, then be polite."""
    await broker.accept()
    seen.append(broker.received)
    await broker.serve_end()


@pytest.mark.clause("C-19")
async def test_offered_versions_are_sorted() -> None:
    """A subset of the versions is offered in increasing order, whatever order it was given in."""
    seen: list[bytes] = []
    async with (
        on_stream(lambda b: read_frame(b, seen)) as stream,
        connect_stream(stream, versions=("1.2", "1.1")) as client,
    ):
        assert client.version == "1.2"
    assert b"\naccept-version:1.1,1.2\n" in seen[0]


@pytest.mark.clause("C-19")
@pytest.mark.parametrize("versions", [(), ("1.3",), ("1.2", "2.0")])
async def test_only_known_versions_are_offered(versions: tuple[str, ...]) -> None:
    """Offering nothing, or what this client does not speak, is refused before it is sent."""
    near, far = trio.testing.memory_stream_pair()
    with pytest.raises(UsageError, match="versions must be some of"):
        async with connect_stream(near, versions=versions):
            pytest.fail("there is no session")
    assert await far.receive_some() == b""


@pytest.mark.clause("C-10")
async def test_host_is_the_name_used_for_the_socket() -> None:
    """By default host is the host of the URL; an option and the URL's path override it."""
    for url, option, expected in (
        ("stomp://localhost:{}", None, "localhost"),
        ("stomp://127.0.0.1:{}", None, "127.0.0.1"),
        ("stomp://localhost:{}/sales", None, "sales"),
        ("stomp://localhost:{}/%2F", None, "/"),
        ("stomp://localhost:{}/sales", "other", "other"),
    ):
        seen: list[str] = []

        async def script(broker: ScriptedBroker, seen: list[str] = seen) -> None:
            seen.append((await broker.accept()).headers["host"])
            await broker.serve_end()

        async with (
            on_socket(script) as port,
            connect(url.format(port), virtual_host=option),
        ):
            pass
        assert seen == [expected]


@pytest.mark.clause("C-07")
async def test_stomp_command_is_an_option() -> None:
    """The STOMP command is sent only if it is asked for."""
    seen: list[bytes] = []
    async with (
        on_stream(lambda b: read_frame(b, seen)) as stream,
        connect_stream(stream, command="STOMP"),
    ):
        pass
    assert seen[0].startswith(b"STOMP\naccept-version:")


@pytest.mark.clause("C-12", "ESC-05", "ESC-07")
@pytest.mark.parametrize("command", ["CONNECT", "STOMP"])
async def test_login_is_written_literally(command: str) -> None:
    """Login and passcode are optional, and written as they are, backslashes and colons too."""
    seen: list[bytes] = []
    async with (
        on_stream(lambda b: read_frame(b, seen)) as stream,
        connect_stream(
            stream,
            login="u",
            passcode=r"p\cq:r",
            command=command,  # type: ignore[arg-type]
            headers={"client-id": "c1"},
        ),
    ):
        pass
    assert b"\nlogin:u\npasscode:p\\cq:r\n" in seen[0]
    assert b"\nclient-id:c1\n" in seen[0]


@pytest.mark.clause("C-12")
async def test_login_comes_from_the_url() -> None:
    """User and passcode of the URL are sent, percent-decoded."""
    seen: list[tuple[str, str]] = []

    async def script(broker: ScriptedBroker) -> None:
        frame = await broker.accept()
        seen.append((frame.headers["login"], frame.headers["passcode"]))
        await broker.serve_end()

    async with on_socket(script) as port, connect(f"stomp://us%40er:p%3Aw@127.0.0.1:{port}"):
        pass
    assert seen == [("us@er", "p:w")]


@pytest.mark.clause("C-12", "FH-01")
async def test_connect_header_with_its_own_option_is_refused() -> None:
    """A further CONNECT header cannot contradict an option."""
    near, _ = trio.testing.memory_stream_pair()
    with pytest.raises(UsageError, match="host has an option"):
        async with connect_stream(near, headers={"host": "x"}):
            pytest.fail("there is no session")


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
async def test_session_has_the_version_of_connected(version: str) -> None:
    """The session has the version that the broker chose, and knows what else CONNECTED said."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(version)
        await broker.serve_end()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        assert (client.version, client.server, client.session) == (version, "scripted/1", "s1")


@pytest.mark.clause("V10-01", "H-06")
async def test_connected_without_headers_is_a_1_0_session() -> None:
    """A CONNECTED that names no version is that of a 1.0 broker."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.next()
        await broker.send_raw(b"CONNECTED\n\n\0\n")
        broker._decoder.begin("1.0")  # noqa: SLF001 - the script speaks for itself here
        await broker.serve_end()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        assert (client.version, client.server, client.session) == ("1.0", "", "")
    assert client.confirmed


@pytest.mark.clause("F-02")
async def test_connected_is_read_literally_and_with_any_line_end() -> None:
    """A backslash in CONNECTED is a backslash, and CR LF ends a line there."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.next()
        broker._decoder.begin("1.2")  # noqa: SLF001 - the script speaks for itself here
        await broker.send_raw(b"CONNECTED\r\nversion:1.2\r\nsession:a\\cb\\t:c\r\n\r\n\0\r\n")
        await broker.serve_end()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        assert client.session == r"a\cb\t:c"


async def test_version_that_was_not_offered() -> None:
    """A broker that chooses what was not offered is refused, in words."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept("1.2")
        await broker.expect_end()

    async with on_stream(script) as stream:
        with pytest.raises(ConnectError, match=r'chose STOMP "1\.2", which was not offered'):
            async with connect_stream(stream, versions=("1.1",)):
                pytest.fail("there is no session")


@pytest.mark.clause("E-04")
async def test_refusal_carries_the_brokers_words() -> None:
    """An ERROR instead of CONNECTED is a RefusedError with message, body and headers."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.next()
        await broker.send("ERROR", {"message": "login failed", "x": "y"}, b"wrong passcode\n")
        await broker.expect_end()

    async with on_stream(script) as stream:
        with pytest.raises(RefusedError, match="cannot connect to localhost: login failed") as info:
            async with connect_stream(stream, login="u", passcode="wrong"):
                pytest.fail("there is no session")
    assert (info.value.message, info.value.detail) == ("login failed", "wrong passcode")
    assert info.value.headers["x"] == "y"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no STOMP broker"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no STOMP broker"),
        (b"RECEIPT\nreceipt-id:1\n\n\0", "answered CONNECT with RECEIPT"),
        (b"CONNECTED\nversion:1.2\nheart-beat:soon\n\n\0", "malformed heart-beat"),
        (b"", "closed the connection"),
    ],
)
async def test_what_answers_is_no_stomp_broker(answer: bytes, words: str) -> None:
    """Whatever else answers a CONNECT is a ConnectError that says what it was."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.next()
        if answer:
            await broker.send_raw(answer)
        else:
            await broker.close()

    async with on_stream(script) as stream:
        with pytest.raises(ConnectError, match=words):
            async with connect_stream(stream):
                pytest.fail("there is no session")


async def test_nobody_listens() -> None:
    """A refused connection is a ConnectError in the operating system's words."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(
        ConnectError, match=rf"cannot connect to 127\.0\.0\.1:{port}: connection refused"
    ):
        async with connect(f"stomp://127.0.0.1:{port}"):
            pytest.fail("there is no session")


async def test_connection_that_meets_itself() -> None:
    """Where nobody listens a connection may meet itself; that is no broker, and it is closed."""
    with trio.socket.socket() as both:
        await both.bind(("127.0.0.1", 0))
        port = both.getsockname()[1]
        await both.connect(("127.0.0.1", port))
        stream = trio.SocketStream(both)

        async def open_stream(*_: object) -> trio.SocketStream:
            await trio.lowlevel.checkpoint()
            return stream

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trio, "open_tcp_stream", open_stream)
            with pytest.raises(ConnectError, match="connection refused"):
                async with connect(f"stomp://127.0.0.1:{port}"):
                    pytest.fail("there is no session")
        assert both.fileno() == -1


async def test_unix_socket(tmp_path: object) -> None:
    """unix:///path reaches a broker's socket, and a missing one is a ConnectError."""
    path = f"{tmp_path}/s"
    with pytest.raises(ConnectError, match="no such file or directory"):
        async with connect(f"unix://{path}"):
            pytest.fail("there is no session")
    sock = trio.socket.socket(trio.socket.AF_UNIX)
    await sock.bind(path)
    sock.listen(1)
    listener = trio.SocketListener(sock)

    async def serve() -> None:
        async with listener, await listener.accept() as stream:
            await polite(ScriptedBroker(stream))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with connect(f"unix://{path}") as client:
            assert client.version == "1.2"
        assert client.confirmed


async def test_broker_that_never_answers(autojump_clock: MockClock) -> None:
    """Being let in is bounded by the timeout."""
    assert autojump_clock.rate == 0

    async def script(broker: ScriptedBroker) -> None:
        await broker.next()
        await broker.expect_end()

    async with on_stream(script) as stream:
        started = trio.current_time()
        with pytest.raises(ConnectError, match="no CONNECTED within 5 s"):
            async with connect_stream(stream, timeout=5):
                pytest.fail("there is no session")
        assert trio.current_time() - started == 5


async def test_host_that_never_answers(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Reaching the broker is bounded by the timeout as well."""
    assert autojump_clock.rate == 0

    async def never(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", never)
    with pytest.raises(ConnectError, match="no connection within 7 s"):
        async with connect("stomp://127.0.0.1:61613", timeout=7):
            pytest.fail("there is no session")


@pytest.mark.clause("H-02")
async def test_negative_heart_beats_are_refused() -> None:
    """What would be malformed on the wire is a UsageError."""
    near, _ = trio.testing.memory_stream_pair()
    with pytest.raises(UsageError, match="0 or more"):
        async with connect_stream(near, heartbeat=(-1, 0)):
            pytest.fail("there is no session")


# Heart-beats.


async def collect(broker: ScriptedBroker, times: list[float]) -> None:
    """Note when octets come, until the end."""
    while await broker.read():
        times.append(trio.current_time())


@pytest.mark.clause("H-01", "H-07", "H-10", "H-11", "V11-21", "BOD-02")
@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize(
    ("heart_beat", "ours", "period"),
    [("0,300", (300, 0), 0.3), ("0,1000", (300, 0), 1.0), ("0,200", (500, 0), 0.5)],
)
async def test_beats_leave_no_gap(
    version: str,
    heart_beat: str,
    ours: tuple[int, int],
    period: float,
    autojump_clock: MockClock,
) -> None:
    """An idle client writes single LFs, never further apart than max(cx, sy)."""
    assert autojump_clock.rate == 0
    times: list[float] = []
    octets: list[bytes] = []

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(version, heart_beat=heart_beat)
        start = len(broker.received)
        times.append(trio.current_time())
        with trio.move_on_after(10 * period):
            await collect(broker, times)
        octets.append(broker.received[start:])
        await broker.serve_end()

    async with on_stream(script) as stream, connect_stream(stream, heartbeat=ours) as client:
        await trio.sleep(10 * period + 0.001)
        assert client.version == version
    assert set(octets[0]) == {10}
    gaps = [late - early for early, late in itertools.pairwise(times)]
    assert len(gaps) >= 10
    assert max(gaps) <= period


@pytest.mark.clause("H-03", "H-05", "H-06", "H-07")
@pytest.mark.parametrize(
    ("heart_beat", "ours"), [("300,0", (300, 300)), ("0,300", (0, 0)), (None, (300, 300))]
)
async def test_no_beats_unless_both_want_them(
    heart_beat: str | None, ours: tuple[int, int], autojump_clock: MockClock
) -> None:
    """With cx or sy 0, or without a heart-beat header, the client writes nothing when idle."""
    assert autojump_clock.rate == 0

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(heart_beat=heart_beat)
        start = len(broker.received)
        for _ in range(40):
            await trio.sleep(0.3)
            await broker.send_raw(b"\n")
        await broker.expect("DISCONNECT")
        assert broker.received[start:].startswith(b"DISCONNECT\n")

    async with on_stream(script) as stream, connect_stream(stream, heartbeat=ours):
        await trio.sleep(12.1)


@pytest.mark.clause("H-04", "H-06", "H-08", "V10-21")
@pytest.mark.parametrize(
    ("version", "heart_beat", "ours"),
    [
        ("1.2", None, (10_000, 300)),
        ("1.2", "0,0", (10_000, 300)),
        ("1.2", "300,0", (0, 0)),
        ("1.0", None, (300, 300)),
    ],
)
async def test_silence_is_fine_unless_agreed(
    version: str, heart_beat: str | None, ours: tuple[int, int], autojump_clock: MockClock
) -> None:
    """A broker that promised no beats may be silent for as long as it likes."""
    assert autojump_clock.rate == 0

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(version, heart_beat=heart_beat)
        await broker.serve_end()

    async with on_stream(script) as stream, connect_stream(stream, heartbeat=ours) as client:
        await trio.sleep(3600)
        client.check_alive()
    assert client.confirmed


@pytest.mark.clause("H-08", "H-12", "H-13")
async def test_silent_broker_is_dead(autojump_clock: MockClock) -> None:
    """Silence ends the session after more than one period, and after two and a second at most."""
    assert autojump_clock.rate == 0

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(heart_beat="500,0")
        await broker.expect_end()

    async with on_stream(script) as stream, connect_stream(stream, heartbeat=(0, 300)) as client:
        started = trio.current_time()
        error = await client.wait_ended()
        assert isinstance(error, HeartbeatError)
        assert 0.5 < trio.current_time() - started <= 2 * 0.5 + 1
        with pytest.raises(HeartbeatError, match="silent for 2 s, against heart-beat:500,0"):
            await client.send("/queue/a", "x")


@pytest.mark.clause("H-09", "H-11", "H-13", "F-07")
@pytest.mark.parametrize("sign", [b"\n", b"\r\n", b"M", b"\0"])
async def test_any_octet_is_a_sign_of_life(sign: bytes, autojump_clock: MockClock) -> None:
    """Beats that come late, CR LF, and the trickling octets of a frame keep a session alive."""
    assert autojump_clock.rate == 0
    subscription = {"subscription": "1", "message-id": "m", "destination": "/queue/a"}

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(heart_beat="1000,0")
        if sign == b"M":
            await broker.subscribed()
            head = "\n".join(f"{name}:{value}" for name, value in subscription.items())
            await broker.send_raw(f"MESSAGE\n{head}\n\n".encode())
        for _ in range(20):
            await trio.sleep(1.2)
            await broker.send_raw(sign)
        await broker.send_raw(b"\0")
        await broker.serve_end()

    async with on_stream(script) as stream, connect_stream(stream, heartbeat=(0, 1000)) as client:
        if sign == b"M":
            async with client.subscribe("/queue/a") as messages:
                assert (await messages.receive()).body == b"M" * 20
        else:
            await trio.sleep(24.1)
            client.check_alive()
            assert client.counters.heartbeats_received == (20 if sign != b"\0" else 0)


# The end.


@pytest.mark.clause("D-02", "D-04", "FH-08", "BOD-02", "V10-18")
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
async def test_graceful_end(version: str) -> None:
    """DISCONNECT with a receipt, wait for it, close; nothing follows the DISCONNECT."""
    seen: list[bytes] = []

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(version)
        start = len(broker.received)
        frame = await broker.expect("DISCONNECT")
        await trio.testing.wait_all_tasks_blocked()
        assert not open_client[0].confirmed
        await broker.receipt(frame)
        await broker.expect_end()
        seen.append(broker.received[start:])

    open_client: list[Client] = []
    async with on_stream(script) as stream, connect_stream(stream) as client:
        open_client.append(client)
    assert client.confirmed
    assert seen == [b"DISCONNECT\nreceipt:r1\n\n\0"]
    with pytest.raises(ClosedError):
        await client.send("/queue/a", "x")
    assert await client.disconnect()


@pytest.mark.clause("D-04")
async def test_no_beat_follows_disconnect(autojump_clock: MockClock) -> None:
    """While the client waits for DISCONNECT's receipt not even a heart-beat is written."""
    assert autojump_clock.rate == 0
    seen: list[bytes] = []

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(heart_beat="0,100")
        await broker.expect("DISCONNECT")
        await broker.expect_end()
        seen.append(broker.received)

    async with on_stream(script) as stream, connect_stream(stream, heartbeat=(100, 0)) as client:
        started = trio.current_time()
        assert not await client.disconnect()
        assert trio.current_time() - started == 2.0
    assert seen[0].endswith(b"\n\n\0")


@pytest.mark.clause("LIM-08", "D-02")
@pytest.mark.parametrize("way", ["close", "reset", "silence"])
async def test_missing_disconnect_receipt(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Closed, reset or left alone instead of answered, disconnect returns and says so."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        if way == "reset":
            assert isinstance(broker.stream, trio.SocketStream)
            broker.stream.setsockopt(
                trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )
        await broker.expect("DISCONNECT")
        if way == "silence":
            await broker.expect_end()

    async with on_socket(script) as port:
        with trio.fail_after(20):
            async with connect(f"stomp://127.0.0.1:{port}") as client:
                assert not await client.disconnect(0.2 if way == "silence" else 10)
    assert not client.confirmed
    assert "did not confirm the DISCONNECT" in caplog.text


@pytest.mark.clause("D-01")
async def test_cancelled_session_just_closes() -> None:
    """A cancelled session closes the connection at once, without a DISCONNECT."""
    seen: list[bytes] = []

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        start = len(broker.received)
        await broker.expect_end()
        seen.append(broker.received[start:])

    async with on_stream(script) as stream:
        with trio.CancelScope() as scope:
            async with connect_stream(stream) as client:
                scope.cancel()
                await trio.sleep_forever()
        with pytest.raises(ClosedError):
            client.check_alive()
    assert seen == [b""]


async def test_exception_of_the_block_passes_unchanged() -> None:
    """What the block raises comes out as it is, after a graceful end."""
    boom = KeyError("boom")

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        assert (await broker.serve_end()).headers["receipt"] == "r1"

    async with on_stream(script) as stream:
        with pytest.raises(KeyError) as info:
            async with connect_stream(stream):
                raise boom
    assert info.value is boom


async def test_lost_connection_is_an_error_of_the_next_operation() -> None:
    """A connection closed by the broker raises in what waits, and in every later operation."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.subscribed()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        async with client.subscribe("/queue/a") as messages:
            with pytest.raises(ConnectionLostError, match="closed the connection"):
                await messages.receive()
        with pytest.raises(ConnectionLostError):
            await client.send("/queue/a", "x")
        assert "ended" in repr(client)
        assert not await client.disconnect()
