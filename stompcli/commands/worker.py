"""worker: a program for each message, its log, and how it is stopped."""

import logging
import time
from typing import Any, Final, Self

from stompcli.client import ConnectError, Reconnect, SessionEndedError
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, of, usage
from stompcli.output import Out
from stompcli.render import json_line, visible_line
from stompcli.session import Session
from stompcli.worker.child import Command, CommandError, Processes
from stompcli.worker.engine import Engine
from stompcli.worker.job import Event, Run
from stompcli.worker.settings import WorkerOptions
from stompcli.worker_arguments import COMMAND

# What the client says of its connection is for whoever watches the worker.
_CONNECTION: Final = "stompcli.client"
_KILL: Final = 3


async def worker(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Run a program for each message until there is reason to stop."""
    if not params[COMMAND]:
        raise usage("worker: no command; put it behind --, as in: stomp worker DEST -- CMD")
    processes = Processes(command(params, answers=params["reply"]))
    log = Log(out, params["destinations"], as_json=params["log_format"] == "json")
    options: WorkerOptions = {
        **working(params),
        "burst": params["burst"],
        "max_jobs": params["max_jobs"],
        "reply": params["reply"],
        "order": params["order"],
    }
    return await see_through(session, params, processes, options, log, processes)


def working(params: dict[str, Any]) -> WorkerOptions:
    """Return what the options that all workers have say."""
    return {
        "max_idle": params["max_idle"],
        "concurrency": params["concurrency"],
        "job_timeout": params["job_timeout"],
        "on_fail": params["on_fail"],
        "retries": params["retries"],
        "retry_delay": params["retry_delay"],
        "retry_backoff": params["retry_backoff"],
        "name": params["name"],
        "headers": _headers(params),
    }


def command(params: dict[str, Any], *, answers: bool) -> Command:
    """Return the program to run; raises `Failure` if there is none."""
    try:
        return Command(
            params[COMMAND],
            input=params["input"],
            shell=params["shell"],
            env_headers=params["env_headers"],
            output="keep" if answers else "pass",
            quiet=params["quiet_child"],
            grace=params["grace"],
        )
    except CommandError as error:
        raise Failure(ExitCode.NO_INPUT, "no-input", str(error)) from error


async def see_through(
    session: Session,
    params: dict[str, Any],
    run: Run,
    options: WorkerOptions,
    log: "Log",
    processes: Processes | None = None,
) -> ExitCode:
    """Do the jobs until there is reason to stop; signals let running ones finish, or end them."""
    if not params["no_reconnect"]:
        session.reconnect = Reconnect()
    client = await session.link()
    work = Engine(client, params["destinations"], run, log.tell, **options)
    session.on_signal = _Signals(session, work, processes, log)
    with log:
        try:
            await work.work()
        except SessionEndedError as error:
            log.say(f"{work.reason}: {work.summary()}")
            if isinstance(error.__cause__, ConnectError):
                raise of(error.__cause__) from error
            raise
    return ExitCode.PARTIAL if work.failed else ExitCode.DONE


def _headers(params: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = [("selector", params["selector"])] if params["selector"] is not None else []
    return pairs + list(params.get("header") or ())


class _Signals:
    """What the signals mean: finish what runs; break it off; kill it."""

    def __init__(
        self, session: Session, work: Engine, processes: Processes | None, log: "Log"
    ) -> None:
        self._session = session
        self._work = work
        self._processes = processes
        self._log = log
        self._count = 0

    def __call__(self, code: ExitCode) -> bool:
        """See to a signal, and return whether that was done here."""
        self._count += 1
        if self._count == 1:
            if self._work.busy:
                jobs = "a job runs" if self._work.busy == 1 else f"{self._work.busy} jobs run"
                self._log.say(f"stopping: {jobs}; a second signal ends what runs")
            self._work.stop("stopped")
            return True
        # The exit code says that it was not left to end by itself.
        self._session.stopped = code
        self._work.abort("stopped at once")
        if self._count >= _KILL and self._processes is not None:
            self._processes.hurry()
        return self._count <= _KILL


class Log(logging.Handler):
    """The log of a worker on standard error: a line of text, or of JSON, for each event.

    While it is entered, it also tells what the client has to say of its connection.
    """

    def __init__(
        self, out: Out, destinations: tuple[str, ...], *, as_json: bool, what: str = "worker"
    ) -> None:
        super().__init__(logging.INFO)
        # What is listening.
        self._what = what
        self._out = out
        self._width = max(len(visible_line(one)) for one in destinations)
        self._json = as_json or out.settings.json

    def __enter__(self) -> Self:
        logger = logging.getLogger(_CONNECTION)
        logger.addHandler(self)
        logger.setLevel(logging.INFO)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger(_CONNECTION).removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Tell what the client says."""
        self.say(record.getMessage())

    def say(self, text: str) -> None:
        """Tell something that is no job's."""
        self.tell(Event("notice", text))

    def tell(self, event: Event) -> None:
        """Write an event."""
        if self._json:
            if not self._out.settings.quiet:
                self._out.aside(json_line(_fields(event)).decode().rstrip("\n"))
        else:
            self._out.notice(self._text(event))

    def _text(self, event: Event) -> str:
        job, outcome = event.job, event.outcome
        if job is None:
            text = event.text
            if event.kind == "listening":
                text = self._what + text.removeprefix("worker")
            return visible_line(text)
        place = visible_line(job.message.destination).ljust(self._width)
        head = f"{place} {visible_line(job.message.id)}"
        if event.kind == "begun":
            again = f", attempt {job.attempt}" if job.attempt > 1 else ""
            return f"{head} ({len(job.message.body):,} B{again}) …"
        if event.kind == "output":
            return f"{head} | {event.text}"
        how = f", {outcome.how}" if outcome is not None and outcome.how else ""
        took = f"{how} in {event.seconds:.2f} s"
        if event.kind == "lost":
            return f"{head} {visible_line(event.text)}{took}"
        action = visible_line(event.action)
        if event.kind == "done":
            return f"{head} ok{took}, {action}"
        why = f": {visible_line(outcome.reason)}" if outcome is not None and outcome.reason else ""
        word = "FAILED" if event.kind == "failed" else "not now"
        return f"{head} {word}{took}, {action}{why}"


def _fields(event: Event) -> dict[str, object]:
    """Return an event as it is written in JSON."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03}Z"
    fields: dict[str, object] = {"time": stamp, "event": event.kind}
    job, outcome = event.job, event.outcome
    if job is not None:
        fields["destination"] = job.message.destination
        fields["message_id"] = job.message.id
        fields["attempt"] = job.attempt
        if event.kind == "begun":
            fields["size"] = len(job.message.body)
    if outcome is not None:
        fields["exit"] = outcome.status
        fields["seconds"] = round(event.seconds, 3)
        fields["action"] = event.action or None
        if outcome.ending != "done":
            fields["how"] = outcome.how
            fields["reason"] = outcome.reason
    if event.text:
        fields["text"] = event.text
    return fields
