"""The table of all that can be asked, and carrying it out: the same for every way in.

A request is a JSON object of fields, a reply ``{"ok":true,"result":…}`` or
``{"ok":false,"error":{"code":…,"message":…}}``. The schemas of both are made of the table.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, get_args

from stompd.broker.access import Refusal
from stompd.broker.admin import acts, defining, forms, letters, messages, moving, rows
from stompd.broker.admin.errand import Errand, Later, Reply, refusal
from stompd.broker.admin.explain import explain
from stompd.broker.admin.forms import OUTCOME, PROGRESS, VHOST
from stompd.broker.admin.request import Act, AdminError, Caller, Code
from stompd.broker.admin.schema import (
    Schema,
    count,
    flag,
    headers,
    lack,
    number,
    objects,
    record,
    several,
    text,
    texts,
)
from stompd.broker.definitions import NAME
from stompd.broker.rights import Right, request
from stompd.protocol.errors import shown

Result = Callable[..., Any]


@dataclass(frozen=True)
class Verb:
    """Something that can be asked for."""

    name: str
    # What it does, for people.
    doc: str
    # Takes the caller, and the fields of the request by name.
    run: Callable[..., Any]
    fields: dict[str, Schema]
    result: Schema
    # True if it changes something: then it needs `admin` and is logged; else it needs `monitor`.
    acts: bool = False
    required: tuple[str, ...] = ()
    # True if it goes over all messages of a queue, and can tell how far it is.
    walks: bool = False
    # True if the reply says that it is on disk.
    durable: bool = False
    # True if it tells what is for administrators only.
    confidential: bool = False

    @property
    def right(self) -> Right:
        """The right that it needs."""
        return "admin" if self.acts or self.confidential else "monitor"

    def request_schema(self) -> Schema:
        """Return the JSON schema of a request's body."""
        return record(self.fields, *(name for name in self.fields if name not in self.required))

    def reply_schema(self) -> Schema:
        """Return the JSON schema of a reply's body."""
        replies = [record({"ok": {"const": True}, "result": self.result}), ERROR]
        if self.walks:
            replies.append(record({"ok": {"const": True}, "progress": PROGRESS}))
        return {"oneOf": replies}


ERROR: Final = record(
    {
        "ok": {"const": False},
        "error": record(
            {
                "code": {"type": "string", "enum": list(get_args(Code))},
                "message": text("what is wrong, in a sentence"),
            }
        ),
    }
)


def _told(verb: str, tell: Callable[..., Any]) -> Callable[..., Any]:
    """Return what runs a function that tells of the broker as a whole."""

    def run(caller: Caller, **fields: Any) -> Any:  # noqa: ANN401 - JSON
        caller.demand("monitor", caller.host, request(verb))
        return tell(caller.host.broker, **fields)

    return run


def _listed(tell: Callable[..., Any]) -> Callable[..., Any]:
    """Return what runs a function that tells of what somebody may look at, and of no more."""
    return lambda caller, **fields: tell(caller.host.broker, sees=caller.sees, **fields)


_DESTINATION: Final = {"destination": text("the queue"), "vhost": VHOST}
_PATTERN: Final = text(
    "only these: a name, or a pattern with `*` for a word and `#` for any number of words"
)
_SELECTOR: Final = text("only messages of whose headers this is true, as in SUBSCRIBE")
_IDS: Final = texts("only the messages with these ids, as `browse` tells them")
_OLDER: Final = number("only messages that are there for so many seconds")
_COUNT: Final = count("so many messages at most, in the order of delivery")
_PROGRESS: Final = flag(
    "while it takes time, replies with `progress` instead of `result` come first"
)
_DRY_RUN: Final = flag("do nothing, and answer what would be done")
_HOST: Final = {"vhost": text("only what belongs to this virtual host; otherwise to all of them")}


def _verbs(caller: Caller) -> list[rows.Row]:
    caller.demand("monitor", caller.host, request("verbs"))
    return [
        {
            "verb": verb.name,
            "doc": verb.doc,
            "right": verb.right,
            "request": verb.request_schema(),
            "reply": verb.reply_schema(),
        }
        for verb in VERBS.values()
    ]


