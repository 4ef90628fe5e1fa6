"""Find the STOMP brokers of this machine; start them on free ports, each with its own files.

    with brokers.start("RabbitMQ") as broker:
        connect(broker.host, broker.port, broker.login, broker.passcode, broker.vhost)

stompd comes from this checkout; RabbitMQ and ActiveMQ from Debian's packages, without touching
what the system has configured: own node name, own ports, own directory, which is removed at
the end. All of them listen on 127.0.0.1 only. `python -m benchmarks.brokers NAME ...` starts
them by hand until Ctrl-C.

A broker that is started with a directory of the caller's leaves its files there, so that it finds
its messages when it is started again: `kill` ends it as a power cut would, but for the disk.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.plans import HOST, NAMES, ROOT, BrokerFailedError, Plan, missing, plan_of

START_SECONDS = 120.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.02
"""Between two attempts to log in to a broker that has just been started."""


@dataclass(frozen=True)
class Broker:
    """One running broker: where it is and who may log in."""

    name: str
    version: str
    """As the broker names itself in the `server` header of CONNECTED, without its name."""
    host: str
    port: int
    login: str | None
    passcode: str | None
    vhost: str
    """What the `host` header of CONNECT should be."""
    pid: int
    log: Path
    data: Path | None = None
    """The directory of its messages; None if it keeps them in memory only."""
    started: float = 0.0
    """When its process was started, by `time.monotonic`."""

    def pids(self) -> list[int]:
        """Every process of the broker that lives now, the one that we started first."""
        return tree(self.pid)


def tree(pid: int) -> list[int]:
    """`pid` and all its descendants that live now, parents first."""
    found = [pid]
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    return found


def kill(broker: Broker) -> None:
    """End every process of the broker at once, by SIGKILL, and wait until they are gone."""
    family = broker.pids()
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _wait_for_the_end(family)


# --- starting and stopping -----------------------------------------------------------------


@contextlib.contextmanager
def start(
    name: str, *, durable: bool = False, directory: Path | None = None, guarded: bool = False
) -> Iterator[Broker]:
    """Start the broker `name` (one of NAMES, or RELAY) and stop it, and all it started, at the end.

    stompd keeps messages in memory only unless `durable`; the others write persistent ones to disk
    in any case. With `guarded` stompd knows a user, has rules to look at for each SEND and
    SUBSCRIBE, and is asked for its metrics every second; the others log somebody in in any case.
    All files of the broker are in `directory` and stay there, or without one in a temporary
    directory that is removed. Yields once the broker has answered a CONNECT. Raises
    BrokerFailedError if it is not installed, ends, or does not answer within START_SECONDS.
    """
    reason = missing(name)
    if reason is not None:
        raise BrokerFailedError(f"{name}: {reason}")
    with contextlib.ExitStack() as stack:
        if directory is None:
            prefix = f"{name.lower()}-"
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))
        plan = plan_of(name, directory, durable=durable, guarded=guarded)
        for command in plan.before:
            stack.enter_context(
                _process(command, plan.environment, directory / "before.log", signal.SIGKILL)
            )
        log = directory / "output.log"
        started = time.monotonic()
        process = stack.enter_context(_process(plan.command, plan.environment, log, plan.stop))
        version = _wait_until_it_answers(name, plan, process, log)
        if plan.scraped is not None:
            stack.enter_context(_scraped(plan.scraped, f"{plan.login}:{plan.passcode}"))
        yield Broker(
            name=name,
            version=version,
            host=HOST,
            port=plan.port,
            login=plan.login,
            passcode=plan.passcode,
            vhost=plan.vhost,
            pid=process.pid,
            log=log,
            data=plan.data,
            started=started,
        )


@contextlib.contextmanager
def _scraped(port: int, login: str) -> Iterator[None]:
    """Fetch the metrics from a port every second; raises BrokerFailedError if that failed."""
    over = threading.Event()
    failures: list[str] = []
    encoded = base64.b64encode(login.encode()).decode()

    def fetch() -> None:
        while not failures:
            connection = http.client.HTTPConnection(HOST, port, timeout=30.0)
            try:
                connection.request("GET", "/metrics", headers={"Authorization": f"Basic {encoded}"})
                answer = connection.getresponse()
                answer.read()
            except OSError as error:
                failures.append(str(error))
            else:
                if answer.status != http.client.OK:
                    failures.append(f"{answer.status} {answer.reason}")
            finally:
                connection.close()
            if over.wait(1.0):
                return

    thread = threading.Thread(target=fetch, name="scrape")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failures:
        raise BrokerFailedError(f"its metrics could not be had: {failures[0]}")


@contextlib.contextmanager
def _process(
    command: Sequence[str],
    environment: Mapping[str, str] | None,
    log: Path,
    stop: signal.Signals,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` with its output in `log`; end it and its descendants afterwards."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            cwd=ROOT,
            # Ctrl-C in the terminal is for us: we stop the brokers ourselves, in order.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process, stop)


def _stop(process: subprocess.Popen[bytes], first: signal.Signals) -> None:
    """Send `first` to the process, wait, and then kill what is left of its tree."""
    family = tree(process.pid)
    if process.poll() is None and first is not signal.SIGKILL:
        process.send_signal(first)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    for pid in family:
        if pid != process.pid or process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait(STOP_SECONDS)
    _wait_for_the_end(family)


def _wait_for_the_end(family: Sequence[int]) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while any(map(_alive, family)) and time.monotonic() < deadline:
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


def _wait_until_it_answers(
    name: str, plan: Plan, process: subprocess.Popen[bytes], log: Path
) -> str:
    """The broker's version, as soon as it answers CONNECT with CONNECTED."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        if process.poll() is not None:
            what = f"ended with status {process.returncode}"
            break
        try:
            answer = hello(HOST, plan.port, plan.login, plan.passcode, plan.vhost)
        except OSError:
            answer = b""
        if answer.startswith(b"CONNECTED"):
            return _version(answer)
        if time.monotonic() > deadline:
            what = f"did not accept a log-in within {START_SECONDS:.0f} s: {answer!r}"
            break
        time.sleep(POLL_SECONDS)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    raise BrokerFailedError(f"{name} {what}\n{tail}")


