"""The schemas of what verbs answer."""

from __future__ import annotations

from typing import Final

from stompd.broker.admin.letters import LOOKED_AT
from stompd.broker.admin.schema import (
    Schema,
    count,
    counts,
    flag,
    headers,
    maybe,
    number,
    record,
    several,
    text,
    texts,
    whole,
)
from stompd.broker.definitions import NAME, PARTS

VHOST: Final = text("the virtual host that it is about; otherwise that of the connection")

_VHOST: Final = text("its virtual host")
_AGE: Final = number("seconds for which it is there, to a second or, of long ones, a twentieth")
_OLDEST: Final = maybe(number("seconds for which its oldest waiting message is there"))
_IN_RATE: Final = number("messages that came, a second")
_OUT_RATE: Final = number("messages that left for good, a second")
_BYTES: Final = count("octets of its messages")

_TOTALS: Final[dict[str, Schema]] = {
    "server": text("its name, as CONNECTED tells it"),
    "version": text("its version"),
    "uptime": number("seconds since its start"),
    "connections": count("connections now"),
    "connections_opened": count("connections since its start"),
    "queues": count("queues, without those of durable subscriptions"),
    "topics": count("topics"),
    "messages": count("messages that wait"),
    "unsettled": count("messages that are delivered and not settled"),
    "delayed": count("messages that are not due yet"),
    "bytes": count("octets of all these"),
    "weight": count("octets of memory that the messages count: their own, and 512 for each"),
    "memory_mark": maybe(count("the `weight` from which on producers wait")),
    "paused_producers": count("connections that are not read from, because there is no room"),
    "draining": flag("whether it stops"),
    "store": record(
        {
            "kind": text("`sqlite`, or `memory` if nothing is kept"),
            "path": maybe(text("the file")),
            "file_bytes": maybe(count("octets of the file")),
            "pending_bytes": count("octets of messages that wait to be written"),
            "congested": flag("whether producers of persistent messages wait for the disk"),
            "full": flag("whether there is no room on the disk"),
            "commits": count("batches that were written"),
            "last_commit": maybe(number("seconds that the last one took")),
        }
    ),
}
_BUCKETS: Final = counts("how many took so many seconds at most, by that number; `+Inf` for all")
STATUS: Final = record(_TOTALS)
STATS: Final = record(
    {
        **_TOTALS,
        "connections_closed": count("connections that have ended"),
        "logins_refused": count("logins that were refused"),
        "errors": count("connections that were ended by an ERROR, refused logins included"),
        "subscriptions": count("subscriptions"),
        "transactions": count("open transactions"),
        "outbox": count("octets that wait to be written to connections"),
        "received": count("messages that came to queues and topics"),
        "settled": count("messages that were settled"),
        "expired": count("messages that expired"),
        "dead_lettered": count("messages that became dead letters"),
        "redelivered": count("messages that came back"),
        "in_rate": _IN_RATE,
        "out_rate": _OUT_RATE,
        "oldest": _OLDEST,
        "commit": record(
            {
                "count": count("batches that were written to the disk"),
                "seconds": number("seconds that all of them took"),
                "max": number("seconds that the longest one took"),
                "buckets": _BUCKETS,
            }
        ),
        "loop": record(
            {
                "count": count("times that something was done when it was due"),
                "seconds": number("seconds by which it was late, of all of them"),
                "max": number("seconds of the latest one"),
                "buckets": _BUCKETS,
            }
        ),
    }
)
HEALTH: Final = record(
    {
        "ok": flag("whether all checks are well"),
        "checks": several(
            record(
                {
                    "name": text("what was looked at"),
                    "ok": flag("whether it is well"),
                    "text": text("what was found"),
                }
            )
        ),
    }
)

