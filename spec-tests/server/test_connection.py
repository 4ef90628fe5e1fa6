"""One connection at the edge: how it ends, what it writes and when, and who is disturbed by it."""

import gc
from collections import Counter
from collections.abc import Callable

import pytest
import trio
from server.edge import CONNECT, Edge, Peer, serving, settings

from stompd.broker.outbox import Outbox
from stompd.broker.queue import Queue
from stompd.broker.session import Session
from stompd.broker.topic import Topic
from stompd.protocol.decoder import Decoder
from stompd.server.connection import Connection

SEND = "SEND⏎destination:/queue/a⏎receipt:{0}⏎⏎{0}^@"


# -- Half-close ------------------------------------------------------------------------------------


@pytest.mark.clause("R-07")
async def test_half_close_carries_out_every_frame_and_answers() -> None:
    """What came before end-of-stream is carried out and answered; then the server closes at once.

    This is what ``nc -N`` and shell pipes do.
    """
    async with serving(settings(timeouts={"linger": "60s"})) as edge:
        peer = await edge.connect()
        await peer.write(CONNECT + "".join(SEND.format(n) for n in range(50)))
        await peer.half_close()
        began = trio.current_time()
        await peer.expect("CONNECTED")
        for number in range(50):
            await peer.expect("RECEIPT", receipt_id=str(number))
        assert await peer.rest() == b"\n"
        # Not after the linger time: the peer has said that nothing more will come.
        assert trio.current_time() - began < 30
        assert await edge.take("/queue/a", 50) == [str(n).encode() for n in range(50)]


async def test_half_close_drops_half_a_frame() -> None:
    """A frame that its peer never finished is not carried out, and no ERROR is made of it."""
    async with serving() as edge:
        peer = await edge.connect()
        await peer.write(CONNECT + SEND.format(1) + "SEND⏎destination:/queue/a⏎⏎half")
        await peer.half_close()
        await peer.expect("CONNECTED")
        await peer.expect("RECEIPT")
        assert await peer.rest() == b"\n"
        assert edge.depth("/queue/a") == 1


async def test_half_close_with_a_subscription_ends_the_session() -> None:
    """A consumer that ends its direction gets what was under way, then the connection ends."""
    async with serving() as edge:
        peer = await edge.login()
        await peer.put("/queue/a", b"first")
        await peer.write("SUBSCRIBE⏎id:s⏎destination:/queue/a⏎⏎^@")
        await peer.half_close()
        assert (await peer.expect("MESSAGE")).body == b"first"
        assert await peer.rest() == b"\n"
        await edge.until_open(0)


async def test_half_close_during_a_long_answer_does_not_cut_it() -> None:
    """Everything that had been handed to a slow reader arrives after it ended its direction."""
    body = bytes(100_000)
    async with serving() as edge:
        sender = await edge.login()
        await sender.write(
            b"SEND\ndestination:/queue/a\ncontent-length:100000\nreceipt:r\n\n" + body + b"\0"
        )
        await sender.expect("RECEIPT")
        peer = await edge.connect(buffer=4096)
        await peer.login()
        await peer.write("SUBSCRIBE⏎id:s⏎destination:/queue/a⏎⏎^@")
        await peer.half_close()
        assert (await peer.expect("MESSAGE")).body == body
        assert await peer.rest() == b"\n"


# -- Lingering close -------------------------------------------------------------------------------


@pytest.mark.clause("E-02", "D-05")
async def test_error_is_readable_although_input_lies_unread() -> None:
    """Unread octets in the server's socket do not turn its close into a reset."""
    async with serving() as edge:
        peer = await edge.login()
        await peer.write("BOGUS⏎⏎^@" + "SEND⏎destination:/queue/a⏎⏎x^@" * 500)
        await peer.fatal('unknown command "BOGUS"')
        assert edge.depth("/queue/a") == 0


