"""How each broker is started: the command, its settings, its ports, and who may log in.

stompd comes from this checkout, RabbitMQ and ActiveMQ from Debian's packages.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stompd.server.passcodes import make_hash

HOST = "127.0.0.1"

RELAY = "relay"
"""No broker, and not among NAMES: what `benchmarks.relay` is."""

_USER = "bench"
_PASSCODE = "of a bench"

ROOT = Path(__file__).resolve().parent.parent
RABBITMQ_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
ACTIVEMQ_HOME = Path("/usr/share/activemq")
ACTIVEMQ_JAR = ACTIVEMQ_HOME / "bin" / "activemq.jar"


class BrokerFailedError(Exception):
    """A broker did not start; the text ends with the last lines of its output."""


@dataclass(frozen=True)
class Plan:
    """What to run: a command and its environment, a port, the log-in, helper commands first."""

    command: Sequence[str]
    port: int
    login: str | None = None
    passcode: str | None = None
    vhost: str = "/"
    environment: Mapping[str, str] | None = None
    before: Sequence[Sequence[str]] = ()
    scraped: int | None = None
    """The port that metrics are asked from every second meanwhile, as a monitor would."""
    stop: signal.Signals = signal.SIGKILL
    data: Path | None = None


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


def _plan_stompd(directory: Path, durable: bool, guarded: bool) -> Plan:  # noqa: FBT001 - facts
    port, http = _ports(directory, 2)
    data = directory / "data" if durable else None
    store = ["--memory"] if data is None else ["--data", str(data)]
    command = [sys.executable, "-m", "stompd", *store, "--listen", f"{HOST}:{port}"]
    plan = Plan(command, port, stop=signal.SIGTERM, data=data)
    if not guarded:
        # The others have their consoles off as well.
        command += ["--http-listen", "off"]
        return plan
    config = _guard(directory)
    command += ["--config", str(config), "--http-listen", f"{HOST}:{http}"]
    return replace(
        plan,
        login=_USER,
        passcode=_PASSCODE,
        scraped=http,
    )


def _plan_relay(directory: Path, durable: bool, _guarded: bool) -> Plan:  # noqa: FBT001 - facts
    (port,) = _ports(directory, 1)
    command = [sys.executable, "-m", "benchmarks.relay", "--port", str(port)]
    if durable:
        command += ["--data", str(directory)]
    return Plan(command, port, data=directory if durable else None)


def _guard(directory: Path) -> Path:
    """Write settings with a user, and rules of which the last one is his."""
    users = directory / "users"
    if not users.exists():
        users.write_text(f"{_USER}:{make_hash(_PASSCODE)}:benches\n")
        users.chmod(0o600)
    rules = directory / "rights"
    rules.write_text(
        "deny   *         receive,browse           /queue/audit.#\n"
        "allow  @others   send,receive             /queue/others.#\n"
        "allow  *         connect                  #\n"
        "allow  {user}    send,receive             /queue/{user}.#\n"
        "allow  @benches  send,receive,browse,create,monitor  #\n"
    )
    config = directory / "stompd.toml"
    config.write_text(f'[users]\nfile = "{users}"\nrights = "{rules}"\n')
    return config


def _plan_rabbitmq(directory: Path, _durable: bool, _guarded: bool) -> Plan:  # noqa: FBT001 - always
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
    return Plan(
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


def _plan_activemq(directory: Path, _durable: bool, _guarded: bool) -> Plan:  # noqa: FBT001 - always
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
    return Plan(command, port, "admin", "admin", data=directory / "kahadb")


_MISSING: Mapping[str, Callable[[], str | None]] = {
    "stompd": _stompd_missing,
    "RabbitMQ": _rabbitmq_missing,
    "ActiveMQ": _activemq_missing,
    RELAY: lambda: None,
}
_PLANS: Mapping[str, Callable[[Path, bool, bool], Plan]] = {
    "stompd": _plan_stompd,
    "RabbitMQ": _plan_rabbitmq,
    "ActiveMQ": _plan_activemq,
    RELAY: _plan_relay,
}
NAMES = tuple(name for name in _PLANS if name != RELAY)
"""The brokers."""


def plan_of(name: str, directory: Path, *, durable: bool, guarded: bool) -> Plan:
    """How to start the broker `name`; see `brokers.start` for what it has to be like."""
    return _PLANS[name](directory, durable, guarded)
