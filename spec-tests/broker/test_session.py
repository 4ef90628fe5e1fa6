"""A session's life: CONNECT, log-in, faults, what is out of place, heart-beats, and its end."""

import pytest
from broker.client import Client, Core, publish, settings
from broker.paging import PagedCore

from stompd.broker.policy import HeartBeat, SessionLimits
from stompd.broker.principal import Principal
from stompd.broker.session import CloseReason, State
from stompd.protocol.errors import RemoteProtocolError
from stompd.protocol.frame import Head

# Connecting.


def test_a_session_tells_where_it_is(core: Core) -> None:
    """From the first octet to the end, for logs and tests."""
    client = Client(core)
    session = client.session
    assert repr(session) == "<Session c1 None new user=None subscriptions=0 transactions=0>"
    client.write(b"CONNECT\naccept-version:1.2\nhost:/\nlogin:ann\npasscode:secret\n\n\0")
    assert session.state is State.LOGIN
    assert session.login is not None
    assert (session.login.user, session.login.passcode) == ("ann", "secret")
    assert repr(session.login) == "<Login 'ann' host='/'>"
    session.welcome(Principal("ann"), 0.0)
    assert repr(session) == "<Session c1 1.2 open user=ann subscriptions=0 transactions=0>"
    assert session.login is None
    assert repr(core.broker) == "<Broker sessions=1 hosts=1>"


@pytest.mark.clause("C-13", "C-14", "V10-02", "V10-21")
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_connected(core: Core, version: str) -> None:
    """CONNECTED names the version, the server and the session; heart-beats from 1.1 on."""
    client = Client(core)
    connected = client.log_in({"accept-version": version} if version != "1.0" else {})
    assert connected.command == "CONNECTED"
    assert connected["version"] == version
    assert connected["session"] == "c1"
    assert connected["server"] == "stompd"
    assert ("heart-beat" in connected.headers) == (version != "1.0")


def test_a_refused_login_is_an_error(core: Core) -> None:
    """It ends the session, with the words of whoever refused."""
    client = Client(core)
    client.write(b"CONNECT\naccept-version:1.2\nhost:/\n\n\0")
    client.session.refuse("login refused", "no such user or wrong passcode")
    core.run()
    error = client.error()
    assert error["message"] == "login refused"
    assert error.body == b"no such user or wrong passcode\n"
    assert client.session.reason is CloseReason.REFUSED


@pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE", "DISCONNECT"])
def test_the_first_frame_is_connect(core: Core, command: str) -> None:
    """Anything else is an ERROR that says so."""
    client = Client(core)
    client.session.receive([(Head.of(command, {"destination": "/queue/a"}), b"")], 0, 0.0)
    core.run()
    assert client.error()["message"] == f"{command} before CONNECT"


@pytest.mark.parametrize("command", ["CONNECT", "STOMP"])
def test_a_session_is_opened_once(core: Core, command: str) -> None:
    """A second CONNECT is an ERROR."""
    client = core.client()
    client.write(b"%b\naccept-version:1.2\nhost:/\n\n\0" % command.encode())
    assert client.error()["message"] == f"{command} in an open session"


def test_virtual_hosts_are_name_spaces() -> None:
    """Equal names in two of them are two queues; an unknown one is the default one."""
    core = Core(settings(virtual_hosts=("main", "other")))
    one, two, lost = core.client(host="main"), core.client(host="other"), core.client(host="?")
    for client in (one, two):
        client.subscribe("/queue/a")
    publish(lost, "/queue/a", ["x"])
    assert one.bodies() == ["x"]
    assert two.take() == []
    assert [host.name for host in core.broker.hosts] == ["main", "other"]


def test_strict_virtual_hosts() -> None:
    """Where settings say so an unknown one is an ERROR; a 1.0 client names none."""
    core = Core(settings(virtual_hosts=("main",), strict_hosts=True))
    assert Client(core).log_in({"accept-version": "1.2", "host": "main"}).command == "CONNECTED"
    assert Client(core).log_in({}).command == "CONNECTED"
    error = Client(core).log_in({"accept-version": "1.2", "host": "b\\d"})
    assert error["message"] == "unknown virtual host"


def test_a_body_on_connect(core: Core) -> None:
    """CONNECT carries none."""
    client = Client(core)
    client.write(b"CONNECT\naccept-version:1.2\nhost:/\ncontent-length:1\n\nx\0")
    assert client.error()["message"] == "CONNECT must not have a body"


# Ending.


@pytest.mark.clause("E-03", "E-07")
def test_the_words_of_an_error_stay_on_their_line(core: Core) -> None:
    """Line breaks in the message become blanks; without a detail the body repeats it."""
    client = core.client()
    client.session.fail(RemoteProtocolError("one\r\ntwo"))
    core.run()
    error = client.error()
    assert error["message"] == "one  two"
    assert error.body == b"one\r\ntwo\n"
    assert error["content-type"] == "text/plain"
    assert error["content-length"] == str(len(error.body))


