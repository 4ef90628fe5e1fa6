"""Taps: every frame that comes in or goes out, for whoever may look; nobody waits for them."""

import json
from typing import Any

import pytest
from broker.client import Client, Core, numbers, publish, settings
from jsonschema import Draft202012Validator

from stompd.broker.admin.told import TAP
from stompd.protocol.encoder import encode


class Tapper:
    """Somebody who looks on; each line is held against its schema."""

    def __init__(self, core: Core, version: str = "1.2", **headers: str) -> None:
        self.client = core.administrator(version)
        self.client.subscribe("/topic/$SYS/tap", id="tap%", **headers)
        self.lines()

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines that came since the last look."""
        found = []
        for message in self.client.messages():
            assert message["destination"] == "/topic/$SYS/tap"
            assert message["content-type"] == "application/json"
            assert b"\n" not in message.body
            line = json.loads(message.body)
            Draft202012Validator(TAP).validate(line)
            found.append(line)
        return found

    def seen(self) -> list[tuple[str, str, str]]:
        """Return direction, connection and command of the lines since the last look."""
        return [(line["direction"], line["connection"], line["command"]) for line in self.lines()]


def test_frames_in_and_out() -> None:
    """In their order: what comes in, then what goes out because of it."""
    core = Core(epoch=1_000.0)
    tapper = Tapper(core)
    client = core.client()
    assert tapper.seen() == [("in", "c2", "CONNECT"), ("out", "c2", "CONNECTED")]
    client.subscribe("/queue/a", receipt="r")
    client.send("/queue/a", "hello", colour="red")
    assert tapper.lines() == [
        {
            "time": 1_000_000,
            "direction": "in",
            "connection": "c2",
            "peer": "test",
            "user": None,
            "command": "SUBSCRIBE",
            "headers": {"destination": "/queue/a", "id": "0", "receipt": "r"},
            "size": 0,
            "body": "",
            "truncated": False,
        },
        {
            "time": 1_000_000,
            "direction": "out",
            "connection": "c2",
            "peer": "test",
            "user": None,
            "command": "RECEIPT",
            "headers": {"receipt-id": "r"},
            "size": 0,
            "body": "",
            "truncated": False,
        },
        {
            "time": 1_000_000,
            "direction": "in",
            "connection": "c2",
            "peer": "test",
            "user": None,
            "command": "SEND",
            "headers": {"destination": "/queue/a", "colour": "red"},
            "size": 5,
            "body": "hello",
            "truncated": False,
        },
        {
            "time": 1_000_000,
            "direction": "out",
            "connection": "c2",
            "peer": "test",
            "user": None,
            "command": "MESSAGE",
            "headers": {
                "subscription": "0",
                "message-id": "c2-1",
                "destination": "/queue/a",
                "colour": "red",
                "content-length": "5",
            },
            "size": 5,
            "body": "hello",
            "truncated": False,
        },
    ]


def test_passcodes_are_not_shown(core: Core) -> None:
    """Nor anything else that they could be made out from."""
    tapper = Tapper(core)
    core.client(login="ann", passcode="secret")
    assert "secret" not in json.dumps(tapper.lines())


def test_the_last_frame_of_a_session_is_shown(core: Core) -> None:
    """The one at fault, and the ERROR; frames that are not carried out are not."""
    tapper = Tapper(core, frames="send,error")
    client = core.client()
    client.write(
        encode("SEND", [("destination", "/nowhere")]) + encode("SEND", [("destination", "a")])
    )
    assert tapper.seen() == [("in", "c2", "SEND"), ("out", "c2", "ERROR")]


def test_frames_that_wait_are_shown_when_they_are_carried_out() -> None:
    """Once each."""
    core = Core(settings(max_messages=1))
    tapper = Tapper(core, frames="SEND")
    producer, consumer = core.client(), core.client()
    frame = encode("SEND", [("destination", "/queue/a")], b"x")
    producer.write(frame * 4)
    assert len(tapper.lines()) == 2
    consumer.subscribe("/queue/a")
    assert len(tapper.lines()) == 2


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_every_version(version: str) -> None:
    """Each is read as it is written, and shown to whoever looks in whatever version."""
    core = Core()
    tapper = Tapper(core, version, match="/queue/a")
    client = core.client(version)
    client.subscribe("/queue/a")
    client.send("a", "x", name="a:b\\c\nd" if version == "1.2" else "ab")
    lines = tapper.lines()
    assert [line["command"] for line in lines] == ["SUBSCRIBE", "SEND", "MESSAGE"]
    assert lines[1]["headers"]["name"] == lines[2]["headers"]["name"]


# Filters.


def test_by_connection_and_user(core: Core) -> None:
    """What others do is not shown."""
    one, two = core.client(), core.client()
    two.session.user = "bob"
    by_connection = Tapper(core, connection="c1")
    by_user = Tapper(core, user="bob")
    publish(one, "/queue/a", ["1"])
    publish(two, "/queue/a", ["2"])
    assert [line["body"] for line in by_connection.lines()] == ["1"]
    assert [line["body"] for line in by_user.lines()] == ["2"]


def test_by_destination(core: Core) -> None:
    """A name or a pattern; frames without a destination are not shown then."""
    tapper = Tapper(core, match="/queue/a.*")
    client = core.client()
    for name in ("/queue/a.b", "a.c", "/queue/b", "/topic/a.b"):
        client.send(name, "x", receipt="r")
    assert [line["headers"]["destination"] for line in tapper.lines()] == ["/queue/a.b", "a.c"]


def test_by_command(core: Core) -> None:
    """In any spelling of the list."""
    tapper = Tapper(core, frames="ack, Message")
    client = core.client()
    client.subscribe("/queue/a", "client")
    client.send("/queue/a", "x")
    client.ack(client.one("MESSAGE"))
    assert [line["command"] for line in tapper.lines()] == ["MESSAGE", "ACK"]


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"frames": "SEND,FOO"}, "frames names no command"),
        ({"body_bytes": "x"}, "body-bytes is not a number"),
        ({"headers_only": "maybe"}, "headers-only is not a boolean"),
    ],
)
def test_filters_that_make_no_sense(core: Core, headers: dict[str, str], message: str) -> None:
    """They are ERRORs, and nothing is tapped."""
    client = core.administrator()
    client.subscribe("/topic/$SYS/tap", receipt="r", **headers)
    error = client.error()
    assert (error["message"], error["receipt-id"]) == (message, "r")
    assert core.broker.taps is None


def test_bodies(core: Core) -> None:
    """Up to 1024 octets, or as many as are wanted; what is no text in base64."""
    usual, short, none = (
        Tapper(core, frames="SEND"),
        Tapper(core, frames="SEND", body_bytes="3"),
        Tapper(core, frames="SEND", headers_only="true"),
    )
    client = core.client()
    client.send("/queue/a", b"x" * 2000)
    client.send("/queue/a", b"\xff\xfe")
    first, second = usual.lines()
    assert (len(first["body"]), first["size"], first["truncated"]) == (1024, 2000, True)
    assert (second["body_base64"], second["truncated"]) == ("//4=", False)
    assert [line.get("body") for line in short.lines()] == ["xxx", None]
    assert [(line.get("body"), line["size"]) for line in none.lines()] == [(None, 2000), (None, 2)]


def test_a_tap_stays_in_its_virtual_host() -> None:
    """Of other ones it shows nothing."""
    core = Core(settings(virtual_hosts=("/", "b")))
    tapper = Tapper(core, frames="SEND")
    publish(core.client(host="b"), "/queue/a", ["x"])
    assert tapper.lines() == []


# What a tap does not do.


def test_taps_do_not_show_taps(core: Core) -> None:
    """Neither themselves nor others; of the rest of a tapper's connection they do."""
    one, two = Tapper(core), Tapper(core)
    one.lines()
    one.client.send("/queue/b", "x", receipt="r")
    frames = one.client.take()
    assert [frame.command for frame in frames if frame.command != "MESSAGE"] == ["RECEIPT"]
    lines = [json.loads(frame.body) for frame in frames if frame.command == "MESSAGE"]
    assert [line["command"] for line in lines] == ["SEND", "RECEIPT"]
    assert two.seen() == [("in", "c1", "SEND"), ("out", "c1", "RECEIPT")]


