"""What Spring's STOMP broker relay writes: one system connection, and one for each browser.

The application's server talks to the broker for its WebSocket clients. Without a virtual host in
its configuration it sends no ``host``. Its own connection offers 1.1 and 1.2, logs in as ``guest``
and beats every 10 s; the CONNECT of a browser is passed on with all its headers, ``login`` and
``passcode`` replaced. In both directions it passes native headers on as they are: what a browser
gets is what the broker wrote. It writes ``content-length`` last in every SEND.
"""

import re
from collections.abc import Callable

import pytest
from server.process import Daemon
from wire import Frame, Wire


def relay(stompd: Daemon, connect: bytes) -> tuple[Wire, Frame]:
    """Open a connection with this CONNECT, octet for octet; return CONNECTED too."""
    wire = Wire(stompd.broker)
    wire.write(connect)
    return wire, wire.await_connected()


def system(stompd: Daemon) -> Wire:
    """Open the connection of the application itself."""
    wire, connected = relay(
        stompd,
        b"CONNECT\naccept-version:1.1,1.2\nlogin:guest\npasscode:guest\n"
        b"heart-beat:10000,10000\n\n\0",
    )
    assert connected.raw("version") == b"1.2"
    # It is read by Long.parseLong: digits, a comma, digits, and not one blank.
    assert re.fullmatch(r"[1-9]\d*,[1-9]\d*", connected.text("heart-beat"))
    return wire


def browser(stompd: Daemon, *headers: bytes, beats: bytes = b"10000,10000") -> Wire:
    """Open the connection of a browser with @stomp/stompjs, with headers of its own first."""
    lines = (
        b"CONNECT",
        *headers,
        b"accept-version:1.2,1.1,1.0",
        b"heart-beat:" + beats,
        b"login:guest",
        b"passcode:guest",
        b"\n\0",
    )
    return relay(stompd, b"\n".join(lines))[0]


def template(destination: str, body: bytes, *headers: bytes) -> bytes:
    """Return the SEND of the application's messaging template."""
    lines = (
        b"SEND",
        b"destination:" + destination.encode(),
        b"content-type:application/json",
        *headers,
        b"content-length:%d" % len(body),
        b"",
        body + b"\0",
    )
    return b"\n".join(lines)