@pytest.mark.clause("D-05", "D-06")
async def test_receipt_of_disconnect_is_readable_behind_unread_messages() -> None:
    """With 100 KiB of MESSAGEs unread, the RECEIPT of DISCONNECT still arrives."""
    async with serving() as edge:
        sender = await edge.login()
        for _ in range(10):
            await sender.put("/queue/a", b"x" * 10_240)
        peer = await edge.connect(buffer=4096)
        await peer.login()
        await peer.write("SUBSCRIBE⏎id:s⏎destination:/queue/a⏎⏎^@DISCONNECT⏎receipt:bye⏎⏎^@")
        await edge.until(lambda: any(s.over for s in edge.service.connections))
        for _ in range(10):
            assert len((await peer.expect("MESSAGE")).body) == 10_240
        await peer.expect("RECEIPT", receipt_id="bye")
        assert await peer.rest() == b"\n"


@pytest.mark.clause("LIM-07")
@pytest.mark.parametrize("ending", ["BOGUS⏎⏎^@", "DISCONNECT⏎⏎^@"])
async def test_a_peer_that_neither_reads_nor_closes_is_released(ending: str) -> None:
    """After the last frame the server lets go within the linger time."""
    async with serving(settings(timeouts={"linger": "200ms"})) as edge:
        peer = await edge.login()
        await peer.write(ending)
        await edge.until_open(0)


@pytest.mark.clause("LIM-07")
async def test_a_peer_whose_buffers_are_full_is_released() -> None:
    """The linger time also bounds the writing to one who reads nothing; the others go on."""
    async with serving(settings(timeouts={"linger": "200ms"})) as edge:
        peer = await edge.connect(buffer=4096)
        await peer.login()
        await peer.subscribe("/queue/a")
        other = await edge.login()
        await other.write(b"SEND\ndestination:/queue/a\n\n" + b"x" * 8_000_000 + b"\0")
        await other.sync()
        await peer.write("BOGUS⏎⏎^@")
        await edge.until_open(1)
        await other.sync()
        assert edge.depth("/queue/a") == 1, "what was not written whole is back in its queue"


@pytest.mark.slow
@pytest.mark.clause("D-05")
async def test_a_slow_peer_gets_all_that_was_written_before_the_end() -> None:
    """The linger time is for a peer that takes nothing, not for one that takes its time."""
    body = bytes(8_000_000)
    async with serving(settings(timeouts={"linger": "1s"})) as edge:
        sender = await edge.login()
        head = b"SEND\ndestination:/queue/a\ncontent-length:8000000\n\n"
        await sender.write(head + body + b"\0")
        await sender.sync()
        peer = await edge.connect(buffer=4096)
        await peer.login()
        await peer.write("SUBSCRIBE⏎id:s⏎destination:/queue/a⏎⏎^@DISCONNECT⏎receipt:bye⏎⏎^@")
        while len(peer.unread) < len(body):
            size = len(peer.unread)
            while len(peer.unread) < min(size + 250_000, len(body)):
                assert await peer.more(), size
            await trio.sleep(0.1)
        assert (await peer.expect("MESSAGE")).body == body
        await peer.expect("RECEIPT", receipt_id="bye")
        assert await peer.rest() == b"\n"


async def test_octets_after_the_end_are_discarded_up_to_a_limit() -> None:
    """Who goes on writing after the ERROR is not read from for ever."""
    given = settings(timeouts={"linger": "60s", "linger-bytes": "64KiB"})
    async with serving(given) as edge:
        peer = await edge.login()
        await peer.write("BOGUS⏎⏎^@")
        await peer.expect("ERROR")

        async def write_on() -> None:
            while True:
                await peer.write(b"x" * 65_536)

        with pytest.raises(trio.BrokenResourceError):
            await write_on()
        await edge.until_open(0)


# -- Clients that are gone -------------------------------------------------------------------------


@pytest.mark.clause("R-07", "D-01")
async def test_frames_are_carried_out_after_their_sender_closed() -> None:
    """1000 SENDs and an ordinary close: all of them are in the queue."""
    async with serving() as edge:
        peer = await edge.connect()
        await peer.write(CONNECT + "SEND⏎destination:/queue/a⏎⏎x^@" * 1000)
        await peer.close()
        await edge.until(lambda: edge.depth("/queue/a") == 1000)
        await edge.until_open(0)


