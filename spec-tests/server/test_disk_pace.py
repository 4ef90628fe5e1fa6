"""How quick the disk is of late, told from how long writes took."""

from hypothesis import given
from hypothesis import strategies as st

from stompd.server.disk_pace import DiskPace

QUICK = st.floats(0.0, 0.0003)


def quick_after(pace: DiskPace, seconds: float) -> int:
    """Return how many writes of so many seconds it takes to trust the disk, at most 1000."""
    for count in range(1000):
        if pace.quick:
            return count
        pace.add(seconds)
    return 1000


@given(QUICK)
def test_a_new_disk_is_trusted_after_some_fifty_quick_writes(seconds: float) -> None:
    """Nobody knows of it before how quick it is."""
    assert 30 <= quick_after(DiskPace(), seconds) <= 60


@given(st.floats(0.00045, 100.0))
def test_a_slow_disk_is_never_trusted(seconds: float) -> None:
    """The thread writes, and nobody waits for it but who asked for a receipt."""
    assert quick_after(DiskPace(), seconds) == 1000


@given(QUICK, st.floats(0.0, 0.0015))
def test_one_write_that_takes_longer_changes_nothing(seconds: float, longer: float) -> None:
    """Every disk has some, and each return to the thread costs dozens of slower writes."""
    pace = DiskPace()
    for _ in range(200):
        pace.add(seconds)
    pace.add(longer)
    assert pace.quick


@given(QUICK, st.floats(0.004, 100.0))
def test_a_write_that_holds_everybody_up_is_the_last(seconds: float, slow: float) -> None:
    """From four milliseconds on it counts as much as all the quick ones before."""
    pace = DiskPace()
    for _ in range(200):
        pace.add(seconds)
    pace.add(slow)
    assert not pace.quick
    assert 30 <= quick_after(pace, seconds) <= 60


@given(QUICK)
def test_a_disk_that_becomes_slow_is_given_up_soon(seconds: float) -> None:
    """A few writes of a millisecond are enough."""
    pace = DiskPace()
    for _ in range(200):
        pace.add(seconds)
    for _ in range(10):
        pace.add(0.001)
    assert not pace.quick
