"""Whether there is more to do: asked of stompd, guessed by a timer with other brokers."""

import json
from collections.abc import Sequence
from typing import Final

import trio

from stompcli.client import Client, StompError

# Seconds without a message after which stompd is asked, and after which others count as drained.
_QUIET: Final = 0.1
_IDLE: Final = 1.0
# The longest pause between two questions, and how long an answer may take.
_OFTEN: Final = 1.0
_PATIENCE: Final = 10.0
# How often a queue must have held what did not come until that is worth a word.
_STRANGE: Final = 5


class Drain:
    """Finds out when the destinations of a worker hold no more messages for it.

    ``quiet`` are the seconds without a message and without a job after which it is time to ask, and
    ``guessing`` says in words why it takes the quiet itself for the answer, empty if it does not.
    """

    def __init__(self, client: Client, destinations: Sequence[str], *, selective: bool) -> None:
        self._client = client
        self._destinations = destinations
        self._asked = 0
        self.guessing = ""
        self.quiet = _QUIET
        if not client.server.startswith("stompd/"):
            name = client.server or "this broker"
            self._guess(f"{name} does not tell what its queues hold")
        elif selective:
            self._guess("what a selector leaves in a queue is no work for this worker")
        elif any(one.startswith(("/topic/", "/exchange/")) for one in destinations):
            self._guess("a topic holds nothing that could be counted")

    def _guess(self, why: str) -> None:
        self.guessing = why
        self.quiet = _IDLE

    def restart(self) -> None:
        """There was work: ask soon again."""
        self._asked = 0
        if not self.guessing:
            self.quiet = _QUIET

    async def is_over(self) -> bool:
        """Return whether all destinations are drained, now that it was quiet for so long."""
        if self.guessing:
            await trio.lowlevel.checkpoint()
            return True
        ready = 0
        for destination in self._destinations:
            count = await self._ready(destination)
            if count is None:
                return False
            ready += count
        self._asked += 1
        self.quiet = min(self.quiet * 2, _OFTEN)
        return not ready

    @property
    def is_strange(self) -> bool:
        """True once, when the queues have held for a while what does not come."""
        return self._asked == _STRANGE

    async def _ready(self, destination: str) -> int | None:
        """Return how many messages wait in a queue; None if that is not to be learnt."""
        try:
            answer = await self._client.request(
                "/admin/queues",
                json.dumps({"match": destination}),
                content_type="application/json",
                timeout=_PATIENCE,
            )
        except StompError as error:
            if self._client.is_connected:
                self._guess(f"the broker was asked what its queues hold: {error}")
            return None
        rows = _rows(answer.body)
        if isinstance(rows, str):
            self._guess(f"the broker does not tell what its queues hold: {rows}")
            return None
        return sum(rows)


def _rows(body: bytes) -> list[int] | str:
    """Return how many wait in each queue that an answer tells of, or why it tells nothing."""
    try:
        answer = json.loads(body)
    except ValueError:
        return "its answer is no JSON"
    rows = answer.get("result") if isinstance(answer, dict) else None
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        counts = [row.get("ready") for row in rows]
        if all(isinstance(count, int) for count in counts):
            return counts
    error = answer.get("error") if isinstance(answer, dict) else None
    return str(error.get("message")) if isinstance(error, dict) else "its answer is none"
