"""What BEGIN opened: operations that COMMIT carries out together, or ABORT undoes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stompd.broker.admin.door import AdminDoor
    from stompd.broker.dialect import NackOptions
    from stompd.broker.message import Message
    from stompd.broker.queue import Queue
    from stompd.broker.session import Session
    from stompd.broker.subscription import Subscription
    from stompd.broker.topic import Topic


class Settlement:
    """The deliveries that one ACK or NACK of a transaction covers; fixed when it was read."""

    __slots__ = ("numbers", "refusal", "subscription")

    def __init__(
        self, subscription: Subscription, numbers: list[int], refusal: NackOptions | None
    ) -> None:
        self.subscription = subscription
        self.numbers = numbers
        # What the NACK asks for; None for an ACK.
        self.refusal = refusal


class Transaction:
    """Belongs to one session; its id is free again after COMMIT or ABORT (TX-05)."""

    __slots__ = (
        "bounded",
        "bytes",
        "durable",
        "frames",
        "id",
        "persistent",
        "sends",
        "settlements",
    )

    def __init__(self, name: str) -> None:
        self.id = name
        self.sends: list[tuple[Queue | Topic | AdminDoor, Message]] = []
        self.settlements: list[Settlement] = []
        self.frames = 0
        self.bytes = 0
        # True if a destination of its SENDs may refuse them for lack of room.
        self.bounded = False
        # True if some of its SENDs are persistent.
        self.persistent = False
        # True if its COMMIT changes something else that is on disk.
        self.durable = False

    def add(self, target: Queue | Topic | AdminDoor, message: Message) -> None:
        """Send a message when the transaction commits."""
        self.sends.append((target, message))
        if target.bounded:
            self.bounded = True
        if message.persistent:
            self.persistent = True
        if message.terms is not None and message.terms.retain is not None:
            # What was retained before may be on disk.
            self.durable = True

    def settle(self, settlement: Settlement) -> None:
        """Settle deliveries when the transaction commits; they are enlisted already."""
        self.settlements.append(settlement)
        enlisted = settlement.subscription.enlisted
        self.durable = self.durable or any(enlisted[number].stored for number in settlement.numbers)

    def rooms(self, session: Session) -> dict[Queue, tuple[int, int]]:
        """Return how many messages and octets the SENDs of its session bring to each queue."""
        rooms: dict[Queue, tuple[int, int]] = {}
        for target, message in self.sends:
            for queue in target.filled_by(message, session):
                count, size = rooms.get(queue, (0, 0))
                rooms[queue] = count + 1, size + message.size
        return rooms
