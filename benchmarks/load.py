"""What a run does to a broker; the defaults are one producer and one consumer of a queue."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """What to do to a broker. The defaults are one producer and one consumer of a queue."""

    kind: str = "queue"
    size: int = 1024
    batch: int = 16
    """Frames per write; in a transaction, frames per transaction."""
    producers: int = 1
    consumers: int = 1
    destinations: int = 1
    window: int = 5000
    """Messages of one destination that may be under way."""
    ack: str = "auto"
    persistent: bool = False
    receipts: int = 0
    """The last frame of each batch asks for a receipt, and this many may be outstanding."""
    transaction: bool = False
    on_send: bool = False
    """In a transaction, the last SEND asks for the receipt, not COMMIT."""
    rate: float = 0.0
    """Messages a second of all producers together; 0 means as many as go."""
    vary: int = 0
    """Headers in each frame whose values never come again."""
    headers: str = ""
    """Further header lines of each frame; {number} is one of 0 to 9."""
    selector: str = ""
    """Of every subscription."""


def name(load: Load, prefix: str, number: int) -> str:
    """The destination with this number."""
    return f"/{load.kind}/{prefix}.{number}"
