"""The arithmetic of heart-beats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stompd.protocol import heartbeat
from stompd.protocol.errors import RemoteProtocolError

CEILING = 2**31 - 1
intervals = st.integers(0, CEILING)


@pytest.mark.clause("H-05", "H-06")
def test_a_missing_header_means_no_beats() -> None:
    """Nothing is the same as 0,0."""
    assert heartbeat.parse(None) == heartbeat.parse("0,0") == (0, 0)


@pytest.mark.clause("H-02")
@pytest.mark.parametrize(
    ("value", "pair"),
    [
        ("1000,2000", (1000, 2000)),
        (" 1000 ,\t2000 ", (1000, 2000)),
        ("0001,000", (1, 0)),
        ("2147483646,1000000000", (CEILING - 1, 1_000_000_000)),
        ("2147483647,2147483648", (CEILING, CEILING)),
        ("9" * 5000 + ",1", (CEILING, 1)),
    ],
)
def test_two_whole_numbers_and_a_comma(value: str, pair: tuple[int, int]) -> None:
    """Blanks and zeros are tolerated, and absurd numbers are taken as the largest sensible one."""
    assert heartbeat.parse(value) == pair


@pytest.mark.clause("H-02")
@pytest.mark.parametrize(
    "value", ["", ",", "abc", "1000", "1,2,3", "-1,0", "1.5,0", "1,", ",1", "1 2,3", "٣,1", "1,1\0"]
)
def test_anything_else_is_malformed(value: str) -> None:
    """The error quotes the value and shows right ones."""
    with pytest.raises(RemoteProtocolError) as caught:
        heartbeat.parse(value)
    assert caught.value.message == "malformed heart-beat header"
    assert "heart-beat:0,0" in caught.value.detail


@pytest.mark.clause("H-03", "H-04", "C-14")
@pytest.mark.parametrize(
    ("client", "server"),
    [
        ((0, 0), (10_000, 10_000)),
        ((500, 300), (1000, 1000)),
        ((5000, 20_000), (20_000, 5000)),
        ((0, 7000), (7000, 10_000)),
    ],
)
def test_the_server_answers_with_the_agreed_periods(
    client: tuple[int, int], server: tuple[int, int]
) -> None:
    """Never faster than a second, never 0, and crosswise: what one sends the other expects."""
    assert heartbeat.answer(*client) == server


def test_the_answer_takes_the_servers_settings() -> None:
    """How fast at most, and what it says where the client said 0, are configured."""
    assert heartbeat.answer(50, 0, minimum=100, default=777) == (777, 100)


@pytest.mark.clause("H-07", "H-08")
@given(cx=intervals, cy=intervals)
def test_an_answer_never_changes_whether_there_are_beats(cx: int, cy: int) -> None:
    """A direction that the client ruled out has no beats, another has the answered period."""
    sx, sy = heartbeat.answer(cx, cy)
    assert heartbeat.period(cx, sy) == (sy if cx else 0)
    assert heartbeat.period(sx, cy) == (sx if cy else 0)


@pytest.mark.clause("H-07", "H-08")
@pytest.mark.parametrize(
    ("can_send", "wants", "period"),
    [(0, 0, 0), (0, 500, 0), (500, 0, 0), (500, 1000, 1000), (1000, 500, 1000)],
)
def test_the_period_is_the_slower_of_both(can_send: int, wants: int, period: int) -> None:
    """Off if either says 0, else the larger number."""
    assert heartbeat.period(can_send, wants) == period
