"""bridge: messages forwarded from one broker to another, none of them lost."""

import math
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Final

import trio

from stompcli.client import (
    BrokerError,
    Client,
    ConnectionLostError,
    Message,
    NackOptions,
    Options,
    OutcomeUnknownError,
    Receipt,
    StaleMessageError,
    SubscribeOptions,
    UsageError,
    connect,
)
from stompcli.client import url as urls
from stompcli.client.beside import tasks_beside
from stompcli.commands.send import OF_DELIVERY
from stompcli.exitcodes import ExitCode
from stompcli.failure import usage
from stompcli.listing import messages as so_many
from stompcli.output import Out
from stompcli.render import visible_line
from stompcli.session import Session
from stompcli.stopping import Stop

# For each message's own destination.
_SAME: Final = "="
# Heart-beats, and the mark of the broker of the global options.
_BEATS: Final = (10_000, 10_000)
_HERE: Final = "-"
# Of s/A/B/: what is before, between and behind the last two slashes.
_PARTS: Final = 3
_NOT_SENT: Final = OF_DELIVERY | {"content-type", "original-message-id", "browser"}


async def bridge(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Forward messages until there is reason to stop."""
    target = params["target"]
    rename = _mapping(params["mapping"]) if params["mapping"] is not None else None
    if rename is not None and target != _SAME:
        raise usage("--map is for the destination =")
    stop = Stop()
    session.on_signal = stop
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(_session(session, params["source_url"], params))
        there = await stack.enter_async_context(_session(session, params["target_url"], params))
        crossing = _Crossing(here, there, params, rename, stop)
        out.notice(
            f"forwarding {visible_line(params['source'])} of {here.address} "
            f"to {'the same' if target == _SAME else visible_line(target)} of {there.address}"
        )
        try:
            async with tasks_beside() as nursery:
                if params["stats"] is not None:
                    nursery.start_soon(_tell, crossing, params["stats"], out)
                await crossing.run()
        finally:
            out.notice(crossing.summary())
    return ExitCode.PARTIAL if crossing.failed else ExitCode.DONE


def _session(
    session: Session, place: str, params: dict[str, Any]
) -> AbstractAsyncContextManager[Client]:
    """Return the session with one of the two brokers, to be entered."""
    options: Options = {"heartbeat": _BEATS}
    address = session.address() if place == _HERE else urls.parse(place)
    if place == _HERE:
        options = session.options()
    # The receipt of a message is waited for as long as it takes: heart-beats tell a dead broker.
    options["receipt_timeout"] = None
    options["reconnect"] = params["reconnect"]
    return connect(address, **options)


async def _tell(crossing: "_Crossing", interval: float, out: Out) -> None:
    while True:
        await trio.sleep(interval)
        out.notice(crossing.summary())


def _mapping(text: str) -> Callable[[str], str]:
    """Return what ``s/A/B/`` makes of a destination; raises `Failure` if it is nothing such."""
    parts = text[2:].split(text[1:2]) if len(text) > 1 else []
    if text[:1] != "s" or len(parts) != _PARTS or parts[2]:
        raise usage(f'--map: "{text}" is not s/A/B/, with any sign for the slash')
    try:
        pattern = re.compile(parts[0])
        pattern.sub(parts[1], "")
    except (re.error, IndexError) as error:
        raise usage(f"--map: {error}") from None

    def rename(destination: str) -> str:
        return pattern.sub(parts[1], destination, count=1)

    return rename


class _Crossing:
    """Messages on their way: taken here, sent there, confirmed there, acknowledged here."""

    def __init__(
        self,
        source: Client,
        target: Client,
        params: dict[str, Any],
        rename: Callable[[str], str] | None,
        stop: Stop,
    ) -> None:
        self._source = source
        self._target = target
        self._params = params
        self._rename = rename
        self._stop = stop
        self._marks = [pair for pair in params["header"] if pair[1] is not None]
        self._loop = params["loop_header"]
        self.forwarded = 0
        self.passed_over = 0
        self.failed = 0
        # Sent, and perhaps sent once more by the source.
        self.doubtful = 0

    def summary(self) -> str:
        """Return how far it is in words."""
        parts = [f"forwarded {so_many(self.forwarded)}"]
        if self.passed_over:
            parts.append(f"{self.passed_over:,} passed over (--loop-header)")
        if self.failed:
            parts.append(f"{self.failed:,} refused")
        if self.doubtful:
            parts.append(f"{self.doubtful:,} perhaps twice")
        return ", ".join(parts)

    async def run(self) -> None:
        """Forward until there is the wish to stop, enough came, or none for long enough."""
        params, source = self._params, self._source
        if source.version == "1.0":
            raise UsageError("a bridge takes from STOMP 1.1 or 1.2: 1.0 can refuse no message")
        options: SubscribeOptions = {}
        if "prefetch" in source.dialect.subscribe:
            options["prefetch"] = params["prefetch"]
        headers = [("selector", params["selector"])] if params["selector"] is not None else []
        left = math.inf if params["count"] is None else params["count"]
        idle = math.inf if params["idle"] is None else params["idle"]
        size = params["tx"] or 1
        sent, settled = trio.open_memory_channel[tuple[Message, Receipt]](params["prefetch"])
        async with (
            source.subscribe(
                params["source"], ack="client-individual", headers=headers, **options
            ) as incoming,
            tasks_beside(cancel=False) as nursery,
        ):
            nursery.start_soon(self._settle_all, settled)
            async with sent:
                while left > 0:
                    message = await self._stop.wait_for(incoming.receive, idle)
                    batch = []
                    while message is not None:
                        batch.append(message)
                        left -= 1
                        more = left > 0 and len(batch) < size
                        message = incoming.receive_nowait() if more else None
                    if not batch:
                        break
                    ours = [message for message in batch if not await self._is_passed_over(message)]
                    if params["tx"] is not None:
                        await self._send_together(ours)
                    else:
                        for message in ours:
                            await self._send_one(message, sent)

    # One after the other, without waiting for each receipt.

    async def _send_one(
        self, message: Message, sent: trio.MemorySendChannel[tuple[Message, Receipt]]
    ) -> None:
        try:
            receipt = await self._target.submit(*self._as_sent(message), **self._more(message))
        except UsageError as error:
            await self._refuse(message, str(error))
            return
        await sent.send((message, receipt))

    async def _settle_all(self, sent: trio.MemoryReceiveChannel[tuple[Message, Receipt]]) -> None:
        async with sent:
            async for message, receipt in sent:
                try:
                    await receipt.wait()
                except BrokerError as error:
                    # It was this message that was refused; the session goes on, if it may.
                    await self._refuse(message, str(error))
                else:
                    await self._acknowledge(message)

    # In transactions.

    async def _send_together(self, batch: list[Message]) -> None:
        while batch:
            try:
                async with self._target.transaction() as transaction:
                    for message in batch:
                        await self._target.send(
                            *self._as_sent(message),
                            **self._more(message),
                            transaction=transaction,
                        )
            except UsageError as error:
                # The transaction is undone; the others go without this one.
                await self._refuse(message, str(error))
                batch = [one for one in batch if one is not message]
            except BrokerError:
                raise
            except ConnectionLostError as error:
                self._target.check_alive()
                if isinstance(error, OutcomeUnknownError):
                    self.doubtful += len(batch)
            else:
                for message in batch:
                    await self._acknowledge(message)
                return

    # A message on its way.

    def _as_sent(self, message: Message) -> tuple[str, bytes]:
        destination = self._params["target"]
        if destination == _SAME:
            destination = message.destination
            if self._rename is not None:
                destination = self._rename(destination)
        return destination, message.body

    def _more(self, message: Message) -> Any:  # noqa: ANN401 - keyword arguments of a SEND
        replaced = {name for name, _ in self._marks} | {self._loop}
        headers = [
            pair
            for pair in message.headers.items()
            if pair[0] not in _NOT_SENT and pair[0] not in replaced
        ]
        headers += self._marks
        if self._loop is not None:
            headers.append((self._loop, self._source.address))
        return {"headers": headers, "content_type": message.headers.get("content-type")}

    async def _is_passed_over(self, message: Message) -> bool:
        """Return whether a message is none to forward; it is settled then."""
        if message.stale:
            # It comes again.
            return True
        if self._loop is None or self._loop not in message.headers:
            return False
        try:
            await message.ack()
        except StaleMessageError:
            return True
        self.passed_over += 1
        return True

    async def _acknowledge(self, message: Message) -> None:
        self.forwarded += 1
        try:
            await message.ack()
        except ConnectionLostError:
            self._source.check_alive()
            self.doubtful += 1

    async def _refuse(self, message: Message, reason: str) -> None:
        self.failed += 1
        options: NackOptions = {}
        if "reason" in self._source.dialect.nack:
            options["reason"] = visible_line(reason)
        try:
            await message.nack(**options)
        except ConnectionLostError:
            self._source.check_alive()
