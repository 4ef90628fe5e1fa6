"""What one run does, as the command line says it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from stompcli.bench import payload
from stompcli.failure import usage

Verb = Literal["send", "receive", "roundtrip", "fanout", "connect"]

# How long a run takes of which neither the messages nor the time were said.
SECONDS: Final = 5.0
# Without --i-mean-it a broker elsewhere gets no more.
CAUTION: Final = 100_000
_SIZE: Final = 128
_IDLE: Final = 5.0

# Options that make no sense for some verbs: their parameters, and the verbs that take them.
_FOR: Final = {
    "size": ("send", "roundtrip", "fanout"),
    "rate": ("send", "roundtrip", "fanout"),
    "max_pending": ("send", "roundtrip", "fanout"),
    "receipts": ("send", "roundtrip", "fanout"),
    "tx": ("send", "roundtrip", "fanout"),
    "persistent": ("send", "roundtrip", "fanout"),
    "ack": ("receive", "roundtrip", "fanout"),
    "idle": ("receive", "roundtrip", "fanout"),
    "destinations": ("send", "receive", "roundtrip", "fanout"),
    "destination": ("send", "receive", "roundtrip", "fanout"),
}


@dataclass(frozen=True)
class Plan:
    """What one run does; see `stomp help bench` for what each field is for."""

    verb: Verb
    destination: str = ""
    clients: int = 1
    # Messages that are measured, of all clients together, and seconds; None: no limit.
    messages: int | None = None
    duration: float | None = None
    warmup: float = 0.0
    # The sizes to go through, one after the other; a run knows of one.
    sizes: tuple[int, ...] = (_SIZE,)
    # Messages a second of all clients together; None: as many as go.
    rate: float | None = None
    # Messages of one client that may be under way without a receipt.
    max_pending: int = 100
    # Every so many messages there is a receipt; 0: none at all.
    receipts: int = 1
    ack: str = "auto"
    # Messages in one transaction; 0: no transactions.
    tx: int = 0
    persistent: bool = False
    destinations: int = 1
    # Seconds of silence after which what has not come is lost.
    idle: float = _IDLE
    # True if the messages were limited out of caution only.
    cautious: bool = False

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> "Plan":
        """Return what the command line asks for; raises `Failure` for what makes no sense."""
        verb: Verb = params["verb"]
        for name, verbs in _FOR.items():
            if params[name] not in (None, (), False) and verb not in verbs:
                option = "DEST" if name == "destination" else "--" + name.replace("_", "-")
                raise usage(f"bench {verb} takes no {option}; it is for {', '.join(verbs)}")
        messages, duration = params["msgs"], params["duration"]
        if messages is None and duration is None and verb != "receive":
            duration = SECONDS
        receipts = params["receipts"] if params["receipts"] is not None else 1
        tx = params["tx"] or 0
        if tx and receipts > 1:
            raise usage(
                f"with --tx it is each COMMIT that has a receipt, not every {receipts} messages",
                "give --receipts every or none with --tx",
            )
        plan = cls(
            verb=verb,
            destination=params["destination"]
            or ("/topic" if verb == "fanout" else "/queue") + "/bench",
            clients=params["clients"],
            messages=messages,
            duration=duration,
            warmup=params["warmup"],
            sizes=params["size"] or (_SIZE,),
            rate=params["rate"],
            max_pending=max(params["max_pending"] or 100, receipts, tx),
            receipts=receipts,
            ack=params["ack"] or "auto",
            tx=tx,
            persistent=params["persistent"],
            destinations=params["destinations"] or 1,
            idle=params["idle"] or (math.inf if verb == "receive" and duration else _IDLE),
        )
        if plan.senders > payload.SENDERS:
            raise usage(f"--clients {plan.clients} is more than {payload.SENDERS:,}")
        busy = plan.senders or plan.clients
        if messages is not None and messages < busy:
            raise usage(
                f"--msgs {messages} is less than one for each of {busy} clients",
                "--msgs is of all clients together",
            )
        if verb != "fanout" and plan.destinations > plan.clients:
            raise usage(
                f"--destinations {plan.destinations} is more than one for each of "
                f"{plan.clients} clients"
            )
        return plan

    def with_caution(self) -> "Plan":
        """Return the plan for a broker that is not on this machine.

        Raises `Failure` if it asks for more than `CAUTION` messages.
        """
        planned = self.messages
        if planned is None and self.rate is not None and self.duration is not None:
            planned = int(self.rate * (self.duration + self.warmup))
        if planned is not None and planned > CAUTION:
            raise usage(
                f"that is {planned:,} messages for a broker on another machine",
                f"if that is what it is there for, add --i-mean-it; up to {CAUTION:,} go without",
            )
        if self.messages is not None:
            return self
        return replace(self, messages=CAUTION, cautious=True)

    def of_size(self, size: int) -> "Plan":
        """Return the plan of the run with this size of bodies."""
        return replace(self, sizes=(size,))

    @property
    def size(self) -> int:
        """The octets of a body, in a run."""
        return self.sizes[0]

    @property
    def senders(self) -> int:
        """How many connections send."""
        if self.verb == "fanout":
            return self.destinations
        return self.clients if self.verb in ("send", "roundtrip") else 0

    @property
    def receivers(self) -> int:
        """How many connections receive."""
        if self.verb == "fanout":
            return self.clients * self.destinations
        return self.clients if self.verb in ("receive", "roundtrip") else 0

    def name(self, client: int) -> str:
        """Return the destination of a client."""
        if self.destinations == 1:
            return self.destination
        return f"{self.destination}.{client % self.destinations + 1}"

    def share(self, of: int, number: int) -> int | None:
        """Return how many messages the ``number``-th of so many has to do; None: no limit."""
        if self.messages is None:
            return None
        return self.messages // of + (number < self.messages % of)
