"""What a queue does with more than its policy allows: blocks, rejects, or drops its oldest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stompd.protocol.errors import RemoteProtocolError

if TYPE_CHECKING:
    from stompd.broker.queue import Queue
    from stompd.broker.session import Session


def over(queue: Queue, count: int, size: int) -> bool:
    """Return whether that many more messages and octets are more than a queue may hold."""
    policy = queue.policy
    return (policy.max_messages is not None and queue.count + count > policy.max_messages) or (
        policy.max_bytes is not None and queue.octets + size > policy.max_bytes
    )


def has_room(queue: Queue, count: int, size: int) -> bool:
    """Return whether that many more messages and octets fit, or push others out."""
    return queue.policy.overflow == "drop-head" or not over(queue, count, size)


def check_room(queue: Queue, count: int, size: int) -> None:
    """Raise `RemoteProtocolError` if a `reject` queue has no room for that many more."""
    policy = queue.policy
    if policy.overflow == "reject" and over(queue, count, size):
        limits = [
            f"{limit} {unit}"
            for limit, unit in (
                (policy.max_messages, "messages"),
                (policy.max_bytes, "octets"),
            )
            if limit is not None
        ]
        raise RemoteProtocolError(
            "queue is full",
            f"{queue.name} holds {queue.count} messages with {queue.octets} "
            f"octets; its policy allows {' and '.join(limits)}",
        )


def bound(queue: Queue, session: Session | None) -> None:
    """Have the overflow rule do what it does with what is too much.

    ``session`` is who sent it, and may have to wait; without one only messages are dropped.
    """
    if not over(queue, 0, 0):
        return
    if queue.policy.overflow == "drop-head":
        while over(queue, 0, 0):
            oldest = queue.take_oldest()
            if oldest is None:
                return
            queue.host.dead_letters.file(oldest, "overflow", "")
    elif session is not None:
        # Under `reject` check_room was asked before; a move or a race of one transaction may
        # still end here, and pausing is right for it too.
        if not queue.blocked:
            queue.host.broker.tell(
                "limit", queue.host, **session.who(), limit=f"{queue.name} is full"
            )
        queue.blocked.add(session)
        session.paused_by.add(queue)
        session.halt = True


def unblock(queue: Queue) -> None:
    """Have those go on who wait for room, if there is some."""
    if over(queue, 0, 0):
        return
    blocked, queue.blocked = queue.blocked, set()
    for session in blocked:
        session.paused_by.discard(queue)
        session.resume_reading()
