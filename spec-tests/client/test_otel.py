"""Traces of OpenTelemetry over a real broker."""

import pytest
import trio
from client.programs import running_stompd

from stompcli.client import connect

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from stompcli.client.otel import Telemetry

PATIENCE = 60


class Spans:
    """The spans of a program, and what makes them."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("test")
        self.telemetry = Telemetry(provider)

    def of(self, name: str) -> ReadableSpan:
        """Return the one that has ended under that name."""
        (span,) = (span for span in self._exporter.get_finished_spans() if span.name == name)
        return span


async def test_a_trace_goes_through_the_broker() -> None:
    """Sending, receiving and processing are spans of the conventions, and hang together."""
    spans = Spans()
    telemetry = spans.telemetry
    with running_stompd() as port, trio.fail_after(PATIENCE):
        url = f"stomp://127.0.0.1:{port}"
        async with connect(url, inject=telemetry.inject, extract=telemetry.extract) as client:
            with spans.tracer.start_as_current_span("order"):
                await client.send("/queue/traced", "hello", headers={"correlation-id": "c1"})
            async with client.subscribe("/queue/traced") as messages:
                message = await messages.receive()
                with telemetry.process(message):
                    await client.send("/queue/next", "hello")
    sent, received = spans.of("send /queue/traced"), spans.of("receive /queue/traced")
    processed, further = spans.of("process /queue/traced"), spans.of("send /queue/next")
    assert [span.kind for span in (sent, received, processed)] == [
        SpanKind.PRODUCER,
        SpanKind.CLIENT,
        SpanKind.CONSUMER,
    ]
    assert sent.parent is not None
    assert sent.parent.span_id == spans.of("order").context.span_id
    # The broker has carried traceparent through.
    assert processed.parent is not None
    assert processed.parent.span_id == sent.context.span_id
    assert [link.context.span_id for link in received.links] == [sent.context.span_id]
    assert further.parent is not None
    assert further.parent.span_id == processed.context.span_id
    assert {span.context.trace_id for span in (sent, processed, further)} == {
        spans.of("order").context.trace_id
    }
    attributes = dict(processed.attributes or {})
    assert attributes["messaging.message.id"] == message.headers["message-id"]
    assert attributes["messaging.message.conversation_id"] == "c1"
    assert attributes["messaging.message.body.size"] == len("hello")
    assert attributes["messaging.destination.name"] == "/queue/traced"
    assert attributes["messaging.operation.type"] == "process"


async def test_what_fails_and_what_carries_no_trace() -> None:
    """A message of another client begins a trace; work that fails is told as failed."""
    spans = Spans()
    with running_stompd() as port, trio.fail_after(PATIENCE):
        async with connect(f"stomp://127.0.0.1:{port}") as client:
            await client.send("/queue/plain", "hello")
            async with client.subscribe("/queue/plain") as messages:
                message = await messages.receive()
                spans.telemetry.extract(message.headers)
                with pytest.raises(LookupError), spans.telemetry.process(message):
                    raise LookupError("no such order")
    processed = spans.of("process /queue/plain")
    assert processed.parent is None
    assert spans.of("receive /queue/plain").links == ()
    assert not processed.status.is_ok
    assert dict(processed.attributes or {})["error.type"] == "LookupError"


def test_what_the_program_wrote_stays() -> None:
    """A traceparent that the program gave is not sent twice."""
    added = Spans().telemetry.inject("/queue/a", {"traceparent": "00-of-mine"})
    assert "traceparent" not in added
