"""bench."""

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from stompcli.bench.plan import Plan
from stompcli.bench.result import Result, as_csv
from stompcli.bench.run import Run
from stompcli.client import Address, Client
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure
from stompcli.output import Out
from stompcli.render import visible_line
from stompcli.session import Session


async def bench(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Put load on a broker, measure it, and check what became of the messages."""
    plan = Plan.of(params)
    client = await session.link()
    if not params["i_mean_it"] and not await is_near(session.address()):
        plan = plan.with_caution()
    files = Files(params["csv"], params["hdr"], several=len(plan.sizes) > 1)
    files.check()
    out.notice(_announcement(plan, client))
    options = {"persistent": True} if plan.persistent else {}
    headers = client.dialect.send_headers(options)  # type: ignore[arg-type]
    assert client.connection is not None  # noqa: S101 - for the type checker; it is new
    dial = client.connection.another
    assert dial is not None  # noqa: S101 - for the type checker; it was dialled
    results: list[Result] = []
    worst = ExitCode.DONE
    for size in plan.sizes:
        run = Run(plan.of_size(size), dial, headers, out.passing)
        try:
            result = await run.perform()
        except BaseException:
            # What was measured is worth having, whatever ended it.
            if run.has_figures:
                with trio.CancelScope(shield=True):
                    await _show(run.result(interrupted=True), plan, out)
            raise
        results.append(result)
        await _show(result, plan, out)
        files.write(results)
        worst = worst or result.code
    return worst


async def _show(result: Result, plan: Plan, out: Out) -> None:
    out.pass_by()
    if out.settings.json:
        await out.json(result.as_json())
        return
    if len(plan.sizes) > 1:
        await out.line(f"size {result.plan.size:,} B")
    for line in result.lines():
        await out.line(line)
    for note in result.notes():
        out.notice(visible_line(note))


def _announcement(plan: Plan, client: Client) -> str:
    texts = [f"{plan.clients} client" if plan.clients == 1 else f"{plan.clients} clients"]
    if plan.messages is not None:
        what = "connections" if plan.verb == "connect" else "messages"
        texts.append(f"{plan.messages:,} {what}")
    if plan.duration is not None:
        texts.append(f"{plan.duration:g} s")
    if plan.senders:
        sizes = ", ".join(f"{size:,}" for size in plan.sizes)
        texts.append(f"{sizes} B")
        receipts = {0: "no receipts", 1: "a receipt for each"}
        texts.append(
            f"transactions of {plan.tx}"
            if plan.tx
            else receipts.get(plan.receipts, f"a receipt for every {plan.receipts}")
        )
    if plan.persistent:
        texts.append("persistent")
    if plan.verb != "connect":
        texts.append(visible_line(plan.destination))
    server = visible_line(client.server or "a broker")
    return f"bench {plan.verb} on {server} at {client.address}: {', '.join(texts)}"


async def is_near(address: Address) -> bool:
    """Return whether a broker is on this machine."""
    if address.path is not None or address.host == "localhost":
        return True
    try:
        found = await trio.socket.getaddrinfo(address.host, address.port)
    except OSError:
        return False
    hosts = [str(entry[4][0]).partition("%")[0] for entry in found]
    return all(ipaddress.ip_address(host).is_loopback for host in hosts)


class Files:
    """The files that the figures go to, if any."""

    def __init__(self, csv: str | None, hdr: str | None, *, several: bool) -> None:
        self._csv = csv
        self._hdr = hdr
        # Whether there are several runs, of different sizes.
        self._several = several

    def check(self) -> None:
        """Raise `Failure` if there is no use in measuring, since nothing could be written."""
        for name in (self._csv, self._hdr):
            if name is not None and not Path(name).absolute().parent.is_dir():
                raise _cannot_write(name, "there is no such directory")

    def write(self, results: Sequence[Result]) -> None:
        """Write the figures of all runs so far; raises `Failure`."""
        if self._csv is not None:
            _write(self._csv, as_csv(results))
        if self._hdr is None:
            return
        result = results[-1]
        times = list(result.histograms())
        for latency, histogram in times:
            parts = [latency] if len(times) > 1 else []
            if self._several:
                parts.append(str(result.plan.size))
            _write(_with(self._hdr, parts), histogram.hgrm())


def _with(name: str, parts: Sequence[str]) -> str:
    """Return a file's name with parts put before its ending."""
    path = Path(name)
    return str(path.with_name("-".join([path.stem, *parts]) + path.suffix))


def _write(name: str, text: str) -> None:
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise _cannot_write(name, error.strerror or str(error)) from None


def _cannot_write(name: str, reason: str) -> Failure:
    return Failure(ExitCode.FAILED, "failed", f"cannot write {name}: {reason}")
