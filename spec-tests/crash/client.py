"""A client that notes all it does and sees in a history; naive, on one blocking socket."""

import json
import time
import zlib
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from crash.history import (
    Asked,
    Closed,
    Committed,
    Delivered,
    History,
    Opened,
    Receipt,
    Refused,
    Sent,
    Settled,
    Subscribed,
    Verdict,
    durable,
)
from wire import Broker, Frame, Patience, Unmet, Wire

# How long, in seconds, an answer may take on a loaded machine with a slow disk.
PATIENCE = 60.0

MINUTE = 60.0

_SESSIONS = count(1)


class Gone(Exception):  # noqa: N818  # the connection is gone: that is what the tests are about
    """The connection is over, by an ERROR or without one."""


class Stuck(AssertionError):  # noqa: N818  # what the broker is
    """The broker lives, and does not answer."""


class Damaged(AssertionError):  # noqa: N818  # what the message is
    """A message is not as it was sent."""


def body(uid: str, octets: int) -> bytes:
    """Return a body of about so many octets that tells whether it is whole."""
    text = uid.encode()
    filler = b"%08x\0\n" % zlib.crc32(text)
    return text + b"\n" + filler * (max(0, octets - len(text)) // len(filler))


def check(uid: str, found: bytes) -> None:
    """Raise `Damaged` unless the body is one that `body` made for ``uid``."""
    if found != body(uid, len(found)):
        raise Damaged(f"{uid} has the body {found[:80]!r}… of {len(found)} octets")


@dataclass
class Subscription:
    """One of this session."""

    place: str
    mode: str = "client-individual"
    dead: bool = False
    outstanding: list[str] = field(default_factory=list)
    """Deliveries that are not settled, in their order."""


class Client:
    """One session, from CONNECT on."""

    def __init__(
        self,
        history: History,
        life: int,
        port: int,
        name: str,
        *lines: str,
        patience: float = PATIENCE,
        bad_network: bool = False,
    ) -> None:
        """Connect; raises `Gone` if the broker is not there.

        What does not come within ``patience``, in seconds, makes it `Stuck`; on a bad network it
        is a reason to give the connection up.
        """
        self._patience = patience
        self._bad_network = bad_network
        self.name = f"{name}.{next(_SESSIONS)}"
        self.subscriptions: dict[str, Subscription] = {}
        self.unanswered: deque[str] = deque()
        """Frames whose RECEIPT has not come yet, in their order."""
        self.latest: deque[tuple[str, Delivered]] = deque()
        """Subscription and delivery of the MESSAGEs that nobody has looked at yet."""
        self.replies: deque[bytes] = deque()
        """Bodies of what came to the temporary queue."""
        self.retained: list[str] = []
        """Message ids of retained messages."""
        self._history = history
        self._numbers = count(1)
        self._enlisted: dict[str, list[str]] = {}
        history.note(Opened(self.name, life, time.time()))
        try:
            self._wire = Wire(Broker(("127.0.0.1", port)), Patience(answer=patience))
        except OSError as error:
            history.note(Closed(self.name))
            raise Gone(str(error)) from None
        try:
            self._wire.connect("1.2", *lines)
        except Unmet as error:
            self.drop()
            raise Gone(str(error)) from None

    # -- Frames --------------------------------------------------------------------------------

    def send(
        self,
        uid: str,
        destination: str,
        *lines: str,
        receipt: bool = True,
        transaction: str | None = None,
        persistent: bool = True,
        priority: int = 4,
        delay: int = 0,
        retained: bool = False,
        removes: bool = False,
        ttl: int = 0,
        period: int = 0,
        times: int = 1,
        cron: bool = False,
        group: str | None = None,
        colour: str | None = None,
        octets: int = 100,
    ) -> str | None:
        """SEND a message; ``delay``, ``ttl`` and ``period`` in milliseconds.

        With ``cron`` it is sent at every full minute. Returns its frame, if it asked.
        """
        frame = self._frame() if receipt else None
        head = [f"destination:{destination}", f"uid:{uid}", *lines]
        head += ["persistent:true"] if persistent else []
        head += [f"priority:{priority}"] if priority != 4 else []
        head += [f"delay:{delay}"] if delay else []
        head += ["retain:set"] if retained else []
        head += ["retain:remove"] if removes else []
        head += [f"ttl:{ttl}"] if ttl else []
        head += [f"AMQ_SCHEDULED_PERIOD:{period}"] if period else []
        head += [f"AMQ_SCHEDULED_REPEAT:{times - 1}"] if period else []
        head += ["AMQ_SCHEDULED_CRON:* * * * *"] if cron else []
        head += [f"message-group:{group}"] if group else []
        head += [f"colour:{colour}"] if colour else []
        head += [f"transaction:{transaction}"] if transaction else []
        content = body(uid, octets)
        now = time.time()
        due = (now // MINUTE + 1) * MINUTE if cron else now + delay / 1000
        self._history.note(
            Sent(
                self.name,
                uid,
                destination,
                frame,
                transaction,
                persistent,
                priority,
                due=due if delay or cron else 0.0,
                retained=retained,
                removes=removes,
                expires=now + ttl / 1000 if ttl else 0.0,
                times=0 if cron else times,
                period=MINUTE if cron else period / 1000,
                group=group,
                colour=colour,
            )
        )
        self._write("SEND", frame, *head, f"content-length:{len(content)}", content=content)
        return frame

    def subscribe(
        self,
        identifier: str,
        destination: str,
        mode: str = "client-individual",
        *lines: str,
        durable_name: str | None = None,
        topic: str | None = None,
        dead_of: str | None = None,
        wants: str | None = None,
    ) -> str:
        """SUBSCRIBE; ``dead_of`` is the place whose dead letters are there. Returns its frame.

        A colour that it ``wants`` is a selector for it.
        """
        frame = self._frame()
        place = durable(durable_name) if durable_name else dead_of or destination
        head = [f"id:{identifier}", f"destination:{destination}", f"ack:{mode}", *lines]
        if durable_name:
            head += ["durable:true", f"durable-subscription-name:{durable_name}"]
        head += [f"selector:colour = '{wants}'"] if wants else []
        self.subscriptions[identifier] = Subscription(place, mode, dead_of is not None)
        self._history.note(
            Subscribed(
                self.name,
                place,
                frame,
                mode == "auto",
                topic if durable_name else None,
                identifier,
                wants,
            )
        )
        self._write("SUBSCRIBE", frame, *head)
        return frame

    def settle(
        self,
        delivery: str,
        verdict: Verdict = "ack",
        *,
        receipt: bool = True,
        transaction: str | None = None,
        delay: int = 0,
    ) -> str | None:
        """ACK or NACK; in mode ``client`` with all that came before. Returns its frame."""
        identifier, _, number = delivery.partition(" ")[2].partition(" ")
        subscription = self.subscriptions[identifier]
        at = subscription.outstanding.index(delivery)
        first = 0 if subscription.mode == "client" else at
        covered = tuple(subscription.outstanding[first : at + 1])
        del subscription.outstanding[first : at + 1]
        frame = self._frame() if receipt else None
        if transaction is not None:
            self._enlisted.setdefault(transaction, []).extend(covered)
        self._history.note(Settled(self.name, verdict, covered, frame, transaction))
        head = [f"id:{number}"]
        head += [f"transaction:{transaction}"] if transaction else []
        head += ["requeue:false"] if verdict == "dead" else []
        head += [f"delay:{delay}"] if delay else []
        self._write("ACK" if verdict == "ack" else "NACK", frame, *head)
        return frame

    def request(self, verb: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Ask the broker something; return its answer, be it that it refuses."""
        self.ask(
            "SEND",
            f"destination:/admin/{verb}",
            "reply-to:/temp-queue/answers",
            content=json.dumps(fields).encode(),
        )
        while not self.replies:
            self.read()
        answer: dict[str, Any] = json.loads(self.replies.popleft())
        return answer

    def begin(self) -> str:
        """BEGIN; returns the transaction."""
        transaction = f"{self.name}-t{next(self._numbers)}"
        self._write("BEGIN", None, f"transaction:{transaction}")
        return transaction

    def commit(self, transaction: str, *, receipt: bool = True) -> str | None:
        """COMMIT; returns its frame, if it asked."""
        frame = self._frame() if receipt else None
        self._history.note(Committed(self.name, transaction, frame))
        self._write("COMMIT", frame, f"transaction:{transaction}")
        return frame

    def abort(self, transaction: str) -> None:
        """ABORT and wait for its receipt; what it had settled is outstanding again."""
        self.ask("ABORT", f"transaction:{transaction}")
        for delivery in self._enlisted.pop(transaction, ()):
            self.subscriptions[delivery.split(" ")[1]].outstanding.append(delivery)

    def ask(self, command: str, *lines: str, content: bytes = b"") -> str:
        """Write any other frame and wait for its RECEIPT; returns the frame."""
        frame = self._frame()
        self._history.note(Asked(self.name, frame))
        self._write(command, frame, *lines, content=content)
        self.confirmed(frame)
        return frame

    def disconnect(self) -> None:
        """Leave in good order."""
        self.ask("DISCONNECT")
        self.drop()

    def drop(self, *, reset: bool = False) -> None:
        """Close the connection; noted as closed once."""
        if reset:
            self._wire.reset()
        else:
            self._wire.close()
        self._history.note(Closed(self.name))

    def write(self, data: bytes) -> None:
        """Write octets that are no whole frame."""
        self._wire.write(data)

    def _frame(self) -> str:
        frame = f"{self.name}-{next(self._numbers)}"
        self.unanswered.append(frame)
        return frame

    def _write(self, command: str, frame: str | None, *lines: str, content: bytes = b"") -> None:
        head = lines if frame is None else (*lines, f"receipt:{frame}")
        try:
            self._wire.frame_out(command, *head, body=content)
        except Unmet as error:
            raise (Gone if self._bad_network else Stuck)(str(error)) from None

    # -- What comes ----------------------------------------------------------------------------

    def confirmed(self, frame: str | None = None) -> None:
        """Read until the RECEIPT of a frame has come, by default of the last one that asked."""
        wanted = frame or (self.unanswered[-1] if self.unanswered else None)
        while wanted in self.unanswered:
            self.read()

    def next(self, within: float) -> tuple[str, Delivered] | None:
        """Return the next delivery with the subscription's id; None if none comes in time."""
        until = time.monotonic() + within
        while not self.latest:
            left = until - time.monotonic()
            if left <= 0 or not self.read(left):
                return None
        return self.latest.popleft()

    def read(self, within: float | None = None) -> bool:
        """Read one frame and note it; False if none came ``within`` so many seconds.

        Without a limit it has to come. Raises `Gone` at the end of the connection.
        """
        try:
            frame = self._wire.frame(within=self._patience if within is None else within)
        except Unmet as unmet:
            if self._wire.ended is not None:
                raise Gone(self._wire.ended) from None
            if within is None and self._bad_network:
                raise Gone("no answer") from None
            if within is None:
                raise Stuck(f"{self.name}: {unmet}") from None
            return False
        if frame.command == b"RECEIPT":
            name = frame.text("receipt-id")
            self._history.note(Receipt(self.name, name))
            if self.unanswered and self.unanswered[0] == name:
                self.unanswered.popleft()
        elif frame.command == b"MESSAGE":
            self._message(frame)
        else:
            receipt = frame.raw("receipt-id")
            message = frame.text("message")
            self._history.note(
                Refused(self.name, message, None if receipt is None else receipt.decode())
            )
            raise Gone(message)
        return True

    def _message(self, frame: Frame) -> None:
        at = time.time()
        identifier = frame.text("subscription")
        subscription = self.subscriptions.get(identifier)
        if subscription is None:
            self.replies.append(frame.body)
            return
        uid = frame.text("uid")
        check(uid, frame.body)
        if frame.raw("retained") is not None:
            self.retained.append(uid)
            return
        number = (frame.raw("ack") or frame.raw("message-id") or b"").decode()
        delivered = Delivered(
            self.name,
            identifier,
            f"{self.name} {identifier} {number}",
            uid,
            subscription.place,
            subscription.mode == "auto",
            frame.raw("redelivered") is not None,
            subscription.dead,
            at,
            (frame.raw("dead-letter-reason") or b"").decode(),
        )
        self._history.note(delivered)
        if subscription.mode != "auto":
            subscription.outstanding.append(delivered.delivery)
        self.latest.append((identifier, delivered))
