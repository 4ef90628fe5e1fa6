"""A queue: each message goes to one subscriber, and waits if there is none.

A queue is a *window* in memory and a *tail* in the store. With a small backlog everything is in the
window. When the window is full and the store pages, further messages are only in the store, and
come back by `fetch` when the window has room. Order is the order of `Message.place`; a message that
comes back from a subscriber takes its old place.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from stompd.protocol.errors import RemoteProtocolError

if TYPE_CHECKING:
    from stompd.broker.destination import Destination
    from stompd.broker.message import Message
    from stompd.broker.policy import Policy
    from stompd.broker.session import Session
    from stompd.broker.storage import Key
    from stompd.broker.subscription import Subscription
    from stompd.broker.virtualhost import VirtualHost


class Queue:
    """Owns the ready messages. Delivered ones belong to their subscription until settled.

    ``takers`` is the line of subscriptions that can take a message now; whoever stands first is
    asked again, because credit and room change behind the queue's back. As long as somebody stands
    in line nothing is ready, but for messages that a pause or `dispatch` itself holds.
    """

    __slots__ = (
        "_edge",
        "_returned",
        "_tail_bytes",
        "blocked",
        "bounded",
        "bytes",
        "destination",
        "fetching",
        "gone",
        "host",
        "is_dead_letter",
        "key",
        "name",
        "next_place",
        "owner",
        "policy",
        "put_count",
        "ready",
        "store",
        "subscriptions",
        "tail",
        "takers",
        "unsettled",
        "watched",
        "windowed",
    )

    def __init__(self, host: VirtualHost, destination: Destination, policy: Policy) -> None:
        self.host = host
        self.destination = destination
        self.name = destination.name
        # What the store knows it by.
        self.key: Key = (host.name, destination.name)
        self.policy = policy
        self.store = host.broker.store
        # Dead letters of a dead-letter queue would go round for ever: it has none.
        self.is_dead_letter = False
        # The session whose temporary queue it is.
        self.owner: Session | None = None
        self.ready: deque[Message] = deque()
        # Messages that came back, by place; always before the whole of `ready`.
        self._returned: list[tuple[int, Message]] = []
        self.takers: deque[Subscription] = deque()
        self.subscriptions: list[Subscription] = []
        self.next_place = 1
        # Octets of the window, and messages delivered and not settled.
        self.bytes = 0
        self.unsettled = 0
        self.put_count = 0
        # How many messages are in the store only, and whether some of them are on their way.
        self.tail = 0
        self.fetching = False
        # The tail begins behind this place, and has that many octets.
        self._edge = 0
        self._tail_bytes = 0
        self.windowed = self.store.pages
        self.bounded = policy.max_messages is not None or policy.max_bytes is not None
        # Sessions that wait for room, under the overflow rule `block`.
        self.blocked: set[Session] = set()
        # True while a timer waits to see whether it is idle.
        self.watched = False
        self.gone = False

    def __repr__(self) -> str:
        return (
            f"<Queue {self.name} ready={self.depth} unsettled={self.unsettled} tail={self.tail} "
            f"subscriptions={len(self.subscriptions)}>"
        )

    @property
    def depth(self) -> int:
        """The messages that wait, in memory or in the store."""
        return len(self.ready) + len(self._returned) + self.tail

    @property
    def octets(self) -> int:
        """What its messages measure, in memory or in the store."""
        return self.bytes + self._tail_bytes

    # Taking messages in.

    def check_room(self, count: int, size: int) -> None:
        """Raise `RemoteProtocolError` if a `reject` queue has no room for that many more."""
        if self.policy.overflow == "reject" and self._over(count, size):
            limits = [
                f"{limit} {unit}"
                for limit, unit in (
                    (self.policy.max_messages, "messages"),
                    (self.policy.max_bytes, "octets"),
                )
                if limit is not None
            ]
            raise RemoteProtocolError(
                "queue is full",
                f"{self.name} holds {self.depth + self.unsettled} messages with {self.octets} "
                f"octets; its policy allows {' and '.join(limits)}",
            )

    def _over(self, count: int, size: int) -> bool:
        policy = self.policy
        return (
            policy.max_messages is not None
            and self.depth + self.unsettled + count > policy.max_messages
        ) or (policy.max_bytes is not None and self.octets + size > policy.max_bytes)

    def put(self, message: Message, session: Session | None) -> None:
        """Take a new message; deliver it at once if somebody can take it.

        ``session`` is who sent it: an overflow under `block` pauses it.
        """
        message.queue = self
        message.place = self.next_place
        self.next_place += 1
        self.put_count += 1
        if message.persistent:
            message.stored = True
            self.store.put(self.key, message)
        self.bytes += message.size
        if self.bounded:
            self._put_bounded(message, session)
            return
        takers = self.takers
        if takers and not self.ready and not self._returned and not self.tail:
            while takers:
                subscription = takers[0]
                outbox = subscription.outbox
                if subscription.open and outbox.size < outbox.high:
                    if len(takers) > 1:
                        takers.rotate(-1)
                    self.unsettled += 1
                    subscription.deliver(message)
                    return
                takers.popleft()
                subscription.park(self)
        self._keep(message)

    def _keep(self, message: Message) -> None:
        if self.windowed and (
            self.tail
            or len(self.ready) >= self.policy.window_messages
            or self.bytes > self.policy.window_bytes
        ):
            if not message.stored:
                message.stored = True
                self.store.put(self.key, message)
            self.bytes -= message.size
            if not self.tail:
                self._edge = message.place - 1
            self.tail += 1
            self._tail_bytes += message.size
            self._page()
            return
        self.ready.append(message)
        if self.takers:
            self.dispatch()

    def _put_bounded(self, message: Message, session: Session | None) -> None:
        self._keep(message)
        if self.takers:
            self.dispatch()
        if not self._over(0, 0):
            return
        if self.policy.overflow == "drop-head":
            while self._over(0, 0):
                oldest = self._take()
                if oldest is None:
                    return
                self.host.dead_letter(oldest, "overflow", "")
        elif session is not None:
            # Under `reject` check_room was asked before; a move or a race of one transaction may
            # still end here, and pausing is right for it too.
            self.blocked.add(session)
            session.paused_by.add(self)
            session.halt = True

    # Giving messages out.

    def _take(self) -> Message | None:
        """Take the first ready message, or None if the window is empty."""
        if self._returned:
            return heappop(self._returned)[1]
        if self.ready:
            return self.ready.popleft()
        return None

    def dispatch(self) -> None:
        """Give ready messages out, round robin over the subscriptions that can take one."""
        takers = self.takers
        ready = self.ready
        returned = self._returned
        while takers and (ready or returned):
            subscription = takers[0]
            outbox = subscription.outbox
            if not subscription.open or outbox.size >= outbox.high:
                takers.popleft()
                subscription.park(self)
                continue
            if len(takers) > 1:
                takers.rotate(-1)
            message = heappop(returned)[1] if returned else ready.popleft()
            self.unsettled += 1
            subscription.deliver(message)
        if self.tail:
            self._page()

    def _page(self) -> None:
        """Ask for a part of the tail when the window is down to its half."""
        window = self.policy.window_messages
        if self.fetching or not self.tail or len(self.ready) > window // 2:
            return
        self.fetching = True
        self.store.fetch(self.key, self._edge, max(1, window - len(self.ready)))

    def fetched(self, messages: list[Message]) -> None:
        """Take a part of the tail into the window; the answer to a `fetch`."""
        self.fetching = False
        for message in messages:
            message.queue = self
            message.stored = True
            self.bytes += message.size
            self._tail_bytes -= message.size
            self.ready.append(message)
        self.tail -= len(messages)
        self._edge = messages[-1].place
        self.dispatch()

    # Getting messages back, or rid of them.

    def settled(self, message: Message) -> None:
        """Forget a message that was delivered: it is acknowledged."""
        self.unsettled -= 1
        self.bytes -= message.size
        if message.stored and not self.gone:
            self.store.settle(self.key, message)
        if self.blocked:
            self._unblock()

    def give_back(self, message: Message) -> None:
        """Take a delivered message back to its old place; the caller dispatches."""
        self.unsettled -= 1
        if self.gone:
            return
        message.redelivered = True
        if message.stored:
            self.store.requeue(self.key, message)
        heappush(self._returned, (message.place, message))

    def reject(self, message: Message, reason: str) -> None:
        """Dead-letter a message that was delivered."""
        self.unsettled -= 1
        self.bytes -= message.size
        self.host.dead_letter(message, reason, message.detail, settled=True)
        if self.blocked:
            self._unblock()

    def _unblock(self) -> None:
        if self._over(0, 0):
            return
        blocked, self.blocked = self.blocked, set()
        for session in blocked:
            session.paused_by.discard(self)
            session.resume_reading()

    # Subscribers.

    def subscribe(self, subscription: Subscription) -> None:
        """Let a subscription stand in line; the caller dispatches."""
        self.subscriptions.append(subscription)
        subscription.queues.append(self)
        self.takers.append(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Serve a subscription no more."""
        self.subscriptions.remove(subscription)
        if subscription in self.takers:
            self.takers.remove(subscription)

    @property
    def idle(self) -> bool:
        """True if nothing would be missed without it."""
        return not (
            self.depth
            or self.unsettled
            or any(not subscription.destination.wild for subscription in self.subscriptions)
        )

    def remove(self) -> None:
        """End the queue; what it held is dropped."""
        self.gone = True
        self.ready.clear()
        self._returned.clear()
        self.takers.clear()
        for session in self.blocked:
            session.paused_by.discard(self)
            session.resume_reading()
        self.blocked.clear()
        self.store.forget(self.key)