@pytest.mark.clause("R-07")
async def test_frames_are_carried_out_after_a_reset() -> None:
    """What had been received when the reset came is carried out, with answers to nobody."""
    async with serving() as edge:
        peer = await edge.login()
        await peer.write("".join(SEND.format(n) for n in range(1000)))
        # The server has got them when it has begun to answer.
        await peer.expect("RECEIPT", receipt_id="0")
        peer.reset()
        await edge.until_open(0)
        bodies = await edge.take("/queue/a", edge.depth("/queue/a"))
        assert bodies == [str(n).encode() for n in range(len(bodies))], "in order, without holes"
        assert bodies


@pytest.mark.clause("ACK-10", "D-01")
async def test_unsettled_messages_of_a_reset_connection_go_back() -> None:
    """A consumer that was reset loses nothing: what it had not acknowledged is given to others."""
    async with serving() as edge:
        peer = await edge.login()
        await peer.put("/queue/a", b"kept")
        await peer.subscribe("/queue/a", "ack:client")
        await peer.expect("MESSAGE")
        peer.reset()
        await edge.until_open(0)
        other = await edge.login()
        await other.subscribe("/queue/a")
        await other.expect("MESSAGE", redelivered="true")


async def test_messages_are_not_fed_to_a_connection_that_takes_nothing() -> None:
    """After a failed write nothing more of a queue is given to that subscriber."""
    async with serving() as edge:
        peer = await edge.login()
        await peer.subscribe("/queue/a")
        session, connection = next(iter(edge.service.connections.items()))
        connection._stop_writing()  # noqa: SLF001 - as a send that failed does
        other = await edge.login()
        for _ in range(5):
            await other.put("/queue/a")
        assert session.deliveries == 0
        assert edge.depth("/queue/a") == 5


# -- Wrong protocol --------------------------------------------------------------------------------


async def test_tls_on_a_plain_port_is_told_in_the_log() -> None:
    """A TLS hello is answered by a silent close, since no TLS client could read an ERROR."""
    async with serving() as edge:
        peer = await edge.connect()
        await peer.write(bytes.fromhex("16 03 01 00 2e 01 00 00 2a 03 03"))
        assert await peer.rest() == b""
        (entry,) = edge.log.of("TLS on a plain port")
        assert entry["log_level"] == "warning"
        assert entry["peer"].startswith("127.0.0.1:")


async def test_an_octet_of_a_header_is_not_taken_for_tls() -> None:
    """Only the first octet of a connection can begin a TLS hello."""
    async with serving() as edge:
        peer = await edge.connect()
        await peer.write(b"CONNECT\npasscode:")
        await edge.until(
            lambda: all(c._decoder.pending for c in edge.service.connections.values())  # noqa: SLF001
        )
        await peer.write(b"\x16\n\n\0")
        await peer.expect("CONNECTED")


# -- Heart-beats -----------------------------------------------------------------------------------


@pytest.mark.clause("H-08", "H-10", "H-11")
async def test_the_server_beats_as_agreed() -> None:
    """With nothing to send, one LF comes before each agreed period is over."""
    given = settings(**{"heart-beat": {"minimum": "100ms", "default": "100ms"}})
    async with serving(given) as edge:
        peer = await edge.login("heart-beat:0,400")
        peer.unread.clear()
        began = trio.current_time()
        while len(peer.unread) < 6:
            await peer.more()
        assert set(peer.unread) == {10}
        # Six LFs, the frame's own perhaps among them, in steps of half a period.
        assert 0.5 < trio.current_time() - began < 6 * 0.4 + 2


@pytest.mark.clause("H-12", "H-13")
async def test_a_silent_client_is_told_and_closed() -> None:
    """Who promised beats and is silent for longer than is tolerated gets an ERROR that says so."""
    table = {"minimum": "100ms", "default": "100ms", "tolerance": 2, "grace": "100ms"}
    async with serving(settings(**{"heart-beat": table})) as edge:
        peer = await edge.login("heart-beat:100,0")
        frame = await peer.fatal("heart-beat timeout")
        assert b"ask for heart-beat:0,0" in frame.body
        assert (await edge.log.first("connection closed"))["reason"] == "heart-beat timeout"


