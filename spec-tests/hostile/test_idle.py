"""Ten thousand connections that do nothing, of users, with rights and metrics on."""

import resource
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher
from server.process import PATIENCE, Daemon, daemon

IDLE = 10_000
AT_ONCE = 200
"""How many log in at once; a thousand may."""
OTHERS = 500
"""Descriptors of the test besides theirs."""
MOST = 32 * 1024
"""Octets of memory that one may take."""

USERS = ("ann", "bob", "cyd")

RULES = """\
allow * connect
allow @ops monitor
allow * all /queue/{user}.#
"""


@contextmanager
def descriptors(count: int) -> Iterator[None]:
    """Be allowed so many files in the block, or skip the test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"{count} open files are needed, and the system grants {hard} (ulimit -Hn)")
    if soft == resource.RLIM_INFINITY or soft >= count:
        yield
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory_of(process: int) -> int:
    """Return the octets of memory of a process."""
    status = Path(f"/proc/{process}/status").read_text("ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def log_in(sockets: Sequence[socket.socket], first: int) -> None:
    """Open sessions on all of them, as the users in turn, and wait until they are open."""
    for number, sock in enumerate(sockets, first):
        user = USERS[number % len(USERS)]
        head = f"CONNECT\naccept-version:1.2\nhost:x\nlogin:{user}\npasscode:{user}'s\n\n\0"
        sock.sendall(head.encode())
    for sock in sockets:
        got = b""
        while not got.rstrip(b"\n").endswith(b"\0"):
            data = sock.recv(4096)
            assert data, got
            got += data
        assert got.startswith(b"CONNECTED\n"), got


def crowd(port: int, opened: ExitStack) -> list[socket.socket]:
    """Open all sessions; they are closed with ``opened``."""
    found: list[socket.socket] = []
    while len(found) < IDLE:
        # One of each user first, who is remembered then: few may wait for a hash at once.
        count = AT_ONCE if found else len(USERS)
        some = [
            opened.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            for _ in range(min(count, IDLE - len(found)))
        ]
        log_in(some, len(found))
        found += some
    return found


def within(condition: Callable[[], bool]) -> None:
    """Wait until something has come true."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def connections(told: Daemon) -> int:
    """Return how many the metrics tell of, to one who may see them."""
    answer = httpx.get(
        f"{told.url}/metrics", auth=("ann", "ann's"), timeout=PATIENCE, trust_env=False
    )
    assert answer.status_code == 200, answer.text
    (line,) = [line for line in answer.text.splitlines() if line.startswith("stompd_connections ")]
    return int(float(line.split()[1]))


@pytest.mark.slow
def test_ten_thousand_idle_connections(tmp_path: Path) -> None:
    """Each costs little memory, others are served meanwhile, and nothing is left of them."""
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    users = [f"{name}:{hasher.hash(name + chr(39) + 's')}" for name in USERS]
    (tmp_path / "users.txt").write_text(f"{users[0]}:ops\n{users[1]}\n{users[2]}\n")
    (tmp_path / "rights.txt").write_text(RULES)
    flags = ["--http-listen", "127.0.0.1:0", "--users", str(tmp_path / "users.txt")]
    flags += ["--set", f"users.rights={tmp_path / 'rights.txt'}"]
    with descriptors(IDLE + OTHERS), daemon(*flags) as server, ExitStack() as opened:
        assert connections(server) == 0
        before = memory_of(server.process.pid)
        sockets = crowd(server.port, opened)
        each = (memory_of(server.process.pid) - before) // IDLE
        print(f"{each} octets of memory for each of {IDLE} idle connections")  # noqa: T201 - to be read with -s
        assert each <= MOST
        assert connections(server) == IDLE
        # Somebody works among them, each with his own rights.
        busy = server.connect("1.2", "login:bob", "passcode:bob's")
        for number in range(100):
            busy.write(f"SEND⏎destination:/queue/bob.a⏎receipt:{number}⏎⏎x^@")
            assert busy.frame().text("receipt-id") == str(number)
        busy.write("SEND⏎destination:/queue/ann.a⏎⏎x^@")
        assert busy.frame().text("message") == "access refused"
        # The last one works as the first one does.
        for sock in (sockets[0], sockets[-1]):
            sock.sendall(b"SEND\ndestination:/topic/none\n\nx\0")
            assert sock.recv(4096).startswith(b"ERROR\nmessage:access refused\n")
        opened.close()
        within(lambda: connections(server) == 0)
