"""Names of destinations, patterns and selectors as settings have them."""

from typing import Annotated

from stompd.broker import destination
from stompd.broker.route import source_of
from stompd.broker.selector import compile_selector
from stompd.broker.virtualtopic import VirtualTopics
from stompd.protocol.errors import RemoteProtocolError
from stompd.server.config.values import reads, text_of
from stompd.server.units import quoted


def _pattern(value: object) -> str:
    text = text_of(value)
    try:
        return destination.parse(text).name
    except RemoteProtocolError as error:
        raise ValueError(error.detail) from error


def _dead_letter(value: object) -> str:
    text = text_of(value)
    if text == "none":
        return text
    try:
        queue = destination.parse(text.replace("{name}", "name"))
    except RemoteProtocolError as error:
        raise ValueError(error.detail) from error
    if queue.kind is not destination.Kind.QUEUE or queue.wild or queue.temporary:
        raise ValueError(f'{quoted(text)} is neither a queue (/queue/DLQ.{{name}}) nor "none"')
    return text if text.startswith("/") else f"/queue/{text}"


def _source(value: object) -> str:
    text = text_of(value)
    try:
        source_of(text)
    except RemoteProtocolError as error:
        raise ValueError(error.detail) from error
    return text


def _selector(value: object) -> str:
    text = text_of(value)
    try:
        return compile_selector(text).text
    except RemoteProtocolError as error:
        raise ValueError(error.detail) from error


def _topics(value: object) -> str:
    pattern = _pattern(value)
    if not pattern.startswith("/topic/"):
        raise ValueError(f"{quoted(pattern)} is not a topic, or a pattern of topics")
    return pattern


def _consumers(value: object) -> str:
    text = text_of(value)
    if not text.startswith("/queue/"):
        text = f"/queue/{text}"
    try:
        return VirtualTopics((), text).queues
    except ValueError as error:
        raise ValueError(f"{quoted(text)}: {error}") from error


Pattern = Annotated[str, reads(_pattern)]
DeadLetter = Annotated[str | None, reads(_dead_letter)]
# What a route leads from.
Source = Annotated[str, reads(_source)]
# A selector.
Condition = Annotated[str | None, reads(_selector)]
Topics = Annotated[str, reads(_topics)]
Consumers = Annotated[str, reads(_consumers)]
