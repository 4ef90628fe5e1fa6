"""Definitions of a broker that runs: all of them as a document, and those of a document made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stompd.broker.admin.messages import host_of
from stompd.broker.admin.request import AdminError
from stompd.broker.admin.rows import hosts
from stompd.broker.asked import adopt
from stompd.broker.definition import (
    durable_record,
    flag,
    queue_name,
    queue_record,
    settings_of,
    text,
)
from stompd.broker.definitions import (
    FORMAT,
    NAME,
    BadDefinitionError,
    Definitions,
    What,
    entries,
    order,
    read,
    route_of,
    route_record,
)
from stompd.broker.destination import parse, parse_subscribed
from stompd.broker.queue import Queue
from stompd.broker.rights import request
from stompd.broker.selector import compile_selector
from stompd.protocol.errors import RemoteProtocolError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stompd.broker.admin.request import Caller
    from stompd.broker.admin.rows import Row
    from stompd.broker.dialect import QueueSettings
    from stompd.broker.route import Router
    from stompd.broker.virtualhost import VirtualHost

# Names were checked when they came, and some are longer than those that clients may SEND to.
_NO_LIMIT = 1 << 16


def export(caller: Caller, *, vhost: str | None = None) -> Row:
    """Return the document of what there is, in one virtual host or in all of them."""
    wanted = hosts(caller.host.broker, vhost)
    found: Definitions = {}
    for host in wanted:
        caller.demand("admin", host, request("definitions"))
        found |= _of_host(host)
    return {NAME: FORMAT, "definitions": entries(found)}


def _of_host(host: VirtualHost) -> Definitions:
    found: Definitions = {}
    for queue in host.queues.values():
        fed = host.feeds.fill(queue)
        record = None if queue.owner is not None else queue_record(queue, fed=fed)
        if record is not None:
            found["queue", (host.name, queue.name)] = record
    for durable in host.durables.values():
        key = (host.name, durable.client_id, durable.name)
        found["durable", key] = durable_record(durable)
    for feed in host.feeds.bound():
        if feed.lasting:
            found["binding", (host.name, feed.queue.name, feed.destination.name)] = {}
    for route in host.router.routes:
        if not host.configured(route):
            found["route", (host.name, route.name)] = route_record(route)
    return found


@dataclass(frozen=True)
class _Change:
    """A definition that is not there, or is another one."""

    host: VirtualHost
    kind: What
    # Without the virtual host.
    key: tuple[str, ...]
    record: Mapping[str, Any]


def import_(
    caller: Caller,
    *,
    definitions: list[dict[str, Any]],
    dry_run: bool = False,
    **document: int,
) -> Row:
    """Make what a document lists: all of it, or nothing if an `AdminError` is raised.

    What is there and not named stays; what is named is as the document has it then. A durable
    subscription that is there for another topic or selector is a conflict: what it holds would be
    lost.
    """
    if document.get(NAME, FORMAT) != FORMAT:
        raise AdminError("bad-request", f'this stompd reads "{NAME}": {FORMAT}')
    try:
        wanted = read(definitions)
    except BadDefinitionError as error:
        raise AdminError("bad-request", str(error)) from error
    changes: list[_Change] = []
    present: dict[VirtualHost, Definitions] = {}
    new = 0
    for (kind, key), record in sorted(wanted.items(), key=lambda entry: order(*entry[0])):
        host = host_of(caller, key[0])
        if host not in present:
            caller.demand("admin", host, request("definitions-import"))
            present[host] = _of_host(host)
        if present[host].get((kind, key)) != record:
            new += (kind, key) not in present[host]
            changes.append(_Change(host, kind, key[1:], record))
    _check(changes)
    if not dry_run:
        store = caller.host.broker.store
        store.begin_group()
        for change in changes:
            _MAKERS[change.kind](change.host, change.key, change.record)
        store.end_group()
    return {"new": new, "changed": len(changes) - new, "same": len(wanted) - len(changes)}


def _check(changes: list[_Change]) -> None:
    """Raise `AdminError` if one of them cannot be made."""
    routers: dict[VirtualHost, Router] = {}
    for change in changes:
        host, record = change.host, change.record
        router = routers.get(host, host.router)
        try:
            if change.kind == "durable":
                router.check(parse_subscribed(text(record, "destination")))
                _check_durable(host, change.key, record)
            elif change.kind == "binding":
                router.check(parse_subscribed(change.key[1]))
            elif change.kind == "route":
                name = change.key[0]
                there = {route.name: route for route in router.routes}
                if name in there:
                    if host.configured(there[name]):
                        raise AdminError(
                            "conflict", f'the route "{shown(name)}" is one of the settings'
                        )
                    router = router.removed(name)
                routers[host] = router.added(route_of(name, record))
        except RemoteProtocolError as error:
            name = " ".join(change.key)
            raise AdminError("conflict", f"{change.kind} {shown(name)}: {error}") from error


def _check_durable(host: VirtualHost, key: tuple[str, ...], record: Mapping[str, Any]) -> None:
    destination = parse_subscribed(text(record, "destination"))
    durable = host.durables.get((key[0], key[1]))
    selector = compile_selector(text(record, "selector")) if "selector" in record else None
    no_local = flag(record, "no_local")
    if durable is not None and not durable.is_for(destination, selector, no_local=no_local):
        raise AdminError(
            "conflict",
            f'the durable subscription "{shown(key[1])}" is there with another destination, '
            "selector or no-local; `durable-rm` removes it with what it holds",
        )


def _make_queue(host: VirtualHost, key: tuple[str, ...], record: Mapping[str, Any]) -> None:
    queue = host.find(parse(key[0], limit=_NO_LIMIT))
    assert isinstance(queue, Queue)  # noqa: S101 - its name was looked at
    _settle(host, queue, record, queue.name)
    queue.is_dead_letter = flag(record, "dead_letters")
    host.define(queue)


def _make_durable(host: VirtualHost, key: tuple[str, ...], record: Mapping[str, Any]) -> None:
    client_id, name = key
    durable = host.durables.get((client_id, name))
    new = durable is None
    if durable is None:
        destination = parse_subscribed(text(record, "destination"))
        selector = compile_selector(text(record, "selector")) if "selector" in record else None
        durable = host.lasting.make(
            (client_id, name),
            destination,
            selector,
            queue_name(record, client_id, name),
            settings_of(record),
            no_local=flag(record, "no_local"),
        )
    _settle(host, durable.queue, record, durable.destination.name)
    durable.user = text(record, "user") if "user" in record else None
    durable.queue.is_dead_letter = flag(record, "dead_letters")
    host.lasting.define(durable)
    if new:
        host.feeds.add(durable.feed)
        host.lasting.expect_return(durable)


def _settle(host: VirtualHost, queue: Queue, record: Mapping[str, Any], name: str) -> None:
    """Have a queue be paused or not, and as its settings say; its policy is that of ``name``."""
    settings: QueueSettings | None = settings_of(record)
    if queue.asked != settings:
        queue.asked = None
        policy = host.broker.settings.policies.of(name)
        if host.feeds.fill(queue):
            policy = replace(policy, auto_delete_after=None)
        queue.adopt(policy)
        if settings is not None:
            adopt(queue, settings)
        # It may have to be looked at earlier than the policy says.
        queue.watched = None
        host.expect_idle(queue)
    paused = flag(record, "paused")
    if paused != queue.paused:
        (queue.pause if paused else queue.resume)()


def _make_binding(host: VirtualHost, key: tuple[str, ...], _record: Mapping[str, Any]) -> None:
    queue = host.find(parse(key[0], limit=_NO_LIMIT))
    assert isinstance(queue, Queue)  # noqa: S101 - as above
    host.feeds.keep_bound(queue, parse_subscribed(key[1]))


def _make_route(host: VirtualHost, key: tuple[str, ...], record: Mapping[str, Any]) -> None:
    (name,) = key
    if any(route.name == name for route in host.router.routes):
        host.remove_route(name)
    host.add_route(route_of(name, record))


_MAKERS = {
    "queue": _make_queue,
    "durable": _make_durable,
    "binding": _make_binding,
    "route": _make_route,
}
