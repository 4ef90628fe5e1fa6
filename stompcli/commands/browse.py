"""browse, and what other commands that look at messages share."""

import base64
import binascii
from dataclasses import dataclass, field, replace
from typing import Any, Final

from stompcli import listing, paging
from stompcli.admin import Admin, admin, is_stompd, only_stompd
from stompcli.client import Client, Message
from stompcli.commands.acting import teller
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure
from stompcli.output import Out
from stompcli.render import visible_line
from stompcli.session import Session

# Octets of a body that people are shown.
_SHOWN_BODY: Final = 200
# Of what is told of a message besides its headers and body, this goes into JSON.
_TOLD: Final = (
    "state",
    "place",
    "size",
    "truncated",
    "age",
    "due",
    "delivery_count",
    "redelivered",
)


@dataclass(frozen=True)
class Browsed:
    """A message that was only looked at; ``told`` is what the broker says of it besides."""

    id: str
    destination: str
    headers: dict[str, str]
    body: bytes
    # The octets of the whole body.
    size: int
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def raw_headers(self) -> list[tuple[str, str]]:
        """All headers; a broker that is asked tells each once."""
        return list(self.headers.items())

    def head_only(self) -> "Browsed":
        """Return the message without its body."""
        return replace(self, body=b"")

    def cut(self, limit: int) -> "Browsed":
        """Return the message with no more of its body than so many octets."""
        return self if len(self.body) <= limit else replace(self, body=self.body[:limit])

    @classmethod
    def of_answer(cls, row: dict[str, Any], queue: str) -> "Browsed":
        """Return a message of an answer to the verb browse; raises `Failure` for a bad body."""
        told = row.get("headers")
        headers = {str(k): str(v) for k, v in told.items()} if isinstance(told, dict) else {}
        id_ = str(row.get("id", headers.get("message-id", "")))
        headers.setdefault("message-id", id_)
        try:
            body = (
                base64.b64decode(row["body_base64"], validate=True)
                if "body_base64" in row
                else str(row.get("body", "")).encode("utf-8", "surrogateescape")
            )
        except (binascii.Error, TypeError, ValueError):
            raise Failure(
                ExitCode.FAILED, "bad-answer", f"the body of {visible_line(id_)} is no base64"
            ) from None
        size = row.get("size")
        return cls(
            id_,
            headers.get("destination", queue),
            headers,
            body,
            size if isinstance(size, int) else len(body),
            {name: row[name] for name in _TOLD if name in row},
        )

    @classmethod
    def of_message(cls, message: Message) -> "Browsed":
        """Return a message that was delivered for looking at."""
        headers = {k: v for k, v in message.headers.items() if k != "subscription"}
        return cls(message.id, message.destination, headers, message.body, len(message.body))

    def notes(self) -> list[str]:
        """Return what people are told besides headers and body."""
        told = self.told
        notes = []
        if told.get("state") not in (None, "ready"):
            notes.append(str(told["state"]))
        if isinstance(told.get("due"), int | float):
            notes.append(f"due {listing.moment(told['due'])}")
        if isinstance(told.get("age"), int | float):
            notes.append(f"{listing.age(told['age'])} old")
        if told.get("delivery_count"):
            times = told["delivery_count"]
            notes.append("delivered once" if times == 1 else f"delivered {times} times")
        return notes


