"""One connection of the program, which outlives the command that needed it."""

import time
from dataclasses import dataclass
from typing import Literal

import trio

from stompcli.client import Address, Client, Options, StompError, connect
from stompd.protocol import heartbeat


@dataclass
class Traffic:
    """When octets came and went last, on the monotonic clock; any thread may read it."""

    received_at: float = 0.0
    sent_at: float = 0.0

    def note(self, direction: Literal["<", ">"]) -> None:
        """Octets came (``<``) or went (``>``) just now."""
        if direction == "<":
            self.received_at = time.monotonic()
        else:
            self.sent_at = time.monotonic()


class Link:
    """A connection that is held open by a task of its own until it is let go.

    It owns the client, and what the broker said last instead of the receipt for DISCONNECT.
    """

    def __init__(self, addresses: list[Address], options: Options) -> None:
        # Tried in turn.
        self._addresses = addresses
        self._options = options
        self._client: Client | None = None
        self.since = time.time()
        # Messages sent that nobody has typed: questions to the broker.
        self.asides = 0
        self._let_go = trio.Event()
        self._gone = trio.Event()
        self._last_words: StompError | None = None

    @property
    def client(self) -> Client:
        """The client; not before `hold` has started."""
        assert self._client is not None  # noqa: S101 - for the type checker; see `hold`
        return self._client

    async def hold(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the connection open until `finish`; an error before it is open is the caller's."""
        begun = False
        try:
            async with connect(self._addresses, **self._options) as client:
                self._client = client
                begun = True
                task_status.started()
                await self._let_go.wait()
        except StompError as error:
            if not begun:
                raise
            self._last_words = error
        finally:
            self._gone.set()

    async def finish(self) -> StompError | None:
        """Disconnect and wait for the broker's receipt; return what it said instead, if so."""
        self._let_go.set()
        await self._gone.wait()
        error, self._last_words = self._last_words, None
        return error

    @property
    def sent(self) -> int:
        """How many messages were sent that somebody wanted to be sent."""
        return self.client.counters.messages_sent - self.asides

    def beats(self) -> tuple[float, float]:
        """Return the agreed seconds between heart-beats that come and that go, 0 for none."""
        cx, cy = self._options["heartbeat"]
        if self.client.version == "1.0":
            return 0.0, 0.0
        sx, sy = heartbeat.parse(self.client.connected.get("heart-beat"))
        return heartbeat.period(sx, cy) / 1000, heartbeat.period(cx, sy) / 1000
