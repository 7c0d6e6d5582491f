"""Where does each request of each thread work?"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain import plan

from sim.errors import InputError, ModelError
from sim.workload.layout import Slots

BASE = 1 << 20
PAGES, STRIDE, REQUESTS = 2, 16, 4


def slots(threads: int, seed: int = 0, **layout: Any) -> Slots:
    common = {"request": "8 KiB", "stride": "64 KiB", "order": "own", "base": "4 GiB"}
    return Slots(plan(layout={**common, **layout}), threads, Random(seed))


def test_does_each_thread_own_a_window() -> None:
    found = slots(3)
    assert [found.at(thread, 0) - BASE for thread in range(3)] == [0, STRIDE, 2 * STRIDE]
    assert [found.at(1, request) - BASE - STRIDE for request in range(REQUESTS)] == [0, 2, 4, 6]
    assert found.span == 3 * STRIDE


def test_is_the_reserve_mapped_on_top() -> None:
    assert slots(3, reserve=32).span == 3 * STRIDE * 32


@given(threads=st.integers(1, 40), seed=st.integers(0, 5))
def test_is_the_shuffled_order_a_permutation_of_the_own_one(threads: int, seed: int) -> None:
    own, shuffled = slots(threads), slots(threads, seed, order="shuffled")
    assert sorted(shuffled.all()) == sorted(own.all()) == own.all()
    assert shuffled.span == own.span
    dealt = [shuffled.at(thread, request) for thread in range(threads) for request in range(REQUESTS)]
    assert dealt == shuffled.all()


def test_does_the_shuffle_depend_on_the_seed_alone() -> None:
    assert slots(9, 1, order="shuffled").all() == slots(9, 1, order="shuffled").all()
    assert slots(9, 1, order="shuffled").all() != slots(9, 2, order="shuffled").all()


@pytest.mark.ci
def test_is_every_slot_as_likely_for_every_request() -> None:
    """Over many seeds the mean slot of a request is the middle one."""
    first = [slots(8, seed, order="shuffled").at(0, 0) - BASE for seed in range(2000)]
    middle = sum(slots(8).all()) / 32 - BASE
    spread = STRIDE * 8 / 12**0.5 / 2000**0.5
    assert abs(sum(first) / 2000 - middle) < 4 * spread


@pytest.mark.parametrize("leaves", [4, 5, 8, 32])
def test_over_how_many_windows_are_shuffled_slots_spread(leaves: int) -> None:
    found = slots(8, order="shuffled", leaves=leaves)
    windows = {(page - BASE) // STRIDE for page in found.all()}
    per_window = -(-8 * REQUESTS // leaves)
    assert len(windows) == -(-8 * REQUESTS // per_window) <= leaves
    assert len(set(found.all())) == 8 * REQUESTS
    assert all((page - BASE) % STRIDE + PAGES <= STRIDE for page in found.all())
    assert found.span == leaves * STRIDE


def test_are_too_few_windows_the_users_mistake() -> None:
    with pytest.raises(
        InputError, match=r"layout.leaves: 32 slots of 8 KiB do not fit into 3 windows"
    ) as error:
        slots(8, order="shuffled", leaves=3)
    assert error.value.faults[0].allowed == "at least 4 for 8 threads"
    slots(8, order="shuffled", leaves=4)


def test_have_slots_no_place_before_the_layout_is_mapped() -> None:
    layout = {"request": "8 KiB", "stride": "64 KiB", "order": "own"}
    found = Slots(plan(layout=layout, setup=[{"mmap": {"at": "layout"}}]), 2, Random(0))
    with pytest.raises(ModelError, match="the layout has no base"):
        found.at(0, 0)
    found.base = 77
    assert found.at(0, 1) == 79
