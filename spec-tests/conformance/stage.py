"""What a running case has: a broker, connections of its own, and names that nobody else uses."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from wire import Broker, Patience, Unmet, Wire

_NAME = re.compile(r"\{(\w+)\}")
_REPEAT = re.compile(r"\{(.)\*(\d+)\}")


@dataclass
class Stage:
    """One case at work. Everything it opens is closed by `clear`."""

    broker: Broker
    prefix: str
    """Destinations of this case start with it, so that cases and runs never meet."""
    patience: Patience = field(default_factory=Patience)
    deadline: float = field(default_factory=lambda: time.monotonic() + 120)
    settings: dict[str, Any] = field(default_factory=dict)
    """What the broker's special configuration is about, for instance its limits."""
    pid: int | None = None
    """The broker's process if it is ours."""
    words: dict[str, str] = field(default_factory=dict)
    """What a script captured, and the fixed words of the broker."""
    wires: list[Wire] = field(default_factory=list)

    def __post_init__(self) -> None:
        broker = self.broker
        self.words = {
            "host": broker.virtual_host,
            "name": f"{self.prefix}.q0",
            "user": broker.login,
            "passcode": broker.passcode,
            "login": "".join(f"{line}\n" for line in broker.credentials()),
            **{f"q{n or ''}": self.queue(n) for n in range(5)},
            **{f"t{n or ''}": self.topic(n) for n in range(5)},
        }

    def queue(self, number: int = 0) -> str:
        """A queue of this case."""
        return f"/queue/{self.prefix}.q{number}"

    def topic(self, number: int = 0) -> str:
        """A topic of this case."""
        return f"/topic/{self.prefix}.t{number}"

    def open(self) -> Wire:
        """A new TCP connection on which nothing was written yet."""
        wire = Wire(self.broker, self.patience, self.deadline)
        self.wires.append(wire)
        return wire

    def connect(self, version: str = "1.2", *lines: str) -> Wire:
        """A new connection that got CONNECTED for ``version``."""
        wire = self.open()
        wire.connect(version, *lines)
        return wire

    @contextmanager
    def session(self, version: str = "1.2", *lines: str) -> Iterator[Wire]:
        """As `connect`, closed at the end of the block (for cases with many connections)."""
        wire = self.open()
        try:
            wire.connect(version, *lines)
            yield wire
        finally:
            wire.close()

    def drains(self, destination: str, *bodies: bytes, version: str = "1.2") -> None:
        """A fresh subscriber gets exactly these bodies, in this order, and then nothing."""
        with self.session(version) as wire:
            wire.subscribe("drain", destination, "ack:auto")
            came: list[bytes] = []
            for _ in bodies:
                try:
                    came.append(wire.expect("MESSAGE").body)
                except Unmet as error:
                    raise Unmet(
                        f"{destination} should hold {bodies}; {came}, then {error}"
                    ) from None
            if tuple(came) != bodies:
                raise Unmet(f"{destination} should hold {list(bodies)}, came: {came}")
            # A message sent now proves that nothing was before it, and that messages do arrive.
            try:
                wire.frame_out("SEND", f"destination:{destination}", body=b"the last one")
                wire.expect("MESSAGE", body=b"the last one")
                wire.quiet()
            except Unmet as error:
                raise Unmet(f"{destination} should hold no more than {bodies}; {error}") from None
            # Before the next look nothing may be on its way to this subscriber any more.
            wire.frame_out("UNSUBSCRIBE", "id:drain", "receipt:gone")
            wire.expect_among("RECEIPT", "receipt-id:gone")

    def fill_in(self, text: str) -> str:
        """``text`` with ``{word}`` replaced by its meaning and ``{x*300}`` by 300 times x.

        Raises `KeyError` for a word that nobody has defined.
        """
        text = _REPEAT.sub(lambda found: found[1] * int(found[2]), text)
        return _NAME.sub(lambda found: self.words[found[1]], text)

    def clear(self) -> None:
        """Close every connection of the case."""
        for wire in self.wires:
            wire.close()
