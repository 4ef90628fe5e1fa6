"""Tasks beside a block, without a trace in what the block raises."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def tasks_beside(*, cancel: bool = True) -> AsyncIterator[trio.Nursery]:
    """Give a nursery for tasks that are cancelled at the end of the block, or else waited for.

    What the block raises, or the only task that does, comes out as it is, where a plain nursery
    would wrap it into a group.
    """
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            finally:
                if cancel:
                    nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) != 1:
            raise
        failure = group.exceptions[0]
    if failure is not None:
        try:
            raise failure
        finally:
            # The traceback would hold this frame, and this frame the exception.
            del failure
