"""Which windows are understood, and what of a count is kept?"""

from __future__ import annotations

import pytest

from sim.errors import InputError
from sim.timeline import parse_window
from sim.timeline.counts import POINTS, series

US = 1_000_000


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("10us..25us", (10 * US, 25 * US)),
        ("10 us .. 25 us", (10 * US, 25 * US)),
        ("..25us", (0, 25 * US)),
        ("10us..", (10 * US, None)),
    ],
)
def test_what_is_a_window(text: str, window: tuple[int, int | None]) -> None:
    assert parse_window(text) == window
    assert parse_window("3us", length=True) == (0, 3 * US)


@pytest.mark.parametrize(
    ("text", "length", "says"),
    [
        ("10us", False, "not a window"),
        ("10..25us", False, "unit"),
        ("25us..10us", False, "nothing lies in it"),
        ("0us", True, "nothing lies in it"),
        ("long", True, "a time, such as 25us"),
    ],
)
def test_what_is_none(text: str, length: bool, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_window(text, length=length)


def test_are_changes_told_out_of_order_counted_in_order() -> None:
    assert series([(30, -1), (10, 1), (10, 1)], 0, 100) == [(0, 0), (10, 2), (30, 1)]
    assert series([(5, 3), (30, -1)], 10, 20) == [(0, 3)]


def test_is_a_long_series_thinned_and_ends_where_it_ends() -> None:
    changes = [(at, 1) for at in range(100_000)]
    points = series(changes, 0, 99_999)
    assert len(points) <= POINTS + 2
    assert points[-1] == (99_999, 100_000)
