"""How destinations behave, and where messages go: hosts, virtual topics, routes, policies."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, model_validator
from pydantic_core import PydanticCustomError

from stompd.broker import policy as broker
from stompd.broker.route import Route, Router
from stompd.protocol.errors import RemoteProtocolError
from stompd.server.config.names import Condition, Consumers, DeadLetter, Pattern, Source, Topics
from stompd.server.config.values import (
    BROKER,
    Count,
    Duration,
    Factor,
    Positive,
    Size,
    Switch,
    Table,
    Text,
    choice,
)
from stompd.server.units import several


class VirtualHostSettings(Table):
    """The hosts that a CONNECT may name; each has its own destinations."""

    names: Annotated[tuple[Text, ...], BeforeValidator(several)] = BROKER.virtual_hosts
    """The first is the one for clients that name none."""
    strict: Switch = BROKER.strict_hosts
    """Refuse a host that is not in ``names``; otherwise the first is used."""

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if not self.names:
            raise PydanticCustomError(
                "refused", "there must be one name at least", {"key": "names"}
            )
        return self


class VirtualTopicSettings(Table):
    """Topics whose messages are copied into queues, one for each group of consumers."""

    topics: Annotated[tuple[Topics, ...], BeforeValidator(several)] = BROKER.virtual_topics.topics
    """Patterns of such topics; without any there are none."""
    queues: Consumers = BROKER.virtual_topics.queues
    """The queue of a group: ``{group}`` is one word, ``{topic}`` the name of the topic."""


class RouteSettings(Table):
    """Where else a message goes that is sent to what ``match`` fits."""

    name: Text
    """What the route is called in lists."""
    match: Source
    """A destination or a pattern; of an exchange also without a key, for all of it."""
    to: Annotated[tuple[Text, ...], BeforeValidator(several)]
    """Where to; may hold ``{name}``, and ``{1}`` for the first wildcard of ``match``."""
    when: Condition = None
    """A selector: only the messages of which it is true."""
    move: Switch = False
    """Not to the destination that it was sent to as well."""

    def route(self) -> Route:
        """Return the broker's form of it."""
        return Route(self.name, self.match, self.to, self.when, self.move)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        try:
            Router([self.route()])
        except RemoteProtocolError as error:
            raise PydanticCustomError(
                "refused", "{reason}", {"key": "to", "reason": error.detail}
            ) from error
        return self


def together(routes: tuple[RouteSettings, ...]) -> tuple[RouteSettings, ...]:
    """Refuse a route that closes a loop with those before it, or has the name of one."""
    try:
        Router(route.route() for route in routes)
    except RemoteProtocolError:
        pass
    else:
        return routes
    # One after the other, to say which of them it is.
    router = Router()
    for index, route in enumerate(routes):
        try:
            router = router.added(route.route())
        except RemoteProtocolError as error:
            key = "name" if error.message == "route name in use" else "to"
            raise PydanticCustomError(
                "refused", "{reason}", {"key": (index, key), "reason": error.detail}
            ) from error
    return routes


class PolicySettings(Table):
    """How destinations behave whose name fits ``match``; the first policy that fits is the one."""

    match: Pattern
    """A destination, or a pattern with ``*`` for a word and ``#`` for any number of words."""
    prefetch_count: Count | None = None
    """Messages delivered and not yet acknowledged, for each subscription; 0 is no limit."""
    prefetch_bytes: Size | None = None
    """Octets delivered and not yet acknowledged, for each subscription; 0 is no limit."""
    max_deliveries: Count | None = None
    """Attempts after which a message becomes a dead letter; 0 is no limit."""
    dead_letter: DeadLetter = None
    """The queue of dead letters; ``{name}`` is the queue's name, ``none`` drops them."""
    max_messages: Count | None = None
    """Messages in the queue; 0 is no limit."""
    max_bytes: Size | None = None
    """Octets in the queue; 0 is no limit."""
    overflow: Annotated[
        Literal["block", "reject", "drop-head"] | None, choice("block", "reject", "drop-head")
    ] = None
    """What a full queue does with one more message."""
    max_age: Duration | None = None
    """How long a message may wait, whatever its sender says; 0 is no limit."""
    expired: Annotated[Literal["drop", "dead-letter"] | None, choice("drop", "dead-letter")] = None
    """What becomes of a message that waited too long."""
    redelivery_delay: Duration | None = None
    """How long a message rests after a NACK before it is delivered again."""
    redelivery_multiplier: Factor | None = None
    """By what that grows with every further attempt."""
    redelivery_ceiling: Duration | None = None
    """The longest that it becomes."""
    dedup_window: Duration | None = None
    """How long a ``dedup-id`` is remembered."""
    dedup_ids: Positive | None = None
    """How many of them are remembered for one destination."""
    auto_delete_after: Duration | None = None
    """Idle time after which an empty queue without subscribers goes; 0 keeps it."""
    slow_consumer: Annotated[
        Literal["close", "drop-oldest", "block"] | None, choice("close", "drop-oldest", "block")
    ] = None
    """What happens to a subscriber of a topic that stays behind for longer than its grace."""
    slow_consumer_grace: Duration | None = None
    """How long producers are paced before that."""
    window_messages: Positive | None = None
    """Messages of a queue held in memory."""
    window_bytes: Size | None = None
    """Octets of a queue held in memory."""
    persistent: Switch | None = None
    """Whether a message is persistent whose sender does not say."""

    def rule(self) -> broker.PolicyRule:
        """Return the broker's form of it: what is absent or 0 becomes what the broker does then."""
        given = {name: value for name, value in self if name != "match" and value is not None}
        for name in ("max_messages", "max_bytes", "max_age", "auto_delete_after"):
            if given.get(name) == 0:
                given[name] = None
        if given.get("dead_letter") == "none":
            given["dead_letter"] = None
        return broker.PolicyRule(self.match, broker.Policy(**given))
