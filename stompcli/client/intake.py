"""What has come and was not taken: when to stop reading, and when that would be a deadlock."""

from typing import Final

import trio

from stompcli.client.errors import BufferFullError
from stompcli.client.options import Settings

# How far waiting messages may exceed their mark while a receipt is waited for behind them.
_OVERDRAFT: Final = 16


class Intake:
    """The messages of all subscriptions that wait to be taken, and their bound."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.room_to_read = trio.lowlevel.ParkingLot()
        # Messages that came and were not taken, of all subscriptions.
        self._waiting_messages = 0
        self._waiting_octets = 0
        # How many wait for what may stand behind those messages.
        self._awaited = 0
        # True from DISCONNECT on: nothing may follow it (D-04).
        self._closing = False

    def is_full(self) -> bool:
        """Return whether to stop reading until the program has taken some messages.

        While it waits for a receipt that may stand behind them, reading goes on up to a harder
        mark, at which the session ends.
        """
        messages, octets = self._settings.buffer_messages, self._settings.buffer_octets
        full = self._waiting_messages >= messages or self._waiting_octets >= octets
        if not full or self._closing:
            return False
        if not self._awaited:
            return True
        if (
            self._waiting_messages >= messages * _OVERDRAFT
            or self._waiting_octets >= octets * _OVERDRAFT
        ):
            raise BufferFullError(
                f"{self._waiting_messages} messages came and were not taken while a receipt was "
                "waited for; take them, or subscribe with an explicit ack mode"
            )
        return False

    def _waits(self, body: bytes) -> None:
        """A message has come."""
        self._waiting_messages += 1
        self._waiting_octets += len(body)

    # For subscriptions and receipts only.

    def taken(self, messages: int, octets: int) -> None:
        """Messages that waited were taken, or given up."""
        self._waiting_messages -= messages
        self._waiting_octets -= octets
        self.room_to_read.unpark_all()

    def awaiting(self) -> "Awaiting":
        """While this is entered, somebody waits for a receipt, so reading must go on."""
        return Awaiting(self)

    def count_awaited(self, change: int) -> None:
        """Somebody began or ceased to wait for a receipt."""
        self._awaited += change
        if self._awaited:
            self.room_to_read.unpark_all()


class Awaiting:
    """While this is entered, reading goes on beyond the mark."""

    __slots__ = ("_intake",)

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def __enter__(self) -> None:
        self._intake.count_awaited(1)

    def __exit__(self, *_: object) -> None:
        self._intake.count_awaited(-1)
