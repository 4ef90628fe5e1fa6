"""subscribe and unsubscribe."""

import math
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

import trio

from stompcli.admin import is_stompd, only_stompd
from stompcli.arguments import ACK_MODES
from stompcli.client import (
    Client,
    ConnectionLostError,
    Message,
    StompError,
    SubscribeOptions,
    Subscription,
)
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, StdoutClosed, usage
from stompcli.output import Out
from stompcli.receive_arguments import ONE_SHOT
from stompcli.render import visible_line
from stompcli.session import Session
from stompcli.shower import Graph, Shower
from stompcli.worker.drain import Drain

# Messages that --count lets the broker send ahead of what was shown.
_AHEAD: Final = 1000


async def subscribe(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Receive messages: in a shell beside the prompt, else until there is reason to stop."""
    destinations = list(params["destinations"])
    ack = params["ack"]
    if len(destinations) > 1 and destinations[-1] in ACK_MODES:
        word = destinations.pop()
        if ack is not None and ack != word:
            raise usage(f"the ack mode is both {ack} and {word}")
        ack = word
    if params["id_"] is not None and len(destinations) > 1:
        raise usage("--id names one subscription; give one destination with it")
    if params["durable"] is not None and params["group"] is not None:
        raise usage("--durable and --group exclude each other")
    if session.in_shell:
        for name in ONE_SHOT:
            if params[name]:
                option = f"--{name.replace('_', '-')}"
                raise usage(f"{option} is for stomp subscribe, outside of a shell")
        for destination in destinations:
            await _subscribe_in_shell(session, destination, ack or "auto", params, out)
        return None
    return await _receive(session, destinations, ack, params, out)


async def unsubscribe(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """End a subscription of the shell."""
    word = params["subscription"]
    await session.link()
    subscription = session.find_subscription(word)
    if subscription is None:
        raise Failure(ExitCode.FAILED, "not-found", f"Subscription {word} not found")
    await out.line(f'Unsubscribing from "{visible_line(word)}"')
    await subscription.unsubscribe()
    return None


def _options(client: Client, params: dict[str, Any]) -> SubscribeOptions:
    """Return what is asked of the broker beyond STOMP, which spells it in its own way."""
    options: SubscribeOptions = {}
    if params["selector"] is not None:
        options["selector"] = params["selector"]
    if params["prefetch"] is not None:
        options["prefetch"] = params["prefetch"]
    elif (
        params["count"] is not None
        and "prefetch" in client.dialect.subscribe
        and all(name != "prefetch-count" for name, _ in params["header"])
    ):
        options["prefetch"] = min(params["count"], _AHEAD)
    if params["durable"] is not None:
        options["durable"] = params["durable"]
    return options


def _headers(client: Client, params: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = _group(client, params["group"])
    for name, value in params["header"]:
        if value is None:
            pairs = [pair for pair in pairs if pair[0] != name]
        else:
            pairs.append((name, value))
    return pairs


def _group(client: Client, name: str | None) -> list[tuple[str, str]]:
    """Return the headers by which several share a topic for as long as one of them is there."""
    if name is None:
        return []
    if is_stompd(client):
        return [("durable-subscription-name", name), ("auto-delete", "true")]
    if client.server.startswith("RabbitMQ"):
        return [("x-queue-name", name), ("durable", "false"), ("auto-delete", "true")]
    raise only_stompd(client, "--group", others=" or RabbitMQ")


# In a shell.


async def _subscribe_in_shell(
    session: Session, destination: str, ack: str, params: dict[str, Any], out: Out
) -> None:
    client = await session.link()
    id_ = params["id_"] or _next_id(session)
    await out.line(
        f'Subscribing to "{visible_line(destination)}" with acknowledge set to "{ack}", '
        f'id set to "{visible_line(id_)}"'
    )
    subscription = await client.open_subscription(
        destination,
        ack=ack,
        id=id_,
        headers=_headers(client, params),
        **_options(client, params),
    )
    # What came with the receipt is shown before the next prompt or command.
    while (message := subscription.receive_nowait()) is not None:
        await show_in_shell(session, message, out)
    session.nursery.start_soon(_show_all, session, subscription, out)


async def subscribe_again(session: Session, out: Out) -> None:
    """Subscribe to what the connection before was subscribed to, in the same words."""
    client = await session.link()
    while session.before:
        old = session.before[0]
        subscription = await client.open_subscription(
            old.destination, ack=old.ack, id=old.id, headers=old.headers
        )
        session.before.remove(old)
        session.nursery.start_soon(_show_all, session, subscription, out)


def _next_id(session: Session) -> str:
    taken = {one.id for one in session.client.subscriptions} if session.client else set()
    number = 1
    while str(number) in taken:
        number += 1
    return str(number)


async def _show_all(session: Session, subscription: Subscription, out: Out) -> None:
    """Show the messages of a subscription until it, or the session, has ended."""
    try:
        async for message in subscription:
            await show_in_shell(session, message, out)
    except ConnectionLostError:
        # The line reader, which waits for that, says so.
        return
    except StdoutClosed:
        session.stop(ExitCode.DONE)
    except Failure as failure:
        out.failure(failure)
        session.stop(failure.code)


async def show_in_shell(session: Session, message: Message, out: Out) -> None:
    """Show a message in the shell, and keep it if it has to be settled."""
    number = session.remember(message)
    shown = out.message(message, number)
    if session.show is None:
        await out.write(shown)
    else:
        session.show(number, shown)


# One-shot.


class _Progress:
    """How many messages one-shot subscriptions have to show, and have shown."""

    def __init__(self, count: int | None) -> None:
        self.count = count
        self.begun = 0
        self.shown = 0
        self.last_at = trio.current_time()
        self.done = trio.Event()
        # True if it is done because nothing is left.
        self.drained = False

    def claim(self) -> bool:
        """Return whether one more message is to be shown."""
        if self.count is not None and self.begun >= self.count:
            return False
        self.begun += 1
        return True

    def finished(self) -> None:
        """A claimed message was shown."""
        self.shown += 1
        self.last_at = trio.current_time()
        if self.count is not None and self.shown >= self.count:
            self.done.set()


async def _receive(
    session: Session, destinations: list[str], ack: str | None, params: dict[str, Any], out: Out
) -> ExitCode | None:
    count = params["count"]
    shower = Shower(params, out)
    graph = Graph(out) if params["graph"] else None
    client = await session.link()
    if ack is None:
        # In auto mode the broker would send, and forget, more than --count asked for.
        ack = "auto" if count is None else "client-individual"
    headers, options = _headers(client, params), _options(client, params)
    progress = _Progress(count)
    drain = None
    if params["drain"]:
        drain = Drain(client, destinations, selective=params["selector"] is not None)
        _tell_guess(drain, out)
    session.on_timeout = partial(_too_few, progress, "timed out")
    failure: StompError | StdoutClosed | Failure | None = None

    async def show_all(messages: Subscription) -> None:
        async for message in messages:
            if not progress.claim():
                return
            if graph is not None:
                graph.count(message)
            await shower.show(message, progress.begun)
            # What was not shown comes again.
            if message.subscription.ack != "auto":
                await message.ack()
            progress.finished()

    async def work(task: Awaitable[None]) -> None:
        nonlocal failure
        try:
            await task
        except (StompError, StdoutClosed, Failure) as error:
            # A message that could not be written is not to blame: it goes back without a NACK.
            failure = error
            progress.done.set()

    idle = math.inf if params["idle"] is None else params["idle"]
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        try:
            for destination in destinations:
                messages = await stack.enter_async_context(
                    client.subscribe(
                        destination, ack=ack, id=params["id_"], headers=headers, **options
                    )
                )
                out.notice(
                    f'subscribed to "{visible_line(destination)}" '
                    f"(ack {ack}, id {visible_line(messages.id)})"
                    + ("; Ctrl-C to stop" if count is None or out.stderr_tty else "")
                )
                nursery.start_soon(work, show_all(messages))
        except StompError as error:
            failure = error
            progress.done.set()
        if graph is not None:
            nursery.start_soon(work, graph.run())
        progress.last_at = trio.current_time()
        if drain is not None:
            nursery.start_soon(work, _watch_drain(drain, progress, out))
        while not progress.done.is_set():
            with trio.move_on_at(progress.last_at + idle):
                await progress.done.wait()
            if trio.current_time() >= progress.last_at + idle:
                break
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    why = "nothing is left" if progress.drained else f"no message for {idle:g} s"
    too_few = _too_few(progress, why)
    if too_few is not None and (progress.drained or not progress.done.is_set()):
        raise too_few
    return None


def _tell_guess(drain: Drain, out: Out) -> None:
    if drain.guessing:
        out.notice(
            f"{visible_line(drain.guessing)}; drained is when nothing came for {drain.quiet:g} s"
        )


async def _watch_drain(drain: Drain, progress: _Progress, out: Out) -> None:
    """End the command once its queues are empty and all that came was shown."""
    while True:
        seen = progress.begun
        await trio.sleep(drain.quiet)
        if progress.begun != seen or progress.shown != seen:
            drain.restart()
            continue
        guessed = drain.guessing
        over = await drain.is_over()
        if not guessed:
            _tell_guess(drain, out)
        # Whoever shows what came before the answer has its turn first.
        await trio.lowlevel.checkpoint()
        if over and progress.begun == seen:
            progress.drained = True
            progress.done.set()
            return


def _too_few(progress: _Progress, why: str) -> Failure | None:
    """Return the failure for fewer messages than were asked for, None if no count was asked."""
    if progress.count is None:
        return None
    return Failure(
        ExitCode.TIMED_OUT,
        "timed-out",
        f"{why}: {progress.shown} of {progress.count} messages came",
    )
