"""A consumer as people write it with stomp.py for ActiveMQ; it runs against stompd unchanged."""

import sys
import threading

import stomp
from stomp.utils import Frame

host, port = sys.argv[1:] or ("localhost", "61613")
done = threading.Event()


class Listener(stomp.ConnectionListener):  # type: ignore[misc]
    """Prints what comes, until the last order."""

    def on_error(self, frame: Frame) -> None:
        """Give up."""
        print("error:", frame.headers.get("message"), frame.body)
        done.set()

    def on_message(self, frame: Frame) -> None:
        """Print a message."""
        print("received", frame.body)
        if frame.body == "order 2":
            done.set()


connection = stomp.Connection([(host, int(port))])
connection.set_listener("", Listener())
connection.connect(login="admin", passcode="password", wait=True)
connection.subscribe(destination="/queue/orders", id="1", ack="auto")
done.wait(30)
connection.disconnect()
