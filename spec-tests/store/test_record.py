"""A message as a row: whatever SEND makes comes back without loss, and is delivered the same."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from broker.client import Core
from broker.paging import Record
from hypothesis import given
from hypothesis import strategies as st
from store.keeping import END, EPOCH, head_of, plain

from stompd.broker.cron import Cron
from stompd.broker.message import Message
from stompd.broker.storage import Key
from stompd.broker.terms import Schedule, Terms
from stompd.protocol.frame import NEVER_FORWARDED, VERSIONS, Head
from stompd.store.memory import MemoryStore
from stompd.store.record import Reader, Writer, as_text, from_text, priority_of


class Listening(MemoryStore):
    """Holds the messages that a store is told to keep."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def put(self, queue: Key, message: Message, due: float = 0.0) -> None:
        """Hold it."""
        del queue, due
        self.messages.append(message)


_WRITER = Writer()
_READER = Reader(END)


def restored(message: Message, *, rare: bool = False, due: float = 0.0) -> Message:
    """Return the message after it was a row; with ``rare`` in the more roomy form."""
    headers = None if rare or due else _WRITER.plain(message)
    told = None
    if headers is None:
        headers, values = _WRITER.rare(message, due, EPOCH)
        # As it is when SQLite makes JSON of it.
        told = json.loads(json.dumps(values))
    return _READER.message(
        message.place,
        priority_of(message),
        message.size,
        int(message.persistent),
        # It has to be text for SQLite.
        headers.encode().decode(),
        message.body,
        told,
        EPOCH,
    )


def rounded(record: Record) -> dict[str, Any]:
    """Return what is to be compared: times as the milliseconds that are kept."""
    values: dict[str, Any] = dict(vars(record))
    values["headers"] = {n: v for n, v in record.headers.items() if n not in NEVER_FORWARDED}
    terms = record.terms
    if terms is not None:
        found = {name: getattr(terms, name) for name in Terms.__slots__}
        found["expires"] = round(terms.expires, 3)
        found["due"] = round(terms.due, 3)
        if terms.schedule is not None:
            schedule = terms.schedule
            found["schedule"] = [getattr(schedule, name) for name in Schedule.__slots__]
            found["schedule"][0] = None if schedule.cron is None else schedule.cron.text
        values["terms"] = found
    return values


def same(message: Message, other: Message) -> None:
    """See that nothing of a message was lost, and that consumers of all versions get the same."""
    assert rounded(Record.of(other, 0.0)) == rounded(Record.of(message, 0.0))
    assert other.place == message.place
    assert other.tail == message.tail
    assert other.same == message.same
    assert other.stored
    if message.tail is None:
        for version in VERSIONS:
            assert other.pieces(version, END) == message.pieces(version, END)


_WORD = st.text(string.ascii_letters + string.digits + "-_./", min_size=1, max_size=12)
_VALUE = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
_OCTETS = st.binary(min_size=1, max_size=12).filter(
    lambda octets: not set(octets) & set(b"\0\n\r:\\ \t")
)
_BODY = st.one_of(st.binary(max_size=40), st.sampled_from([b"", b"x" * 511, b"\0" * 512]))
_ASKED = st.fixed_dictionaries(
    {},
    optional={
        "priority": st.sampled_from(["0", "4", "9"]),
        "ttl": st.sampled_from(["1", "60000"]),
        "expires": st.sampled_from(["1800000000000", " 1800000000000"]),
        "message-group": _WORD,
        "content-type": _WORD,
        "receipt": _WORD,
        "message-id": _WORD,
        "reply-to": st.sampled_from(["/queue/b", "/temp-queue/b"]),
    },
)


def sent(version: str, octets: bytes) -> Message:
    """Return the message that the broker keeps when a client of a version writes this."""
    store = Listening()
    core = Core(store=store, epoch=EPOCH)
    core.client(version).write(octets)
    (message,) = store.messages
    return message


def lines(headers: dict[str, str]) -> bytes:
    """Return header lines of headers that need no escapes."""
    return b"".join(b"%b:%b\n" % (n.encode(), v.encode()) for n, v in headers.items())


@given(
    st.sampled_from(VERSIONS),
    _ASKED,
    st.dictionaries(_WORD.map("x-{}".format), _WORD, max_size=3),
    st.sampled_from(["with a length", "without"]),
    _BODY,
)
def test_plain_headers(
    version: str, asked: dict[str, str], further: dict[str, str], length: str, body: bytes
) -> None:
    """Whatever a SEND asks for with lines that all versions read alike comes back as it was."""
    headers = {"destination": "/queue/a", "persistent": "true", **asked, **further}
    if length != "without" or b"\0" in body:
        headers["content-length"] = str(len(body))
    message = sent(version, b"SEND\n" + lines(headers) + b"\n" + body + b"\0")
    same(message, restored(message))
    same(message, restored(message, rare=True))


@given(st.dictionaries(_VALUE.filter(bool), _VALUE, max_size=4), _ASKED, _BODY)
def test_headers_with_escapes(further: dict[str, str], asked: dict[str, str], body: bytes) -> None:
    """Headers of 1.2 that need escapes, or have no value, come back as they were."""
    headers = {
        "destination": "/queue/a",
        "persistent": "true",
        **asked,
        **{f"x-{name}": value for name, value in further.items()},
        "content-length": str(len(body)),
    }
    core = Core(store=(store := Listening()), epoch=EPOCH)
    core.client()("SEND", body, **headers)
    (message,) = store.messages
    same(message, restored(message))


