"""What the broker tells about itself: JSON on topics under ``/topic/$SYS``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from stompd.broker.destination import Destination, Kind
from stompd.broker.message import Message
from stompd.broker.pattern import words_of
from stompd.protocol.frame import Head

if TYPE_CHECKING:
    from stompd.broker.virtualhost import VirtualHost

OWN: Final = "/topic/$SYS"


def publish(host: VirtualHost, name: str, value: dict[str, Any]) -> None:
    """Publish a JSON object on ``/topic/$SYS/NAME`` of a virtual host.

    Costs next to nothing while nobody there is subscribed to any of these topics.
    """
    if not host.watchers:
        return
    text = f"{OWN}/{name}"
    topic = host.find(Destination(text, Kind.TOPIC, words_of(text)))
    if topic is not None:
        head = Head.of("SEND", {"destination": text, "content-type": "application/json"})
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        topic.put(Message(head, body.encode("utf-8", "replace"), None, False), None)  # noqa: FBT003 - transient