def test_nothing_is_left_when_the_last_tap_ends(core: Core) -> None:
    """Whether it unsubscribes or leaves."""
    one, two = Tapper(core), Tapper(core)
    one.client("UNSUBSCRIBE", id="tap%")
    assert core.broker.taps is not None
    two.client.close()
    assert core.broker.taps is None
    one.client.take()
    core.client().send("/queue/a", "x")
    assert one.client.take() == []


def test_a_tap_that_does_not_read_misses_lines() -> None:
    """Nobody waits for it; the next line tells how many, and so does `subscriptions`."""
    core = Core(settings(outbox_high=2000))
    tapper = Tapper(core, frames="SEND")
    client = core.client()
    tapper.client.reading = False
    publish(client, "/topic/t", numbers(1, 100))
    assert not client.session.paused
    (subscription,) = tapper.client.session.subscriptions.values()
    assert subscription.dropped > 50
    tapper.client.read_again()
    kept = len(tapper.lines())
    assert kept + subscription.dropped == 100
    publish(client, "/topic/t", ["last"])
    (line,) = tapper.lines()
    assert (line["body"], line["dropped"]) == ("last", subscription.dropped)
    publish(client, "/topic/t", ["more"])
    assert "dropped" not in tapper.lines()[0]


def test_only_so_many_frames_are_looked_at_in_a_second(core: Core) -> None:
    """The others are counted: looking on must not take the time that the work needs."""
    tapper = Tapper(core, frames="SEND MESSAGE")
    client = core.client()
    client.write(encode("SEND", [("destination", "/topic/t")], b"x") * 5000)
    shown = len(tapper.lines())
    assert 1500 < shown <= 2000
    core.tick(1)
    client.write(encode("SEND", [("destination", "/topic/t")], b"x"))
    (line,) = tapper.lines()
    assert line["dropped"] == 5000 - shown
    consumer = core.client()
    consumer.subscribe("/topic/t")
    core.tick(1)
    client.write(encode("SEND", [("destination", "/topic/t")], b"x") * 1500)
    lines = tapper.lines()
    assert {line["direction"] for line in lines} == {"in"}
    core.tick(1)
    client.write(encode("SEND", [("destination", "/topic/t")], b"x"))
    assert [line.get("dropped") for line in tapper.lines()] == [1500, None]