def test_a_session_fails_once(core: Core) -> None:
    """What follows the first fault is not looked at, and a closed session stays closed."""
    client = core.client()
    client.reading = False
    client.session.fail(RemoteProtocolError("first"))
    client.session.fail(RemoteProtocolError("second"))
    client.session.garbled(RemoteProtocolError("third"))
    assert client.session.receive([], 0, 0.0) == 0
    client.read_again()
    assert client.error()["message"] == "first"
    client.session.close(CloseReason.PEER_CLOSED, 5.0)
    assert client.session.reason is CloseReason.PROTOCOL_ERROR
    assert core.broker.closed_count == 1


def test_what_the_decoder_cannot_read_is_an_error(core: Core) -> None:
    """The session answers with its words, as for faults of its own."""
    client = core.client()
    client.session.garbled(RemoteProtocolError("no frame", "line 1"))
    core.run()
    assert client.error()["message"] == "no frame"


@pytest.mark.clause("D-04")
def test_what_the_decoder_cannot_read_after_disconnect() -> None:
    """It is not looked at while receipts wait, so nothing is wrong with it."""
    paged = PagedCore()
    client = paged.client()
    client.send("/queue/a", "x", persistent="true", receipt="1")
    client("DISCONNECT", receipt="bye")
    client.session.garbled(RemoteProtocolError("no frame"))
    paged.durable()
    assert client.receipts() == ["1", "bye"]


# Heart-beats.


def _beating(core: Core, heart_beat: str) -> Client:
    client = Client(core)
    client.log_in({"accept-version": "1.2", "host": "/", "heart-beat": heart_beat})
    del client.octets[:]
    return client


@pytest.mark.clause("H-03", "H-04", "H-06")
@pytest.mark.parametrize(
    ("asked", "answer"),
    [("0,0", "10000,10000"), ("5000,7000", "7000,5000"), ("1,1", "1000,1000")],
)
def test_what_is_agreed_on(core: Core, asked: str, answer: str) -> None:
    """CONNECTED tells the server's numbers, never under its minimum."""
    connected = Client(core).log_in({"accept-version": "1.2", "heart-beat": asked})
    assert connected["heart-beat"] == answer


@pytest.mark.clause("H-02")
def test_a_malformed_heart_beat(core: Core) -> None:
    """It is an ERROR."""
    error = Client(core).log_in({"accept-version": "1.2", "heart-beat": "often"})
    assert error["message"] == "malformed heart-beat header"


@pytest.mark.clause("H-07", "H-08")
def test_without_heart_beats_nothing_is_due(core: Core) -> None:
    """Silence for ever is fine, in both directions."""
    client = _beating(core, "0,0")
    assert core.tick(1e6) is None
    assert client.octets == b""
    assert client.alive()


@pytest.mark.clause("H-10", "H-11")
def test_the_broker_beats_in_time(core: Core) -> None:
    """In every period at least one octet comes: a LF when there is nothing else."""
    client = _beating(core, "0,1000")
    for _ in range(20):
        core.tick(0.5)
    assert len(client.octets) >= 10
    assert set(client.octets) == {ord("\n")}
    core.tick(0.25)
    client.send("/topic/a", receipt="r")
    client.receipts()
    del client.octets[:]
    core.tick(0.4)
    assert client.octets == b""
    core.tick(0.1)
    assert client.octets == b"\n"


@pytest.mark.clause("H-10")
def test_a_peer_that_does_not_read_gets_no_beats(core: Core) -> None:
    """With octets waiting a beat would not be seen, and time goes on all the same."""
    client = _beating(core, "0,1000")
    client.subscribe("/queue/a")
    client.reading = False
    publish(core.client(), "/queue/a", ["x"])
    for _ in range(10):
        due = core.tick(1.0)
        assert due is not None
        assert due > core.now
    client.read_again()
    assert client.bodies() == ["x"]
    core.tick(1.0)
    assert client.octets.endswith(b"\n")


@pytest.mark.clause("H-12", "H-13")
def test_a_silent_peer_is_given_up() -> None:
    """After two periods and the grace, with an ERROR that tells what was agreed on."""
    core = Core(settings(heart_beat=HeartBeat(tolerance=2.0, grace=1.0)))
    client = _beating(core, "1000,0")
    core.tick(2.9)
    client.session.heard_at = core.now
    core.tick(2.9)
    assert not client.session.over
    assert core.tick(0.0) == pytest.approx(5.9)
    core.tick(0.2)
    error = client.error()
    assert error["message"] == "heart-beat timeout"
    assert b"1000 ms" in error.body
    assert client.session.reason is CloseReason.HEARTBEAT_TIMEOUT


