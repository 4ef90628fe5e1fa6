"""What systemd wants to be told by a service of ``Type=notify``, and a unit for stompd.

Without systemd nothing happens: it names its socket in the environment, see sd_notify(3).
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Final

import structlog
import trio

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger()

UNIT: Final = """\
# Written by `stompd systemd-unit`. As root:
#   stompd systemd-unit > /etc/systemd/system/stompd.service
#   systemctl daemon-reload && systemctl enable --now stompd
[Unit]
Description=stompd, a STOMP message broker
Documentation=man:stompd(8)
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
ExecStart={program} --data /var/lib/stompd{config}
ExecReload=/bin/kill -HUP $MAINPID
WatchdogSec=30s
Restart=on-failure
# 78: the configuration is wrong; starting again does not mend it.
RestartPreventExitStatus=78
# Longer than timeouts.drain of the settings, and what is left is written.
TimeoutStopSec=60s
LimitNOFILE=65536

DynamicUser=yes
StateDirectory=stompd
StateDirectoryMode=0700
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0077

[Install]
WantedBy=multi-user.target
"""


class Notifier:
    """Tells systemd how stompd is; does nothing where there is no systemd to be told."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        given = os.environ if environment is None else environment
        place = given.get("NOTIFY_SOCKET", "")
        # A name in the abstract namespace is written with @.
        self._place = "\0" + place[1:] if place.startswith("@") else place
        # Seconds within which systemd wants to hear of us; None if it does not look.
        self.watchdog: float | None = None
        period = given.get("WATCHDOG_USEC", "")
        if self._place and period.isdecimal() and int(period):
            process = given.get("WATCHDOG_PID", "")
            if not process or process == str(os.getpid()):
                self.watchdog = int(period) / 1_000_000

    def tell(self, *lines: str) -> None:
        """Send lines such as ``READY=1``; a systemd that does not listen is no reason to stop."""
        if not self._place:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.settimeout(0)
                sock.connect(self._place)
                sock.send("\n".join(lines).encode())
        except OSError as error:
            log.warning("systemd was not told", what=lines[0], reason=error.strerror)

    def ready(self, status: str) -> None:
        """Tell that all listeners accept."""
        self.tell("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")

    def reloading(self) -> None:
        """Tell that the settings are read again; `ready` ends that."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Tell that stompd is about to end."""
        self.tell("STOPPING=1", "STATUS=draining")

    async def keep_alive(self) -> None:
        """Show twice within each period that the event loop turns; return if nobody looks."""
        while self.watchdog is not None:
            self.tell("WATCHDOG=1")
            await trio.sleep(self.watchdog / 2)


def unit(program: str, config: str | None) -> str:
    """Return a unit file that starts ``program``, with the settings in ``config`` if given."""
    return UNIT.format(program=program, config=f" -c {config}" if config else "")
