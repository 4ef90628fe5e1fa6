"""A TCP proxy that is a bad network: it cuts connections anywhere, resets, stalls, goes deaf."""

import random
import re
import socket
import struct
import threading
from contextlib import ExitStack
from typing import Literal, Self

Fault = Literal["none", "cut", "reset", "stall", "deaf"]

# The frames in the middle of which the network fails. (NACK ends like ACK.)
TARGETS = re.compile(rb"(SEND|COMMIT|ACK)\n")

# The longest that a stalled direction stands still, in seconds.
STALL = 0.5


class Proxy:
    """Passes connections on to a port; each one is drawn a fault, most of them a late one.

    ``cut``    ends both connections after some octets to the broker, be it within a frame
    ``reset``  the same, but the broker sees a reset, and loses what it has not read yet
    ``stall``  nothing moves to the client for a while, then all goes on
    ``deaf``   what the client writes is lost, without anybody being told: a half-open connection
    """

    def __init__(self, target: int, seed: int, faults: tuple[Fault, ...]) -> None:
        """Listen on a free port of 127.0.0.1."""
        self.faults_done: list[Fault] = []
        self._target = target
        self._chance = random.Random(seed)  # noqa: S311 - it decides nothing secret
        self._faults = faults
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all connections and the threads."""
        self._over.set()
        # Ends a wait in accept() as well.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._lock:
            for sock in self._open:
                _end(sock)
        for thread in self._threads:
            thread.join()
        for sock in self._open:
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            with self._lock:
                if self._over.is_set():
                    client.close()
                    broker.close()
                    return
                self._open += [client, broker]
                fault = self._chance.choice(self._faults)
                link = _Link(client, broker, fault, random.Random(self._chance.random()), self)  # noqa: S311
                for way in (link.to_broker, link.to_client):
                    thread = threading.Thread(target=way)
                    self._threads.append(thread)
                    thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait so long; True if the proxy is to end."""
        return self._over.wait(seconds)

    def done(self, fault: Fault) -> None:
        """Count a fault that has happened."""
        with self._lock:
            self.faults_done.append(fault)


class _Link:
    """One connection through the proxy."""

    def __init__(
        self,
        client: socket.socket,
        broker: socket.socket,
        fault: Fault,
        chance: random.Random,
        proxy: Proxy,
    ) -> None:
        self._client = client
        self._broker = broker
        self._fault = fault
        self._chance = chance
        self._proxy = proxy
        # The fault comes at the how many-th frame of those.
        self._frames = chance.randrange(1, 80)
        self._pause = chance.random() * STALL
        self._stalls = chance.randrange(1, 20)

    def to_broker(self) -> None:
        """Pass octets on until the fault."""
        with ExitStack() as ending:
            ending.callback(_end, self._broker)
            while data := _receive(self._client):
                if self._fault in {"cut", "reset", "deaf"}:
                    where = self._place(data)
                    if where is not None:
                        self._proxy.done(self._fault)
                        _send(self._broker, data[:where])
                        self._break()
                        return
                if not _send(self._broker, data):
                    return

    def _place(self, data: bytes) -> int | None:
        """Return where in these octets the network fails, or None."""
        for found in TARGETS.finditer(data):
            self._frames -= 1
            if self._frames == 0:
                end = data.find(b"\0", found.end())
                # Also directly behind the frame: then the broker carries it out, and the client
                # does not learn of it.
                return self._chance.randint(found.start(), len(data) if end < 0 else end + 1)
        return None

    def _break(self) -> None:
        if self._fault == "deaf":
            # Nobody is told; the client waits until its broker or the proxy ends.
            while _receive(self._client):
                pass
            return
        if self._fault == "reset":
            for sock in (self._broker, self._client):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Wakes the other thread, which reads, and tells the peer nothing.
                _end(sock, socket.SHUT_RD)
                sock.close()
        _end(self._client)

    def to_client(self) -> None:
        """Pass octets on, with pauses if that is the fault."""
        with ExitStack() as ending:
            ending.callback(_end, self._client)
            while data := _receive(self._broker):
                self._stalls -= 1
                if self._fault == "stall" and self._stalls == 0:
                    self._proxy.done("stall")
                    if self._proxy.wait(self._pause):
                        return
                if not _send(self._client, data):
                    return


def _receive(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except OSError:
        return b""


def _send(sock: socket.socket, data: bytes) -> bool:
    try:
        sock.sendall(data)
    except OSError:
        return False
    return True


def _end(sock: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    try:
        sock.shutdown(how)
    except OSError:
        # The other side has ended it already.
        return
