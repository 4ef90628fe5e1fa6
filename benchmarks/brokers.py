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

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
START_SECONDS = 120.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.02
"""Between two attempts to log in to a broker that has just been started."""

ROOT = Path(__file__).resolve().parent.parent
RABBITMQ_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
ACTIVEMQ_HOME = Path("/usr/share/activemq")
ACTIVEMQ_JAR = ACTIVEMQ_HOME / "bin" / "activemq.jar"


class BrokerFailedError(Exception):
    """A broker did not start; the text ends with the last lines of its output."""


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


@dataclass(frozen=True)
class _Plan:
    """What to run: a command and its environment, a port, the log-in, helper commands first."""

    command: Sequence[str]
    port: int
    login: str | None = None
    passcode: str | None = None
    vhost: str = "/"
    environment: Mapping[str, str] | None = None
    before: Sequence[Sequence[str]] = ()
    stop: signal.Signals = signal.SIGKILL
    data: Path | None = None


def tree(pid: int) -> list[int]:
    """`pid` and all its descendants that live now, parents first."""
    found = [pid]
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    return found


def free_ports(count: int, host: str = HOST) -> list[int]:
    """`count` different TCP ports of `host` that nobody listens on now.

    They lie below those that the system gives to outgoing connections, so that none of these can
    take one before the broker does, however many thousands the benchmark opens meanwhile.
    """
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except FileNotFoundError:
        first = 32768
    candidates = list(range(max(1024, first - 12_000), first))
    random.shuffle(candidates)
    ports = []
    for port in candidates:
        with socket.socket() as listener:
            try:
                listener.bind((host, port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise BrokerFailedError(f"{host} has no {count} free ports below {first}")


def kill(broker: Broker) -> None:
    """End every process of the broker at once, by SIGKILL, and wait until they are gone."""
    family = broker.pids()
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _wait_for_the_end(family)


# --- what is installed ---------------------------------------------------------------------


def missing(name: str) -> str | None:
    """Why the broker `name` cannot be started here, or None if it can."""
    return _MISSING[name]()


def _stompd_missing() -> str | None:
    return None if (ROOT / "stompd" / "__main__.py").is_file() else "no stompd in this checkout"


def _rabbitmq_missing() -> str | None:
    if not RABBITMQ_SERVER.is_file():
        return "rabbitmq-server is not installed (Debian package rabbitmq-server)"
    if shutil.which("epmd") is None:
        return "epmd is not on the path (Debian package erlang-base)"
    return None


def _activemq_missing() -> str | None:
    if not ACTIVEMQ_JAR.is_file():
        return "activemq.jar is not installed (Debian package activemq)"
    if shutil.which("java") is None:
        return "java is not on the path (Debian package default-jre-headless)"
    return None


# --- how each is started -------------------------------------------------------------------


def _ports(directory: Path, count: int) -> list[int]:
    """Free ports, which are the same each time a broker is started in this directory.

    RabbitMQ's node, and so the place of its messages, is named for its port.
    """
    kept = directory / "ports"
    if kept.is_file():
        return [int(port) for port in kept.read_text().split()]
    ports = free_ports(count)
    kept.write_text(" ".join(map(str, ports)))
    return ports


def _plan_stompd(directory: Path, durable: bool) -> _Plan:  # noqa: FBT001 - one fact
    (port,) = _ports(directory, 1)
    data = directory / "data" if durable else None
    store = ["--memory"] if data is None else ["--data", str(data)]
    command = [sys.executable, "-m", "stompd", *store, "--listen", f"{HOST}:{port}"]
    # The others have their consoles off as well.
    command += ["--http-listen", "off"]
    return _Plan(command, port, stop=signal.SIGTERM, data=data)


def _plan_rabbitmq(directory: Path, _durable: bool) -> _Plan:  # noqa: FBT001 - it always is
    port, epmd, distribution = _ports(directory, 3)
    config = directory / "rabbitmq.conf"
    config.write_text(f"listeners.tcp = none\nstomp.listeners.tcp.1 = {HOST}:{port}\n")
    plugins = directory / "enabled_plugins"
    plugins.write_text("[rabbitmq_stomp].\n")
    environment = {
        "HOME": str(directory),  # the Erlang cookie is written there
        "ERL_CRASH_DUMP": str(directory / "crash.dump"),
        "ERL_EPMD_PORT": str(epmd),
        "ERL_EPMD_ADDRESS": HOST,
        "RABBITMQ_NODENAME": f"bench{port}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_CONFIG_FILE": str(config),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_PID_FILE": str(directory / "pid"),
    }
    # An epmd of its own, in the foreground: the one that Erlang would start outlives the broker.
    mapper = ["epmd", "-port", str(epmd), "-address", HOST]
    command = [str(RABBITMQ_SERVER)]
    return _Plan(
        command,
        port,
        "guest",
        "guest",
        "/",
        environment,
        before=[mapper],
        data=directory / "mnesia",
    )


ACTIVEMQ_XML = """\
<beans xmlns="http://www.springframework.org/schema/beans"
       xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
       xsi:schemaLocation="http://www.springframework.org/schema/beans
         http://www.springframework.org/schema/beans/spring-beans.xsd
         http://activemq.apache.org/schema/core
         http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="bench{port}"
          dataDirectory="{directory}/data" useJmx="false" persistent="true">
    <persistenceAdapter><kahaDB directory="{directory}/kahadb"/></persistenceAdapter>
    <plugins>
      <simpleAuthenticationPlugin>
        <users>
          <authenticationUser username="admin" password="admin" groups="admins,users"/>
        </users>
      </simpleAuthenticationPlugin>
    </plugins>
    <transportConnectors>
      <transportConnector name="stomp"
                          uri="stomp+nio://{host}:{port}?maximumConnections=20000"/>
    </transportConnectors>
  </broker>
</beans>
"""

ACTIVEMQ_LOG = """\
log4j.rootLogger=WARN, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %c %m%n
"""


def _plan_activemq(directory: Path, _durable: bool) -> _Plan:  # noqa: FBT001 - it always is
    (port,) = _ports(directory, 1)
    broker = directory / "broker.xml"
    broker.write_text(ACTIVEMQ_XML.format(host=HOST, port=port, directory=directory))
    (directory / "log4j.properties").write_text(ACTIVEMQ_LOG)
    properties = {
        "activemq.home": ACTIVEMQ_HOME,
        "activemq.base": directory,
        "activemq.conf": directory,
        "activemq.data": directory / "data",
        "java.io.tmpdir": directory,
        "log4j.configuration": f"file:{directory}/log4j.properties",
    }
    command = [
        "java",
        "-Xms512m",
        "-Xmx2g",
        *(f"-D{key}={value}" for key, value in properties.items()),
        "-jar",
        str(ACTIVEMQ_JAR),
        "start",
        f"xbean:file:{broker}",
    ]
    return _Plan(command, port, "admin", "admin", data=directory / "kahadb")


_MISSING: Mapping[str, Callable[[], str | None]] = {
    "stompd": _stompd_missing,
    "RabbitMQ": _rabbitmq_missing,
    "ActiveMQ": _activemq_missing,
}
_PLANS: Mapping[str, Callable[[Path, bool], _Plan]] = {
    "stompd": _plan_stompd,
    "RabbitMQ": _plan_rabbitmq,
    "ActiveMQ": _plan_activemq,
}
NAMES = tuple(_PLANS)


# --- starting and stopping -----------------------------------------------------------------


@contextlib.contextmanager
def start(name: str, *, durable: bool = False, directory: Path | None = None) -> Iterator[Broker]:
    """Start the broker `name` (one of NAMES) and stop it, and all it started, at the end.

    stompd keeps messages in memory only unless `durable`; the others write persistent ones to disk
    in any case. All files of the broker are in `directory` and stay there, or without one in a
    temporary directory that is removed. Yields once the broker has answered a CONNECT. Raises
    BrokerFailedError if it is not installed, ends, or does not answer within START_SECONDS.
    """
    reason = missing(name)
    if reason is not None:
        raise BrokerFailedError(f"{name}: {reason}")
    with contextlib.ExitStack() as stack:
        if directory is None:
            prefix = f"{name.lower()}-"
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))
        plan = _PLANS[name](directory, durable)
        for command in plan.before:
            stack.enter_context(
                _process(command, plan.environment, directory / "before.log", signal.SIGKILL)
            )
        log = directory / "output.log"
        started = time.monotonic()
        process = stack.enter_context(_process(plan.command, plan.environment, log, plan.stop))
        version = _wait_until_it_answers(name, plan, process, log)
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
    name: str, plan: _Plan, process: subprocess.Popen[bytes], log: Path
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
