"""Taps: copies of the frames that come in and go out, for whoever looks on.

A tap never slows what it looks at: it drops what finds no room, or would take too much time, and
counts that. It shows neither passcodes nor what taps write.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from stompd.broker.dialect import boolean, whole_number
from stompd.broker.event import OWN, json_message
from stompd.broker.pattern import matches, words_of
from stompd.protocol.decoder import Decoder, HeadTable, Limits
from stompd.protocol.errors import RemoteProtocolError, shown
from stompd.protocol.frame import CLIENT_COMMANDS, SERVER_COMMANDS

if TYPE_CHECKING:
    from stompd.broker.broker import Broker
    from stompd.broker.outbox import Outbox
    from stompd.broker.rights import Right
    from stompd.broker.session import Session
    from stompd.broker.subscription import Subscription
    from stompd.protocol.frame import Frame, Head

TAP: Final = f"{OWN}/tap"

_BODY_OCTETS: Final = 1024
# Frames that are looked at in a second; the others are dropped.
_FRAMES: Final = 2000
_PERIOD: Final = 1.0
_STARTS: Final = tuple(f"{command}\n".encode() for command in sorted(SERVER_COMMANDS))
# What the broker itself writes needs no limits.
_NO_LIMITS: Final = Limits(line=1 << 30, headers=1 << 30, head=1 << 30, body=1 << 40)
_HIDDEN: Final = {"passcode": "***"}


class Tap:
    """One subscription to the frames of a virtual host, and which of them it wants."""

    __slots__ = (
        "_body_octets",
        "_commands",
        "_connection",
        "_pattern",
        "_user",
        "missed",
        "prefix",
        "session",
        "subscription",
    )

    def __init__(self, subscription: Subscription, head: Head) -> None:
        """Raise `RemoteProtocolError` for filters that make no sense."""
        self.subscription = subscription
        self.session = subscription.session
        # How its lines begin.
        self.prefix = subscription.template.partition(b"message-id:")[0].replace(b"%%", b"%")
        match = head.get("match")
        self._pattern = words_of(match) if match else None
        self._connection = head.get("connection") or None
        self._user = head.get("user") or None
        wanted = (head.get("frames") or "").upper().replace(",", " ").split()
        self._commands = frozenset(wanted) or CLIENT_COMMANDS | SERVER_COMMANDS
        unknown = self._commands - CLIENT_COMMANDS - SERVER_COMMANDS
        if unknown:
            raise RemoteProtocolError(
                "frames names no command", f'"{shown(min(unknown))}" is not a command of STOMP'
            )
        octets = whole_number(head.get("body-bytes"), "body-bytes", meaning="0 for no body")
        self._body_octets = _BODY_OCTETS if octets is None else octets
        if boolean(head.get("headers-only"), "headers-only"):
            self._body_octets = 0
        # Frames that it did not get since the last one that it got.
        self.missed = 0

    def looks_at(self, session: Session) -> bool:
        """Return whether it wants frames of a session."""
        return (
            session.host is self.session.host
            and not self.subscription.retired
            and self._connection in (None, session.id)
            and self._user in (None, session.user)
        )

    def miss(self, count: int) -> None:
        """Count frames that it does not get."""
        self.missed += count
        self.subscription.dropped += count

    def show(self, session: Session, direction: str, frame: Frame, time: int) -> None:
        """Write a line about a frame if it is wanted and there is room."""
        head, body = frame
        if head.command not in self._commands:
            return
        octets = self._body_octets
        name = head.get("destination")
        if name is not None:
            if not name.startswith("/"):
                name = f"/queue/{name}"
            if self._pattern is not None and not matches(self._pattern, words_of(name)):
                return
            if not self._may("monitor", name):
                return
            if octets and not self._may("browse", name):
                octets = 0
        elif self._pattern is not None:
            return
        subscription = self.subscription
        if subscription.outbox.size >= subscription.outbox.high:
            self.miss(1)
            return
        headers = dict(head.headers)
        line: dict[str, Any] = {
            "time": time,
            "direction": direction,
            "connection": session.id,
            "peer": session.peer,
            "user": session.user,
            "command": head.command,
            "headers": {name: _HIDDEN.get(name, value) for name, value in headers.items()},
            "size": len(body),
            "truncated": len(body) > octets,
        }
        if octets:
            piece = body[:octets]
            try:
                line["body"] = piece.decode()
            except UnicodeDecodeError:
                line["body_base64"] = b64encode(piece).decode("ascii")
        if self.missed:
            line["dropped"] = self.missed
            self.missed = 0
        subscription.deliver_copy(json_message(TAP, line))

    def _may(self, right: Right, name: str) -> bool:
        """Return whether it may be shown what concerns a destination, whatever that is."""
        return self.session.access.sees(right, name)


class Taps:
    """All taps of a broker, and what they were shown of outboxes that are not written yet."""

    __slots__ = ("_broker", "_heads", "_left", "_seen", "_since", "_taps")

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._taps: dict[Subscription, Tap] = {}
        # Of outboxes that are not written at once: how many pieces were looked at, and the first
        # and last of these, to know them by.
        self._seen: dict[Outbox, tuple[int, bytes, bytes]] = {}
        self._heads = HeadTable("client")
        # How many frames more are looked at in this period, and when it began.
        self._left = _FRAMES
        self._since = 0.0

    def add(self, tap: Tap) -> None:
        """Show frames to a tap from now on."""
        self._taps[tap.subscription] = tap

    def remove(self, subscription: Subscription) -> None:
        """Show nothing more to a subscription; nothing if it is no tap."""
        self._taps.pop(subscription, None)

    @property
    def empty(self) -> bool:
        """True if there is none left."""
        return not self._taps

    def _looking_at(self, session: Session) -> list[Tap]:
        return [tap for tap in self._taps.values() if tap.looks_at(session)]

    def _afford(self, wanted: int) -> int:
        """Return how many of so many frames may be looked at now."""
        now = self._broker.now
        if now - self._since >= _PERIOD:
            self._since = now
            self._left = _FRAMES
        allowed = min(wanted, self._left)
        self._left -= allowed
        return allowed

    def come(self, session: Session, frames: list[Frame]) -> None:
        """Show frames that a session has carried out."""
        taps = self._looking_at(session)
        if not taps or not frames:
            return
        allowed = self._afford(len(frames))
        time = self._broker.epoch_ms()
        for tap in taps:
            for frame in frames[:allowed]:
                tap.show(session, "in", frame, time)
            tap.miss(len(frames) - allowed)

    def go(self, outbox: Outbox) -> None:
        """Show what an outbox has got since it was last looked at; it is about to be written."""
        session = outbox.session
        parts = outbox.parts
        if session is None or not parts:
            return
        start = 0
        seen = self._seen.get(outbox)
        if seen is not None:
            count, first, last = seen
            if len(parts) >= count and parts[0] is first and parts[count - 1] is last:
                start = count
        self._seen[outbox] = (len(parts), parts[0], parts[-1])
        taps = self._looking_at(session)
        fresh = self._of_others(session, parts[start:]) if taps else []
        if not fresh:
            return
        number = sum(part.startswith(_STARTS) for part in fresh)
        if self._afford(number) < number:
            for tap in taps:
                tap.miss(number)
            return
        time = self._broker.epoch_ms()
        for frame in self._decode(session.wire_version, fresh):
            for tap in taps:
                tap.show(session, "out", frame, time)

    def _of_others(self, session: Session, parts: list[bytes]) -> list[bytes]:
        """Return the pieces of frames that are no lines of taps."""
        own = tuple(tap.prefix for tap in self._taps.values() if tap.session is session)
        if not own:
            return parts
        kept = []
        skips = False
        for part in parts:
            if part.startswith(_STARTS):
                skips = part.startswith(own)
            if not skips:
                kept.append(part)
        return kept

    def _decode(self, version: str, parts: list[bytes]) -> list[Frame]:
        """Return the frames in pieces of whole ones."""
        decoder = Decoder("client", _NO_LIMITS, table=self._heads)
        decoder.begin(version)
        return decoder.feed(b"".join(parts))

    def forget(self, outbox: Outbox) -> None:
        """Forget what was looked at of an outbox that is gone."""
        self._seen.pop(outbox, None)
