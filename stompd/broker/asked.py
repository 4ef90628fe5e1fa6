"""What a client wants of the queue that it makes by naming it, and what of that cannot be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stompd.broker.destination import Kind, parse
from stompd.protocol.errors import RemoteProtocolError

if TYPE_CHECKING:
    from stompd.broker.dialect import QueueSettings
    from stompd.broker.queue import Queue
    from stompd.broker.session import Session


def adopt(queue: Queue, settings: QueueSettings) -> None:
    """Have a new queue be as a client wants it, as far as that can be."""
    queue.asked = settings
    if settings.dead_letter is not None and not _takes_dead_letters(settings.dead_letter):
        settings = replace(settings, dead_letter=None)
    queue.adopt(queue.policy.asked(settings))


def report(settings: QueueSettings, session: Session) -> None:
    """Report what of the settings of a new queue cannot be."""
    if settings.dead_letter is not None and not _takes_dead_letters(settings.dead_letter):
        session.report(("x-dead-letter-routing-key",))


def _takes_dead_letters(name: str) -> bool:
    """Return whether dead letters can go to a queue of this name."""
    try:
        destination = parse(name)
    except RemoteProtocolError:
        return False
    return (
        destination.kind is Kind.QUEUE
        and not destination.wild
        and not destination.temporary
        and not destination.remote
    )
