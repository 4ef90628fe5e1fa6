"""The destinations that Tab offers, the most recent first, and where they are known from.

The broker is asked beside everything else, never when a key is pressed, and over a connection of
its own: a question over the user's would be seen in their numbers, and a refusal would end it.
"""

import json
import re
from collections.abc import Iterable
from typing import Final

import trio

from stompcli.admin import is_stompd
from stompcli.client import StompError, connect
from stompcli.quick import ANSWERS
from stompcli.render import visible_line
from stompcli.session import Session

# Seconds between two questions to the broker, and how long one may take.
_AGAIN: Final = 30.0
_PATIENCE: Final = 10.0
# Questions in a row without an answer after which no more is asked.
_UNANSWERED: Final = 2
_MOST: Final = 300
# The first word that looks like a destination, which is never a part of the body.
_IN_LINE: Final = re.compile(r"(?:^|\s)(/[a-z][\w-]*/[^\s\"']+)")


def in_line(line: str) -> str | None:
    """Return the destination in a line that was typed, None if there is none."""
    match = _IN_LINE.search(line)
    return None if match is None else match[1]


class Destinations:
    """What is known: used in this session, at the broker, in the history."""

    def __init__(self, history: Iterable[str]) -> None:
        # The newest last.
        self._used: dict[str, None] = {}
        self._earlier = _last_first(history)
        self._at_broker: tuple[str, ...] = ()
        # Unparked when a line was typed.
        self._typed = trio.lowlevel.ParkingLot()

    def use(self, line: str) -> None:
        """Note the destination in a line that was typed."""
        self._typed.unpark_all()
        destination = in_line(line)
        if destination is not None:
            self._used.pop(destination, None)
            self._used[destination] = None

    def known(self, subscribed: Iterable[str]) -> tuple[str, ...]:
        """Return the destinations, most recent first, no more than are worth looking through."""
        found = [*reversed(self._used), *subscribed, *self._at_broker, *self._earlier]
        return tuple(dict.fromkeys(found))[:_MOST]

    async def keep_asking(self, session: Session) -> None:
        """Ask the broker, if it is stompd, at once and from time to time while lines are typed."""
        unanswered = 0
        while unanswered < _UNANSWERED:
            link = session.held
            if link is not None and session.lost is None and is_stompd(link.client):
                try:
                    found = await _asked(session)
                except StompError:
                    found = None
                unanswered = 0 if found is not None else unanswered + 1
                self._at_broker = found or ()
            with trio.move_on_after(_AGAIN):
                # With another connection there may be another broker.
                await session.relinked.park()
                continue
            await self._typed.park()


async def _asked(session: Session) -> tuple[str, ...] | None:
    """Return the names that the broker has, None if it does not tell; raises `StompError`."""
    options = session.options()
    # Nobody wants to see this, and a client-id is for one connection at a time.
    options.pop("trace", None)
    headers = options.get("headers") or {}
    options["headers"] = {name: text for name, text in headers.items() if name != "client-id"}
    options["heartbeat"] = (0, 0)
    options["timeout"] = _PATIENCE
    with trio.move_on_after(_PATIENCE):
        async with (
            connect(session.address(), **options) as client,
            client.subscribe(ANSWERS) as answers,
        ):
            await client.send(
                "/admin/destinations",
                b"{}",
                headers={"reply-to": ANSWERS},
                content_type="application/json",
            )
            return _names((await answers.receive()).body)
    return None


def _names(body: bytes) -> tuple[str, ...] | None:
    """Return the names in an answer, None if it is a refusal or no answer at all."""
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    rows = answer.get("result") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        return None
    names = [row.get("name") for row in rows if isinstance(row, dict)]
    return tuple(
        name for name in names if isinstance(name, str) and name == visible_line(name) and name
    )[:_MOST]


def _last_first(lines: Iterable[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for line in reversed(list(lines)):
        destination = in_line(line)
        if destination is not None:
            found.setdefault(destination)
        if len(found) >= _MOST:
            break
    return tuple(found)