def hello(host: str, port: int, login: str | None, passcode: str | None, vhost: str = "/") -> bytes:
    """Connect, log in, leave: the broker's whole answer to CONNECT, empty if it closed.

    Raises OSError when the broker cannot be reached or keeps silent for five seconds.
    """
    with socket.create_connection((host, port), timeout=5.0) as connection:
        connection.sendall(connect_frame(login, passcode, vhost))
        answer = b""
        while b"\0" not in answer:
            more = connection.recv(4096)
            if not more:
                break
            answer += more
        return answer.lstrip(b"\r\n")


def connect_frame(login: str | None, passcode: str | None, vhost: str = "/") -> bytes:
    """A CONNECT frame for STOMP 1.2 without heart-beats."""
    lines = ["CONNECT", "accept-version:1.2", f"host:{vhost}", "heart-beat:0,0"]
    if login is not None:
        lines += [f"login:{login}", f"passcode:{passcode}"]
    return ("\n".join(lines) + "\n\n\0").encode()


def _version(answer: bytes) -> str:
    for line in answer.decode("utf-8", "replace").splitlines():
        if line.startswith("server:"):
            return line.partition("/")[2].split(" ")[0] or line.partition(":")[2]
    return "unknown"


def main(names: Sequence[str]) -> None:
    """Start the named brokers (all that are installed if none is named) until Ctrl-C."""
    with contextlib.ExitStack() as stack:
        for name in names or NAMES:
            reason = missing(name)
            if reason is not None:
                print(f"{name}: {reason}")
                continue
            broker = stack.enter_context(start(name))
            user = f"{broker.login}:{broker.passcode}@" if broker.login else ""
            print(
                f"{broker.name} {broker.version}: stomp://{user}{broker.host}:{broker.port}"
                f" host:{broker.vhost} pids:{','.join(map(str, broker.pids()))}",
                flush=True,
            )
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])
