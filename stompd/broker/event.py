"""What the broker tells about itself: JSON on topics under ``/topic/$SYS``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from stompd.broker.destination import Destination, Kind
from stompd.broker.message import Message
from stompd.broker.pattern import words_of
from stompd.protocol.frame import Head

if TYPE_CHECKING:
    from stompd.broker.topic import Topic
    from stompd.broker.virtualhost import VirtualHost
    from stompd.protocol.errors import RemoteProtocolError

OWN: Final = "/topic/$SYS"

# What `message` of an ERROR says where something is more than it may be.
_LIMITS: Final = ("too many ", "queue is full")


def is_limit(error: RemoteProtocolError) -> bool:
    """Return whether an ERROR is there because of a limit."""
    return error.message.endswith(" over the limit") or error.message.startswith(_LIMITS)


def as_json(value: Any) -> bytes:  # noqa: ANN401 - JSON
    """Return a value as JSON, in UTF-8."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def json_message(destination: str, value: Any) -> Message:  # noqa: ANN401 - JSON
    """Return a message of the broker's with a value as its body."""
    head = Head.of("SEND", {"destination": destination, "content-type": "application/json"})
    return Message(head, as_json(value), None, False)  # noqa: FBT003 - transient


def heard(host: VirtualHost, name: str) -> Topic | None:
    """Return the topic ``/topic/$SYS/NAME`` of a virtual host; None if nobody listens to it.

    Costs next to nothing while nobody listens to any of these topics.
    """
    if not host.watchers:
        return None
    text = f"{OWN}/{name}"
    topic = host.topics.get(text)
    if topic is None:
        host.find(Destination(text, Kind.TOPIC, words_of(text)))
        topic = host.topics[text]
    return topic if topic.subscriptions or topic.feeds else None


def publish(host: VirtualHost, name: str, value: dict[str, Any]) -> None:
    """Publish a JSON object on ``/topic/$SYS/NAME`` of a virtual host, if somebody listens."""
    topic = heard(host, name)
    if topic is not None:
        topic.put(json_message(topic.name, value), None)