_TRANSFER: Final[dict[str, Schema]] = {
    "source": text("the queue that holds the messages"),
    "target": text("the queue or topic to put them into; made if it is not there"),
    "vhost": VHOST,
    "count": _COUNT,
    "selector": _SELECTOR,
    "ids": _IDS,
    "older_than": _OLDER,
    "dry_run": _DRY_RUN,
    "progress": _PROGRESS,
}

_TABLE: Final = (
    # Looking.
    Verb("verbs", "Everything that can be asked for, with its schemas.", _verbs, {}, forms.VERBS),
    Verb("status", "The broker's totals.", _told("status", rows.status), {}, forms.STATUS),
    Verb(
        "stats",
        "The broker's totals with what has passed through it, and rates; what "
        "`/topic/$SYS/stats/broker` tells every second.",
        _told("stats", rows.stats),
        {},
        forms.STATS,
    ),
    Verb(
        "health",
        "Whether the broker can do its work, and why not.",
        _told("health", rows.health),
        {},
        forms.HEALTH,
    ),
    Verb(
        "queues",
        "The queues, by virtual host and name.",
        _listed(rows.queues),
        {"match": _PATTERN, **_HOST},
        several(forms.QUEUE),
    ),
    Verb(
        "topics",
        "The topics, by virtual host and name.",
        _listed(rows.topics),
        {"match": _PATTERN, **_HOST},
        several(forms.TOPIC),
    ),
    Verb(
        "destinations",
        "Names and kinds of queues and topics, for completion; temporary ones are left out.",
        _listed(rows.destinations),
        {"prefix": text("only names that begin so"), **_HOST},
        several(forms.DESTINATION),
    ),
    Verb(
        "durables",
        "The durable subscriptions, connected or not.",
        _listed(rows.durables),
        _HOST,
        several(forms.DURABLE),
    ),
    Verb(
        "dlq",
        "The queues that hold dead letters or are meant for them.",
        letters.dead_letters,
        _HOST,
        several(forms.DEAD_LETTERS),
    ),
    Verb(
        "connections",
        "The connections, oldest first.",
        _listed(rows.connections),
        _HOST,
        several(forms.CONNECTION),
    ),
    Verb(
        "subscriptions",
        "The subscriptions, by connection.",
        _listed(rows.subscriptions),
        {"match": _PATTERN, "connection": text("only those of this connection"), **_HOST},
        several(forms.SUBSCRIPTION),
    ),
    Verb(
        "transactions",
        "The open transactions, by connection.",
        _listed(rows.transactions),
        _HOST,
        several(forms.TRANSACTION),
    ),
    Verb(
        "users",
        "The users that are connected.",
        _told("users", rows.users),
        {},
        several(forms.USER),
    ),
    Verb(
        "policies",
        "The policies in their order; the last counts where no other matches.",
        _told("policies", rows.policies),
        {},
        several(forms.POLICY),
    ),
    Verb(
        "browse",
        "Messages of a queue, which stay where they are: those that wait, in the order of "
        "delivery, then those that are delivered and not settled, then those that are not due yet.",
        messages.browse,
        {
            **_DESTINATION,
            "count": count(
                f"so many messages at most; {messages.BROWSED} if it is not said, and never more "
                f"than {messages.MOST_BROWSED}"
            ),
            "offset": count("pass over so many first"),
            "after": text("go on where an answer has ended: what its `more` was"),
            "selector": _SELECTOR,
            "id": text("the message with this id, and no other"),
            "headers_only": flag("without bodies"),
            "body_bytes": count("so many octets of each body at most"),
            "progress": _PROGRESS,
        },
        forms.BROWSED,
        required=("destination",),
        walks=True,
    ),
    Verb(
        "explain",
        "Why messages of a queue or topic are not delivered, or one message of a queue; and where "
        "a SEND to it goes.",
        explain,
        {
            "destination": text("the queue or topic"),
            "vhost": VHOST,
            "id": text("the message with this id"),
            "headers": headers("headers that a SEND would have; selectors are held against them"),
        },
        forms.EXPLANATION,
        required=("destination",),
    ),
    Verb("routes", "The routes in their order.", _listed(rows.routes), _HOST, several(forms.ROUTE)),
    # Acting.
    Verb(
        "purge",
        "Drop messages that wait or are not due yet. What is delivered and not settled stays.",
        moving.purge,
        {
            "destination": text("the queue, or a pattern of queues"),
            "vhost": VHOST,
            "selector": _SELECTOR,
            "older_than": _OLDER,
            "keep": count("leave so many of them, the newest"),
            "dry_run": _DRY_RUN,
            "progress": _PROGRESS,
        },
        OUTCOME,
        acts=True,
        required=("destination",),
        walks=True,
        durable=True,
    ),
    Verb(
        "move",
        "Take messages out of a queue and put them into another destination, page by page. Those "
        "that are not due yet keep their time, all keep their headers but `destination`.",
        moving.move,
        _TRANSFER,
        OUTCOME,
        acts=True,
        required=("source", "target"),
        walks=True,
        durable=True,
    ),
    Verb(
        "copy",
        "Put copies of a queue's messages into another destination, as `move` does.",
        moving.copy,
        _TRANSFER,
        OUTCOME,
        acts=True,
        required=("source", "target"),
        walks=True,
        durable=True,
    ),
    Verb(
        "requeue",
        "Put dead letters back into the queues that they come from, without what was added to "
        "them when they died, and with all attempts before them.",
        moving.requeue,
        {
            "destination": text("the queue of dead letters"),
            "vhost": VHOST,
            "ids": _IDS,
            "count": _COUNT,
            "selector": _SELECTOR,
            "older_than": _OLDER,
            "to": text("put them there, wherever they come from"),
            "dry_run": _DRY_RUN,
            "progress": _PROGRESS,
        },
        OUTCOME,
        acts=True,
        required=("destination",),
        walks=True,
        durable=True,
    ),
    Verb(
        "delete",
        "Remove a queue or topic with what it holds. Not if somebody is subscribed to it by name.",
        acts.delete,
        {
            "destination": text("the queue or topic"),
            "vhost": VHOST,
            "if_empty": flag("not if it holds messages"),
            "if_unused": flag("not if a wildcard subscription gets messages from it either"),
        },
        OUTCOME,
        acts=True,
        required=("destination",),
        durable=True,
    ),
    Verb(
        "pause",
        "Deliver nothing from a queue until it is resumed; it still takes messages.",
        acts.pause,
        _DESTINATION,
        OUTCOME,
        acts=True,
        required=("destination",),
        durable=True,
    ),
    Verb(
        "resume",
        "Deliver again from a queue that was paused.",
        acts.resume,
        _DESTINATION,
        OUTCOME,
        acts=True,
        required=("destination",),
        durable=True,
    ),
    Verb(
        "durable-rm",
        "Remove a durable subscription with what it holds. Not while somebody is connected to it.",
        acts.remove_durable,
        {
            "name": text("its name"),
            "client_id": text("whose it is; needed where several have that name"),
            "vhost": VHOST,
        },
        OUTCOME,
        acts=True,
        required=("name",),
        durable=True,
    ),
    Verb(
        "route-add",
        "Route what is sent from now on, until the broker stops.",
        acts.add_route,
        {
            "name": text("its name; if it is not said, one is made up"),
            "match": text("a destination, or a pattern as in SUBSCRIBE"),
            "to": texts("where to; may hold `{name}`, and `{1}` for the first wildcard of `match`"),
            "when": text("a selector: only the messages of which it is true"),
            "move": flag("not to the destination that they were sent to as well"),
            "vhost": VHOST,
        },
        forms.ADDED,
        acts=True,
        required=("match", "to"),
    ),
    Verb(
        "route-rm",
        "Route nothing more by a route. One of the settings comes back when they are read again.",
        acts.remove_route,
        {"name": text("its name"), "vhost": VHOST},
        OUTCOME,
        acts=True,
        required=("name",),
    ),
    Verb(
        "definitions",
        "Tell what there is beside messages, as a document for `definitions-import`.",
        defining.export,
        _HOST,
        forms.DEFINITIONS,
        confidential=True,
    ),
    Verb(
        "definitions-import",
        "Make what a document of `definitions` lists, all or nothing. What is not named stays.",
        defining.import_,
        {
            NAME: count("the format of the document, if it is said", least=1),
            "definitions": objects("as `definitions` tells them"),
            "dry_run": _DRY_RUN,
        },
        forms.DIFFERENCE,
        acts=True,
        required=("definitions",),
        durable=True,
    ),
    Verb(
        "kick",
        "End a connection with an ERROR. What it had not settled goes to others.",
        acts.kick,
        {
            "connection": text("its id, as `connections` tells it"),
            "reason": text("what the ERROR says"),
        },
        OUTCOME,
        acts=True,
        required=("connection",),
    ),
)

