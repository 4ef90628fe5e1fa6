"""send, sendrec and sendreply."""

import json
import os
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

import trio

from stompcli import draft, files
from stompcli.client import Receipt, SessionEndedError, Transaction, send_frame
from stompcli.editing import edited
from stompcli.exitcodes import ExitCode
from stompcli.failure import bad_input, of, usage
from stompcli.outgoing import Outgoing
from stompcli.output import Out
from stompcli.reading import StandardInput, pieces
from stompcli.render import frame_lines, visible_line
from stompcli.session import Session
from stompd.protocol.encoder import encode

# Seconds until progress is worth a word, and between two of them.
_PATIENCE: Final = 1.0
_OFTEN: Final = 0.2
# How many receipts may be outstanding.
_IN_FLIGHT: Final = 1000
_PLAIN: Final = "text/plain"
_FILLER: Final = b"0123456789abcdef"


async def send(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Send one message, or a stream of them."""
    params = params | {"editor": session.preferences.editor}
    if params["dry_run"]:
        await _dry_run(params, out, in_shell=session.in_shell)
        return None
    if session.in_shell and not (params["lines"] or params["null"] or params["json_in"]):
        await _send_in_shell(session, params)
        return None
    return await _send_stream(session, params, out)


async def sendrec(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Send a message, wait for its receipt, print it."""
    message = await single(params, in_shell=session.in_shell)
    client = await session.link()
    started = time.monotonic()
    receipt = await client.submit(
        message.destination,
        message.body,
        **message.arguments(),
        transaction=session.transaction,
    )
    _count_in_transaction(session)
    await receipt.wait()
    took = time.monotonic() - started
    if out.settings.json:
        await out.json({"receipt": receipt.id, "seconds": round(took, 6)})
    else:
        await out.write(frame_lines("RECEIPT", {"receipt-id": receipt.id}, tty=out.tty))
    if not session.in_shell:
        out.notice(f"{_sent(1, len(message.body), message.destination)} ({_ms(took)})")
    return None


async def sendreply(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Send an answer: like send, with a correlation-id."""
    own = {"correlation_id": params["correlation"]}
    defaults = dict.fromkeys(("count", "rate", "sleep", "size", "tx", "receipt"))
    flags = dict.fromkeys(("lines", "null", "json_in", "dry_run", "template", "edit"), False)
    return await send(session, {**defaults, **flags, **params, **own}, out)


async def _send_in_shell(session: Session, params: dict[str, Any]) -> None:
    """Send without a word; a script waits for the receipt, so that it stops at the right line."""
    async with aclosing(_messages(params, in_shell=True)) as messages:
        message = await anext(messages)
    client = await session.link()
    wanted = params["receipt"]
    if wanted is None:
        # Some brokers confirm what is in a transaction only when it is committed.
        wanted = not session.interactive and session.transaction is None
    for number in range(1, (params["count"] or 1) + 1):
        one = message.filled(number)
        await client.send(
            one.destination,
            one.body,
            **one.arguments(),
            receipt=wanted,
            transaction=session.transaction,
        )
        _count_in_transaction(session)


def _count_in_transaction(session: Session) -> None:
    if session.transaction is not None:
        session.transaction_frames += 1


# What to send.


async def _dry_run(params: dict[str, Any], out: Out, *, in_shell: bool) -> None:
    number = 0
    async with aclosing(_messages(params, in_shell=in_shell)) as messages:
        async for one in messages:
            number += 1
            message = one.filled(number)
            pairs, octets = send_frame(message.destination, message.body, **message.arguments())
            frame = encode("SEND", pairs, octets)
            if out.tty:
                text = visible_line(frame.decode("utf-8", "surrogateescape"))
                await out.line(text.replace("\\x0a", "\n").replace("\\x00", "^@"))
            else:
                await out.write(frame)


async def single(params: dict[str, Any], *, in_shell: bool) -> Outgoing:
    """Return the one message that the arguments ask for; raises `Failure` if there is no body."""
    async with aclosing(_messages(params, in_shell=in_shell)) as messages:
        return (await anext(messages)).filled(1)


async def _messages(params: dict[str, Any], *, in_shell: bool) -> AsyncGenerator[Outgoing, None]:
    """Yield the messages that the arguments ask for, each once."""
    headers = _headers(params)
    destination = params["destination"]
    kinds = [value for name, value in headers if name == "content-type"]
    headers = [pair for pair in headers if pair[0] != "content-type"]
    kind = params["content_type"] or (kinds[0] if kinds else None)

    def outgoing(body: bytes) -> Outgoing:
        return Outgoing(
            destination,
            body,
            headers,
            kind or _guess(body),
            not params.get("no_content_length"),
            bool(params.get("template")),
            bool(params.get("template")) and not streams,
        )

    streams = [name for name in ("lines", "null", "json_in") if params.get(name)]
    if len(streams) > 1:
        raise usage("--lines, --null and --json-in exclude each other")
    if streams and (params.get("no_stdin") or in_shell):
        raise usage(
            f"--{streams[0].replace('_', '-')} reads standard input, which is not to be read"
        )
    if streams and (params["body"] not in ((), ("-",)) or params["body_file"]):
        raise usage(f"--{streams[0].replace('_', '-')} reads bodies from standard input; give none")
    if params.get("edit"):
        if streams:
            raise usage(f"--edit and --{streams[0].replace('_', '-')} exclude each other")
        yield await _edited(params, outgoing(b""))
        return
    if not streams:
        message = outgoing(await _body(params, in_shell=in_shell))
        message.check()
        yield message
        return
    outgoing(b"").check()
    separator = b"\0" if streams == ["null"] else b"\n"
    async with aclosing(pieces(StandardInput(), separator)) as parts:
        number = 0
        async for piece in parts:
            number += 1
            if streams == ["json_in"]:
                if piece.strip():
                    yield from_json(piece, number, outgoing(b""))
            else:
                yield outgoing(piece)


async def _edited(params: dict[str, Any], model: Outgoing) -> Outgoing:
    """Return the message that somebody has written in an editor."""
    given = params["body"] or params["body_file"] is not None or params.get("size") is not None
    body = await _body(params, in_shell=True) if given else b""
    headers = list(model.headers)
    headers.insert(0, ("content-type", params["content_type"] or model.content_type or _PLAIN))
    first = draft.text(model.destination, headers, body)
    editor = params.get("editor")
    environ = {**os.environ, "VISUAL": editor} if editor else os.environ
    left = await trio.to_thread.run_sync(lambda: edited(first, suffix=".stomp", environ=environ))
    headers, body = draft.parsed(left)
    kinds = [value for name, value in headers if name == "content-type"]
    others = [pair for pair in headers if pair[0] not in ("content-type", "content-length")]
    message = replace(model, body=body, headers=others, content_type=kinds[0] if kinds else None)
    message.check()
    return message


async def _body(params: dict[str, Any], *, in_shell: bool) -> bytes:
    words: tuple[str, ...] = params["body"]
    sources = [
        name
        for name, given in (
            ("BODY", bool(words)),
            ("--body-file", params["body_file"] is not None),
            ("--size", params.get("size") is not None),
        )
        if given
    ]
    if len(sources) > 1:
        raise usage(f"{sources[0]} and {sources[1]} exclude each other")
    if params["body_file"] is not None:
        return files.read(params["body_file"])
    if params.get("size") is not None:
        size: int = params["size"]
        return (_FILLER * (size // len(_FILLER) + 1))[:size]
    if words and words != ("-",):
        return " ".join(words).encode("utf-8", "surrogateescape")
    if in_shell:
        raise usage('no body; an empty one is ""')
    if params.get("no_stdin"):
        raise usage('no body, and --no-stdin; an empty body is ""')
    standard_input = StandardInput()
    if not words and standard_input.tty:
        raise usage(
            'no body; give one, "" for an empty one, - to read standard input, or --edit to write '
            "one in your editor"
        )
    return await standard_input.all()


def _headers(params: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the headers in order; a header without a value takes away those before it."""
    pairs: list[tuple[str, str]] = []
    if params["headers"] is not None:
        pairs += _json_headers(files.read(params["headers"]), params["headers"])
    if params["persistent"]:
        pairs.append(("persistent", "true"))
    if params["priority"] is not None:
        pairs.append(("priority", str(params["priority"])))
    for name in ("ttl", "delay"):
        if params[name] is not None:
            pairs.append((name, str(round(params[name] * 1000))))
    for name in ("reply_to", "correlation_id"):
        if params[name] is not None:
            pairs.append((name.replace("_", "-"), params[name]))
    for name, value in params["header"]:
        if value is None:
            pairs = [pair for pair in pairs if pair[0] != name]
        else:
            pairs.append((name, value))
    return pairs


def _json_headers(data: bytes, path: str) -> list[tuple[str, str]]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise bad_input(f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise bad_input(f'{path}: not a JSON object such as {{"name": "value"}}')
    pairs = []
    for name, text in value.items():
        if isinstance(text, bool):
            pairs.append((name, str(text).lower()))
        elif isinstance(text, str | int | float):
            pairs.append((name, str(text)))
        else:
            raise bad_input(f'{path}: the header "{name}" is no text or number')
    return pairs


def from_json(
    line: bytes, number: int, model: Outgoing, source: str = "standard input"
) -> Outgoing:
    """Return the message that a line of `subscribe --json` describes, sent to our destination.

    Raises `Failure` for a line that describes none; it is that ``number`` of ``source``.
    """
    import base64

    try:
        value = json.loads(line)
        body = (
            base64.b64decode(value["body_base64"], validate=True)
            if "body_base64" in value
            else value.get("body", "").encode()
        )
        given = {str(name): str(text) for name, text in value.get("headers", {}).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise bad_input(f"line {number} of {source} is no message: {error}") from None
    message = described(given, body, model)
    return replace(message, content_type=message.content_type or _guess(body))


def described(given: dict[str, str], body: bytes, model: Outgoing) -> Outgoing:
    """Return the message with these headers and this body, sent to our destination.

    The headers of ``model`` go before, and what was only true of one delivery is left out.
    """
    overridden = {name for name, _ in model.headers}
    headers = [
        pair for pair in given.items() if pair[0] not in (*OF_DELIVERY, *overridden, "content-type")
    ]
    return Outgoing(
        model.destination,
        body,
        headers + model.headers,
        given.get("content-type"),
        model.content_length,
    )


# Headers that describe one delivery and not the message.
OF_DELIVERY: Final = frozenset(
    (
        "message-id",
        "subscription",
        "ack",
        "content-length",
        "destination",
        "redelivered",
        "delivery-count",
        "receipt",
        "transaction",
    )
)


def _guess(body: bytes) -> str | None:
    """Return the type of a body that came without one: text if it reads as such."""
    if not body:
        return None
    try:
        body.decode()
    except UnicodeDecodeError:
        return None
    return None if b"\0" in body else "text/plain"


# Sending many.


class Stream:
    """Messages on their way: what was sent, what is confirmed, what is still waited for."""

    def __init__(self, session: Session, *, receipts: bool, batch: int | None) -> None:
        self._session = session
        self._receipts = receipts
        self._batch = batch
        self._pending: deque[Receipt] = deque()
        self._transaction: Transaction | None = None
        self._in_batch = 0
        self.sent = 0
        self.confirmed = 0
        self.octets = 0

    async def send(self, message: Outgoing) -> None:
        """Send one message; waits while too many are not confirmed."""
        client = await self._session.link()
        if self._batch is not None and self._transaction is None:
            self._transaction = await client.begin()
        if self._transaction is not None or not self._receipts:
            await client.send(
                message.destination,
                message.body,
                **message.arguments(),
                transaction=self._transaction or self._session.transaction,
            )
        else:
            self._pending.append(
                await client.submit(
                    message.destination,
                    message.body,
                    **message.arguments(),
                    transaction=self._session.transaction,
                )
            )
        _count_in_transaction(self._session)
        self.sent += 1
        self.octets += len(message.body)
        if self._batch is not None:
            self._in_batch += 1
            if self._in_batch >= self._batch:
                await self._commit()
        while self._pending and (self._pending[0].confirmed or len(self._pending) >= _IN_FLIGHT):
            await self._settle()

    async def finish(self) -> None:
        """Commit what is open, and wait for everything that is to be confirmed."""
        if self._transaction is not None:
            await self._commit()
        while self._pending:
            await self._settle()

    def certain(self) -> int:
        """Return how many were confirmed, also of those that nobody has waited for yet."""
        return self.confirmed + sum(receipt.confirmed for receipt in self._pending)

    async def _settle(self) -> None:
        await self._pending[0].wait()
        self._pending.popleft()
        self.confirmed += 1

    async def _commit(self) -> None:
        assert self._transaction is not None  # noqa: S101 - for the type checker; callers looked
        await self._transaction.commit()
        self.confirmed += self._in_batch
        self._transaction = None
        self._in_batch = 0


class _Progress:
    """Shows people on a terminal how far a stream of messages is, once it takes its time."""

    def __init__(self, out: Out) -> None:
        self._out = out
        self._due = time.monotonic() + _PATIENCE

    def tell(self, sent: int) -> None:
        """So many were sent."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _OFTEN
            self._out.passing(f"sent {sent:,} messages")


async def _send_stream(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    receipts = params["receipt"] is not False
    stream = Stream(session, receipts=receipts, batch=params["tx"])
    pause = params["sleep"]
    if params["rate"] is not None:
        pause = max(pause or 0.0, 1 / params["rate"])
    started = time.monotonic()
    due = trio.current_time()
    single = 0.0
    progress = _Progress(out)
    try:
        async with aclosing(_messages(params, in_shell=session.in_shell)) as messages:
            async for message in messages:
                if stream.sent == 0:
                    await session.link()
                    started = time.monotonic()
                for _ in range(params["count"] or 1):
                    if pause is not None:
                        await trio.sleep_until(due)
                        due = max(due + pause, trio.current_time())
                    await stream.send(message.filled(stream.sent + 1))
                    progress.tell(stream.sent)
        await stream.finish()
        single = time.monotonic() - started
    except SessionEndedError as error:
        if stream.certain() == 0:
            raise
        out.failure(of(error))
        out.notice(f"sent {stream.certain():,} messages for certain, of {stream.sent:,}")
        return ExitCode.PARTIAL
    confirmed = receipts or params["tx"] is not None
    text = _sent(stream.sent, stream.octets, params["destination"])
    if params["tx"] is not None:
        batches = -(-stream.sent // params["tx"])
        text += f" (transactions {batches}/{batches}, {single:.2f} s)"
    elif stream.sent == 1 and confirmed:
        text += f" (receipt {_ms(single)})"
    elif confirmed:
        text += f" (receipts {stream.confirmed:,}/{stream.sent:,}, {single:.2f} s)"
    out.notice(text)
    return None


def _sent(count: int, octets: int, destination: str) -> str:
    if count == 1:
        unit = "byte" if octets == 1 else "bytes"
        return f"sent {octets:,} {unit} to {visible_line(destination)}"
    return f"sent {count:,} messages, {octets:,} bytes"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
