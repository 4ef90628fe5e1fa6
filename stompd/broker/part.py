"""What a part of a destination has in common with the others: it knows weakly whose it is."""

from __future__ import annotations

from typing import Generic, TypeVar
from weakref import ref

T = TypeVar("T")


class Part(Generic[T]):
    """Knows its queue, or topic, without keeping it: a circle would outlive the destination."""

    __slots__ = ("_whose",)

    def __init__(self, queue: T) -> None:
        self._whose = ref(queue)

    @property
    def _queue(self) -> T:
        queue = self._whose()
        assert queue is not None  # noqa: S101 - whoever has something to do with it holds it
        return queue
