"""save and replay: messages into a file, and out of it again."""

import errno
import json
import math
import os
import re
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import trio

from stompcli.client import Client, Message, SessionEndedError, Subscription
from stompcli.commands.send import Stream, described, from_json
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, bad_input, of, usage
from stompcli.listing import messages as so_many
from stompcli.outgoing import Outgoing
from stompcli.output import Out
from stompcli.reading import Source, StandardInput, pieces
from stompcli.render import as_json, visible_line
from stompcli.retold import Retold, Sent
from stompcli.session import Session
from stompcli.stopping import Stop
from stompcli.worker.drain import Drain

# Messages that are written, and then acknowledged, together.
_BATCH: Final = 100
_CHUNK: Final = 64 * 1024
# Destinations that a summary names.
_SHOWN: Final = 5
# A line of a transcript that people read.
_FOR_PEOPLE: Final = re.compile(rb"[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3} (?:<<<|>>>|\$) ")
# What a saved message must not bring along: moments that have passed, and what brokers say.
_STALE: Final = frozenset(("expires", "deliver-at", "original-message-id", "browser"))


async def save(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Save messages until there are no more, or enough."""
    if params["browse"] and (params["follow"] or params["idle"] is not None):
        raise usage("save --browse shows what is there; it takes no --follow and no --idle")
    source = params["source"]
    client = await session.link()
    ack = "auto" if params["browse"] else "client-individual"
    if ack != "auto" and client.version == "1.0":
        raise usage("save needs STOMP 1.1 or 1.2, but for --browse")
    headers = list(params["header"])
    if params["selector"] is not None:
        headers.append(("selector", params["selector"]))
    if params["browse"]:
        headers.append(("browser", "true"))
    else:
        headers.append(("prefetch-count", str(min(_BATCH, params["count"] or _BATCH))))
    target = _Target(params["file"], out, append=params["append"])
    stop = Stop()
    saved = 0
    try:
        async with client.subscribe(source, ack=ack, headers=headers) as incoming:
            session.on_signal = stop
            async with aclosing(_batches(client, incoming, params, stop)) as batches:
                async for batch in batches:
                    await target.write(batch, saved)
                    if ack != "auto":
                        for message in batch[:-1]:
                            await message.ack()
                        await batch[-1].ack(receipt=True)
                    saved += len(batch)
    finally:
        target.close()
        if saved:
            out.notice(f"saved {so_many(saved)} of {visible_line(source)}")
    if not saved:
        out.notice(f"nothing to save in {visible_line(source)}")
    return None


async def _batches(
    client: Client, incoming: Subscription, params: dict[str, Any], stop: Stop
) -> AsyncGenerator[list[Message], None]:
    """Yield messages as they come, those together that are there together."""
    left = math.inf if params["count"] is None else params["count"]
    drain = Drain(client, [params["source"]], selective=params["selector"] is not None)
    endless = params["follow"] or params["browse"] or not is_queue(params["source"])
    while left > 0:
        quiet = math.inf if endless else drain.quiet
        message = await stop.wait_for(
            incoming.receive, quiet if params["idle"] is None else params["idle"]
        )
        if message is None:
            if stop.wished or params["idle"] is not None:
                return
            if await drain.is_over() and not incoming.waiting:
                return
            continue
        drain.restart()
        batch: list[Message] = []
        while message is not None and left > 0:
            if message.headers.get("browser") == "end":
                left = 0
                break
            batch.append(message)
            left -= 1
            message = incoming.receive_nowait() if left > 0 and len(batch) < _BATCH else None
        if batch:
            yield batch


def is_queue(destination: str) -> bool:
    """Return whether what is sent there waits there."""
    return not destination.startswith(("/topic/", "/exchange/", "/temp-topic/"))


class _Target:
    """Where saved messages go: a file that is ours alone, or standard output."""

    def __init__(self, path: str, out: Out, *, append: bool) -> None:
        self._out = out
        self._path = path
        self._file: int | None = None
        if path == "-":
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if append else os.O_EXCL)
        try:
            self._file = os.open(path, flags, 0o600)
        except FileExistsError:
            raise Failure(
                ExitCode.FAILED, "conflict", f"{path} is there already", "--append adds to it"
            ) from None
        except OSError as error:
            raise Failure(ExitCode.FAILED, "failed", f"{path}: {error.strerror}") from None

    async def write(self, batch: list[Message], before: int) -> None:
        """Write messages, which are the next after so many; they are on the disk afterwards.

        Raises `Failure` if that is not to be had.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        data = b"".join(
            as_json(message, before + number, more={"time": now})
            for number, message in enumerate(batch, 1)
        )
        if self._file is None:
            await self._out.write(data)
            return
        try:
            await trio.to_thread.run_sync(_to_disk, self._file, data)
        except OSError as error:
            raise Failure(
                ExitCode.FAILED, "failed", f"{self._path}: {(error.strerror or str(error)).lower()}"
            ) from None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)