def test_frames_that_wait_to_be_written_are_shown_once() -> None:
    """Whatever else comes into the same outbox until its peer reads."""

    class Slow(Client):
        """A client whose transport is busy: what is flushed stays in the outbox."""

        busy = False

        def _flush(self) -> None:
            if not self.busy:
                super()._flush()

    core = Core()
    tapper = Tapper(core, frames="MESSAGE")
    slow = Slow(core)
    slow.log_in({"accept-version": "1.2", "host": "/"})
    slow.subscribe("/topic/t")
    slow.busy = True
    publisher = core.client()
    for number in range(3):
        publish(publisher, "/topic/t", [str(number)])
        assert [line["body"] for line in tapper.lines()] == [str(number)]
    # Its transport writes what is there, and is busy again.
    slow._read(b"".join(slow.session.outbox.take()))  # noqa: SLF001 - it stands in for the transport
    assert slow.bodies() == numbers(0, 2)
    for number in (3, 4):
        publish(publisher, "/topic/t", [str(number)])
        assert [line["body"] for line in tapper.lines()] == [str(number)]
    slow.busy = False
    publish(publisher, "/topic/t", ["5"])
    assert [line["body"] for line in tapper.lines()] == ["5"]
    assert slow.bodies() == numbers(3, 5)


def test_a_broker_that_stops_taps_nothing_more(core: Core) -> None:
    """Its taps get no deliveries either."""
    tapper = Tapper(core)
    tapper.client.subscribe("/queue/a", "client", id="a")
    publish(tapper.client, "/queue/a", ["1"])
    tapper.client.take()
    core.broker.drain()
    core.run()
    tapper.client.send("/topic/t", "x")
    assert tapper.client.take() == []
