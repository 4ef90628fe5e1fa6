"""Runs cases side by side and gathers what came out."""

import re
import secrets
import threading
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Literal

from wire import Patience, Unmet

from conformance.brokers import Brokers, NotStartedError
from conformance.cases import Case
from conformance.stage import Stage

Verdict = Literal["pass", "fail", "n/a"]

SECONDS = {"light": 60.0, "slow": 90.0, "heavy": 120.0}
"""How long one case may take before it counts as failed."""


@dataclass(frozen=True)
class Outcome:
    """What came out of one case; ``came`` says what came instead of what was expected."""

    case: Case
    verdict: Verdict
    came: str = ""
    complaints: tuple[tuple[str, str], ...] = ()
    """Breaches of what holds for every frame: (requirement, frame)."""
    seen: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def play(case: Case, brokers: Brokers, patience: Patience, run: str) -> Outcome:
    """Play one case; never raises."""
    if brokers.foreign is not None and not _applies(case, brokers):
        return Outcome(case, "n/a", "needs a configuration that only stompd can be given here")
    start = time.monotonic()
    try:
        running = brokers.get(case.config)
    except NotStartedError as error:
        return Outcome(case, "fail", str(error))
    slug = re.sub(r"[^a-z0-9]+", "-", case.name.lower()).strip("-")[:40]
    stage = Stage(
        running.broker,
        prefix=f"conformance.{run}.{slug}",
        patience=patience,
        deadline=start + SECONDS[case.pace],
        settings=running.settings,
        pid=running.pid,
    )
    came = ""
    try:
        case.play(stage)
    except Unmet as error:
        came = str(error)
    except OSError as error:
        came = f"no connection: {error}"
    except Exception:  # noqa: BLE001  # a case that breaks is a failure, and says where
        came = traceback.format_exc()
    finally:
        stage.clear()
    seen: Counter[str] = Counter()
    for wire in stage.wires:
        seen += wire.sniffer.seen
    return Outcome(
        case,
        "fail" if came else "pass",
        came,
        tuple(found for wire in stage.wires for found in wire.sniffer.complaints),
        seen,
        time.monotonic() - start,
    )


def _applies(case: Case, brokers: Brokers) -> bool:
    assert brokers.foreign is not None
    if case.elsewhere == "login":
        return bool(brokers.foreign.login)
    return case.elsewhere == "always"


class Run:
    """Cases being played: light and slow ones side by side, then the heavy ones one by one.

    A slow case measures time, which a loaded machine distorts: one that fails is played once more
    when all the light and heavy ones have ended, and that counts.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        brokers: Brokers,
        patience: Patience | None = None,
        workers: int = 12,
    ) -> None:
        self._brokers = brokers
        self._patience = patience or Patience()
        self._run = secrets.token_hex(3)
        self._stopped = threading.Event()
        light, slow, heavy = (
            [case for case in cases if case.pace == pace] for pace in ("light", "slow", "heavy")
        )
        self._measured = {case.name: threading.Event() for case in slow}
        self._pools = [
            ThreadPoolExecutor(workers, thread_name_prefix="light"),
            ThreadPoolExecutor(max(1, len(slow)), thread_name_prefix="slow"),
            ThreadPoolExecutor(1, thread_name_prefix="heavy"),
        ]
        for_light, for_slow, for_heavy = self._pools
        played = {case.name: for_light.submit(self._play, case) for case in light}
        for_heavy.submit(self._heavy_may_start, list(played.values()))
        played |= {case.name: for_heavy.submit(self._play, case) for case in heavy}
        self._loading = list(played.values())
        played |= {case.name: for_slow.submit(self._play_slow, case) for case in slow}
        self._futures = played

    def _heavy_may_start(self, light: list[Future[Outcome]]) -> None:
        """Beats are measured in seconds: nothing that takes all processors runs beside them."""
        wait(light)
        for measured in self._measured.values():
            measured.wait()

    def _play_slow(self, case: Case) -> Outcome:
        try:
            outcome = self._play(case)
        finally:
            self._measured[case.name].set()
        if outcome.verdict == "fail":
            wait(self._loading)
            outcome = self._play(case, again=True)
        return outcome

    def _play(self, case: Case, *, again: bool = False) -> Outcome:
        if self._stopped.is_set():
            return Outcome(case, "n/a", "the run was stopped")
        run = f"{self._run}-again" if again else self._run
        return play(case, self._brokers, self._patience, run)

    def outcome(self, name: str) -> Outcome:
        """Wait for the case of this name."""
        return self._futures[name].result()

    def outcomes(self) -> list[Outcome]:
        """Wait for all."""
        return [future.result() for future in self._futures.values()]

    def stop(self) -> None:
        """Play no further case; returns when those in work have ended."""
        self._stopped.set()
        for pool in self._pools:
            pool.shutdown()