def _to_disk(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
    try:
        os.fsync(file)
    except OSError as error:
        # A pipe or a device has nothing to sync.
        if error.errno not in (errno.EINVAL, errno.EROFS):
            raise


# Out of the file again.


async def replay(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Send the messages of a file."""
    if params["to"] is not None and params["destination"] is not None:
        raise usage("replay: DST and --to are the same; give one of them")
    goal = params["to"] or params["destination"]
    places: Counter[str] = Counter()
    retold = Retold("standard input" if params["file"] == "-" else params["file"])
    stream = Stream(session, receipts=True, batch=None)
    pace = _Pace(params["speed"])
    stop = Stop()
    session.on_signal = stop
    started = trio.current_time()
    try:
        async with aclosing(_saved(params, goal, retold)) as messages:
            async for message, when in messages:
                if stop.wished:
                    break
                if params["dry_run"]:
                    places[message.destination] += 1
                    continue
                await stop.wait_for(pace.sleep_until(when), math.inf)
                if stop.wished:
                    break
                await stream.send(message)
                places[message.destination] += 1
        await stream.finish()
    except SessionEndedError as error:
        if stream.certain() == 0:
            raise
        out.failure(of(error))
        out.notice(f"sent {stream.certain():,} messages for certain, of {stream.sent:,}")
        return ExitCode.PARTIAL
    took = trio.current_time() - started
    text = ", ".join(
        f"{visible_line(name)} {count:,}" for name, count in places.most_common(_SHOWN)
    )
    more = f", {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    total = so_many(places.total())
    if params["dry_run"]:
        out.notice(f"would send {total} ({text}{more})" if places else "nothing to send")
    else:
        out.notice(f"sent {total} in {took:.2f} s ({text}{more})" if places else "nothing to send")
    if retold.undone:
        out.notice(f"left out {so_many(retold.undone)} of transactions that were not committed")
    if retold.passing:
        out.notice(f"left out {so_many(retold.passing)} that meant something in that session only")
    return None


class _Pace:
    """Sends messages as far apart as they came, or so many times as fast."""

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._first: tuple[float, float] | None = None

    def sleep_until(self, when: float | None) -> Callable[[], Awaitable[None]]:
        """Return what waits until a message that came at that moment is due."""

        async def sleep() -> None:
            now = trio.current_time()
            if self._speed is None or when is None:
                await trio.lowlevel.checkpoint()
                return
            if self._first is None:
                self._first = now, when
            began, first = self._first
            await trio.sleep_until(began + (when - first) / self._speed)

        return sleep


async def _saved(
    params: dict[str, Any], goal: str | None, retold: Retold
) -> AsyncGenerator[tuple[Outgoing, float | None], None]:
    """Yield the messages of a file that are wanted, with the moments at which they came."""
    path = params["file"]
    number = 0
    name = "standard input" if path == "-" else path
    async with AsyncExitStack() as stack:
        source: Source = StandardInput()
        if path != "-":
            source = stack.enter_context(closing(_File(path)))
        lines = await stack.enter_async_context(aclosing(pieces(source, b"\n")))
        line_number = 0
        async for line in lines:
            line_number += 1
            if not line.strip():
                continue
            told = _told(line, name)
            for found in [line] if told is None else retold.line(told, line_number):
                number += 1
                if number < params["begin"]:
                    continue
                if params["end"] is not None and number > params["end"]:
                    return
                yield _message(found, line_number, name, params, goal)
    retold.finish()


def _told(line: bytes, name: str) -> dict[str, Any] | None:
    """Return a line of a transcript, None for a saved message or something worse."""
    if _FOR_PEOPLE.match(line):
        raise bad_input(
            f"{name} is a transcript for people, of record --text; those without --text can be sent"
        )
    if b'"bytes_b64"' not in line and b'"command"' not in line:
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    is_told = isinstance(value, dict) and ("bytes_b64" in value or "command" in value)
    return value if is_told else None


def _message(
    found: bytes | Sent, number: int, name: str, params: dict[str, Any], goal: str | None
) -> tuple[Outgoing, float | None]:
    model = Outgoing(goal or "", b"", [pair for pair in params["header"] if pair[1] is not None])
    if isinstance(found, Sent):
        value: dict[str, Any] = {"destination": found.destination, "time": found.time}
        model = replace(model, content_length="content-length" in found.headers)
        message = described(found.headers, found.body, model)
    else:
        message = from_json(found, number, model, name)
        value = json.loads(found)
    destination = goal or value.get("destination")
    if not isinstance(destination, str) or not destination:
        raise bad_input(f"line {number} of {name} has no destination; give one")
    headers = [pair for pair in message.headers if pair[0] not in _STALE]
    when = None
    try:
        if "time" in value:
            when = datetime.fromisoformat(value["time"]).timestamp()
    except (ValueError, TypeError):
        raise bad_input(f'line {number} of {name}: "time" is no time') from None
    return replace(message, destination=destination, headers=headers), when


class _File:
    """The octets of a file, piece by piece."""

    def __init__(self, path: str) -> None:
        try:
            self._file = open(path, "rb")  # noqa: PTH123, SIM115 - any name; read to its end
        except FileNotFoundError:
            raise Failure(ExitCode.NO_INPUT, "no-input", f"File {path} does not exist") from None
        except OSError as error:
            raise Failure(ExitCode.NO_INPUT, "no-input", f"{path}: {error.strerror}") from None

    async def some(self) -> bytes:
        """Return the next octets, b"" at the end."""
        return await trio.to_thread.run_sync(self._file.read, _CHUNK)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
