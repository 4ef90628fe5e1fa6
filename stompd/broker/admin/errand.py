"""Requests that are answered later: carrying them out step by step, telling how far they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stompd.broker.admin.request import AdminError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stompd.broker.admin.request import Caller, Code
    from stompd.broker.walk import Steps, Wait

Reply = dict[str, Any]

# Seconds between two notes of how far a request is.
_EVERY: Final = 0.25


@dataclass(frozen=True)
class Later:
    """What a verb returns whose result comes later: the steps that return it.

    ``progress`` tells how far they are.
    """

    steps: Steps[Any]
    progress: Callable[[], dict[str, int]] = dict


class Errand:
    """Carries steps out while the connection that asked for them is there.

    ``answer`` gets the reply, or a refusal, and before that notes of progress if ``tells``.
    """

    def __init__(
        self, caller: Caller, later: Later, answer: Callable[[Reply], None], *, tells: bool
    ) -> None:
        self._caller = caller
        self._steps = later.steps
        self._progress = later.progress
        self._answer = answer
        self._tells = tells
        self._told_at = caller.host.broker.now

    def go_on(self, value: object = None) -> None:
        """Carry out what waits for nothing; the rest when what it waits for is there."""
        go_on = True
        while go_on:
            if self._caller.gone:
                self._steps.close()
                done = self._progress().get("done", 0)
                text = f"the connection that asked is gone; by then it was done with {done}"
                self._answer(refusal("failed", text))
                return
            try:
                wait = self._steps.send(value)
            except StopIteration as end:
                self._answer({"ok": True, "result": end.value})
                return
            except AdminError as error:
                self._answer(refusal(error.code, error.message))
                return
            self._tell()
            go_on, value = _wait(wait, self.go_on)

    def _tell(self) -> None:
        now = self._caller.host.broker.now
        if self._tells and now - self._told_at >= _EVERY:
            self._told_at = now
            self._answer({"ok": True, "progress": self._progress()})


def _wait(wait: Wait, later: Callable[[object], None]) -> tuple[bool, object]:
    """Wait for something: return True and the answer if it is there at once, else have it later."""
    answers: list[object] = []
    waits = False

    def answered(*values: object) -> None:
        if waits:
            later(values)
        else:
            answers.append(values)

    wait(answered)
    waits = not answers
    return (False, None) if waits else (True, answers[0])


def refusal(code: Code, message: str) -> Reply:
    """Return the reply to a request that is not carried out, or not to its end."""
    return {"ok": False, "error": {"code": code, "message": message}}


def outcome(done: int, failures: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Return what an acting verb answers; ``failures`` are reasons, and how many had each."""
    failures = failures or {}
    return {
        "done": done,
        "failed": sum(failures.values()),
        "reasons": [
            reason if number == 1 else f"{reason} ({number})"
            for reason, number in sorted(failures.items())
        ],
    }