def test_a_broadcast_reaches_every_browser(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """The application sends over its own connection, browsers subscribe over theirs.

    A wildcard is RabbitMQ's: words with dots, ``*`` and ``#``.
    """
    topic = f"/topic/price.{fresh()}"
    with (
        system(stompd) as application,
        browser(stompd, b"X-CSRF-TOKEN:0e2c:3f\\n") as first,
        browser(stompd) as second,
    ):
        first.write(f"SUBSCRIBE\nid:sub-0\ndestination:{topic}.NASDAQ.IBM\n\n\0".encode())
        second.write(f"SUBSCRIBE\nid:sub-0\ndestination:{topic}.NASDAQ.*\nack:auto\n\n\0".encode())
        second.write(f"SUBSCRIBE\nid:sub-1\ndestination:{topic}.#\nack:auto\n\n\0".encode())
        first.sync()
        second.sync()
        application.write(template(f"{topic}.NASDAQ.IBM", b'{"bid":120}'))
        expected = (
            f"destination:{topic}.NASDAQ.IBM",
            "content-type:application/json",
            "content-length:11",
        )
        first.expect("MESSAGE", "subscription:sub-0", *expected, body=b'{"bid":120}')
        got = [second.expect("MESSAGE", *expected) for _ in range(2)]
        assert {frame.raw("subscription") for frame in got} == {b"sub-0", b"sub-1"}
        second.write(b"UNSUBSCRIBE\nid:sub-1\n\n\0")
        second.sync()
        application.write(template(f"{topic}.NYSE.GE", b"{}"))
        application.write(template(f"{topic}.NASDAQ.X", b"{}"))
        second.expect("MESSAGE", "subscription:sub-0", f"destination:{topic}.NASDAQ.X")


def test_native_headers_pass_untouched(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """Headers of the application arrive as they were written: order, escapes, empty values.

    A header with several values is written on several lines; of those the first counts.
    """
    topic = f"/topic/{fresh()}"
    with system(stompd) as application, browser(stompd) as client:
        client.subscribe("sub-0", topic)
        headers = (
            b"simpSessionId:5f3b1c",
            b"trace-id:00\\c4b\\n\\\\",
            b"empty:",
            b"x-forwarded-for:10.0.0.1",
            b"x-forwarded-for:10.0.0.2",
            b"version:1",
            b"host:shop",
            b"priority:9",
        )
        application.write(template(topic, b"{}", *headers))
        frame = client.expect("MESSAGE", body=b"{}")
        own = (b"simp", b"trace", b"empty", b"x-forw", b"version", b"host", b"priority")
        assert [line for line in frame.lines if line.startswith(own)] == [
            line for line in headers if line != b"x-forwarded-for:10.0.0.2"
        ]


def test_an_answer_to_one_users_session(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``/user/queue/x`` of a browser becomes ``/queue/x-userSESSION``, which only it subscribes to.

    The application sends to that name over its own connection, and the queue may be there before
    or after.
    """
    name = fresh()
    with system(stompd) as application, browser(stompd) as client, browser(stompd) as other:
        for number, wire in ((1, client), (2, other)):
            wire.write(
                f"SUBSCRIBE\nid:sub-0\ndestination:/queue/{name}-user{number}\n\n\0".encode()
            )
            wire.sync()
        application.write(template(f"/queue/{name}-user1", b'"yours"'))
        client.expect("MESSAGE", "subscription:sub-0", body=b'"yours"')
        other.sync()
        assert other.held() is None


def test_an_answer_over_an_exchange(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``/exchange/amq.direct/x-userSESSION``, as its handbook advises for RabbitMQ.

    Each subscription has a queue of its own that goes with it: an answer to a session that has
    gone is dropped, and does not wait for anybody.
    """
    direct = f"/exchange/amq.direct/{fresh()}-user"
    with system(stompd) as application:
        with browser(stompd) as client, browser(stompd) as other:
            for number, wire in ((1, client), (2, other)):
                wire.write(f"SUBSCRIBE\nid:sub-0\ndestination:{direct}{number}\n\n\0".encode())
                wire.sync()
            application.write(template(f"{direct}1", b'"yours"'))
            client.expect("MESSAGE", "subscription:sub-0", body=b'"yours"')
            other.sync()
            assert other.held() is None
            client.write(b"DISCONNECT\n\n\0")
            client.eos()
        application.write(template(f"{direct}1", b'"too late"'))
        application.sync()
        with browser(stompd) as client:
            client.subscribe("sub-0", f"{direct}1")
            application.write(template(f"{direct}1", b'"again"'))
            client.expect("MESSAGE", body=b'"again"')


def test_servers_tell_each_other_what_they_cannot_resolve(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """System subscriptions have the ids 0 and 1 and no ``ack``; each server hears the others.

    The relay finds its handler by the ``destination`` of MESSAGE, which has to be the very string.
    """
    name = fresh()
    topics = (f"/topic/{name}-unresolved-user-destination", f"/topic/{name}.simp-user-registry")
    with system(stompd) as one, system(stompd) as two:
        for wire in (one, two):
            for number, topic in enumerate(topics):
                wire.write(f"SUBSCRIBE\nid:{number}\ndestination:{topic}\n\n\0".encode())
            wire.sync()
        one.write(template(topics[1], b'{"id":"10.0.0.1-1"}'))
        for wire in (one, two):
            wire.expect("MESSAGE", "subscription:1", f"destination:{topics[1]}")


def test_a_browser_acknowledges(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """Its ACK and NACK have ``id`` and ``subscription``, as stompjs does it; both are passed on."""
    queue = f"/queue/{fresh()}"
    with browser(stompd) as client:
        client.subscribe("sub-0", queue, "ack:client-individual")
        client.put(queue, b"x")
        first = client.expect("MESSAGE").text("ack")
        client.write(f"NACK\nid:{first}\nsubscription:sub-0\n\n\0".encode())
        again = client.expect("MESSAGE", "redelivered:true").text("ack")
        client.write(f"ACK\nid:{again}\nsubscription:sub-0\nreceipt:r\n\n\0".encode())
        client.expect("RECEIPT", "receipt-id:r")


def test_a_relay_closes_without_waiting(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """DISCONNECT without a receipt: it closes at once, and nothing that it had sent is lost.

    With a receipt, as stompjs asks, it passes RECEIPT on and leaves the close to the broker.
    """
    queue = f"/queue/{fresh()}"
    hasty = browser(stompd)
    hasty.write(template(queue, b'"one"') + b"DISCONNECT\n\n\0")
    hasty.close()
    polite = browser(stompd)
    polite.write(template(queue, b'"two"') + b"DISCONNECT\nreceipt:close-1\n\n\0")
    polite.expect("RECEIPT", "receipt-id:close-1")
    polite.eos()
    polite.close()
    with system(stompd) as application:
        application.subscribe("0", queue)
        assert {frame.body for frame in application.messages(2)} == {b'"one"', b'"two"'}


def test_a_line_feed_stands_for_what_is_not_the_brokers(stompd: Daemon) -> None:
    """For a message that is not for the broker the relay sends a heart-beat: it is no frame."""
    with browser(stompd, beats=b"0,0") as client:
        client.write(b"\n")
        client.write(b"\n\n")
        client.alive()


@pytest.mark.slow
def test_many_idle_sessions(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """Hundreds of browsers are open, most say nothing: all hear a broadcast, and all are let go.

    Each has its own topic too, as users have; nobody gets what is another's.
    """
    topic = f"/topic/{fresh()}"
    sessions = [browser(stompd) for _ in range(300)]
    try:
        for number, wire in enumerate(sessions):
            wire.write(
                f"SUBSCRIBE\nid:sub-0\ndestination:{topic}\n\n\0"
                f"SUBSCRIBE\nid:sub-1\ndestination:{topic}-user{number}\n\n\0".encode()
            )
        for wire in sessions:
            wire.sync()
        with system(stompd) as application:
            application.write(template(topic, b"1"))
            application.write(template(f"{topic}-user7", b"2"))
            application.sync()
        for number, wire in enumerate(sessions):
            wire.expect("MESSAGE", "subscription:sub-0", body=b"1")
            if number == 7:
                wire.expect("MESSAGE", "subscription:sub-1", body=b"2")
            wire.write(b"DISCONNECT\n\n\0")
        for wire in sessions:
            wire.eos()
    finally:
        for wire in sessions:
            wire.close()