STATS_QUEUE: Final = record(
    {
        "name": text("its name"),
        "ready": count("messages that wait"),
        "inflight": count("messages that are delivered and not settled"),
        "delayed": count("messages that are not due yet"),
        "consumers": count("subscriptions that take messages"),
        "bytes": _BYTES,
        "in_rate": _IN_RATE,
        "out_rate": _OUT_RATE,
        "oldest": _OLDEST,
        "paused": flag("whether it is paused"),
    }
)
QUEUE: Final = record(
    {
        "vhost": _VHOST,
        "name": text("its name"),
        "ready": count("messages that wait"),
        "inflight": count("messages that are delivered and not settled"),
        "delayed": count("messages that are not due yet"),
        "tail": count("of those that wait, the ones that are in the store only"),
        "memory_messages": count("messages that are in memory, whether on disk as well or not"),
        "memory_bytes": count("octets of those"),
        "disk_messages": count("messages that are in the store only"),
        "disk_bytes": count("octets of those"),
        "consumers": count("subscriptions that take messages"),
        "browsers": count("subscriptions that look at new messages"),
        "bytes": _BYTES,
        "received": count("messages that came"),
        "settled": count("messages that were settled"),
        "expired": count("messages that expired"),
        "dead_lettered": count("messages that became dead letters"),
        "redelivered": count("messages that came back"),
        "repeated": count("messages that were dropped because of their dedup-id"),
        "in_rate": _IN_RATE,
        "out_rate": _OUT_RATE,
        "oldest": _OLDEST,
        "paused": flag("whether it is paused"),
        "paused_producers": count("connections that are not read from until it has room"),
        "blocked_producers": count("the same"),
        "dead_letter_queue": maybe(text("the queue of its dead letters")),
        "owner": maybe(text("the connection whose temporary queue it is")),
    }
)
TOPIC: Final = record(
    {
        "vhost": _VHOST,
        "name": text("its name"),
        "subscribers": count("subscriptions"),
        "durable_subscriptions": count("durable subscriptions, connected or not"),
        "received": count("messages that came"),
        "retained": flag("whether it keeps a message for new subscribers"),
        "delayed": count("messages that are not due yet"),
        "in_rate": _IN_RATE,
    }
)
DESTINATION: Final = record(
    {"name": text("its name"), "kind": {"type": "string", "enum": ["queue", "topic"]}}
)
DURABLE: Final = record(
    {
        "vhost": _VHOST,
        "name": text("its name"),
        "client_id": text("the client-id that it belongs to; empty if it has a name alone"),
        "topic": text("the topic, or the pattern of topics"),
        "queue": text("the name of the queue that holds its messages, for `browse` and others"),
        "selector": maybe(text("its selector")),
        "ready": count("messages that wait"),
        "inflight": count("messages that are delivered and not settled"),
        "delayed": count("messages that are not due yet"),
        "bytes": _BYTES,
        "consumers": count("subscriptions that are connected to it"),
        "in_rate": _IN_RATE,
        "out_rate": _OUT_RATE,
        "oldest": _OLDEST,
    }
)
DEAD_LETTERS: Final = record(
    {
        "vhost": _VHOST,
        "name": text("the queue of dead letters"),
        "of": maybe(text("where its messages come from, if that is one destination")),
        "sources": texts("the destinations that its messages come from or may come from"),
        "ready": count("dead letters that wait"),
        "inflight": count("dead letters that are delivered and not settled"),
        "counted": count(
            "of those that wait, the ones that `reasons` and `sources` tell of: the first "
            f"{LOOKED_AT}, in memory or on disk"
        ),
        "reasons": counts("how many died for which reason; `none` for what is no dead letter"),
        "oldest": _OLDEST,
    }
)

CONNECTION: Final = record(
    {
        "id": text("its id, the `session` of CONNECTED"),
        "peer": text("its address"),
        "user": maybe(text("the user")),
        "client_id": maybe(text("its client-id")),
        "version": maybe(text("the version of STOMP that it speaks")),
        "vhost": _VHOST,
        "state": text("new, login, open, leaving or over"),
        "subscriptions": count("its subscriptions"),
        "transactions": count("its open transactions"),
        "unsettled": count("what was delivered to it and is not settled"),
        "sent": count("messages that came from it"),
        "delivered": count("messages that went to it"),
        "outbox": count("octets that wait to be written to it"),
        "paused": flag("whether it is not read from"),
        "paused_by": texts(
            "what it waits for: a queue, a subscription as CONNECTION/ID, `receipt`, "
            "`memory-mark`, `store`"
        ),
        "paused_because": texts("the same in words"),
        "age": number("seconds since it was opened"),
        "silent": number("seconds since it was last heard"),
        "unhonoured": texts("headers that it sent and that have no effect here"),
    }
)
SUBSCRIPTION: Final = record(
    {
        "connection": text("the connection"),
        "id": text("its id"),
        "destination": text("the destination, or the pattern of destinations"),
        "ack": text("auto, client or client-individual"),
        "unsettled": count("what was delivered and is not settled"),
        "delivered": count("messages that went to it"),
        "dropped": count("messages that it did not get, because it was slow"),
        "held": count("messages of topics that wait for room in the outbox"),
        "selector": maybe(text("its selector")),
        "exclusive": flag("whether it wants its queue for itself"),
        "priority": whole("its consumer priority"),
        "browser": flag("whether it only looks"),
        "durable": maybe(text("the name of the durable subscription that it is connected to")),
        "prefetch_count": count("its credit in messages; 0 for no limit"),
        "prefetch_bytes": count("its credit in octets; 0 for no limit"),
        "open": flag("whether credit is left"),
    }
)
TRANSACTION: Final = record(
    {
        "connection": text("the connection"),
        "id": text("its id"),
        "sends": count("SENDs in it"),
        "settlements": count("ACKs and NACKs in it"),
        "bytes": count("octets of its SENDs"),
    }
)
USER: Final = record({"user": text("the name"), "connections": count("connections")})
POLICY: Final = record(
    {
        "match": text("the pattern"),
        "prefetch_count": count("as in the settings"),
        "prefetch_bytes": count("octets"),
        "max_deliveries": count("0: no limit"),
        "dead_letter": maybe(text("null: dead letters are dropped")),
        "max_messages": maybe(count("null: no limit")),
        "max_bytes": maybe(count("octets; null: no limit")),
        "overflow": text("block, reject or drop-head"),
        "max_age": maybe(number("seconds; null: no limit")),
        "expired": text("drop or dead-letter"),
        "redelivery_delay": number("seconds"),
        "redelivery_multiplier": number("factor"),
        "redelivery_ceiling": number("seconds"),
        "dedup_window": number("seconds"),
        "dedup_ids": count("ids"),
        "auto_delete_after": maybe(number("seconds; null: never")),
        "slow_consumer": text("close, drop-oldest or block"),
        "slow_consumer_grace": number("seconds"),
        "window_messages": count("messages"),
        "window_bytes": count("octets"),
        "persistent": flag("whether messages are persistent unless their sender says otherwise"),
    }
)

