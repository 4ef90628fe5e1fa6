"""Carry a trace over the broker: each message names the span that sent it."""

import secrets
import sys
from collections.abc import Mapping
from contextvars import ContextVar

import trio

from stompcli.client import connect

span: ContextVar[str] = ContextVar("span", default="00-none")


def inject(destination: str, headers: Mapping[str, str]) -> dict[str, str]:  # noqa: ARG001 - of the hook
    """Return what is added to each message that we send."""
    return {"traceparent": span.get()}


def extract(headers: Mapping[str, str]) -> None:
    """Go on with the trace of the message that is taken just now."""
    span.set(headers.get("traceparent", "00-none"))


async def main(host: str, port: str) -> None:
    """Send within one span, and find it again where the message is taken."""
    url = f"stomp://{host}:{port}"
    async with connect(url, inject=inject, extract=extract) as client:
        span.set(sent := f"00-{secrets.token_hex(8)}")
        await client.send("/queue/traced", "hello")
        span.set("00-other")
        async with client.subscribe("/queue/traced") as messages:
            await messages.receive()
            print("the same trace" if span.get() == sent else "another trace")


trio.run(main, *(sys.argv[1:] or ("localhost", "61613")))
