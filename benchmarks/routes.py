"""Wildcards and routes, without sockets: what it costs to find out where a message goes.

There are PATTERNS wildcard subscriptions of three forms, of which few match one message. A topic
that is there knows its subscribers; one that is new is made first, and has to look for them. Then
there are ROUTES routes, one of which matches, and destinations that are the same or change.
Deliveries are a part of every figure that has some. The bar for a message is BAR and its
deliveries.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.core import Client
from stompd.broker.broker import Broker
from stompd.broker.policy import SessionLimits, Settings
from stompd.broker.route import Route
from stompd.protocol.decoder import HeadTable
from stompd.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

PATTERNS = 10_000
ROUTES = 1_000
ROUND = 1_000
BAR = 20.0
"""Microseconds."""

_LIMITS = SessionLimits(subscriptions=2 * PATTERNS)


@dataclass(frozen=True)
class Figure:
    """What one message, or one subscription, costs."""

    name: str
    microseconds: float
    deliveries: float
    """Of one message."""


class _Scene:
    """A broker with one sender and one subscriber."""

    def __init__(self, settings: Settings) -> None:
        broker = Broker(MemoryStore(), settings)
        heads = HeadTable("server")
        self.sender = Client(broker, heads)
        self.listener = Client(broker, heads)
        self.host = broker.host("/")

    def subscribe(self, patterns: list[str]) -> float:
        """Subscribe to all of them and return the seconds that it took."""
        frames = "".join(
            f"SUBSCRIBE\nid:{number}\ndestination:{pattern}\n\n\0"
            for number, pattern in enumerate(patterns)
        )
        start = time.perf_counter()
        self.listener.say(frames.encode())
        taken = time.perf_counter() - start
        if len(self.listener.session.subscriptions) != len(patterns):
            raise ValueError("not everything was subscribed")
        return taken

    def measure(self, name: str, destination: Callable[[int], str], rounds: int) -> Figure:
        """Send ROUND messages at a time; the figure is that of the best round."""
        best = float("inf")
        before = self.listener.session.deliveries
        for round_ in range(rounds):
            frames = "".join(
                f"SEND\ndestination:{destination(round_ * ROUND + number)}\n\nx\0"
                for number in range(ROUND)
            )
            start = time.perf_counter()
            self.sender.say(frames.encode())
            best = min(best, time.perf_counter() - start)
            self.listener.written.clear()
        if self.sender.session.send_count % ROUND:
            raise ValueError(f"{name}: not everything was sent")
        deliveries = (self.listener.session.deliveries - before) / ROUND / rounds
        return Figure(name, best * 1e6 / ROUND, deliveries)


def _patterns() -> list[str]:
    third = PATTERNS // 3
    return [
        *(f"/topic/a{number}.*.price" for number in range(third)),
        *(f"/topic/*.s{number}.#" for number in range(third)),
        *(f"/topic/#.x.p{number}" for number in range(PATTERNS - 2 * third)),
    ]


def figures() -> list[Figure]:
    """Measure everything, in a few seconds. Raises ValueError if something went wrong."""
    return [*_wildcards(), *_routes()]


def _wildcards() -> list[Figure]:
    scene = _Scene(Settings(limits=_LIMITS))
    scene.subscribe(_patterns())
    found = [
        scene.measure(
            "a topic that is there, nobody wants it", lambda n: f"/topic/n.{n % 500}", 10
        ),
        scene.measure("the same one again", lambda _: "/topic/a7.s7.price", 10),
        scene.measure("one of 500 that are there", lambda n: f"/topic/a{n % 500}.s7.price", 10),
        scene.measure("a new topic, nobody wants it", lambda n: f"/topic/new.{n}.b.c", 10),
        scene.measure("a new topic", lambda n: f"/topic/a{n % 999}.s{n % 777}.y{n}.x.p5", 10),
        scene.measure("a new queue", lambda n: f"/queue/new.{n}", 2),
    ]
    start = time.perf_counter()
    scene.listener.say(b"DISCONNECT\n\n\0")
    found.append(_each("ending a wildcard subscription", time.perf_counter() - start))
    crowded = _Scene(Settings(limits=_LIMITS))
    for number in range(PATTERNS):
        crowded.sender.say(f"SEND\ndestination:/topic/t{number}.s{number}.b\n\nx\0".encode())
    taken = crowded.subscribe(_patterns())
    found.append(_each(f"a wildcard subscription, with {PATTERNS} topics there", taken))
    return found


def _each(name: str, seconds: float) -> Figure:
    return Figure(name, seconds * 1e6 / PATTERNS, 0.0)


def _routes() -> list[Figure]:
    routes = [
        Route(f"r{number}", f"/topic/a{number}.*", (f"/topic/copy{number}.{{1}}",))
        for number in range(ROUTES)
    ]
    chosen = [Route("s", "/topic/a7.*", ("/topic/large",), "size > 100", move=True)]
    plain = _Scene(Settings(limits=_LIMITS, routes=tuple(routes)))
    plain.subscribe(["/topic/copy7.x"])
    asked = _Scene(Settings(limits=_LIMITS, routes=(*routes, *chosen)))
    asked.subscribe(["/topic/a7.x"])
    return [
        plain.measure("no route matches, destinations change", lambda n: f"/topic/n.{n % 500}", 10),
        plain.measure("a route copies, the same destination", lambda _: "/topic/a7.x", 10),
        plain.measure("a route copies, destinations change", lambda n: f"/topic/a{n % 500}.x", 10),
        asked.measure("a route with a selector, the same", lambda _: "/topic/a7.x", 10),
    ]


if __name__ == "__main__":
    print(f"{'each':>12}{'deliveries':>12}")
    for figure in figures():
        print(f"{figure.microseconds:9.2f} µs{figure.deliveries:12.1f}  {figure.name}")
    print(f"bar: {BAR:.0f} µs and the deliveries, for a message")
