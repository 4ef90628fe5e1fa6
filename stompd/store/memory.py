"""The store that keeps nothing: what is in the broker's memory is all there is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stompd.broker.message import Message
    from stompd.broker.storage import Fetch, Key, Kind


class MemoryStore:
    """Satisfies `stompd.broker.storage.Store` without keeping anything.

    Persistent messages are as transient as the others, and the daemon says so at its start. All
    that is there is durable at once, in the sense that no promise waits for anything.
    """

    pages = False
    congested = False
    full = False

    def put(self, queue: Key, message: Message, due: float = 0.0) -> None:
        """Do nothing: the queue holds the message."""

    def settle(self, queue: Key, message: Message) -> None:
        """Do nothing: nothing was kept."""

    def requeue(self, queue: Key, message: Message, due: float = 0.0) -> None:
        """Do nothing: the message itself carries its count."""

    def drop(
        self, queue: Key, priority: int, after: int, upto: int, spare: Collection[int]
    ) -> None:
        """Do nothing: nothing was kept."""

    def forget(self, queue: Key) -> None:
        """Do nothing: nothing was kept."""

    def remember(self, queue: Key, dedup_id: str, seen: float) -> None:
        """Do nothing: the destination remembers it."""

    def unremember(self, queue: Key, dedup_id: str) -> None:
        """Do nothing: nothing was kept."""

    def define(self, kind: Kind, key: tuple[str, ...], record: Mapping[str, Any]) -> None:
        """Do nothing: nobody will ask."""

    def undefine(self, kind: Kind, key: tuple[str, ...]) -> None:
        """Do nothing: nothing was kept."""

    def begin_group(self) -> None:
        """Do nothing: memory has no parts."""

    def end_group(self) -> None:
        """Do nothing: memory has no parts."""

    def ticket(self) -> int:
        """Return 0: nothing is ever pending."""
        return 0

    def fetch(self, fetch: Fetch) -> None:
        """Refuse: a queue over this store has no tail to fetch from."""
        raise AssertionError(fetch)
