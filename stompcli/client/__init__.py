"""The STOMP client library on trio.

    async with connect("stomp://localhost:61613") as client:
        await client.send("/queue/test", "hello world", receipt=True)
        async with client.subscribe("/queue/test", ack="client-individual") as messages:
            async for message in messages:
                async with message:      # ACK after the block, NACK if it raises
                    print(message.text)

The map of this package:

* ``dial``: `connect`, which makes sessions.
* ``client``: `Client`, what a program works with: ``sender`` and ``receiver`` are its halves,
  ``session`` is what they share, ``intake`` what has come and was not taken, and ``recovery``
  what becomes of it all between two connections.
* ``connection``: one connection, its octets and its end.
* ``options``: what a session may be told.
* ``receipt``: `Receipt`; ``window``: the SENDs that have none yet.
* ``route``: whom to connect to, and when: fail-over and reconnecting.
* ``subscription``: `Subscription`, an asynchronous iterator, and `Message`.
* ``request``: requests and the queue of their replies.
* ``consumer``: functions that process messages, so many at a time.
* ``transaction``: `Transaction`.
* ``dialect``: how each broker spells what STOMP leaves to it.
* ``frames``: the frames that the library writes.
* ``body``: text and its content-type.
* ``url``: where a broker is; ``tls``: how to believe it.
* ``beside``: background tasks that leave the program's exceptions as they are.
* ``errors``: the small tree of errors; ``reasons``: their words.
* ``testing``: a scripted broker for tests; import it by its own name.
"""

import logging

from stompcli.client.client import Client
from stompcli.client.consumer import Consumer, RejectError
from stompcli.client.dial import connect, connect_stream
from stompcli.client.dialect import NackOptions, SendOptions, SubscribeOptions
from stompcli.client.errors import (
    BodyError,
    BrokerError,
    BufferFullError,
    ClosedError,
    ConnectError,
    ConnectionLostError,
    HeartbeatError,
    OutcomeUnknownError,
    PeerProtocolError,
    RefusedError,
    SessionEndedError,
    StaleMessageError,
    StompError,
    TimedOutError,
    TransactionLostError,
    UsageError,
)
from stompcli.client.frames import send_frame
from stompcli.client.options import Counters, Options, Reconnect
from stompcli.client.receipt import Receipt
from stompcli.client.request import Replies
from stompcli.client.subscription import Message, Subscription
from stompcli.client.transaction import Transaction
from stompcli.client.url import Address
from stompcli.client.window import Unconfirmed

# The program that uses the library decides what becomes of its log.
logging.getLogger("stompcli").addHandler(logging.NullHandler())

__all__ = [
    "Address",
    "BodyError",
    "BrokerError",
    "BufferFullError",
    "Client",
    "ClosedError",
    "ConnectError",
    "ConnectionLostError",
    "Consumer",
    "Counters",
    "HeartbeatError",
    "Message",
    "NackOptions",
    "Options",
    "OutcomeUnknownError",
    "PeerProtocolError",
    "Receipt",
    "Reconnect",
    "RefusedError",
    "RejectError",
    "Replies",
    "SendOptions",
    "SessionEndedError",
    "StaleMessageError",
    "StompError",
    "SubscribeOptions",
    "Subscription",
    "TimedOutError",
    "Transaction",
    "TransactionLostError",
    "Unconfirmed",
    "UsageError",
    "connect",
    "connect_stream",
    "send_frame",
]