@pytest.mark.clause("H-03", "H-09")
async def test_any_octet_is_a_sign_of_life() -> None:
    """A frame that trickles in keeps its connection alive, without one whole frame or beat."""
    table = {"minimum": "200ms", "default": "200ms", "tolerance": 2, "grace": "1s"}
    async with serving(settings(**{"heart-beat": table})) as edge:
        peer = await edge.login("heart-beat:200,0")
        await peer.write("SEND⏎destination:/queue/a⏎⏎")
        for _ in range(30):
            await peer.write(b"x")
            await trio.sleep(0.1)
        await peer.write(b"\0")
        await peer.sync()


# -- Slow readers ----------------------------------------------------------------------------------

FLOW = {"outbox-high": "64KiB", "outbox-low": "16KiB"}


async def flood(peer: Peer, destination: str, count: int, size: int = 10_000) -> None:
    """SEND ``count`` messages as fast as the server takes them."""
    frame = f"SEND\ndestination:{destination}\n\n".encode() + b"x" * size + b"\0"
    for _ in range(count):
        await peer.stream.send_all(frame)


async def test_a_slow_reader_of_a_queue_holds_nobody_up() -> None:
    """Its outbox fills to the mark; the rest of the queue is for those who read."""
    async with serving(settings(flow=FLOW)) as edge:
        slow = await edge.connect(buffer=4096)
        await slow.login()
        await slow.subscribe("/queue/a")
        sender = await edge.login()
        # More than all the buffers between them can hold.
        await flood(sender, "/queue/a", 1500)
        await sender.sync()
        waiting = edge.depth("/queue/a")
        assert waiting > 0
        quick = await edge.login()
        await quick.subscribe("/queue/a")
        for _ in range(waiting):
            await quick.expect("MESSAGE")
        session = next(s for s in edge.service.connections if s.outbox.size)
        assert session.outbox.size < 64 * 1024 + 11_000


async def test_a_slow_reader_of_a_queue_gets_the_rest_when_it_reads() -> None:
    """Every message arrives once, in order, however often the outbox was full."""
    async with serving(settings(flow=FLOW)) as edge:
        slow = await edge.connect(buffer=4096)
        await slow.login()
        await slow.subscribe("/queue/a")
        sender = await edge.login()
        for number in range(600):
            head = b"SEND\ndestination:/queue/a\nn:%d\n\n" % number
            await sender.write(head + b"x" * 10_000 + b"\0")
        await sender.sync()
        got = [(await slow.expect("MESSAGE")).text("n") for _ in range(600)]
        assert got == [str(number) for number in range(600)]


async def test_a_slow_subscriber_of_a_topic_is_closed_after_its_grace() -> None:
    """Its publisher is paced meanwhile, goes on afterwards, and the others miss nothing."""
    policy = [{"match": "/topic/a", "slow-consumer": "close", "slow-consumer-grace": "1500ms"}]
    given = settings(flow=FLOW, policy=policy, timeouts={"linger": "200ms"})
    async with serving(given) as edge:
        slow = await edge.connect(buffer=4096)
        await slow.login()
        await slow.subscribe("/topic/a")
        quick = await edge.login()
        await quick.subscribe("/topic/a")
        publisher = await edge.login()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood, publisher, "/topic/a", 1500)
            for _ in range(1500):
                await quick.expect("MESSAGE")
        await publisher.sync()
        await edge.until_open(2)
        closed = [entry["reason"] for entry in edge.log.of("connection closed")]
        assert closed == ["slow consumer"]


async def test_a_publisher_paced_for_a_slow_subscriber_goes_on_when_that_reads() -> None:
    """With the policy `block` the publisher waits as long as it takes; nothing is lost."""
    policy = [{"match": "/topic/a", "slow-consumer": "block"}]
    async with serving(settings(flow=FLOW, policy=policy)) as edge:
        slow = await edge.connect(buffer=4096)
        await slow.login()
        await slow.subscribe("/topic/a")
        publisher = await edge.login()
        bystander = await edge.login()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood, publisher, "/topic/a", 1500)
            await edge.until(lambda: any(s.paused for s in edge.service.connections))
            await bystander.sync()
            for _ in range(1500):
                await slow.expect("MESSAGE")
        await publisher.sync()


