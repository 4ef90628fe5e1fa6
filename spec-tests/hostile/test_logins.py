"""Floods of log-ins at the door: whoever is in the right gets in, and the work is bounded.

What is counted is what it costs: how many hashes are computed at once, each of which takes 64 MiB
and a thread, and how many log-ins wait for one.
"""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio
from argon2 import PasswordHasher
from server.edge import PATIENCE, Edge, Peer, serving, settings

from stompd.server import passcodes
from stompd.server.accounts import Accounts

HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("right")

FLOOD = 300
WAITING = 100
"""As the settings have it: a quarter of them for one address."""


class Hashing:
    """Verifies passcodes once ``gate`` is open, and counts."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.busy = self.most = self.count = 0
        self._lock = threading.Lock()

    def verify(self, encoded: str, passcode: bytes) -> bool:
        """Do what stompd does, when it may."""
        with self._lock:
            self.count += 1
            self.busy += 1
            self.most = max(self.most, self.busy)
        try:
            assert self.gate.wait(PATIENCE)
            return passcodes.verify(encoded, passcode)
        finally:
            with self._lock:
                self.busy -= 1


class Door:
    """A stompd with users, and those who come from whichever address."""

    def __init__(self, edge: Edge, accounts: Accounts, hashing: Hashing) -> None:
        self.edge = edge
        self.accounts = accounts
        self.hashing = hashing
        self._sockets: list[trio.socket.SocketType] = []

    @property
    def waiting(self) -> int:
        """How many passcodes are checked, or wait for it."""
        return self.accounts.passcodes.waiting.total()

    async def come(self, address: str, passcode: str) -> Peer:
        """Connect from an address, and write CONNECT as ann."""
        sock = trio.socket.socket()
        self._sockets.append(sock)
        await sock.bind((address, 0))
        with trio.fail_after(PATIENCE):
            await sock.connect(("127.0.0.1", self.edge.port))
        peer = Peer(trio.SocketStream(sock))
        head = f"accept-version:1.2⏎host:x⏎login:ann⏎passcode:{passcode}"
        return await peer.write(f"CONNECT⏎{head}⏎⏎^@")

    def close(self) -> None:
        """Close whatever came."""
        for sock in self._sockets:
            sock.close()


@asynccontextmanager
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """Let in ann, who is right, and nobody else."""
    file = tmp_path / "users.txt"
    file.write_text(f"ann:{HASH}\n")
    hashing = Hashing()
    accounts = Accounts(verify=hashing.verify)
    given = settings(
        users={"file": str(file), "waiting": WAITING},
        timeouts={"linger": "50ms", "error-delay": "50ms"},
    )
    accounts.configure(given)
    async with serving(given, authenticator=accounts) as edge:
        found = Door(edge, accounts, hashing)
        try:
            yield found
        finally:
            hashing.gate.set()
            found.close()


async def test_a_flood_from_one_address(tmp_path: Path) -> None:
    """In the name of a user who logs in meanwhile, from elsewhere, and gets in at once."""
    async with door(tmp_path) as at:
        for number in range(FLOOD):
            await at.come("127.0.0.1", f"wrong{number}")
        # One is checked, and a quarter waits; the others are told so and cost no hash.
        turned_away = FLOOD - 1 - WAITING // 4
        await at.edge.until(lambda: len(at.edge.log.of("too many log-ins")) == turned_away)
        assert at.waiting == 1 + WAITING // 4
        good = await at.come("127.0.0.2", "right")
        await at.edge.until(lambda: at.waiting == 2 + WAITING // 4)
        at.hashing.gate.set()
        await good.expect("CONNECTED")
        await good.sync()
        # And again, after all those failures in his name: no account is locked.
        await at.edge.until(lambda: not at.waiting)
        await (await at.come("127.0.0.3", "right")).expect("CONNECTED")
        assert at.hashing.most == 1
        assert at.hashing.count == 2 + WAITING // 4


async def test_a_flood_from_some_addresses(tmp_path: Path) -> None:
    """That take all places: who comes from an address without any is given one of theirs."""
    async with door(tmp_path) as at:
        for number in range(FLOOD):
            await at.come(f"127.0.1.{number % 10}", f"wrong{number}")
        await at.edge.until(lambda: at.waiting == 1 + WAITING)
        good = await at.come("127.0.0.2", "right")
        # As many as before, and he is one of them.
        await at.edge.until(lambda: at.accounts.passcodes.waiting["127.0.0.2"] == 1)
        await at.edge.until(lambda: at.waiting == 1 + WAITING)
        at.hashing.gate.set()
        await good.expect("CONNECTED")
        assert at.hashing.most == 1


async def test_a_flood_from_many_addresses(tmp_path: Path) -> None:
    """More than there are places, that come again and again: he who does so as well gets in."""
    async with door(tmp_path) as at:
        for number in range(FLOOD):
            await at.come(f"127.0.{1 + number // 250}.{1 + number % 250}", f"wrong{number}")
        await at.edge.until(lambda: at.waiting == 1 + WAITING)
        good = await at.come("127.0.0.2", "right")
        await good.fatal("too many log-ins")

        async def again(address: str) -> None:
            while True:
                with trio.move_on_after(PATIENCE), suppress(trio.BrokenResourceError):
                    await (await at.come(address, "wrong")).rest()

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(again, f"127.0.3.{1 + number}")
            at.hashing.gate.set()
            # There is room whenever a hash was computed, and he comes as often as they do.
            with trio.fail_after(PATIENCE):
                while True:
                    good = await at.come("127.0.0.2", "right")
                    if (await good.frame()).command == b"CONNECTED":
                        break
            nursery.cancel_scope.cancel()
        assert at.hashing.most == 1
        assert len(at.edge.service.failures) <= FLOOD + 50
