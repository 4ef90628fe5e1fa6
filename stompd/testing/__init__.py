"""A broker in the test's own process, for tests of programs that speak STOMP.

* `in_thread`: a block with a broker in a thread of its own, on a free TCP port of 127.0.0.1, for
  programs of any kind; gives a `ThreadBroker`, whose methods block.
* `in_trio`: a block with a broker in the test's own trio run, on memory streams and, where wanted,
  on a TCP port; gives a `TrioBroker`, whose waiting methods are async.

Both have the same words: what was sent and what waits (`Message`), who is connected
(`Connection`), a `Clock` that the test turns, and `Faults`. `stompd.testing.plugin` makes fixtures
of them for pytest.

The map of this package: ``home`` (whose thread does what), ``clock``, ``stream`` (memory and TCP),
``faults``, ``connection`` (the transport), ``message`` and ``log`` (what was sent, and saying so),
``broker`` (what both forms share), ``thread``, ``loop``.

The names are imported when they are first used, because pytest imports this package in every run.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stompd.testing.broker import InProcessBroker
    from stompd.testing.clock import Clock
    from stompd.testing.connection import Connection
    from stompd.testing.faults import Faults
    from stompd.testing.loop import TrioBroker, in_trio
    from stompd.testing.message import ClientFrame, Message
    from stompd.testing.stream import MemoryStream
    from stompd.testing.thread import ThreadBroker, in_thread

__all__ = [
    "ClientFrame",
    "Clock",
    "Connection",
    "Faults",
    "InProcessBroker",
    "MemoryStream",
    "Message",
    "ThreadBroker",
    "TrioBroker",
    "in_thread",
    "in_trio",
]

_PLACES: Final = {
    "ClientFrame": "message",
    "Clock": "clock",
    "Connection": "connection",
    "Faults": "faults",
    "InProcessBroker": "broker",
    "MemoryStream": "stream",
    "Message": "message",
    "ThreadBroker": "thread",
    "TrioBroker": "loop",
    "in_thread": "thread",
    "in_trio": "loop",
}


def __getattr__(name: str) -> object:
    """Return a public name of this package, imported from its module."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{place}"), name)
    return found


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