async def test_producers_to_a_full_queue_wait_for_room() -> None:
    """With the overflow rule `block` a producer is not read from until a consumer made room."""
    policy = [{"match": "/queue/a", "max-messages": 10, "overflow": "block"}]
    async with serving(settings(policy=policy)) as edge:
        producer = await edge.login()
        await producer.write("".join(SEND.format(n) for n in range(30)))
        await edge.until(lambda: any(s.paused for s in edge.service.connections))
        assert edge.depth("/queue/a") <= 11
        bodies = await edge.take("/queue/a", 30)
        assert bodies == [str(n).encode() for n in range(30)]
        for number in range(30):
            await producer.expect("RECEIPT", receipt_id=str(number))


FULL = [{"match": "/queue/a", "max-messages": 10, "overflow": "block"}]


@pytest.mark.clause("R-07", "D-01")
@pytest.mark.parametrize("reset", [False, True])
async def test_a_paused_producer_that_is_gone_is_noticed(*, reset: bool) -> None:
    """Nobody waits for room any more: what it had sent is carried out, then it is forgotten."""
    async with serving(settings(policy=FULL)) as edge:
        producer = await edge.login()
        await producer.write("SEND⏎destination:/queue/a⏎⏎x^@" * 30)
        await edge.until(lambda: any(s.paused for s in edge.service.connections))
        if reset:
            producer.reset()
        else:
            await producer.close()
        await edge.until_open(0)
        assert edge.depth("/queue/a") == 30


@pytest.mark.clause("R-07")
async def test_a_pipe_into_a_full_queue_gets_its_receipts() -> None:
    """A producer that has ended its direction and reads on is answered, room or not."""
    async with serving(settings(policy=FULL)) as edge:
        producer = await edge.login()
        await producer.write("".join(SEND.format(n) for n in range(30)))
        await producer.half_close()
        for number in range(30):
            await producer.expect("RECEIPT", receipt_id=str(number))
        assert await producer.rest() == b"\n"


@pytest.mark.clause("ACK-10", "D-01")
async def test_a_paused_consumer_that_is_gone_gives_back_what_it_holds() -> None:
    """Its own unsettled messages may be what fills the queue: others must not wait for ever."""
    async with serving(settings(policy=FULL)) as edge:
        both = await edge.login()
        await both.subscribe("/queue/a", "ack:client")
        await both.write("SEND⏎destination:/queue/a⏎⏎x^@" * 30)
        await edge.until(lambda: any(s.paused for s in edge.service.connections))
        other = await edge.login()
        await other.write(SEND.format("other"))
        await edge.until(lambda: all(s.paused for s in edge.service.connections))
        both.reset()
        await edge.until_open(1)
        assert len(await edge.take("/queue/a", 31)) == 31
        await other.expect("RECEIPT", receipt_id="other")


# -- Fairness --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fan_out", [0, 5])
async def test_a_flood_does_not_starve_a_ping(fan_out: int) -> None:
    """While one connection sends as fast as it can, another gets its receipts soon."""
    async with serving() as edge:
        subscribers = [await edge.login() for _ in range(fan_out)]
        for subscriber in subscribers:
            await subscriber.subscribe("/topic/flood")
        pinging = await edge.login()
        flooding = await edge.login()
        waits = []

        async def ever() -> None:
            while True:
                await flooding.stream.send_all(b"SEND\ndestination:/topic/flood\n\nx\0" * 2000)

        async def drink(peer: Peer) -> None:
            while await peer.more():
                peer.unread.clear()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ever)
            for subscriber in subscribers:
                nursery.start_soon(drink, subscriber)
            for _ in range(20):
                began = trio.current_time()
                await pinging.sync()
                waits.append(trio.current_time() - began)
            nursery.cancel_scope.cancel()
        assert sorted(waits)[10] < 1.0, waits


# -- Faults of stompd ------------------------------------------------------------------------------


