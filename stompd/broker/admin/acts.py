"""What changes something at once: deleting, pausing, closing, routing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stompd.broker.admin.errand import outcome
from stompd.broker.admin.messages import destination_of, find_queue, host_of
from stompd.broker.admin.request import AdminError
from stompd.broker.admin.rows import Row
from stompd.broker.destination import Kind
from stompd.broker.queue import Queue
from stompd.broker.rights import request
from stompd.broker.route import Route
from stompd.broker.session import CloseReason
from stompd.protocol.errors import RemoteProtocolError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stompd.broker.admin.request import Caller, Code
    from stompd.broker.durable import Durable
    from stompd.broker.topic import Topic

# What speaks against a route that is right by itself.
_CONFLICTS: Final = ("route name in use", "routes in a loop")


# Destinations.


def delete(
    caller: Caller,
    *,
    destination: str,
    vhost: str | None = None,
    if_empty: bool = False,
    if_unused: bool = False,
) -> Row:
    """Remove a queue or topic with what it holds; who is subscribed to it by name keeps it."""
    host = host_of(caller, vhost)
    wanted = destination_of(destination)
    caller.demand("admin", host, wanted)
    targets: Mapping[str, Queue | Topic] = host.queues if wanted.kind is Kind.QUEUE else host.topics
    target = targets.get(wanted.name)
    if target is None:
        raise AdminError("not-found", f"there is no {shown(wanted.name)}")
    if target.owner is not None:
        raise AdminError("conflict", f"{target.name} ends with its connection, {target.owner.id}")
    if isinstance(target, Queue):
        named = target.holders()
        if if_empty and target.count:
            raise AdminError("conflict", f"{target.name} holds {target.count} messages")
    else:
        named = [s for s in target.subscriptions if not s.wild]
    if named:
        holders = ", ".join(sorted({subscription.session.id for subscription in named})[:10])
        raise AdminError("conflict", f"{target.name} has subscribers: {holders}")
    if if_unused and target.subscriptions:
        raise AdminError("conflict", f"{target.name} has subscribers by a wildcard")
    host.remove(target)
    return outcome(1)


def pause(caller: Caller, *, destination: str, vhost: str | None = None) -> Row:
    """Deliver nothing from a queue until it is resumed; it still takes messages."""
    queue = find_queue(caller, "admin", host_of(caller, vhost), destination)
    queue.pause()
    queue.host.define(queue)
    return outcome(1)


def resume(caller: Caller, *, destination: str, vhost: str | None = None) -> Row:
    """Deliver again from a queue that is paused."""
    queue = find_queue(caller, "admin", host_of(caller, vhost), destination)
    queue.resume()
    queue.host.define(queue)
    return outcome(1)


def remove_durable(
    caller: Caller, *, name: str, client_id: str | None = None, vhost: str | None = None
) -> Row:
    """Remove a durable subscription with what it holds; nobody may be connected to it.

    One whose queue has a name for everybody goes with that queue.
    """
    host = host_of(caller, vhost)
    found: list[Durable] = [
        durable
        for durable in host.durables.values()
        if durable.name == name and client_id in (None, durable.client_id)
    ]
    for durable in found:
        caller.demand("admin", host, durable.destination)
    queue = host.feeds.bound_queue(name)
    if not found and queue is not None and not client_id:
        return delete(caller, destination=queue.name, vhost=vhost)
    if not found:
        caller.demand("admin", host, request("durable-rm"))
        raise AdminError("not-found", f'there is no durable subscription "{shown(name)}"')
    if len(found) > 1:
        owners = ", ".join(sorted(shown(durable.client_id) for durable in found))
        raise AdminError(
            "conflict", f"there are several of that name; client_id is one of {owners}"
        )
    (durable,) = found
    holders = durable.queue.subscriptions
    if holders:
        names = ", ".join(sorted({subscription.session.id for subscription in holders}))
        raise AdminError("conflict", f'"{shown(name)}" is in use by {names}')
    host.lasting.forget(durable)
    return outcome(1)


# Connections.


def kick(caller: Caller, *, connection: str, reason: str | None = None) -> Row:
    """End a connection with an ERROR; what it had not settled goes to others."""
    session = caller.host.broker.sessions.get(connection)
    caller.demand("admin", caller.host if session is None else session.host, request("kick"))
    if connection == caller.connection:
        raise AdminError(
            "conflict", f"{connection} is the connection that asks; DISCONNECT ends it"
        )
    if session is None or session.over:
        raise AdminError("not-found", f'there is no connection "{shown(connection)}"')
    session.fail(
        RemoteProtocolError("closed by an administrator", shown(reason) if reason else ""),
        CloseReason.KICKED,
    )
    return outcome(1)


# Routes.


def add_route(
    caller: Caller,
    *,
    match: str,
    to: list[str],
    name: str | None = None,
    when: str | None = None,
    move: bool = False,
    vhost: str | None = None,
) -> Row:
    """Route what is sent from now on, until the broker stops; one without a name gets one."""
    host = host_of(caller, vhost)
    caller.demand("admin", host, request("route-add"))
    if name is None:
        name = host.router.free_name()
    try:
        host.add_route(Route(name, match, tuple(to), when, move))
    except RemoteProtocolError as error:
        code: Code = "conflict" if error.message in _CONFLICTS else "bad-request"
        raise AdminError(code, str(error)) from error
    return {**outcome(1), "name": name}


def remove_route(caller: Caller, *, name: str, vhost: str | None = None) -> Row:
    """Route nothing more by this route; one of the settings comes back when they are read again."""
    host = host_of(caller, vhost)
    caller.demand("admin", host, request("route-rm"))
    try:
        host.remove_route(name)
    except RemoteProtocolError as error:
        raise AdminError("not-found", str(error)) from error
    return outcome(1)