@given(_OCTETS, _OCTETS)
def test_headers_that_are_not_utf_8(name: bytes, value: bytes) -> None:
    """What a 1.0 peer sent in another encoding comes back to 1.0 peers in that encoding."""
    message = sent(
        "1.0",
        b"SEND\ndestination:/queue/a\npersistent:true\nx%b:%b\n\n\0" % (name, value),
    )
    same(message, restored(message))


@given(
    st.builds(
        Terms,
        st.integers(0, 9),
        st.one_of(st.just(float("inf")), st.floats(0, 1e8)),
    ),
    st.one_of(st.none(), st.text(max_size=5)),
    st.one_of(st.none(), st.text(max_size=5)),
    st.sampled_from([None, "set", "remove"]),
    st.one_of(st.just(("", "")), st.tuples(st.text(max_size=5), st.text(max_size=5))),
    st.one_of(
        st.none(),
        st.builds(
            Schedule,
            st.floats(0, 1e6),
            st.floats(0, 1e6),
            st.integers(-1, 5),
            st.one_of(st.none(), st.just(Cron("*/5 1-3 * jan mon"))),
        ),
    ),
    st.integers(0, 5),
)
def test_terms(
    terms: Terms,
    group: str | None,
    dedup_id: str | None,
    retain: str | None,
    sender: tuple[str, str],
    schedule: Schedule | None,
    left: int,
) -> None:
    """Priority, expiry, group, delay, repetition, dedup-id and sender come back."""
    terms.group, terms.dedup_id, terms.retain, terms.sender = group, dedup_id, retain, sender
    terms.incoming = left > 2
    terms.due = left * 1.5
    terms.schedule = schedule
    if schedule is not None:
        schedule.left = left
    message = plain(b"body", terms=terms)
    message.place = 7
    same(message, restored(message))
    same(message, restored(message, due=12.0))


@given(
    st.one_of(st.none(), st.dictionaries(_VALUE.filter(bool), _VALUE, max_size=3)),
    st.integers(0, 3),
    st.text(max_size=9),
    st.text(max_size=9),
    st.integers(0, 1 << 40),
)
def test_what_happened_to_it(
    extra: dict[str, str] | None,
    count: int,
    detail: str,
    first_id: str,
    size: int,
) -> None:
    """Headers of the broker's, failed attempts, words, first id and size come back."""
    message = plain(b"x" * 600)
    if extra is not None:
        message = Message(message.head, message.body, None, True)  # noqa: FBT003
        message.extra = extra
    message.count, message.detail, message.first_id = count, detail, first_id
    message.redelivered, message.size = count > 1, size
    same(message, restored(message))


def test_a_dead_letter_of_the_brokers() -> None:
    """A head that was made from names and values, with nothing in it or with much."""
    for headers in ({}, {"destination": "/queue/a", "empty": "", "odd": "a:b\nc\\\r"}):
        message = Message(Head.of("SEND", headers), b"", None, False)  # noqa: FBT003
        same(message, restored(message))


def test_octets_that_no_header_may_have() -> None:
    """A NUL in a header of the broker's own making is no reason to lose the message."""
    message = Message(Head.of("SEND", {"x": "a\0b\ud800"}), b"", None, False)  # noqa: FBT003
    assert restored(message).head.headers == {"x": "a\0b\ud800"}


def test_heads_of_equal_lines_are_shared() -> None:
    """A thousand messages with the same headers have one head, with and without a receipt."""
    block = b"destination:/queue/a\nx:shared"
    one, two = (restored(plain(b"1", block)) for _ in range(2))
    third = restored(plain(b"1", b"destination:/queue/a\nreceipt:r\nx:shared"))
    assert one.head is two.head is third.head
    assert third.head.headers == {"destination": "/queue/a", "x": "shared"}


def test_tables_of_heads_are_bounded() -> None:
    """Headers that differ each time do not fill the memory; long ones are not kept at all."""
    writer, reader = Writer(), Reader()
    for number in range(5000):
        headers = writer.plain(plain(b"", b"destination:/queue/a\nx:%d" % number))
        assert headers is not None
        reader.message(1, 4, 1, 1, headers, b"", None, 0.0)
    assert len(writer._lines) <= 1024  # noqa: SLF001 - it has no other face
    assert len(reader._known) <= 1024  # noqa: SLF001 - as above
    long = b"destination:/queue/a\nx:" + b"y" * 2000
    headers = writer.plain(plain(b"", long))
    assert headers == long.decode()
    before = len(reader._known)  # noqa: SLF001 - as above
    assert reader.message(1, 4, 1, 1, headers, b"", None, 0.0).head.block == long
    assert len(reader._known) == before  # noqa: SLF001 - as above


def test_lines_that_were_tampered_with() -> None:
    """Lines that are said to be plain and are not are a fault in the file, not a message."""
    with pytest.raises(ValueError, match="not plain"):
        _READER.message(1, 4, 1, 1, "no colon", b"", None, 0.0)


@given(st.text())
def test_names(name: str) -> None:
    """Names of any characters survive as text of SQLite's."""
    text = as_text(name)
    assert "\0" not in text
    assert text.encode().decode() == text
    assert from_text(text) == name


def test_plain_needs_no_parsing() -> None:
    """The heads of this module's helper are what the decoder makes."""
    assert head_of(b"a:b").headers == {"a": "b"}
