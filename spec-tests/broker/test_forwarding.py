"""What of a SEND's header lines reaches a consumer: all of the sender's, none of the broker's."""

import pytest
from broker.client import Client, Core, settings
from hypothesis import given
from hypothesis import strategies as st

from stompd.protocol.frame import VERSIONS

# What a broker says itself, or keeps to itself.
OWN = (
    "ack",
    "delivery-count",
    "message-id",
    "original-message-id",
    "receipt",
    "redelivered",
    "subscription",
    "transaction",
)


def _raw(client: Client) -> bytes:
    """The octets of the last MESSAGE, without the headers of the delivery."""
    frame = bytes(client.octets[client.octets.rindex(b"MESSAGE\n") :])
    lines = frame.split(b"\n")
    while not lines[0].startswith(b"destination:"):
        del lines[0]
    return b"\n".join(lines)


def _names(client: Client) -> list[str]:
    frame = bytes(client.octets[client.octets.rindex(b"MESSAGE\n") :])
    head = frame.partition(b"\n\n")[0]
    return [line.partition(b":")[0].decode() for line in head.split(b"\n")[1:]]


@pytest.fixture
def consumers(core: Core) -> dict[str, Client]:
    """One consumer of topic a for each version."""
    clients = {version: core.client(version) for version in VERSIONS}
    for client in clients.values():
        client.subscribe("/topic/a", "client")
    return clients


@pytest.mark.clause("HDR-02", "S-07", "M-11")
@pytest.mark.parametrize("odd", [b"", b"odd:a\\cb\n"])
@pytest.mark.parametrize("name", OWN)
def test_the_brokers_own_headers_are_not_forwarded(
    core: Core, consumers: dict[str, Client], name: str, odd: bytes
) -> None:
    """Whether the head is forwarded as it is or made anew; each name comes once."""
    sender = core.client()
    sender("BEGIN", transaction="forged")
    sender.write(
        b"SEND\nfirst:1\n%b:forged\ndestination:/topic/a\n%blast:2\n\nbody\0" % (name.encode(), odd)
    )
    sender("COMMIT", transaction="forged")
    assert sender.session.state.value == "open"
    for client in consumers.values():
        message = client.messages(1)[0]
        assert "forged" not in message.headers.values()
        names = _names(client)
        assert len(names) == len(set(names))
        assert [n for n in names if n in ("first", "destination", "last")] == [
            "first",
            "destination",
            "last",
        ]


@pytest.mark.clause("HDR-02")
def test_all_of_the_brokers_own_headers_at_once(core: Core, consumers: dict[str, Client]) -> None:
    """In any place of the head, among others that are the sender's."""
    lines = b"".join(b"%b:forged\nx-%d:%d\n" % (n.encode(), k, k) for k, n in enumerate(OWN))
    sender = core.client()
    sender("BEGIN", transaction="forged")
    for _ in range(3):
        sender.write(b"SEND\n%bdestination:/topic/a\n\n\0" % lines)
    sender("COMMIT", transaction="forged")
    for client in consumers.values():
        for message in client.messages(3):
            assert "forged" not in message.headers.values()
            assert [message[f"x-{k}"] for k in range(8)] == [str(k) for k in range(8)]


@pytest.mark.clause("HDR-03", "HDR-04", "M-11")
def test_repeated_names_are_forwarded_once(core: Core, consumers: dict[str, Client]) -> None:
    """The first of them counts, and is all that consumers see."""
    core.client().write(b"SEND\ndestination:/topic/a\nfoo:World\nfoo:Hello\n\n\0")
    for client in consumers.values():
        assert client.messages(1)[0]["foo"] == "World"
        assert _names(client).count("foo") == 1


@pytest.mark.clause("F-15", "ESC-01", "ESC-03", "V10-05")
def test_a_second_colon_is_escaped_where_it_has_to_be(
    core: Core, consumers: dict[str, Client]
) -> None:
    """It comes decoded to 1.1 and 1.2, and plain to 1.0."""
    core.client().write(b"SEND\ndestination:/topic/a\nurl:http://x:1/\n\n\0")
    for version, client in consumers.items():
        assert client.messages(1)[0]["url"] == "http://x:1/"
        expected = b"url:http://x:1/" if version == "1.0" else b"url:http\\c//x\\c1/"
        assert expected in client.octets


@pytest.mark.clause("ESC-01", "V11-02", "V11-03", "V10-05", "V10-06")
def test_escapes_are_those_of_the_consumers_version(
    core: Core, consumers: dict[str, Client]
) -> None:
    """CR goes raw to 1.1, escaped to 1.2; 1.0 never gets a line end."""
    core.client().write(b"SEND\ndestination:/topic/a\nx:a\\rb\\nc\\\\d\\ce\n\n\0")
    expected = {
        "1.0": b"x:a\\rb\\nc\\d:e\n",
        "1.1": b"x:a\rb\\nc\\\\d\\ce\n",
        "1.2": b"x:a\\rb\\nc\\\\d\\ce\n",
    }
    for version, client in consumers.items():
        assert expected[version] in client.octets


