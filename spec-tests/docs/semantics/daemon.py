"""The daemon of these tests, connections to it, and names that no other test uses."""

import time
from collections.abc import Callable
from itertools import count

from wire import Broker, Frame, Wire

from docs.terminal import Terminal

# A policy of each kind. The first that matches counts, so a test picks one by its queue's name.
POLICIES = """
[[policy]]
match = "/queue/block.#"
max-messages = 2

[[policy]]
match = "/queue/reject.#"
max-messages = 2
overflow = "reject"

[[policy]]
match = "/queue/drop-head.#"
max-messages = 2
overflow = "drop-head"

[[policy]]
match = "/queue/no-dead-letters.#"
dead-letter = "none"
max-deliveries = 1

[[policy]]
match = "/queue/own-dead-letters.#"
dead-letter = "/queue/failed.{name}"
max-deliveries = 1

[[policy]]
match = "/queue/for-ever.#"
max-deliveries = 0

[[policy]]
match = "/queue/brief.#"
auto-delete-after = "500ms"

[[policy]]
match = "/queue/keep-expired.#"
expired = "dead-letter"

[[policy]]
match = "/queue/aged.#"
max-age = "100ms"

[[policy]]
match = "/queue/resting.#"
redelivery-delay = "100ms"
redelivery-multiplier = 3
redelivery-ceiling = "250ms"

[[policy]]
match = "/queue/resting-long.#"
redelivery-delay = "10m"
redelivery-ceiling = "20m"

[[policy]]
match = "/queue/forgetful.#"
dedup-ids = 2

[[policy]]
match = "/queue/short-memory.#"
dedup-window = "100ms"

[[policy]]
match = "/topic/full.#"
max-messages = 2
overflow = "reject"

[[policy]]
match = "/topic/#.drop-oldest"
slow-consumer = "drop-oldest"
slow-consumer-grace = "200ms"

[[policy]]
match = "/topic/#.close"
slow-consumer-grace = "200ms"
"""

# Routes by the words in the names that `fresh` makes.
ROUTES = """
[[route]]
name = "copies"
match = "/queue/copied.*"
to = ["/queue/copy.{1}", "/topic/copy.{1}"]

[[route]]
name = "full"
match = "/queue/copied.*"
to = "/queue/reject.copy.{1}"
when = "full"

[[route]]
name = "moves"
match = "/topic/moved.#"
to = "/exchange/stage/{1}"
move = true

[[route]]
name = "on"
match = "/exchange/stage/*"
to = "/queue/staged.{1}"
when = "urgency > 2"
"""

_NUMBER = count(1)

Open = Callable[..., Wire]


def opener(running: Terminal, wires: list[Wire]) -> Open:
    """Return what opens a connection to a daemon, logged in unless ``version`` is None."""

    def connect(version: str | None = "1.2", *lines: str) -> Wire:
        wire = Wire(Broker(("127.0.0.1", running.port)))
        wires.append(wire)
        if version is not None:
            wire.connect(version, *lines)
        return wire

    return connect


def fresh(kind: str = "queue", stem: str = "a") -> str:
    """Return a destination that no other test uses."""
    return f"/{kind}/{stem}.{next(_NUMBER)}"


def ack_id(message: Frame) -> str:
    """Return the header line by which a 1.2 client settles a message."""
    return f"id:{message.text('ack')}"


def bodies(wire: Wire, count_: int) -> list[str]:
    """Return the bodies of the next MESSAGEs."""
    return [message.body.decode() for message in wire.messages(count_)]


def await_waiting(wire: Wire, queue: str, wanted: list[str]) -> None:
    """Browse a queue until exactly these messages wait in it, in this order."""
    give_up = time.monotonic() + 30
    while True:
        wire.subscribe("look", queue, "browser:true")
        shown = []
        while (message := wire.expect("MESSAGE", "subscription:look")).raw("browser") is None:
            shown.append(message.body.decode())
        wire.frame_out("UNSUBSCRIBE", "id:look")
        if shown == wanted:
            return
        assert time.monotonic() < give_up, f"there wait {shown}, not {wanted}"
        time.sleep(0.02)