def test_a_paused_peer_is_not_silent() -> None:
    """Nothing is read from it, so nothing can be heard."""
    core = Core(settings(max_messages=1, overflow="block"))
    client = _beating(core, "1000,0")
    publish(client, "/queue/a", ["1", "2", "3"])
    assert client.session.paused
    for _ in range(10):
        core.tick(2.0)
    assert not client.session.over


def test_timers_of_a_closed_session_do_nothing(core: Core) -> None:
    """What was due for it passes by."""
    client = _beating(core, "1000,1000")
    client.close()
    assert core.tick(10.0) is None


@pytest.mark.clause("H-10", "H-12")
def test_long_heart_beats_hold_no_memory_for_long(core: Core) -> None:
    """A session that ended is forgotten within a minute, whatever was agreed on."""
    for _ in range(10):
        _beating(core, "2147483647,2147483647").close()
    assert core.tick(61.0) is None


@pytest.mark.clause("H-10", "H-12")
def test_heart_beats_of_many_minutes(core: Core) -> None:
    """They come in time, and silence is noticed when it is due, not before."""
    client = _beating(core, "600000,600000")
    while core.now < 600:
        core.tick(1.0)
    assert 1 <= client.octets.count(b"\n") <= 3
    while core.now < 1200:
        core.tick(1.0)
    assert not client.session.over
    while core.now < 1202:
        core.tick(1.0)
    assert client.session.reason is CloseReason.HEARTBEAT_TIMEOUT


def test_a_client_that_said_goodbye_need_not_beat() -> None:
    """Silence after DISCONNECT is no fault, however long the store takes for its receipts."""
    core = PagedCore()
    client = _beating(core, "1000,0")
    client.send("/queue/a", "x", persistent="true", receipt="1")
    client("DISCONNECT", receipt="bye")
    core.tick(60.0)
    core.durable()
    assert client.receipts() == ["1", "bye"]


def test_the_owner_of_time_is_told_when_something_is_due_earlier(core: Core) -> None:
    """Once for each new first deadline, not for later ones."""
    told = []
    core.broker.rescheduled = lambda: told.append(core.broker.now)
    _beating(core, "0,10000")
    _beating(core, "0,20000")
    assert told == [0.0]
    _beating(core, "0,1000")
    assert told == [0.0, 0.0]


# Limits.


@pytest.mark.clause("LIM-01", "SUB-04")
def test_subscriptions_are_limited() -> None:
    """In number; an id in length."""
    core = Core(settings(limits=SessionLimits(subscriptions=2, subscription_id=5)))
    client = core.client()
    client.subscribe("/queue/a", id="12345")
    client.subscribe("/queue/a", id="ééé"[:2])
    client("UNSUBSCRIBE", id="12345")
    client.subscribe("/queue/a", id="2")
    client.subscribe("/queue/a", id="3")
    error = client.error()
    assert (error["message"], error["subscription"]) == ("too many subscriptions", "3")
    client = core.client()
    client.subscribe("/queue/a", id="éé2")
    client.send("/queue/b", reply_to="/temp-queue/a")
    client.send("/queue/b", reply_to="/temp-queue/b")
    assert client.error()["message"] == "too many subscriptions"
    client = core.client()
    client.subscribe("/queue/a", id="ééé")
    assert client.error()["message"] == "subscription id over the limit"


# Draining.


def test_drain_ends_idle_sessions_at_once(core: Core) -> None:
    """With an ERROR that says why; a subscription alone holds nobody."""
    client, other = core.client(), core.client()
    other.subscribe("/queue/a")
    core.broker.drain()
    core.run()
    for each in (client, other):
        assert each.error()["message"] == "the server is stopping"
        assert each.session.reason is CloseReason.SHUTDOWN


def test_drain_waits_for_what_is_being_worked_on(core: Core) -> None:
    """Nothing more is delivered; with the last ACK the session ends, and nobody is blamed."""
    publish(core.client(), "/queue/a", ["1", "2", "3"])
    consumer = core.client()
    consumer.subscribe("/queue/a", "client-individual", prefetch_count="2")
    one, two = consumer.messages(2)
    core.broker.drain()
    core.run()
    assert not consumer.session.over
    consumer.ack(one, receipt="1")
    consumer.send("/queue/b", "still works", receipt="2")
    assert consumer.receipts() == ["1", "2"]
    consumer.ack(two)
    assert consumer.error()["message"] == "the server is stopping"
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=1 unsettled=0 ")
    assert core.broker.draining


