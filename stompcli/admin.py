"""Admin requests: JSON over the session that is there, to ``/admin/VERB`` and back.

The answer comes to a private queue of this connection; a request that fails gets one too, so that
the session goes on.
"""

import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import trio

from stompcli.client import Client, Message, Subscription
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure
from stompcli.quick import ANSWERS
from stompcli.render import visible_line
from stompcli.session import Session

_NAME: Final = "stomp-admin"
_ANSWERS: Final = f"/temp-queue/{_NAME}"
_COMPLETION: Final = ANSWERS.removeprefix("/temp-queue/")
# What the codes of refusals mean for the program that asked.
_CODES: Final = {"bad-request": ExitCode.USAGE, "forbidden": ExitCode.REFUSED}


def is_stompd(client: Client) -> bool:
    """Return whether the broker says that it is stompd."""
    return client.server.startswith("stompd/")


def only_stompd(client: Client, what: str, *, others: str = "") -> Failure:
    """Return the failure for what this broker cannot do; ``others`` are those that could."""
    name = visible_line(client.server) if client.server else "a broker without a name"
    return Failure(
        ExitCode.FAILED,
        "unsupported",
        f"{what} needs stompd{others}; at {client.address} answers {name}",
    )


@dataclass(frozen=True)
class Outcome:
    """What an acting verb has done."""

    done: int
    failed: int
    # Why some failed.
    reasons: tuple[str, ...]

    @classmethod
    def of(cls, result: object) -> "Outcome":
        """Return what a verb's result says; a result without counts is one thing done."""
        fields = result if isinstance(result, dict) else {}
        reasons = fields.get("reasons") or ()
        return cls(
            _count(fields.get("done"), 1),
            _count(fields.get("failed"), 0),
            tuple(one if isinstance(one, str) else json.dumps(one) for one in reasons),
        )

    def as_json(self) -> dict[str, object]:
        """Return the outcome as it is written in JSON."""
        return {"done": self.done, "failed": self.failed, "reasons": list(self.reasons)}

    @property
    def code(self) -> ExitCode:
        """The exit code that it means."""
        return ExitCode.PARTIAL if self.failed else ExitCode.DONE


@dataclass(frozen=True)
class Progress:
    """How far a verb is."""

    done: int
    looked_at: int
    of: int

    @classmethod
    def of_note(cls, note: dict[str, Any]) -> "Progress":
        """Return what a note of progress says."""
        return cls(*(_count(note.get(name), 0) for name in ("done", "looked_at", "of")))

    @property
    def part(self) -> float:
        """The part that is done, from 0 to 1."""
        return min(self.looked_at / self.of, 1.0) if self.of > 0 else 0.0


Told = Callable[[Progress], None]


def _count(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise


class Admin:
    """Requests to the broker over one subscription, which gets the answers."""

    def __init__(self, client: Client, answers: Subscription) -> None:
        self._client = client
        self._answers = answers
        # How many requests were made.
        self.asked = 0

    async def ask(self, verb: str, *, told: Told | None = None, **fields: object) -> Any:  # noqa: ANN401 - JSON
        """Carry out a verb, and return its result; a field that is None is left out.

        ``told`` is called with how far a verb is that takes its time; while that is told nobody
        loses patience. Raises `Failure` for a refusal, an answer that is none, and none at all.
        """
        if told is not None:
            fields["progress"] = True
        self.asked += 1
        correlation = str(self.asked)
        body = json.dumps({name: value for name, value in fields.items() if value is not None})
        await self._client.send(
            f"/admin/{verb}",
            body.encode(),
            headers={"reply-to": _ANSWERS, "correlation-id": correlation},
            content_type="application/json",
        )
        limit = self._client.receipt_timeout
        patience = math.inf if limit is None else limit
        with trio.move_on_after(patience) as scope:
            while True:
                message = await self._answers.receive()
                if message.headers.get("correlation-id") != correlation:
                    continue
                answer = _answer(verb, message)
                progress = answer.get("progress")
                if told is None or not isinstance(progress, dict):
                    return _result(verb, answer)
                scope.deadline = trio.current_time() + patience
                told(Progress.of_note(progress))
        raise Failure(
            ExitCode.TIMED_OUT,
            "timed-out",
            f"{self._client.address} has not answered the request {verb} within {limit:g} s",
        )

    async def rows(self, verb: str, **fields: object) -> list[dict[str, Any]]:
        """Carry out a verb whose result is a list of objects; as `ask`."""
        result = await self.ask(verb, told=None, **fields)
        if not isinstance(result, list) or not all(isinstance(row, dict) for row in result):
            raise _no_answer(verb)
        return result

    async def record(
        self, verb: str, *, told: Told | None = None, **fields: object
    ) -> dict[str, Any]:
        """Carry out a verb whose result is one object; as `ask`."""
        result = await self.ask(verb, told=told, **fields)
        if not isinstance(result, dict):
            raise _no_answer(verb)
        return result

    async def act(self, verb: str, *, told: Told | None = None, **fields: object) -> Outcome:
        """Carry out a verb that changes something; as `ask`."""
        return Outcome.of(await self.ask(verb, told=told, **fields))

    def is_own(self, row: dict[str, Any]) -> bool:
        """Return whether a queue or subscription is that of the answers, and no news to anybody.

        So are those of a shell's completion, which asks over a connection of its own.
        """
        us = self._client.session
        if "connection" in row:
            place, owner = str(row.get("destination")), row["connection"]
        else:
            place, owner = str(row.get("name")), row.get("owner")
        own = {_NAME, _COMPLETION} if us and owner == us else {_COMPLETION}
        _, temporary, name = place.rpartition("temp-queue/")
        return bool(temporary and owner) and name.rpartition("/")[2] in own


@asynccontextmanager
async def admin(session: Session, what: str) -> AsyncIterator[Admin]:
    """Yield what carries out admin requests; ``what`` is the command that makes them.

    Raises `Failure` if the broker is not stompd.
    """
    client = await session.link()
    if not is_stompd(client):
        raise only_stompd(client, what)
    async with client.subscribe(_ANSWERS) as answers:
        broker = Admin(client, answers)
        try:
            yield broker
        finally:
            if session.held is not None:
                session.held.asides += broker.asked


def _answer(verb: str, message: Message) -> dict[str, Any]:
    """Return the object that an answer is; raises `Failure` if it is none."""
    try:
        answer = json.loads(message.body)
    except ValueError:
        raise _no_answer(verb) from None
    if not isinstance(answer, dict):
        raise _no_answer(verb)
    return answer


def _result(verb: str, answer: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Return the result in an answer; raises `Failure` for a refusal."""
    if answer.get("ok") is True:
        return answer.get("result")
    error = answer.get("error")
    if not isinstance(error, dict):
        raise _no_answer(verb)
    code = str(error.get("code", "failed"))
    text = str(error.get("message", "")) or f"{verb}: {code}"
    raise Failure(_CODES.get(code, ExitCode.FAILED), code, text)


def _no_answer(verb: str) -> Failure:
    return Failure(
        ExitCode.FAILED, "bad-answer", f"what the broker answered to {verb} is no answer to it"
    )
