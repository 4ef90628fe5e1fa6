"""request and reply: both sides of a question and its answer."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import trio

from stompcli import files
from stompcli.admin import is_stompd
from stompcli.client import Client, Message, TimedOutError
from stompcli.commands.send import single
from stompcli.commands.worker import Log, command, see_through, working
from stompcli.exitcodes import ExitCode
from stompcli.failure import usage
from stompcli.outgoing import Outgoing
from stompcli.output import Out
from stompcli.render import check_pattern, pattern
from stompcli.session import Session
from stompcli.worker.child import Command, Processes
from stompcli.worker.job import Job, Run
from stompcli.worker.settings import WorkerOptions
from stompcli.worker.verdict import Outcome
from stompcli.worker_arguments import COMMAND

_TEXT: Final = "text/plain"


async def request(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Send a request, and print its replies."""
    if params["correlation_id"] is not None and params["reply_to"] is None:
        raise usage("--correlation-id is for replies that go to --reply-to; give that, too")
    if any(name in ("reply-to", "correlation-id") for name, _ in params["header"]):
        raise usage("reply-to and correlation-id have options of their own")
    # What is behind it is sent by us.
    message = await single(
        {**params, "reply_to": None, "correlation_id": None}, in_shell=session.in_shell
    )
    client = await session.link()
    count = params["replies"]
    started = trio.current_time()
    came = 0
    asking = _ask_there if params["reply_to"] is not None else _ask
    async with asking(client, message, params) as replies:
        async for reply in replies:
            seconds = trio.current_time() - started
            came += 1
            await _show(reply, came, seconds, params, out)
    if not came:
        raise TimedOutError(f"no reply within {params['reply_timeout']:g} s")
    if count != 1:
        took = trio.current_time() - started
        words = "1 reply" if came == 1 else f"{came:,} replies"
        out.notice(f"{words} in {took:.2f} s")
    return None


async def _show(
    reply: Message, number: int, seconds: float, params: dict[str, Any], out: Out
) -> None:
    end = b"" if params["no_newline"] else b"\n"
    shown = out.message(
        reply,
        number,
        body=not params["headers_only"],
        end=end,
        more={"seconds": round(seconds, 6)},
    )
    await out.write(shown)
    if not out.in_shell or out.settings.verbose:
        out.notice(f"reply {number} after {seconds * 1000:.1f} ms")


@asynccontextmanager
async def _ask(
    client: Client, message: Outgoing, params: dict[str, Any]
) -> AsyncIterator[AsyncIterator[Message]]:
    """Send a request whose replies come to a temporary queue."""
    async with client.request_many(
        message.destination,
        message.body,
        replies=params["replies"] or None,
        timeout=params["reply_timeout"],
        headers=message.headers,
        content_type=message.content_type,
    ) as replies:
        yield replies


@asynccontextmanager
async def _ask_there(
    client: Client, message: Outgoing, params: dict[str, Any]
) -> AsyncIterator[AsyncIterator[Message]]:
    """Send a request whose replies come to a destination that others may use, too."""
    where = params["reply_to"]
    correlation = params["correlation_id"] or secrets.token_hex(8)
    headers = {}
    if is_stompd(client):
        # Others' replies stay where they are; other brokers cannot all tell them apart.
        quoted = correlation.replace("'", "''")
        headers["selector"] = f"\"correlation-id\" = '{quoted}'"
    async with client.subscribe(where, ack=_mode(client, where), headers=headers) as answers:
        await client.send(
            message.destination,
            message.body,
            **{
                **message.arguments(),
                "headers": [
                    *message.headers,
                    ("reply-to", where),
                    ("correlation-id", correlation),
                ],
            },
            receipt=True,
        )
        deadline = trio.current_time() + params["reply_timeout"]
        yield _ours(answers, correlation, params["replies"], deadline)