VERBS: Final[dict[str, Verb]] = {verb.name: verb for verb in _TABLE}


def carry_out(caller: Caller, name: str, body: bytes, answer: Callable[[Reply], None]) -> None:
    """Carry out a verb with the fields in a JSON object; ``answer`` gets the reply.

    At once, or later: a verb that goes over the messages of a queue waits for the store, and one
    that changes something lasting for the disk. Before the reply there are notes of progress, if
    the request wants them. An empty body stands for an object without fields. `Broker.acted` is
    told of what acts.
    """
    verb = VERBS.get(name)
    if verb is None:
        text = f'there is no verb "{shown(name)}"; `verbs` tells which there are'
        answer(refusal("not-found", text))
        return
    right = verb.right
    fields: dict[str, Any] = {}
    tells = False
    result: Any = None
    refused: Reply | None = None
    if not caller.has(right):
        refused = refusal("forbidden", f"{verb.name} needs the right {right}")
    else:
        try:
            fields = _fields(verb, body)
            wanted = {name: value for name, value in fields.items() if name != "progress"}
            tells = fields.get("progress", False)
            result = verb.run(caller, **wanted)
        except AdminError as error:
            refused = refusal(error.code, error.message)

    def finish(reply: Reply) -> None:
        if "error" in reply and reply["error"]["code"] == "forbidden":
            _tell_refusal(caller, right, name)
        if "progress" not in reply and verb.acts:
            _tell(caller, name, fields, reply)
        answer(reply)

    def finish_durable(reply: Reply) -> None:
        if verb.durable and "result" in reply and not fields.get("dry_run"):
            caller.host.broker.when_durable(lambda: finish(reply))
        else:
            finish(reply)

    if refused is not None:
        finish(refused)
    elif isinstance(result, Later):
        Errand(caller, result, finish_durable, tells=tells).go_on()
    else:
        finish_durable({"ok": True, "result": result})


