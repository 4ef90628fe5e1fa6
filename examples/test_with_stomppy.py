"""Test a program written with stomp.py: the broker runs in a thread, on a real port."""

import stomp

from stompd.testing import ThreadBroker


class Shop(stomp.ConnectionListener):  # type: ignore[misc]
    """The program under test: takes orders, answers each with a bill."""

    def __init__(self, host: str, port: int) -> None:
        self.connection = stomp.Connection12([(host, port)])
        self.connection.set_listener("shop", self)
        self.connection.connect("shop", "secret", wait=True)
        self.connection.subscribe("/queue/orders", id="1", ack="client-individual")

    def on_message(self, frame: stomp.utils.Frame) -> None:
        """Write the bill, and only then acknowledge the order."""
        body = f'{{"bill": "{frame.body}"}}'
        self.connection.send("/queue/bills", body, content_type="application/json")
        self.connection.ack(frame.headers["ack"])


def test_every_order_is_billed(stompd_broker: ThreadBroker) -> None:
    """The test puts an order, waits for the bill, and sees the order acknowledged."""
    shop = Shop(stompd_broker.host, stompd_broker.port)
    stompd_broker.wait_for_subscriber("/queue/orders")
    stompd_broker.put("/queue/orders", "a book", headers={"customer": "fred"})
    bill = stompd_broker.expect("/queue/bills", json={"bill": "a book"})
    assert bill.headers["content-type"] == "application/json"
    stompd_broker.assert_empty("/queue/orders")
    assert stompd_broker.unexpected() == []
    shop.connection.disconnect()