def _mode(client: Client, destination: str) -> str:
    """Return the mode in which what is not ours goes back, where there is something to go back."""
    queue = not destination.startswith(("/topic/", "/temp-"))
    return "client-individual" if queue and client.version != "1.0" else "auto"


async def _ours(
    answers: AsyncIterator[Message], correlation: str, count: int, deadline: float
) -> AsyncGenerator[Message, None]:
    """Yield so many replies with this correlation-id; raise `TimedOutError` if they do not come."""
    came = 0
    while not count or came < count:
        message = None
        with trio.move_on_at(deadline):
            message = await anext(answers)
        if message is None:
            if count and came:
                raise TimedOutError(f"{came} of {count} replies came in time")
            return
        if message.headers.get("correlation-id") == correlation:
            came += 1
            yield message
            if message.subscription.ack != "auto":
                await message.ack()


async def reply(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Answer each request."""
    source = _source(params)
    processes = None
    if source == "--command":
        processes = Processes(_program(params))
    answers = _Answers(processes or _fixed(source, params), params)
    as_json = params["log_format"] == "json"
    params = {**params, "destinations": (params["destination"],)}
    log = Log(out, params["destinations"], as_json=as_json, what="replier")
    options: WorkerOptions = {
        **working({**params, "header": ()}),
        "max_jobs": params["count"],
        "reply": True,
    }
    return await see_through(session, params, answers, options, log, processes)


class _Answers:
    """What makes answers, after a while and with the headers that they shall have."""

    def __init__(self, make: Run, params: dict[str, Any]) -> None:
        self._make = make
        self._sleep = params["sleep"]
        self._kind = params["content_type"]
        self._headers = tuple(params["header"])

    async def __call__(self, job: Job) -> Outcome:
        """Make an answer."""
        if self._sleep is not None:
            await trio.sleep(self._sleep)
        outcome = await self._make(job)
        kind = self._kind or outcome.content_type
        return replace(outcome, content_type=kind, headers=self._headers)


def _source(params: dict[str, Any]) -> str:
    """Return where answers come from; raises `Failure` if from nowhere, or from two places."""
    given = {
        "BODY": bool(params["body"]),
        "--echo": params["echo"],
        "--template": params["template"] is not None,
        "--body-file": params["body_file"] is not None,
        "--command": params["command"],
    }
    chosen = [name for name, is_given in given.items() if is_given]
    if len(chosen) > 1:
        raise usage(f"{chosen[0]} and {chosen[1]} exclude each other")
    if not chosen:
        raise usage(
            'reply: with what? a BODY ("" for an empty one), '
            "--echo, --template, --body-file or --command"
        )
    if params["shell"] and not params["command"]:
        raise usage("--shell is for --command")
    return chosen[0]


def _program(params: dict[str, Any]) -> Command:
    if not params[COMMAND]:
        raise usage("reply: no command; put it behind --, as in: stomp reply DEST --command -- CMD")
    return command(params, answers=True)


def _fixed(source: str, params: dict[str, Any]) -> Run:
    """Return what makes answers without a program."""
    template = params["template"]
    if template is not None and "{" in template:
        complaint = check_pattern(template)
        if complaint is not None:
            raise usage(complaint)
    body = b""
    if source == "BODY":
        body = " ".join(params["body"]).encode("utf-8", "surrogateescape")
    elif source == "--body-file":
        body = files.read(params["body_file"])
    count = 0

    async def answer(job: Job) -> Outcome:
        nonlocal count
        count += 1
        await trio.lowlevel.checkpoint()
        message = job.message
        if source == "--echo":
            kind = message.headers.get("content-type")
            return Outcome("done", output=message.body, content_type=kind)
        if source == "--template":
            text = pattern(message, count, template, tty=False)
            return Outcome("done", output=text, content_type=_TEXT)
        kind = _TEXT if source == "BODY" else None
        return Outcome("done", output=body, content_type=kind)

    return answer
