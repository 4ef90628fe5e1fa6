"""A short run of the fuzzer, and proof that it notices what it looks for."""

from collections.abc import Callable

import fuzz
import pytest

from stompd.protocol.decoder import Decoder
from stompd.protocol.errors import RemoteProtocolError
from stompd.protocol.frame import Frame


def test_mutated_sessions_give_frames_or_one_error() -> None:
    """A fixed seed, a second of work; ``make fuzz`` goes on from there."""
    seen = fuzz.fuzz(1, runs=500)
    assert seen["cases"] == 500
    assert seen["frames"] > 500
    assert 100 < seen["verdict: no error"] < 400


def test_a_run_can_be_repeated() -> None:
    """The seed alone decides what is tried."""
    assert fuzz.fuzz(2, runs=30) == fuzz.fuzz(2, runs=30) != fuzz.fuzz(3, runs=30)


def test_a_run_ends_when_its_time_is_over() -> None:
    """Nothing is tried after the deadline."""
    assert fuzz.fuzz(1, seconds=0) == {}


def _raises(decoder: Decoder, data: bytes) -> list[Frame]:
    raise ValueError(len(data), decoder.pending)


def _drops(decoder: Decoder, data: bytes) -> list[Frame]:
    return _feed(decoder, data) if len(data) > 1 else []


def _hoards(decoder: Decoder, data: bytes) -> list[Frame]:
    decoder._rest += data * 50  # noqa: SLF001 - the fault that is put in
    return []


def _answers(decoder: Decoder, data: bytes) -> list[Frame]:
    decoder.answers.append(b"\xff\xfc\x06")
    return _feed(decoder, data)


def _chatters(decoder: Decoder, data: bytes) -> list[Frame]:
    frames = _feed(decoder, data)
    if decoder.error is not None:
        decoder.error = RemoteProtocolError("two\nlines")
    return frames


_feed = Decoder.feed


@pytest.mark.parametrize("faulty", [_raises, _drops, _hoards, _answers, _chatters])
def test_a_faulty_decoder_is_noticed(
    faulty: Callable[[Decoder, bytes], list[Frame]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exceptions, lost frames, hoarded octets, needless answers, errors of two lines: all are."""
    monkeypatch.setattr(Decoder, "feed", faulty)
    monkeypatch.setattr("sys.argv", ["fuzz.py", "--seed", "4", "--runs", "100"])
    assert fuzz.main() == 1
    assert capsys.readouterr().out.startswith("seed 4\nBROKEN with seed 4: ")


def test_seed_and_counts_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a seed one is chosen, and told before anything is tried."""
    monkeypatch.setattr("sys.argv", ["fuzz.py", "--runs", "5"])
    assert fuzz.main() == 0
    first, *counts = capsys.readouterr().out.splitlines()
    assert first.startswith("seed ")
    assert "         5 cases" in counts
