"""Test what a program does when the broker or the network fails."""

import trio

from stompcli.client import ConnectError, ConnectionLostError, connect
from stompd.testing import ThreadBroker


async def deliver(url: str, body: str) -> int:
    """Send until the broker has confirmed it (the program under test); return the attempts."""
    for attempt in range(1, 10):
        try:
            async with connect(url) as client:
                await client.send("/queue/orders", body, receipt=True)
        except (ConnectError, ConnectionLostError):
            await trio.sleep(0.01)
        else:
            return attempt
    raise RuntimeError("the broker cannot be reached")


def test_the_answer_is_lost(stompd_broker: ThreadBroker) -> None:
    """The broker had the message, but its RECEIPT was lost: the message comes twice."""
    stompd_broker.faults.drop_on("SEND", carried_out=True)
    assert trio.run(deliver, stompd_broker.url, "a book") == 2
    assert [message.text for message in stompd_broker.messages("/queue/orders")] == ["a book"] * 2


def test_broken_in_the_middle(stompd_broker: ThreadBroker) -> None:
    """A line that breaks within a frame, then a full disk: the third attempt gets through."""
    stompd_broker.next_faults().cut(to_client=50)
    stompd_broker.faults.error_on("SEND", "disk full", destination="/queue/orders")
    assert trio.run(deliver, stompd_broker.url, "a book") == 3
    assert len(stompd_broker.messages("/queue/orders")) == 1