@pytest.mark.clause("V10-05")
def test_a_backslash_of_1_0_is_data(core: Core, consumers: dict[str, Client]) -> None:
    """Later versions get it escaped."""
    core.client("1.0").write(b"SEND\ndestination:/topic/a\nx:a\\nb:c\n\n\0")
    for version, client in consumers.items():
        expected = b"x:a\\nb:c\n" if version == "1.0" else b"x:a\\\\nb\\cc\n"
        assert expected in client.octets
        assert client.messages(1)[0]["x"] == "a\\nb:c"


@pytest.mark.clause("F-04", "F-14", "V10-06")
def test_line_ends_are_made_lf(core: Core, consumers: dict[str, Client]) -> None:
    """A sender with CR LF is not heard of by its consumers; empty values not by 1.0."""
    core.client().write(b"SEND\r\ndestination:/topic/a\r\nx:1\r\nempty:\r\n\r\nbody\0")
    for version, client in consumers.items():
        message = client.messages(1)[0]
        assert message["x"] == "1"
        assert message.get("empty") == (None if version == "1.0" else "")
        assert b"\r" not in client.octets


@pytest.mark.clause("CL-05", "M-09", "CT-03")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("odd", [b"", b"x:a\\cb\n"])
@pytest.mark.parametrize("length", [b"", b"content-length:4\n", b"content-length: 4 \n"])
def test_the_content_length_is_the_brokers(
    core: Core, consumers: dict[str, Client], version: str, odd: bytes, length: bytes
) -> None:
    """With or without the sender's, a body has one, and it is the number of its octets."""
    core.client(version).write(
        b"SEND\ndestination:/topic/a\n%b%bcontent-type:text/plain\n\nbody\0" % (length, odd)
    )
    for client in consumers.values():
        message = client.messages(1)[0]
        assert (message.body, message["content-length"]) == (b"body", "4")
        assert message["content-type"] == "text/plain"
        assert _names(client).count("content-length") == 1


@pytest.mark.clause("CT-01", "CL-05", "M-09")
@pytest.mark.parametrize("length", [b"", b"content-length:0\n"])
def test_nothing_is_said_about_an_empty_body(
    core: Core, consumers: dict[str, Client], length: bytes
) -> None:
    """No content-type is invented, and a content-length of 0 at most repeated."""
    core.client().write(b"SEND\ndestination:/topic/a\n%b\n\0" % length)
    for client in consumers.values():
        message = client.messages(1)[0]
        assert message.body == b""
        assert message.get("content-length") in (None, "0")
        assert message.get("content-type") is None


@pytest.mark.clause("F-17", "M-08")
@pytest.mark.parametrize("size", [3, 16 * 1024 - 1, 16 * 1024, 100_000])
def test_bodies_are_octets(core: Core, consumers: dict[str, Client], size: int) -> None:
    """NULs, line ends and any other octet, small or large, to every version."""
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    core.client()("SEND", body, destination="/topic/a", note="x:y")
    core.client()("SEND", body, destination="/topic/a")
    for client in consumers.values():
        assert [message.body for message in client.messages(2)] == [body, body]


@pytest.mark.clause("M-03")
@pytest.mark.parametrize(
    "name", [b"/topic/\xc3\xa9%20b", b"/topic/a b", b"/topic/x\\cy", b"/topic/100%d"]
)
def test_the_destination_comes_as_it_was_sent(core: Core, name: bytes) -> None:
    """The same octets after escaping."""
    client = core.client()
    client.write(b"SUBSCRIBE\nid:0\ndestination:%b\n\n\0" % name)
    core.client().write(b"SEND\ndestination:%b\n\n\0" % name)
    assert b"\ndestination:%b\n" % name in client.octets


@pytest.mark.clause("F-22", "F-21")
def test_octets_of_1_0_that_are_not_utf_8(core: Core, consumers: dict[str, Client]) -> None:
    """They pass unchanged to 1.0, and as a replacement to those that must get UTF-8."""
    core.client("1.0").write(b"SEND\ndestination:/topic/a\nx:\xff\n\n\0")
    for version, client in consumers.items():
        expected = b"x:\xff\n" if version == "1.0" else b"x:\xef\xbf\xbd\n"
        assert expected in client.octets


@pytest.mark.clause("F-07")
@pytest.mark.parametrize("newline", [True, False])
def test_frames_end_with_nul_and_perhaps_a_line_end(*, newline: bool) -> None:
    """As settings say, for every kind of frame."""
    core = Core(settings(trailing_newline=newline))
    client = core.client()
    client.subscribe("/topic/a", receipt="r")
    client.send("/topic/a", "x")
    client.send("/topic/a", "y" * 20_000)
    client("SEND")
    assert client.octets.count(b"\0\n") == (5 if newline else 0)
    assert client.octets.count(b"\0") == 5