def failing(what: str) -> Callable[..., object]:
    """Return a method that fails for sessions of user ``victim`` and works for the others."""
    original = getattr(Session, what)

    def method(session: Session, *args: object, **kwargs: object) -> object:
        if session.user == "victim":
            raise RuntimeError(f"{what} failed for a test")
        return original(session, *args, **kwargs)

    return method


async def still_served(edge: Edge, witness: Peer) -> None:
    """Assert that one who was there before and one who comes now are served."""
    await witness.sync()
    newcomer = await edge.login()
    await newcomer.sync()


async def test_a_fault_in_a_frame_ends_that_connection_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is told "internal error", the log has the cause, and nobody else is concerned."""
    async with serving() as edge:
        witness = await edge.login()
        victim = await edge.login("login:victim")
        await victim.subscribe("/queue/mine", "ack:client")
        await witness.put("/queue/mine")
        await victim.expect("MESSAGE")
        monkeypatch.setattr(Session, "receive", failing("receive"))
        await victim.write("SEND⏎destination:/queue/a⏎⏎x^@")
        await victim.fatal("internal error")
        await victim.close()
        entry = await edge.log.first("a connection failed by a fault of stompd")
        assert str(entry["exc_info"]) == "receive failed for a test"
        await edge.until_open(1)
        assert edge.depth("/queue/mine") == 1, "what it held is back"
        await still_served(edge, witness)


async def test_a_fault_in_the_clean_up_ends_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if a session cannot be closed properly, its socket is, and the others go on."""
    async with serving() as edge:
        witness = await edge.login()
        victim = await edge.login("login:victim")
        monkeypatch.setattr(Session, "close", failing("close"))
        await victim.half_close()
        await victim.rest()
        await edge.log.first("a connection failed by a fault of stompd")
        await edge.until_open(1)
        await still_served(edge, witness)


async def test_a_fault_while_writing_does_not_reach_who_caused_the_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A SEND makes the server write to its consumer; a fault there is the consumer's alone."""
    async with serving() as edge:
        witness = await edge.login()
        victim = await edge.login("login:victim")
        await victim.subscribe("/queue/a")
        monkeypatch.setattr(Session, "written", failing("written"))
        await witness.put("/queue/a")
        await edge.log.first("a connection failed by a fault of stompd")
        await edge.until_open(1)
        await still_served(edge, witness)


async def test_a_fault_in_the_writer_task_ends_that_connection_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The task that writes to a slow reader fails without taking others with it."""
    async with serving() as edge:
        witness = await edge.login()
        victim = await edge.connect(buffer=4096)
        await victim.login("login:victim")
        await victim.subscribe("/queue/a")
        await witness.write(b"SEND\ndestination:/queue/a\n\n" + b"x" * 8_000_000 + b"\0")
        await witness.sync()
        monkeypatch.setattr(Session, "written", failing("written"))
        assert len((await victim.expect("MESSAGE")).body) == 8_000_000
        await edge.log.first("a connection failed by a fault of stompd")
        await edge.until_open(1)
        await still_served(edge, witness)


async def test_a_fault_while_refilling_ends_that_connection_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The task that serves waiting subscriptions goes on after one of them failed."""
    async with serving(settings(flow=FLOW)) as edge:
        witness = await edge.login()
        victim = await edge.connect(buffer=4096)
        await victim.login("login:victim")
        await victim.subscribe("/queue/a")
        await flood(witness, "/queue/a", 1500)
        await witness.sync()
        monkeypatch.setattr(Session, "drained", failing("drained"))
        while await victim.more():
            victim.unread.clear()
        await edge.log.first("a connection failed by a fault of stompd")
        await edge.until_open(1)
        await still_served(edge, witness)


async def test_a_fault_in_something_due_is_logged_and_time_goes_on() -> None:
    """Heart-beats and time-outs of others work after an action that was due has failed."""
    given = settings(**{"heart-beat": {"minimum": "100ms", "default": "100ms"}})
    async with serving(given) as edge:

        def fault() -> None:
            raise RuntimeError("due failed for a test")

        edge.service.broker.at(edge.service.broker.now, fault)
        await edge.log.first("something that was due failed by a fault of stompd")
        peer = await edge.login("heart-beat:0,100")
        peer.unread.clear()
        while len(peer.unread) < 4:
            assert await peer.more()


