"""Spans of OpenTelemetry for what is sent, received and processed.

It needs ``opentelemetry-api``, which ``pip install 'stompd[otel]'`` brings; nothing else in the
client imports this module. The spans are those of OpenTelemetry's conventions for messaging, and
the context travels in the headers that its propagators write: ``traceparent`` and ``tracestate``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from opentelemetry import propagate, trace
from opentelemetry.context import Context

if TYPE_CHECKING:
    from stompcli.client.subscription import Message

_SYSTEM: Final = "stomp"
# Attributes that headers give, if they are there.
_OF_HEADERS: Final = {
    "message-id": "messaging.message.id",
    "correlation-id": "messaging.message.conversation_id",
    "subscription": "messaging.destination.subscription.name",
}


class Telemetry:
    """Makes the spans of one program.

    ``connect(url, inject=telemetry.inject, extract=telemetry.extract)`` makes a span for each
    message that is sent or received; `process` makes that of the work that a message means.
    """

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        """Make spans with a ``provider``; without one with that of the program."""
        self._tracer = trace.get_tracer("stompcli.client", tracer_provider=provider)

    def inject(self, destination: str, headers: Mapping[str, str]) -> dict[str, str]:
        """Make the span of a message that is sent; return the headers that carry its context.

        What the program itself wrote into such a header stays.
        """
        attributes = _attributes("send", destination, headers)
        carrier: dict[str, str] = {}
        with self._tracer.start_as_current_span(
            f"send {destination}", kind=trace.SpanKind.PRODUCER, attributes=attributes
        ):
            propagate.inject(carrier)
        return {name: value for name, value in carrier.items() if name not in headers}

    def extract(self, headers: Mapping[str, str]) -> None:
        """Make the span of a message that is received, linked to that of its sender."""
        destination = headers.get("destination", "")
        self._tracer.start_span(
            f"receive {destination}",
            kind=trace.SpanKind.CLIENT,
            attributes=_attributes("receive", destination, headers),
            links=_links(headers),
        ).end()

    @contextmanager
    def process(self, message: Message) -> Iterator[trace.Span]:
        """Make the span of the work in the block, as a child of the sender's.

        What the block sends belongs to the same trace. An exception makes the span one that
        failed, and goes on.
        """
        headers = message.headers
        destination = headers.get("destination", "")
        with self._tracer.start_as_current_span(
            f"process {destination}",
            context=propagate.extract(headers, context=Context()),
            kind=trace.SpanKind.CONSUMER,
            attributes=_attributes("process", destination, headers),
        ) as span:
            try:
                yield span
            except BaseException as error:
                span.set_attribute("error.type", type(error).__qualname__)
                raise


def _attributes(
    operation: str, destination: str, headers: Mapping[str, str]
) -> dict[str, str | int]:
    found: dict[str, str | int] = {
        "messaging.system": _SYSTEM,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": destination,
    }
    if destination.startswith(("/temp-queue/", "/temp-topic/")):
        found["messaging.destination.temporary"] = True
    for name, attribute in _OF_HEADERS.items():
        if name in headers:
            found[attribute] = headers[name]
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit():
        found["messaging.message.body.size"] = int(length)
    return found


def _links(headers: Mapping[str, str]) -> list[trace.Link]:
    sender = trace.get_current_span(propagate.extract(headers, context=Context()))
    context = sender.get_span_context()
    return [trace.Link(context)] if context.is_valid else []
