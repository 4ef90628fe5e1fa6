"""Connections that break after a number of octets, and tasks that are cancelled at a step."""

import random
from collections.abc import Awaitable, Callable

import trio

from stompcli.client import Address


class Cut(trio.abc.Stream):
    """A stream that breaks after so many octets in one direction or the other."""

    def __init__(self, stream: trio.abc.Stream, after: int) -> None:
        self._stream = stream
        self._left = after

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send what may still go, and break if that is not all."""
        await self._stream.send_all(bytes(data)[: max(self._left, 0)])
        await self._count(len(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Wait as the stream does."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive what may still come."""
        data = bytes(await self._stream.receive_some(max_bytes))
        await self._count(len(data))
        return data

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()

    async def _count(self, octets: int) -> None:
        self._left -= octets
        if self._left < 0:
            await trio.aclose_forcefully(self._stream)
            raise trio.BrokenResourceError


def cutting(
    chance: random.Random, least: int, most: int
) -> Callable[[Address], Awaitable[trio.abc.Stream]]:
    """Return a dial whose connections break after a number of octets between these."""

    async def dial(address: Address) -> trio.abc.Stream:
        stream = await trio.open_tcp_stream(address.host, address.port)
        return Cut(stream, chance.randint(least, most))

    return dial


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when this task takes its n-th step: at each await, one after the other."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._task = trio.lowlevel.current_task()
        self._scope = scope
        self._left = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count the steps of the task."""
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()
