"""What `make soak` measures, and a short one of it."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from crash.soak import MIB, Sample, growth, soak


def samples(rss: int = 0, file: int = 0, wal: int = 0, life: int = 20) -> list[Sample]:
    """A hundred samples, one each 10 s, that grow by so many octets each; some noise."""
    chance = random.Random(1)  # noqa: S311
    return [
        Sample(
            10.0 * n,
            n // life,
            60 * MIB + rss * (n % life) + chance.randrange(MIB),
            10 * MIB + file * n + chance.randrange(MIB),
            4 * MIB + wal * n,
        )
        for n in range(100)
    ]


def test_what_is_steady_does_not_grow() -> None:
    """Noise is no growth, nor is that a restart begins with less memory."""
    assert [one.too_much for one in growth(samples())] == [False] * 3
    beginnings = [
        replace(sample, rss=sample.rss - 20 * MIB // (1 + n % 20) ** 2)
        for n, sample in enumerate(samples())
    ]
    assert [one.too_much for one in growth(beginnings)] == [False] * 3
    assert "memory is steady: 60.5 MiB" in str(growth(samples())[0])


@pytest.mark.parametrize(
    ("which", "kind", "each"), [("rss", 0, MIB // 2), ("file", 1, MIB // 2), ("wal", 2, 4 * MIB)]
)
def test_what_grows_is_found(which: str, kind: int, each: int) -> None:
    """Memory within each life of the process, files over all of them."""
    found = growth(samples(**{which: each}))
    assert [one.too_much for one in found] == [number == kind for number in range(3)]
    assert "grows" in str(found[kind])


def test_few_samples_prove_nothing() -> None:
    """A short run judges the messages alone."""
    assert growth(samples()[:15]) == []


@pytest.mark.slow
def test_a_short_soak(tmp_path: Path) -> None:
    """Several intervals with restarts: nothing is lost, and there is something to measure."""
    seed = random.SystemRandom().randrange(1 << 32)
    report = soak(tmp_path, 5.0, seed, lives=3, interval=800)
    assert not report.bad, str(report)
    assert {sample.life for sample in report.samples} == {1, 2, 3}
    assert all(sample.rss > MIB and sample.file > 0 for sample in report.samples)