def _tell_refusal(caller: Caller, right: Right, name: str) -> None:
    """Tell who keeps the log that somebody had not the right to a request."""
    caller.host.broker.denied(
        Refusal(
            caller.connection,
            caller.peer,
            caller.user,
            caller.host.name,
            right,
            request(name).name,
        )
    )


def _tell(caller: Caller, name: str, fields: dict[str, Any], reply: Reply) -> None:
    """Tell who keeps the log, and who listens, that a request was carried out or refused."""
    broker = caller.host.broker
    host = caller.host.name
    known = VERBS[name].fields
    # A log is not for whole documents: it has how many entries they have.
    fields = {
        field: len(value) if known[field].get("items") == {"type": "object"} else value
        for field, value in fields.items()
    }
    broker.acted(Act(name, caller.connection, caller.user, host, fields, reply, caller.peer))
    broker.tell(
        "acted",
        caller.host,
        verb=name,
        connection=caller.connection,
        user=caller.user,
        ok=reply["ok"],
    )


def _fields(verb: Verb, body: bytes) -> dict[str, Any]:
    """Return the fields of a request; raise `AdminError` for what is no request of this verb."""
    try:
        value = json.loads(body.decode()) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise AdminError("bad-request", f"the body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise AdminError("bad-request", "the body is no JSON object")
    fields = {}
    for name, given in value.items():
        schema = verb.fields.get(name)
        if schema is None:
            known = ", ".join(verb.fields) or "none"
            raise AdminError(
                "bad-request", f'{verb.name} has no field "{shown(name)}"; there are: {known}'
            )
        if given is None:
            # Left out, by a client that writes all the fields that it knows.
            continue
        wrong = lack(given, schema)
        if wrong:
            raise AdminError("bad-request", f"{name} has to be {wrong}")
        fields[name] = given
    for name in verb.required:
        if name not in fields:
            raise AdminError("bad-request", f"{verb.name} needs the field {name}")
    return fields
