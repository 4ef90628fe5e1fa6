"""What programs written with stomp.py have in common: a listener that notes what comes."""
# ruff: noqa: ANN401 - stomp.py carries no types

import queue
import threading
from itertools import count
from typing import Any

import stomp
from server.process import PATIENCE

_NUMBERS = count(1)


class Listener(stomp.ConnectionListener):  # type: ignore[misc]
    """What such programs have: a class whose methods stomp.py calls in its own thread."""

    def __init__(self) -> None:
        self.messages: queue.Queue[Any] = queue.Queue()
        self.receipts: queue.Queue[str] = queue.Queue()
        self.errors: queue.Queue[Any] = queue.Queue()
        self.connected: queue.Queue[Any] = queue.Queue()
        self.disconnected = threading.Event()
        self.beats = threading.Semaphore(0)

    def on_connected(self, frame: Any) -> None:
        """Note the headers of CONNECTED."""
        self.connected.put(frame)

    def on_message(self, frame: Any) -> None:
        """Note a MESSAGE."""
        self.messages.put(frame)

    def on_receipt(self, frame: Any) -> None:
        """Note a RECEIPT."""
        self.receipts.put(frame.headers["receipt-id"])

    def on_error(self, frame: Any) -> None:
        """Note an ERROR."""
        self.errors.put(frame)

    def on_heartbeat(self) -> None:
        """Count a heart-beat."""
        self.beats.release()

    def on_disconnected(self) -> None:
        """Note that the connection is gone."""
        self.disconnected.set()

    def message(self) -> Any:
        """Return the next MESSAGE."""
        return self.messages.get(timeout=PATIENCE)

    def receipt(self) -> str:
        """Return the next RECEIPT's id."""
        return self.receipts.get(timeout=PATIENCE)


def carry_out(connection: Any, listener: Listener) -> None:
    """Wait until everything that was sent on the connection has been carried out.

    What was delivered to it before that is then in ``listener.messages``.
    """
    number = f"carried-out-{next(_NUMBERS)}"
    connection.send("/topic/carried-out", "", headers={"receipt": number})
    while listener.receipt() != number:
        pass
