"""tap and events: what stompd tells while it happens."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from stompcli import listing
from stompcli.admin import is_stompd, only_stompd
from stompcli.client import ConnectionLostError, Message, Subscription
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, StdoutClosed, usage
from stompcli.output import Out
from stompcli.render import visible_line
from stompcli.session import Session
from stompcli.tapped import PLACED, Related, dropped_line, event_line, frame_line
from stompd.protocol.frame import CLIENT_COMMANDS, SERVER_COMMANDS

_TAP: Final = "/topic/$SYS/tap"
_EVENTS: Final = "/topic/$SYS/events/#"

Row = dict[str, Any]
# Says of what came whether it is wanted, and which lines people get of it.
Wanted = Callable[[Row], bool]
Lines = Callable[[Row], list[str]]


async def tap(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Show the frames that come and go."""
    frames = _commands(params["frames"])
    headers = {"body-bytes": str(params["body_bytes"])}
    related: Related | None = None
    if params["dest"] is not None:
        pattern, matches = listing.names_of_any(params["dest"])
        related = Related(matches)
        if frames and frames <= PLACED and pattern is not None:
            # The broker may choose: no frame is wanted that only belongs to another one.
            headers["match"] = pattern
    if frames and (related is None or frames <= PLACED):
        headers["frames"] = ",".join(sorted(frames))
    if params["conn"] is not None:
        headers["connection"] = params["conn"]
    if params["user"] is not None:
        headers["user"] = params["user"]
    if params["headers_only"]:
        headers["headers-only"] = "true"

    def wanted(row: Row) -> bool:
        # Each frame has to be looked at, for the sake of those that belong to it.
        found = related is None or related(row)
        return found and (not frames or row["command"] in frames)

    def lines(row: Row) -> list[str]:
        return [frame_line(row, full=out.settings.verbose > 0)]

    watch = Watch(session, out, wanted, lines, params["count"])
    await watch.start("tap", _TAP, headers)
    return None


async def events(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Show what happens."""
    pattern: re.Pattern[str] | None = params["pattern"]

    def wanted(event: Row) -> bool:
        return pattern is None or pattern.search(event_line(event)) is not None

    watch = Watch(session, out, wanted, lambda event: [event_line(event)], params["count"])
    await watch.start("events", _EVENTS, {})
    return None


def _commands(text: str | None) -> frozenset[str]:
    """Return the commands in an option's value; raises `Failure` for words that are none."""
    found = frozenset((text or "").upper().replace(",", " ").split())
    known = CLIENT_COMMANDS | SERVER_COMMANDS
    for word in sorted(found - known):
        raise usage(f'"{word}" is not a command of STOMP', "there are: " + " ".join(sorted(known)))
    return found


class Watch:
    """Shows what comes by one topic: until it is stopped, or in a shell beside the prompt."""

    def __init__(
        self, session: Session, out: Out, wanted: Wanted, lines: Lines, count: int | None
    ) -> None:
        self._session = session
        self._out = out
        self._wanted = wanted
        self._lines = lines
        # How many more are to be shown; None: no end.
        self._left = count

    async def start(self, what: str, topic: str, headers: Mapping[str, str]) -> None:
        """Subscribe to the topic, for the command ``what``, and show what comes.

        Raises `Failure` if the broker is not stompd.
        """
        client = await self._session.link()
        if not is_stompd(client):
            raise only_stompd(client, what)
        if self._session.in_shell:
            messages = await client.open_subscription(topic, headers=headers)
            self._session.nursery.start_soon(self._beside, messages)
            return
        async with client.subscribe(topic, headers=headers) as messages:
            self._out.notice(f"{what} on {client.address}; Ctrl-C to stop")
            await self._show(messages)

    async def _beside(self, messages: Subscription) -> None:
        """Show what comes until the subscription, or the session, has ended."""
        try:
            await self._show(messages)
            await messages.unsubscribe()
        except ConnectionLostError:
            # The line reader, which waits for that, says so.
            return
        except StdoutClosed:
            self._session.stop(ExitCode.DONE)
        except Failure as failure:
            self._out.failure(failure)
            self._session.stop(failure.code)

    async def _show(self, messages: Subscription) -> None:
        async for message in messages:
            row = _row(message)
            # Of what was dropped people hear before the frame that it was dropped before.
            note = None if self._out.settings.json else dropped_line(row)
            if note is not None:
                await self._out.line(note)
            if not self._wanted(row):
                continue
            if self._out.settings.json:
                await self._out.json(listing.as_json(row))
            else:
                for line in self._lines(row):
                    await self._out.line(line)
            if self._left is not None:
                self._left -= 1
                if self._left <= 0:
                    return


def _row(message: Message) -> Row:
    """Return the object in a message; raises `Failure` for what is none."""
    try:
        row = json.loads(message.body)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise Failure(
            ExitCode.FAILED,
            "bad-answer",
            f"what came by {visible_line(message.destination)} is not what it should be",
        )
    return row