def test_drain_lets_a_transaction_end(core: Core) -> None:
    """COMMIT still works, its receipt comes, then the session ends."""
    client = core.client()
    client("BEGIN", transaction="t")
    client.send("/queue/a", "x", transaction="t")
    core.broker.drain()
    core.run()
    assert client.take() == []
    client("COMMIT", transaction="t", receipt="c")
    receipt, error = client.take(2)
    assert (receipt["receipt-id"], error["message"]) == ("c", "the server is stopping")
    assert core.broker.host("/").queues["/queue/a"].depth == 1


def test_drain_lets_the_store_confirm() -> None:
    """A session that waits for a receipt gets it, then ends without another word from it."""
    core = PagedCore()
    client = core.client()
    client.send("/queue/a", "x", persistent="true", receipt="1")
    core.broker.drain()
    core.run()
    assert client.take() == []
    core.durable()
    receipt, error = client.take(2)
    assert (receipt["receipt-id"], error["message"]) == ("1", "the server is stopping")


def test_drain_delivers_nothing_more(core: Core) -> None:
    """Neither what is sent, nor what comes back, nor to a subscription that is new."""
    consumer, producer = core.client(), core.client()
    consumer.subscribe("/queue/a", "client", id="0")
    publish(producer, "/queue/a", ["1", "2"])
    one, _ = consumer.messages(2)
    producer("BEGIN", transaction="t")
    publish(producer, "/queue/a", ["3"], transaction="t")
    core.broker.drain()
    core.run()
    publish(producer, "/queue/a", ["4"])
    consumer.nack(one)
    consumer.subscribe("/queue/a", id="1")
    assert consumer.take() == []
    producer("COMMIT", transaction="t")
    assert consumer.take() == []
    assert producer.session.over
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=3 unsettled=1 ")


def test_an_aborted_transaction_while_draining(core: Core) -> None:
    """What is outstanding again may still be acknowledged."""
    publish(core.client(), "/queue/a", ["1", "2"])
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", prefetch_count="1")
    one = consumer.messages(1)[0]
    consumer("BEGIN", transaction="t")
    core.broker.drain()
    consumer.ack(one, transaction="t")
    consumer("ABORT", transaction="t")
    assert consumer.take() == []
    consumer.ack(one)
    assert consumer.error()["message"] == "the server is stopping"
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=1 unsettled=0 ")


def test_a_subscription_in_line_gets_nothing_while_draining(core: Core) -> None:
    """Not even when an ABORT has its credit counted anew."""
    publish(core.client(), "/queue/a", ["1"])
    consumer, producer = core.client(), core.client()
    consumer.subscribe("/queue/a", "client", prefetch_count="5")
    one = consumer.messages(1)[0]
    consumer("BEGIN", transaction="t")
    producer("BEGIN", transaction="t")
    core.broker.drain()
    consumer.ack(one, transaction="t")
    consumer("ABORT", transaction="t")
    publish(producer, "/queue/a", ["2"])
    assert consumer.take() == []
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=1 unsettled=1 ")


def test_drain_ends_who_has_not_logged_in(core: Core) -> None:
    """Whether CONNECT came or not."""
    new, login = Client(core), Client(core)
    login.write(b"CONNECT\naccept-version:1.2\nhost:/\n\n\0")
    assert login.session.state is State.LOGIN
    core.broker.drain()
    core.run()
    for client in (new, login):
        assert client.error()["message"] == "the server is stopping"


def test_who_connects_while_the_broker_drains_is_sent_away(core: Core) -> None:
    """After CONNECTED, with the same words as the others."""
    core.broker.drain()
    client = Client(core)
    assert client.log_in({"accept-version": "1.2"}).command == "CONNECTED"
    assert client.error()["message"] == "the server is stopping"


def test_shutdown_ends_who_does_not_let_go(core: Core) -> None:
    """Its messages go back, and it is not blamed for them."""
    publish(core.client(), "/queue/a", ["1"])
    consumer = core.client()
    consumer.subscribe("/queue/a", "client")
    consumer.take(1)
    core.broker.drain()
    core.broker.end_for_shutdown(consumer.session)
    core.run()
    assert consumer.error()["message"] == "the server is stopping"
    queue = core.broker.host("/").queues["/queue/a"]
    core.broker.draining = False
    other = core.client()
    other.subscribe("/queue/a", "client")
    assert other.messages(1)[0]["delivery-count"] == "1"
    assert queue.depth == 0


def test_new_settings_hold_for_what_is_made_from_now_on(core: Core) -> None:
    """Destinations and sessions that are there keep what they had."""
    client = core.client()
    publish(client, "/queue/old", ["1"])
    core.broker.reconfigure(settings(max_messages=1, overflow="reject", server="new"))
    publish(client, "/queue/old", ["2", "3"])
    publish(client, "/queue/new", ["1", "2"])
    assert client.error()["message"] == "queue is full"
    assert Client(core).log_in({"accept-version": "1.2"})["server"] == "new"
    assert core.broker.host("/").queues["/queue/old"].depth == 3