# -- Cancellation ----------------------------------------------------------------------------------


async def _waiting_for_frames(edge: Edge) -> Peer:
    return await edge.login()


async def _waiting_for_a_writer(edge: Edge) -> Peer:
    peer = await edge.connect(buffer=4096)
    await peer.login()
    await peer.put("/queue/a", b"x" * 8_000_000)
    await peer.write("SUBSCRIBE⏎id:s⏎destination:/queue/a⏎⏎^@")
    await edge.until(lambda: any(s.outbox.size for s in edge.service.connections))
    return peer


async def _waiting_for_room(edge: Edge) -> Peer:
    peer = await edge.login()
    await peer.write("SEND⏎destination:/queue/full⏎⏎x^@" * 30)
    await edge.until(lambda: any(s.paused for s in edge.service.connections))
    return peer


async def _lingering(edge: Edge) -> Peer:
    peer = await edge.login()
    await peer.write("BOGUS⏎⏎^@")
    await peer.expect("ERROR")
    return peer


async def _lingering_behind_a_writer(edge: Edge) -> Peer:
    peer = await _waiting_for_a_writer(edge)
    await peer.write("BOGUS⏎⏎^@")
    await edge.until(lambda: any(s.over for s in edge.service.connections))
    return peer


@pytest.mark.parametrize(
    "situation",
    [
        _waiting_for_frames,
        _waiting_for_a_writer,
        _waiting_for_room,
        _lingering,
        _lingering_behind_a_writer,
    ],
)
async def test_a_cancelled_connection_gives_everything_back(
    situation: Callable[[Edge], object],
) -> None:
    """Cancelled at whatever it waits for, a connection leaves no session and no message behind."""
    policy = [{"match": "/queue/full", "max-messages": 10, "overflow": "block"}]
    async with serving(settings(policy=policy, timeouts={"linger": "60s"})) as edge:
        await situation(edge)  # type: ignore[misc]
        service = edge.service
        (connection,) = service.connections.values()
        assert isinstance(connection, Connection)
        sock = connection._socket  # noqa: SLF001
        service.nursery.cancel_scope.cancel()
        await edge.until_open(0)
        assert service.broker.sessions == {}
        assert sock.fileno() == -1
        queue = service.broker.hosts[0].queues.get("/queue/a")
        assert queue is None or queue.unsettled == 0
        assert not edge.log.of("a connection failed by a fault of stompd")


async def test_nothing_is_left_of_a_connection() -> None:
    """All of it is freed when it ends, without a search for what refers to itself.

    stompd hardly ever makes one, so the remains of many short connections would be memory lost.
    """

    def there() -> Counter[str]:
        kinds = (Connection, Session, Decoder, Outbox)
        return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, kinds))

    def gone() -> list[Queue | Topic]:
        return [one for one in gc.get_objects() if isinstance(one, Queue | Topic) and one.gone]

    async with serving() as edge:
        gc.collect()
        gc.disable()
        try:
            before = there()
            for leave in ("", "DISCONNECT⏎receipt:d⏎⏎^@", "FOO⏎⏎^@") * 3:
                peer = await edge.login()
                await peer.put("/queue/a")
                await peer.write("SUBSCRIBE⏎id:1⏎destination:/queue/a⏎ack:client⏎⏎^@")
                await peer.expect("MESSAGE")
                for kind in ("queue", "topic"):
                    await peer.write(f"SUBSCRIBE⏎id:{kind}⏎destination:/temp-{kind}/mine⏎⏎^@")
                    await peer.write(f"SEND⏎destination:/temp-{kind}/mine⏎⏎x^@")
                    await peer.expect("MESSAGE")
                await peer.write("BEGIN⏎transaction:t⏎⏎^@" + leave)
                if leave:
                    await peer.rest()
                await peer.close()
            await edge.until(lambda: not edge.service.connections)
            # The loop that reads may still name the last one.
            await edge.until(lambda: all(n <= before[kind] + 1 for kind, n in there().items()))
            await edge.until(lambda: not gone())
        finally:
            gc.enable()
