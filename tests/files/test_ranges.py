"""Which lists of whole numbers does a range stand for, and what is none?"""

from __future__ import annotations

import pytest

from sim.files import RangeError, parse_range


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1..8", (1, 2, 3, 4, 5, 6, 7, 8)),
        ("1..12 x2", (1, 2, 4, 8, 12)),
        ("1..16 x2", (1, 2, 4, 8, 16)),
        ("1..20 +8", (1, 9, 17, 20)),
        ("0..4 +2", (0, 2, 4)),
        ("3..3", (3,)),
        (" 1 .. 10  x 3 ", (1, 3, 9, 10)),
    ],
)
def test_what_is_in_a_range(text: str, values: tuple[int, ...]) -> None:
    assert parse_range(text) == values


@pytest.mark.parametrize("text", ["", "1..", "8..1", "0..8 x2", "1..8 x1", "1..8 +0", "1..999999", "1...3"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(RangeError):
        parse_range(text)
