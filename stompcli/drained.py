"""Whether a subscription has received all there is: asked of stompd, else guessed."""

from collections.abc import Sequence
from typing import Final

from stompcli.admin import Admin, admin, is_stompd
from stompcli.failure import Failure
from stompcli.render import visible_line
from stompcli.session import Session

# Seconds of quiet after which stompd is asked; after which others count as drained.
_QUIET: Final = 0.1
_IDLE: Final = 1.0


class Drained:
    """Finds out when queues hold no more messages that could be delivered.

    ``quiet`` are the seconds without a message after which to ask.
    """

    def __init__(self, session: Session, destinations: Sequence[str]) -> None:
        self._session = session
        self._destinations = destinations
        self.quiet = _QUIET
        # True once nobody can be asked, so that quiet alone counts.
        self.guessing = False

    async def begin(self) -> None:
        """See whom one can ask; say so if there is nobody."""
        client = await self._session.link()
        if not is_stompd(client):
            name = visible_line(client.server) or "this broker"
            self._guess(f"{name} does not tell what its queues hold")
        elif any(one.startswith("/topic/") for one in self._destinations):
            self._guess("a topic holds nothing that could be counted")

    async def is_over(self) -> bool:
        """Return whether nothing is left, now that it was quiet for so long."""
        if self.guessing:
            return True
        try:
            async with admin(self._session, "--drain") as broker:
                return not sum([await _ready(broker, name) for name in self._destinations])
        except Failure as failure:
            self._guess(failure.message)
            return False

    def _guess(self, why: str) -> None:
        self.guessing = True
        self.quiet = _IDLE
        self._session.out.notice(f"{why}; drained is when nothing came for {_IDLE:g} s")


async def _ready(broker: Admin, name: str) -> int:
    rows = await broker.rows("queues", match=name)
    return sum(row.get("ready") or 0 for row in rows if row.get("name") == name)
