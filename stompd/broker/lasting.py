"""How durable subscriptions begin, are found again, and end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stompd.broker.alarm import LOOK
from stompd.broker.asked import adopt, report
from stompd.broker.definition import durable_record
from stompd.broker.durable import Durable
from stompd.protocol.errors import RemoteProtocolError, shown

if TYPE_CHECKING:
    from stompd.broker.destination import Destination
    from stompd.broker.dialect import QueueSettings
    from stompd.broker.selector import Selector
    from stompd.broker.session import Session
    from stompd.broker.subscription import Subscription
    from stompd.broker.virtualhost import VirtualHost


class Lasting:
    """Makes and ends the durable subscriptions of a virtual host, which has them by their names."""

    __slots__ = ("_host",)

    def __init__(self, host: VirtualHost) -> None:
        self._host = host

    def attach(
        self,
        subscription: Subscription,
        key: tuple[str, str],
        queue_name: Destination,
        settings: QueueSettings | None,
    ) -> None:
        """Connect a subscription to the durable one of this name; made if it is not there yet.

        ``settings`` are what it is made with. One that is there for another topic or selector
        ends, with what it holds, and is made anew. Raises `RemoteProtocolError` if somebody is
        connected to that one.
        """
        destination = subscription.destination
        self._host.router.check(destination)
        selector = subscription.selector
        no_local = subscription.no_local
        durable = self._host.durables.get(key)
        if durable is not None:
            demand_own(durable, subscription.session)
        fits = durable is not None and durable.is_for(destination, selector, no_local=no_local)
        if not fits:
            subscription.session.access.demand("create", destination)
        if durable is not None and not fits:
            if durable.queue.subscriptions:
                raise RemoteProtocolError(
                    "durable subscription in use",
                    f'"{shown(key[1])}" is connected to {shown(durable.destination.name)} with '
                    "another destination, selector or no-local; take the same or another name",
                )
            self.forget(durable)
            durable = None
        if durable is None:
            store = self._host.broker.store
            store.begin_group()
            durable = self.make(key, destination, selector, queue_name, settings, no_local=no_local)
            durable.user = subscription.session.principal.name
            if settings is not None:
                report(settings, subscription.session)
            self.define(durable)
            self._host.feeds.add(durable.feed)
            store.end_group()
        elif settings is not None:
            self._host.ask(durable.queue, settings, subscription.session, new=False)
        # What the selector keeps out never comes into the queue.
        subscription.forgo_selector()
        subscription.durable = durable
        durable.queue.subscribe(subscription)

    def make(
        self,
        key: tuple[str, str],
        destination: Destination,
        selector: Selector | None,
        queue_name: Destination,
        settings: QueueSettings | None,
        *,
        no_local: bool,
    ) -> Durable:
        """Make a durable subscription that nothing feeds yet; see `attach`."""
        durable = self._host.durables[key] = Durable(
            self._host, *key, destination, selector, no_local=no_local, queue_name=queue_name
        )
        if settings is not None:
            durable.auto_delete = bool(settings.auto_delete)
            if settings.expires is not None:
                durable.expires_after = settings.expires / 1000
            adopt(durable.queue, settings)
        kept = self._host.unclaimed.pop(queue_name.name, None)
        if kept is not None:
            durable.queue.restore(kept)
        return durable

    def restore(self, durable: Durable) -> None:
        """Have a durable subscription of before filled again, before any topic is there."""
        self._host.feeds.restore(durable.feed)
        self.expect_return(durable)

    def define(self, durable: Durable) -> None:
        """Have the store keep what a durable subscription is."""
        key = (durable.client_id, durable.name)
        self._host.tell_store("durable", key, durable_record(durable))

    def forget(self, durable: Durable) -> None:
        """End a durable subscription with what it holds; nobody may be connected to it."""
        store = self._host.broker.store
        store.begin_group()
        del self._host.durables[durable.client_id, durable.name]
        self._host.feeds.end(durable.feed)
        self._host.tell_store("durable", (durable.client_id, durable.name), None)
        durable.queue.remove()
        store.end_group()

    def expect_return(self, durable: Durable) -> None:
        """Forget a durable subscription when nobody connects to it for as long as it was told."""
        if durable.expires_after is None or durable.queue.subscriptions:
            return
        durable.goes_at = self._host.broker.now + durable.expires_after
        if not durable.watched:
            self._watch_left(durable)

    def _watch_left(self, durable: Durable) -> None:
        durable.watched = True
        due = min(durable.goes_at, self._host.broker.now + LOOK)
        self._host.broker.at(due, lambda: self._forget_left(durable))

    def _forget_left(self, durable: Durable) -> None:
        queue = durable.queue
        durable.watched = False
        if queue.gone or queue.subscriptions:
            return
        if self._host.broker.now < durable.goes_at:
            self._watch_left(durable)
        else:
            self.forget(durable)


def demand_own(durable: Durable, session: Session) -> None:
    """Raise `RemoteProtocolError` if a durable subscription is another user's.

    Otherwise who knows its name could take what waits there, or delete it. One that was made while
    there were no users is everybody's.
    """
    if session.host.broker.settings.rights is None or durable.user is None:
        return
    if durable.user != session.principal.name:
        raise RemoteProtocolError(
            "access refused", f'the durable subscription "{shown(durable.name)}" is another user\'s'
        )
