"""ACK and NACK, and what becomes of a message that comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stompd.broker.dialect import nack_options
from stompd.broker.redelivery import reject
from stompd.broker.transact import enlist, find_transaction
from stompd.broker.transaction import Settlement
from stompd.protocol import rules
from stompd.protocol.errors import RemoteProtocolError, shown
from stompd.protocol.frame import V11, V12

if TYPE_CHECKING:
    from stompd.broker.session import Session
    from stompd.broker.subscription import Subscription
    from stompd.protocol.frame import Head

# Command, name, value: the parts of a head with one header.
_LONE_HEADER: Final = 3

# ACK and NACK.


def ack(session: Session, head: Head, body: bytes) -> None:
    """Carry out ACK; raise `RemoteProtocolError` for a delivery never made (ACK-16)."""
    if body:
        rules.check_no_body("ACK", body, session.wire_version)
    if len(head.parts) == _LONE_HEADER:
        # No transaction, no receipt: by far the most ACKs there are.
        number = _delivery_number(session, head)
        subscription = session.owners.get(number)
        if subscription is None:
            return
        if subscription.individual:
            subscription.acknowledge(number)
            return
    _settle(session, head, nack=False)


def nack(session: Session, head: Head, body: bytes) -> None:
    """Carry out NACK: back to the queue, or to the dead letters (ACK-13).

    Raises `RemoteProtocolError` for a delivery never made.
    """
    session.check(head, body)
    _settle(session, head, nack=True)


def _settle(session: Session, head: Head, *, nack: bool) -> None:
    receipt = head.get("receipt")
    if receipt is not None:
        session.check_receipt(receipt)
    number = _delivery_number(session, head)
    subscription = session.owners.get(number)
    if subscription is not None:
        _check_subscription(session, head, subscription)
    name = head.get("transaction")
    durable = False
    refusal = nack_options(head.get) if nack else None
    if name is not None:
        transaction = find_transaction(session, name, head.command)
        if subscription is not None:
            numbers = subscription.enlist(number)
            enlist(session, transaction, 0)
            transaction.settle(Settlement(subscription, numbers, refusal))
            subscription.serve()
    elif subscription is not None:
        messages = subscription.settle(number)
        durable = any(message.stored for message in messages)
        if refusal is not None:
            reject(messages, refusal)
        else:
            for message in messages:
                message.queue.settled(message)
        subscription.serve()
    session.receipt(head, durable=durable)


def _delivery_number(session: Session, head: Head) -> int:
    """Return the number of the delivery that an ACK or NACK names.

    Raises `RemoteProtocolError` for one that this session never made (ACK-16).
    """
    name = "id" if session.version == V12 else "message-id"
    value = head.get(name)
    if value is None:
        raise RemoteProtocolError(
            *rules.missing(head.command, name, session.wire_version, head.headers)
        )
    if session.version == V11 and "subscription" not in head.shape.index:
        raise RemoteProtocolError(*rules.missing(head.command, "subscription", V11, head.headers))
    identity = session.identity
    if value.startswith(identity):
        digits = value[len(identity) :]
        if digits.isdigit() and digits.isascii() and len(digits) < 19:  # noqa: PLR2004 - 64 bits
            number = int(digits)
            if 0 < number <= session.deliveries:
                return number
    raise RemoteProtocolError(
        f"{head.command} of an unknown message",
        f'{name} "{shown(value)}" was never delivered on this connection'
        + ("; it takes the value of the MESSAGE's ack header" if name == "id" else ""),
    )


def _check_subscription(session: Session, head: Head, subscription: Subscription) -> None:
    """Raise unless a 1.1 or 1.0 ACK names the subscription of the delivery (V11-05)."""
    if session.version == V12:
        return
    name = head.get("subscription")
    if name is not None and name != subscription.id:
        raise RemoteProtocolError(
            f"{head.command} names another subscription",
            f'the message went to "{shown(subscription.id)}", not to "{shown(name)}"',
        )