async def browse(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Show messages of a queue, and leave them there."""
    client = await session.link()
    queue = params["queue"]
    if is_stompd(client):
        async with admin(session, "browse") as broker:
            await look(broker, queue, params, out, pager=session.preferences.pager)
    elif client.server.startswith("ActiveMQ"):
        await _look_at_activemq(client, queue, params, out, session.preferences.pager)
    else:
        raise only_stompd(client, "browse", others=" or ActiveMQ")
    return None


async def look(
    broker: Admin, queue: str, params: dict[str, Any], out: Out, *, pager: str = ""
) -> None:
    """Show messages of a queue of stompd: browse, and dlq show."""
    wanted = 1 if params["id_"] is not None else params["count"]
    shower = _Shower(params, out, pager)
    offset: int | None = params["offset"]
    after: str | None = None
    total: int | None = None
    while shower.shown < wanted:
        answer = await broker.record(
            "browse",
            told=teller(out, "Looking"),
            destination=queue,
            count=wanted - shower.shown,
            offset=offset or None,
            after=after,
            selector=params["selector"],
            id=params["id_"],
            headers_only=params["headers_only"] or None,
            body_bytes=shower.limit,
        )
        rows = answer.get("messages")
        rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        if isinstance(answer.get("total"), int):
            total = max(answer["total"], total or 0)
        for row in rows:
            await shower.show(Browsed.of_answer(row, queue))
        more = answer.get("more")
        if not rows or not isinstance(more, str):
            break
        offset, after = None, more
    await shower.finish(queue, None if total is None else max(total, shower.shown))


async def _look_at_activemq(
    client: Client, queue: str, params: dict[str, Any], out: Out, pager: str
) -> None:
    """Show messages of a queue of ActiveMQ, by a subscription that takes none."""
    shower = _Shower(params, out, pager)
    passed = 0
    async with client.subscribe(queue, headers=_browsing(params["selector"])) as messages:
        async for message in messages:
            if message.headers.get("browser") == "end":
                break
            if params["id_"] is not None:
                if message.id == params["id_"]:
                    await shower.show(Browsed.of_message(message))
                    break
                continue
            passed += 1
            if passed > params["offset"]:
                await shower.show(Browsed.of_message(message))
                if shower.shown >= params["count"]:
                    break
    await shower.finish(queue, None)


def _browsing(selector: str | None) -> dict[str, str]:
    """Return the headers of a SUBSCRIBE that only looks, as ActiveMQ knows it."""
    return {"browser": "true", **({"selector": selector} if selector is not None else {})}


class _Shower:
    """Shows messages one by one, and says at the end what was left out."""

    def __init__(self, params: dict[str, Any], out: Out, pager: str) -> None:
        self._params = params
        self._out = out
        self._for_people = out.form() in ("pretty", "stomp.py")
        limit = params["body_bytes"]
        # The octets of a body that are wanted, None for all.
        self.limit = _SHOWN_BODY if limit is None and self._for_people else limit
        self.shown = 0
        self._cut = 0
        # What there is for the pager, if there is one.
        self._pager = pager if out.tty else ""
        self._gathered = bytearray()

    async def show(self, message: Browsed) -> None:
        """Show one message."""
        self.shown += 1
        bodies = not self._params["headers_only"]
        if self.limit is not None:
            message = message.cut(self.limit)
        missing = message.size - len(message.body) if bodies else 0
        told = {"size": message.size, **message.told, "truncated": missing > 0}
        data = self._out.message(
            message,
            self._params["offset"] + self.shown,
            body=bodies,
            notes=message.notes(),
            more=listing.as_json(told),
        )
        if missing > 0:
            self._cut += 1
            if self._for_people:
                data += f"... {missing:,} more octets\n".encode()
        if self._pager:
            self._gathered += data
        else:
            await self._out.write(data)

    async def finish(self, queue: str, total: int | None) -> None:
        """Let the pager show them, and say how many of ``total`` were shown, and what is cut.

        ``total`` is None if nobody knows. Raises `Failure` if the one message that was asked for is
        not there.
        """
        out = self._out
        if self._gathered:
            await paging.write(out, bytes(self._gathered), self._pager)
        if self._params["id_"] is not None:
            if not self.shown:
                raise Failure(
                    ExitCode.FAILED,
                    "not-found",
                    f"there is no message {self._params['id_']} in {queue}",
                )
        elif out.tty and not out.settings.quiet:
            of = "" if total in (None, self.shown) else f"{self.shown:,} of "
            out.aside(f"{of}{listing.messages(self.shown if total is None else total)}")
        if self._cut and not self._for_people and not out.settings.quiet:
            out.notice(f"{listing.messages(self._cut)} cut; --body-bytes says how long bodies are")
