"""What can go wrong between a program and its broker.

* `StompError`: the root of everything that this library raises on purpose.

  * `UsageError`: the program asked for what STOMP, or this session, cannot do; nothing was sent.
  * `BodyError`: a body is not the text that its ``content-type`` says it is.
  * `ConnectError`: there is no session: the broker is not reachable or is no STOMP broker.

    * `RefusedError`: the broker answered the CONNECT with ERROR.
  * `TimedOutError`: the broker did not confirm a frame in time; the session goes on.
  * `SessionEndedError`: there is no session any more.

    * `ClosedError`: this program ended it.
    * `ConnectionLostError`: the connection broke, or the broker closed it.

      * `BrokerError`: the broker sent ERROR, which ends every session.
      * `PeerProtocolError`: the broker sent what STOMP does not allow.
      * `HeartbeatError`: the broker was silent for too long.
      * `BufferFullError`: too many messages came that this program did not take.
      * `TransactionLostError`: a transaction was open when its connection broke; it is undone.
      * `OutcomeUnknownError`: the connection broke before a COMMIT was confirmed.
      * `StaleMessageError`: a message came by a connection that is gone; it comes again.
"""

from collections.abc import Mapping


class StompError(Exception):
    """The root: catches whatever this library raises on purpose."""


class UsageError(StompError):
    """The program asked for what STOMP, or this session, cannot do; nothing was sent."""


class BodyError(StompError):
    """A body is not the text that its ``content-type`` says it is."""


class ConnectError(StompError):
    """There is no session: the broker is not reachable, or what answers is no STOMP broker.

    ``address`` is what was dialled, ``reason`` why it failed, both fit for showing to people.
    """

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"cannot connect to {address}: {reason}")
        self.address = address
        self.reason = reason


class RefusedError(ConnectError):
    """The broker answered the CONNECT with ERROR.

    ``message`` and ``headers`` are those of the ERROR frame, ``detail`` its body as text.
    """

    def __init__(self, address: str, message: str, detail: str, headers: Mapping[str, str]) -> None:
        super().__init__(address, message or detail or "refused without a reason")
        self.message = message
        self.detail = detail
        self.headers = dict(headers)


class TimedOutError(StompError):
    """The broker did not confirm a frame in time; it may still do so, and the session goes on."""


class SessionEndedError(StompError):
    """There is no session any more."""


class ClosedError(SessionEndedError):
    """The program itself ended the session, or the subscription, that it wants to use."""


class ConnectionLostError(SessionEndedError):
    """The connection broke, or the broker closed it; what was not confirmed may be lost."""


class BrokerError(ConnectionLostError):
    """The broker sent ERROR, which ends every session (E-02).

    ``message`` and ``headers`` are those of the frame, ``detail`` its body as text, ``receipt_id``
    names the frame at fault if the broker said so (E-06).
    """

    def __init__(self, message: str, detail: str, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(message or detail or "ERROR without a reason")
        self.message = message
        self.detail = detail
        self.headers = dict(headers)
        self.body = body
        self.receipt_id = self.headers.get("receipt-id")


class PeerProtocolError(ConnectionLostError):
    """The broker sent what STOMP does not allow; the connection was closed (ESC-02)."""


class BufferFullError(ConnectionLostError):
    """Too many messages came and were not taken while something else was waited for."""


class TransactionLostError(ConnectionLostError):
    """A transaction was open when its connection broke: nothing of it has happened (TX-10)."""


class OutcomeUnknownError(ConnectionLostError):
    """The connection broke before the broker confirmed a COMMIT: all of it happened, or nothing."""


class StaleMessageError(ConnectionLostError):
    """A message came by a connection that is gone; it cannot be settled, and comes again."""


class HeartbeatError(ConnectionLostError):
    """The broker was silent for longer than the agreed heart-beat allows (H-12)."""