def test_a_head_that_is_repeated_is_forwarded_every_time(core: Core) -> None:
    """Equal octets of many SENDs, with different bodies: what was worked out once stays right."""
    client = core.client()
    client.subscribe("/queue/a")
    sender = core.client()
    for number in range(10):
        sender.write(b"SEND\ndestination:/queue/a\nx:1\n\n%d\0" % number)
        assert _raw(client).startswith(
            b"destination:/queue/a\nx:1\ncontent-length:1\n\n%d\0" % number
        )


def test_equal_names_with_other_values_go_another_way(core: Core) -> None:
    """What is kept for the names of a head is looked at again for every value."""
    client, sender = core.client(), core.client()
    for name in ("/queue/a", "/queue/b", "/topic/c", "/temp-queue/d"):
        client.subscribe(name, id=name)
    names = ["/queue/a", "/queue/a", "/queue/b", "/queue/a", "/topic/c", "/queue/b"]
    for turn in range(3):
        for name in names:
            sender.send(name, str(turn), x="1")
            client.send("/temp-queue/d", str(turn), x="1")
        got = [message["subscription"] for message in client.messages()]
        assert got[::2] == names
        assert set(got[1::2]) == {"/temp-queue/d"}
    sender.send("/queue/#", "no", x="1")
    assert sender.error()["message"] == "SEND to a wildcard"


def test_a_head_without_destination_is_refused_every_time(core: Core) -> None:
    """Repeating it does not help."""
    for _ in range(4):
        client = core.client()
        client.write(b"SEND\nx:1\n\n\0")
        assert client.error()["message"] == "SEND without destination"


@pytest.mark.clause("S-04")
def test_a_repeated_head_with_receipt_and_transaction(core: Core) -> None:
    """Both are carried out every time and never forwarded."""
    client, sender = core.client(), core.client()
    client.subscribe("/queue/a")
    frame = b"SEND\ntransaction:t\ndestination:/queue/a\nreceipt:r\nx:1\n\nbody\0"
    for _ in range(3):
        sender("BEGIN", transaction="t")
        sender.write(frame * 2)
        sender("COMMIT", transaction="t")
        assert sender.receipts() == ["r", "r"]
        for message in client.messages(2):
            assert not {"receipt", "transaction"} & set(message.headers)
            assert message["x"] == "1"


_ESCAPES: dict[str, dict[str, str]] = {
    "1.0": {},
    "1.1": {"\\": "\\\\", "\n": "\\n", ":": "\\c"},
    "1.2": {"\\": "\\\\", "\n": "\\n", ":": "\\c", "\r": "\\r"},
}


def _escaped(text: str, version: str) -> str:
    return "".join(_ESCAPES[version].get(letter, letter) for letter in text)


def _sendable(text: str, version: str) -> bool:
    """True if this version can carry it, in its plainest reading."""
    if version == "1.2":
        return True
    if version == "1.1":
        return "\r" not in text
    return text.strip(" ") == text != "" and not set(text) & set("\r\n")


def _seen(text: str, version: str) -> str:
    """What a consumer of this version makes of a value; 1.0 has no line ends and trims."""
    if version == "1.0":
        return text.replace("\n", "\\n").replace("\r", "\\r").strip(" ")
    return text


@given(
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                ["a", "b", "é x", "back\\slash", "receipt-id", *OWN[:3], "redelivered"]
            ),
            st.text("ab:\\\n\ré ", max_size=6).filter(lambda value: not value.endswith("\r")),
        ),
        max_size=6,
    ),
    sender=st.sampled_from(VERSIONS),
    body=st.binary(max_size=20),
    repeats=st.integers(1, 3),
)
def test_any_headers(
    headers: list[tuple[str, str]], sender: str, body: bytes, repeats: int
) -> None:
    """Whatever names and values a SEND has, each consumer reads the same, in the same order."""
    core = Core()
    clients = {version: core.client(version) for version in VERSIONS}
    for client in clients.values():
        client.subscribe("/topic/a")
    headers = [pair for pair in headers if _sendable(pair[1], sender)]
    lines = "".join(f"{_escaped(n, sender)}:{_escaped(v, sender)}\n" for n, v in headers)
    frame = f"SEND\n{lines}destination:/topic/a\ncontent-length:{len(body)}\n\n".encode()
    writer = core.client(sender)
    for _ in range(repeats):
        writer.write(frame + body + b"\0")
    assert "ERROR" not in [got.command for got in writer.take()]
    wanted: dict[str, str] = {}
    for name, value in headers:
        wanted.setdefault(name, value)
    for version, client in clients.items():
        expected = {
            name: _seen(value, version)
            for name, value in wanted.items()
            if name not in OWN and (version != "1.0" or _seen(value, version))
        }
        for message in client.messages(repeats):
            own = {n: v for n, v in message.headers.items() if n in wanted and n not in OWN}
            if version == "1.0":
                # Blanks alone may come as an empty value.
                own = {name: value for name, value in own.items() if value}
            assert list(own.items()) == list(expected.items())
            assert message.body == body
