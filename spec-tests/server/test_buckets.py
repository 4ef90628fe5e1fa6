"""Durations in buckets, and how late the loop is."""

import pytest
from server.edge import serving

from stompd.server.buckets import COMMIT, LAG, Buckets


def test_buckets_count_what_is_below_them() -> None:
    """Each bucket counts all that its bound bounds; what is above all is in the last alone."""
    buckets = Buckets((0.1, 1.0))
    assert buckets.told()["buckets"] == {"0.1": 0, "1": 0, "+Inf": 0}
    for seconds in (0.05, 0.1, 0.5, 7.0, 0.2):
        buckets.add(seconds)
    assert buckets.told() == {
        "count": 5,
        "seconds": 7.85,
        "max": 7.0,
        "buckets": {"0.1": 2, "1": 4, "+Inf": 5},
    }
    assert buckets.last == 0.2


@pytest.mark.parametrize("bounds", [COMMIT, LAG])
def test_bounds_rise(bounds: tuple[float, ...]) -> None:
    """Bounds are in order, each once."""
    assert list(bounds) == sorted(set(bounds))


async def test_the_loop_tells_how_late_it_is() -> None:
    """What is due once a second is done, and by how much it was late is counted."""
    async with serving() as edge:
        peer = await edge.login()
        await edge.until(lambda: edge.service.lag.told()["count"])
        loop = (await peer.ask("stats"))["loop"]
        assert loop["buckets"]["+Inf"] == loop["count"]
        assert 0 <= loop["max"] <= loop["seconds"]
