"""Does a cpu's list of free pages grow with what the cpu takes and gives?"""

from __future__ import annotations

import pytest

from sim.designs.linux.pcp import PcpTuning

BATCH, LEAST, MOST = 63, 512, 10_000


def taken(tuning: PcpTuning, refills: int) -> list[int]:
    """How much each refill brings; all of it is taken from the list."""
    sizes = []
    for _ in range(refills):
        sizes.append(tuning.refill())
        for _ in range(sizes[-1]):
            tuning.took()
    return sizes


def given(tuning: PcpTuning, pages: int, count: int = 0) -> list[int]:
    """How much goes back at a time while so many *pages* come to a list of *count*, one by one."""
    back = []
    for _ in range(pages):
        count += 1
        tuning.gave(1)
        if surplus := tuning.surplus(count):
            back.append(surplus)
            count -= surplus
    return back


def test_does_a_refill_double_while_nothing_is_given() -> None:
    tuning = PcpTuning(BATCH, 5, LEAST, MOST)
    assert taken(tuning, 7) == [63, 126, 252, 504, 1008, 2016, 2016]
    tuning.gave(1)  # alloc_factor, the power of two, is halved
    assert tuning.refill() == 252
    tuning.gave(3)
    assert tuning.refill() == 63


def test_may_a_list_be_longer_by_what_refills_brought() -> None:
    tuning = PcpTuning(BATCH, 5, LEAST, MOST)
    brought = sum(taken(tuning, 6))
    assert tuning.high == LEAST + brought
    taken(tuning, 100)
    assert tuning.high == MOST


def test_do_pages_given_in_a_row_go_back_together() -> None:
    tuning = PcpTuning(BATCH, 5, LEAST, MOST)
    back = given(tuning, 8000)
    assert back[0] == LEAST - BATCH  # all that came, but for a batch
    assert max(back) == 2016
    assert tuning.high == 2016 + BATCH


def test_does_who_takes_and_gives_the_same_pages_keep_them() -> None:
    tuning = PcpTuning(BATCH, 5, LEAST, MOST)
    pages = sum(taken(tuning, 8))
    assert given(tuning, pages) == []


@pytest.mark.parametrize("pages", [3, 512, 5000])
def test_are_pages_given_at_once_given_as_one_by_one(pages: int) -> None:
    one, all_ = (PcpTuning(BATCH, 5, LEAST, MOST) for _ in range(2))
    taken(one, 3)
    taken(all_, 3)
    for _ in range(pages):
        one.gave(1)
    all_.gave(pages)
    assert (one.surplus(600), one.refill()) == (all_.surplus(600), all_.refill())


def test_does_a_list_of_a_kernel_before_6_7_stay_as_long_as_it_is() -> None:
    tuning = PcpTuning(BATCH, 0, LEAST, LEAST)
    assert taken(tuning, 3) == [63, 63, 63]
    assert set(given(tuning, 3000)) == {63}
    tuning.came_in_bulk(5000)
    assert tuning.high == LEAST


def blocks_given(tuning: PcpTuning, blocks: int, count: int = 0) -> list[int]:
    """How many pages each of so many blocks of 2 pages makes go back."""
    back = []
    for _ in range(blocks):
        count += 2
        back.append(tuning.gave_block(1, count))
        count -= back[-1]
    return back


def test_do_blocks_in_a_row_empty_the_list_and_then_go_back_one_by_one() -> None:
    """free_unref_page_commit: the 33rd finds 64 pages given, a batch and more, and a block before it."""
    tuning = PcpTuning(BATCH, 5, LEAST, MOST, "in a row")
    assert blocks_given(tuning, 35) == [0] * 32 + [66, 2, 2]
    tuning.took()  # free_count is halved
    assert blocks_given(tuning, 2) == [0, 0]


def test_does_a_single_page_end_the_row() -> None:
    tuning = PcpTuning(BATCH, 5, LEAST, MOST, "in a row")
    blocks_given(tuning, 33)
    tuning.gave(1)
    assert blocks_given(tuning, 2, 1) == [0, 5]


def test_does_a_batch_of_blocks_stay_where_the_cache_is_large() -> None:
    tuning = PcpTuning(BATCH, 5, LEAST, MOST, "in a row", roomy=True)
    assert blocks_given(tuning, 66) == [0] * 32 + [66] + [0] * 31 + [64, 0]


def test_does_a_full_list_let_the_next_block_empty_it() -> None:
    """5.18 to 6.6: free_factor is 1 when the list has been full, and is halved by whoever takes."""
    tuning = PcpTuning(BATCH, 0, LEAST, LEAST, "when full")
    back = blocks_given(tuning, 257)
    assert back == [0] * 255 + [63, 512 - 63 + 2]
    assert blocks_given(tuning, 1, 100) == [102]
    tuning.took()
    assert blocks_given(tuning, 1, 100) == [0]


def test_do_blocks_count_as_pages_where_nothing_empties_the_list() -> None:
    tuning = PcpTuning(BATCH, 0, LEAST, LEAST)
    assert blocks_given(tuning, 300) == [0] * 255 + [63] + [0] * 31 + [63] + [0] * 12


def test_does_a_block_that_stands_for_ten_count_as_ten() -> None:
    """In a burst that is a tenth of what it would be, the fifth block finds a batch and more given."""
    tuning = PcpTuning(BATCH, 5, LEAST, MOST, "in a row")
    back, count = [], 0
    for _ in range(6):
        count += 2
        back.append(tuning.gave_block(1, count, 10))
        count -= back[-1]
    assert back == [0, 0, 0, 0, 10, 2]
