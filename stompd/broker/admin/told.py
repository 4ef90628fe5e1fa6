"""The schemas of what is told on ``/topic/$SYS/…``: events, statistics, lines of a tap."""

from __future__ import annotations

from typing import Final

from stompd.broker.admin.forms import STATS, STATS_QUEUE
from stompd.broker.admin.schema import (
    Schema,
    count,
    flag,
    headers,
    maybe,
    record,
    several,
    text,
    texts,
)

_TIME: Final = count("milliseconds since 1970")
_WHO: Final[dict[str, Schema]] = {
    "connection": text("the connection"),
    "peer": text("its address"),
    "user": maybe(text("the user")),
    "client_id": maybe(text("its client-id")),
}
_SUBSCRIPTION: Final[dict[str, Schema]] = {
    "connection": text("the connection"),
    "user": maybe(text("the user")),
    "subscription": text("the id of the subscription"),
    "destination": text("what it is subscribed to"),
}
_QUEUE: Final = text("the queue")
_MESSAGE: Final = text("the message's id in that queue")
_MEMORY: Final[dict[str, Schema]] = {
    "weight": count("octets that all messages count"),
    "mark": count("octets from which on producers wait"),
}

# What each kind of event is for, and its fields beside `event` and `time`.
_EVENTS: Final[dict[str, tuple[str, dict[str, Schema]]]] = {
    "connected": ("Somebody has logged in.", {**_WHO, "version": text("the version of STOMP")}),
    "disconnected": (
        "The connection of somebody who had logged in is gone.",
        {**_WHO, "reason": text("why")},
    ),
    "login-failed": ("Somebody was not let in.", _WHO),
    "taken-over": (
        "A connection ends because another one came with its client-id.",
        {
            "connection": text("the one that ends"),
            "by": text("the one that came"),
            "client_id": text("the client-id"),
        },
    ),
    "subscribed": (
        "Somebody has subscribed.",
        {**_SUBSCRIPTION, "ack": text("auto, client or client-individual")},
    ),
    "unsubscribed": ("A subscription has ended, for whatever reason.", _SUBSCRIPTION),
    "slow-consumer": (
        "A subscriber of a topic does not keep up, and its grace has begun.",
        {**_SUBSCRIPTION, "then": text("what the policy does next: close, drop-oldest, block")},
    ),
    "queue-created": (
        "A queue was made.",
        {"queue": _QUEUE, "connection": maybe(text("whose temporary queue it is"))},
    ),
    "queue-deleted": (
        "A queue is gone: it was idle, or was deleted.",
        {"queue": _QUEUE, "connection": maybe(text("whose temporary queue it was"))},
    ),
    "no-consumer": (
        "Messages, but no dead letters, wait in a queue that nobody is subscribed to. Told once.",
        {"queue": _QUEUE, "ready": count("how many wait")},
    ),
    "dead-lettered": (
        "A message became a dead letter, or was dropped where there is no queue for those.",
        {
            "queue": _QUEUE,
            "id": _MESSAGE,
            "reason": text("rejected, max-deliveries, expired or overflow"),
            "detail": text("what the consumer gave as its reason"),
            "attempts": count("attempts that failed"),
            "to": maybe(text("the queue of dead letters")),
        },
    ),
    "expired": ("A message expired before anybody took it.", {"queue": _QUEUE, "id": _MESSAGE}),
    "limit": (
        "Somebody is at a limit: an ERROR, or a wait for room in a full queue.",
        {**_WHO, "limit": text("which, as the ERROR says it")},
    ),
    "producers-paused": (
        "Messages hold so much memory that producers are not read from.",
        _MEMORY,
    ),
    "producers-resumed": ("Producers are read from again.", _MEMORY),
    "unhonoured": (
        "Somebody sends headers that other brokers know and that have no effect here.",
        {"connection": text("the connection"), "headers": texts("their names, each told once")},
    ),
    "acted": (
        "Somebody has changed something by an admin request.",
        {
            "verb": text("the verb"),
            "connection": text("the connection"),
            "user": maybe(text("the user")),
            "ok": flag("whether it was carried out"),
        },
    ),
}

EVENTS: Final[dict[str, tuple[str, Schema]]] = {
    kind: (doc, record({"event": {"const": kind}, "time": _TIME, **fields}))
    for kind, (doc, fields) in _EVENTS.items()
}

STATISTICS: Final[dict[str, tuple[str, Schema]]] = {
    "broker": (
        "The totals, as the verb `stats` tells them.",
        record({"time": _TIME, **STATS["properties"]}),
    ),
    "queues": (
        "The queues that hold messages, or had some come or go in the last second.",
        record({"time": _TIME, "queues": several(STATS_QUEUE)}),
    ),
    "connections": (
        "The connections of this virtual host.",
        record(
            {
                "time": _TIME,
                "connections": several(
                    record(
                        {
                            "id": text("its id"),
                            "user": maybe(text("the user")),
                            "sent": count("messages that came from it"),
                            "delivered": count("messages that went to it"),
                            "unsettled": count("what was delivered to it and is not settled"),
                            "outbox": count("octets that wait to be written to it"),
                            "paused": flag("whether it is not read from"),
                        }
                    )
                ),
            }
        ),
    ),
}

TAP: Final = record(
    {
        "time": _TIME,
        "direction": {"type": "string", "enum": ["in", "out"]},
        "connection": text("the connection"),
        "peer": text("its address"),
        "user": maybe(text("the user")),
        "command": text("the frame's command"),
        "headers": headers("the frame's headers; a passcode is not shown"),
        "size": count("octets of the frame's whole body"),
        "body": text("the body, if it is UTF-8"),
        "body_base64": text("the body otherwise, in base64"),
        "truncated": flag("whether this is not the whole body"),
        "dropped": count("frames that were not shown since the line before"),
    },
    "body",
    "body_base64",
    "dropped",
)
