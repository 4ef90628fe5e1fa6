"""Where a message would go, without sending one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stompd.broker.destination import Kind
from stompd.broker.route import reached
from stompd.broker.virtualhost import public_name

if TYPE_CHECKING:
    from stompd.broker.queue import Queue
    from stompd.broker.session import Session
    from stompd.broker.topic import Topic
    from stompd.broker.virtualhost import VirtualHost

Row = dict[str, Any]


def goes_to(
    host: VirtualHost, text: str, headers: Mapping[str, str], session: Session | None = None
) -> list[Row]:
    """Return a row for each queue and topic that a SEND to ``text`` with ``headers`` would reach.

    ``routes`` are the names of the routes on the way, first one first; none for what the SEND names
    itself. ``topic`` is where a queue has its copy from: that of a durable subscription, or of a
    virtual topic's consumers. ``exists`` is False for what would be made by it, and for a temporary
    destination that is gone: what is sent there is dropped. ``session`` is whose temporary
    destinations are meant. Nothing is made or changed.
    Raises `RemoteProtocolError` where the SEND would get an ERROR.
    """
    rows = []
    headers = {"destination": text, **headers}
    for destination, routes in reached(host.steps(text), headers):
        name = destination.name
        if destination.temporary and session is not None:
            name = public_name(destination, session)
        target = host.queues.get(name) or host.topics.get(name)
        rows.append(_row(name, destination.kind, routes, None, target))
        if destination.kind is Kind.TOPIC:
            rows += [
                _row(queue, Kind.QUEUE, routes, name, None if feed is None else feed.queue)
                for queue, feed in host.feeds.fed_by(destination)
                if feed is None or feed.selector is None or feed.selector.matches(headers)
            ]
    return rows


def _row(
    name: str, kind: Kind, routes: tuple[str, ...], topic: str | None, target: Queue | Topic | None
) -> Row:
    return {
        "destination": name,
        "kind": kind.value,
        "routes": list(routes),
        "topic": topic,
        "exists": target is not None,
        "subscriptions": 0 if target is None else len(target.subscriptions),
    }
