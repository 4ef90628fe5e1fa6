"""BEGIN, COMMIT and ABORT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stompd.broker.overflow import check_room
from stompd.broker.redelivery import reject
from stompd.broker.transaction import Transaction
from stompd.protocol.errors import RemoteProtocolError, shown

if TYPE_CHECKING:
    from stompd.broker.session import Session
    from stompd.broker.subscription import Subscription
    from stompd.protocol.frame import Head

# Transactions.


def find_transaction(session: Session, name: str, command: str) -> Transaction:
    """Return the open transaction of this name.

    With ``implicit_begin`` a SEND, ACK or NACK begins one that is not open (AMB-39).
    Raises `RemoteProtocolError` (TX-08, TX-10, TX-12).
    """
    transaction = session.transactions.get(name)
    if transaction is None:
        if session.broker.settings.implicit_begin and command in ("SEND", "ACK", "NACK"):
            return _new_transaction(session, name)
        raise RemoteProtocolError(
            "no such transaction",
            f'"{shown(name)}" is not open on this connection; BEGIN it first',
        )
    return transaction


def _new_transaction(session: Session, name: str) -> Transaction:
    limit = session.broker.settings.limits.transactions
    if len(session.transactions) >= limit:
        raise RemoteProtocolError("too many open transactions", f"a connection may have {limit}")
    transaction = session.transactions[name] = Transaction(name)
    return transaction


def enlist(session: Session, transaction: Transaction, size: int) -> None:
    """Count one more frame of a transaction; raise `RemoteProtocolError` over a limit."""
    limits = session.broker.settings.limits
    transaction.frames += 1
    transaction.bytes += size
    if transaction.frames > limits.transaction_frames:
        raise RemoteProtocolError(
            "transaction over the limit",
            f"a transaction may have {limits.transaction_frames} frames",
        )
    if transaction.bytes > limits.transaction_bytes:
        raise RemoteProtocolError(
            "transaction over the limit",
            f"a transaction may have {limits.transaction_bytes} octets",
        )


def begin(session: Session, head: Head, body: bytes) -> None:
    """Carry out BEGIN; raise `RemoteProtocolError` for an id in use (TX-04)."""
    session.check(head, body)
    name = head.headers["transaction"]
    if name in session.transactions:
        raise RemoteProtocolError(
            "transaction already open", f'"{shown(name)}"; COMMIT or ABORT it first'
        )
    _new_transaction(session, name)
    session.receipt(head)


def commit(session: Session, head: Head, body: bytes) -> None:
    """Carry out all that the transaction holds, or nothing of it (TX-01, TX-09)."""
    session.check(head, body)
    transaction = find_transaction(session, head.headers["transaction"], "COMMIT")
    # All or nothing: what may refuse is asked before anything is done (TX-01).
    if transaction.persistent and session.broker.room.delays(session):
        return
    if transaction.bounded:
        for queue, (count, size) in transaction.rooms(session).items():
            check_room(queue, count, size)
    del session.transactions[transaction.id]
    store = session.broker.store
    store.begin_group()
    for settlement in transaction.settlements:
        messages = settlement.subscription.release(settlement.numbers)
        if settlement.refusal is not None:
            reject(messages, settlement.refusal)
        else:
            for message in messages:
                message.queue.settled(message)
    for target, message in transaction.sends:
        if target.gone:
            again = session.host.find(target.destination)
            if again is None:
                session.host.dropped += 1
                continue
            target = again  # noqa: PLW2901 - it ended while the transaction was open
        target.admit(message, session)
    store.end_group()
    # A feed's policy may have made more of them persistent.
    sends = transaction.persistent or any(message.persistent for _, message in transaction.sends)
    session.receipt(head, durable=sends or transaction.durable, sends=sends)


def abort(session: Session, head: Head, body: bytes) -> None:
    """Carry out ABORT: what was sent never was, what was acknowledged is outstanding (TX-11)."""
    session.check(head, body)
    transaction = find_transaction(session, head.headers["transaction"], "ABORT")
    del session.transactions[transaction.id]
    undo(transaction)
    session.receipt(head)


def undo(transaction: Transaction) -> None:
    """Have everything that a transaction settled outstanding again."""
    numbers: dict[Subscription, list[int]] = {}
    for settlement in transaction.settlements:
        numbers.setdefault(settlement.subscription, []).extend(settlement.numbers)
    # Once for each subscription, which puts what comes back in order among all that it holds.
    for subscription, enlisted in numbers.items():
        subscription.restore(enlisted)