BROWSED: Final = record(
    {
        "messages": several(
            record(
                {
                    "id": text("its id in this queue"),
                    "place": count("its place in this queue: lower ones came earlier"),
                    "state": {"type": "string", "enum": ["ready", "inflight", "delayed"]},
                    "headers": headers("its headers, as a consumer gets them"),
                    "size": count("octets of its whole body"),
                    "body": text("the body, if it is UTF-8"),
                    "body_base64": text("the body otherwise, in base64"),
                    "truncated": flag("whether this is not the whole body"),
                    "age": _AGE,
                    "due": count("when it is due, in milliseconds since 1970; if it is delayed"),
                    "delivery_count": count("attempts that failed"),
                    "redelivered": flag("whether it came back"),
                    "persistent": flag("whether its sender wanted it on disk"),
                    "priority": count("its priority"),
                    "connection": text("the connection that has it; if it is in flight"),
                    "subscription": text("the subscription that has it; if it is in flight"),
                },
                "body",
                "body_base64",
                "due",
                "connection",
                "subscription",
            )
        ),
        "total": maybe(
            count("how many there are, of those that were asked for; null if that is not known")
        ),
        "next": maybe(
            count("the `offset` for what follows; null if nothing does, or with `after`")
        ),
        "more": maybe(text("the `after` for what follows; null if nothing does")),
    }
)

ROUTE: Final = record(
    {
        "vhost": _VHOST,
        "name": text("its name"),
        "match": text("the destination, or the pattern, that it leads from"),
        "to": texts("where it leads to"),
        "when": maybe(text("the selector of the messages that it is for")),
        "move": flag("whether they do not go to the destination that they were sent to"),
        "configured": flag("whether it is one of the settings"),
    }
)
EXPLANATION: Final = record(
    {
        "destination": text("the destination"),
        "kind": {"type": "string", "enum": ["queue", "topic"]},
        "reasons": several(
            record(
                {
                    "code": text("the reason, for programs"),
                    "text": text("the reason, for people"),
                    "connection": text("the connection that it is about"),
                    "subscription": text("the subscription that it is about"),
                    "count": count("how many messages, octets or connections it is about"),
                    "due": count("milliseconds since 1970"),
                    "name": text("the group"),
                },
                *("connection", "subscription", "count", "due", "name"),
            ),
            "what keeps messages from being delivered; empty if nothing does",
        ),
        "goes_to": several(
            record(
                {
                    "destination": text("where a SEND would go"),
                    "kind": text("queue or topic"),
                    "routes": texts("the routes on the way, the first one first"),
                    "topic": maybe(text("the topic that the queue has its copy from")),
                    "exists": flag("whether it is there already"),
                    "subscriptions": count("subscriptions to it"),
                    "refused": text("the ERROR that a SEND would get; then nothing else is told"),
                },
                *("kind", "routes", "topic", "exists", "subscriptions", "refused"),
            )
        ),
    }
)

OUTCOME: Final = record(
    {
        "done": count("messages, or things, that it was done with"),
        "failed": count("those that it could not be done with"),
        "reasons": texts("why, with the number of those concerned where it is more than one"),
    }
)

PROGRESS: Final = record(
    {
        "done": count("messages that it was done with so far"),
        "failed": count("those that it could not be done with"),
        "looked_at": count("messages that were looked at"),
        "of": count("how many there are to look at"),
    }
)

ADDED: Final = record({**OUTCOME["properties"], "name": text("the name that the route has")})

DEFINITION: Final = record(
    {
        "kind": {"type": "string", "enum": list(PARTS)},
        "key": texts("the virtual host, and the names that tell it from others of its kind"),
        "record": {"type": "object", "description": "what it is; empty if its names say all"},
    }
)
DEFINITIONS: Final = record(
    {
        NAME: count("the format of this document"),
        "definitions": several(DEFINITION, "what there is beside messages"),
    }
)
DIFFERENCE: Final = record(
    {
        "new": count("definitions of what was not there"),
        "changed": count("those that have taken the place of another one"),
        "same": count("those that were there already"),
    }
)

VERBS: Final = several(
    record(
        {
            "verb": text("its name: what follows `/admin/`"),
            "doc": text("what it does"),
            "right": {"type": "string", "enum": ["monitor", "admin"]},
            "request": {"type": "object", "description": "JSON schema of a request's body"},
            "reply": {"type": "object", "description": "JSON schema of a reply's body"},
        }
    )
)
