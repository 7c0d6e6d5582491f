"""What may a workload file say, and what does a placement change?"""

from __future__ import annotations

import re
from typing import Any

import pytest
from plain import plan, workload
from pydantic import ValidationError

from sim.quantities import CycleCost
from sim.workload.place_spec import MmapStep, TouchStep


def test_does_a_placement_overlay_key_by_key() -> None:
    low, high = plan("low"), plan("high")
    assert (low.layout.order, high.layout.order) == ("own", "shuffled")
    assert low.layout.stride == high.layout.stride == 64 << 10
    assert low.thread == high.thread
    assert workload().placement_names == ["low", "high"]


def test_does_a_placement_replace_lists_whole() -> None:
    steps = [{"mmap": {"at": "anywhere"}}]
    spec = workload(placements={"low": {}, "other": {"thread": steps, "requests": 8}})
    assert len(spec.plan("low").thread) == 3
    assert [step.mmap for step in spec.plan("other").thread] == [MmapStep(at="anywhere")]
    assert spec.plan("other").requests == 8


def test_is_an_unknown_placement_a_key_error() -> None:
    with pytest.raises(KeyError):
        workload().plan("middle")


def test_which_action_is_a_step() -> None:
    steps = [
        {"mmap": {"at": "anywhere", "size": "16 KiB"}},
        {"touch": {"at": "mapped", "write": False}},
        {"compute": {"time": "3 us"}},
    ]
    first, second, third = plan(thread=steps).thread
    assert first.mmap == first.placed == MmapStep(at="anywhere", size="16 KiB")
    assert second.touch == second.placed == TouchStep(at="mapped", write=False)
    assert (third.compute, third.placed) == (CycleCost(0, 3_000_000), None)
    assert [step.kind for step in (first, second, third)] == ["mmap", "touch", "compute"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thread": [{}]}, "timed; this one has 0"),
        ({"thread": [{"mmap": {"at": "slot"}, "touch": {"at": "slot"}}]}, "this one has 2"),
        ({"thread": []}, "at least 1 item"),
        ({"thread": [{"mmap": {"at": "mapped"}}]}, "works at `mapped` without an mmap step before it"),
        ({"program": [{"mmap": {"at": "slot"}}]}, "a program knows no slots"),
        ({"thread": [{"touch": {"at": "slot", "back": 1}}]}, "`back` chooses an earlier mmap"),
        ({"thread": [{"touch": {"at": "slot", "skip": "4 KiB"}}]}, "`skip` goes with `mapped`"),
        ({"thread": [{"mmap": {"at": "stack", "skip": "5 KiB"}}]}, "`skip` must be a whole number of pages"),
        (
            {"thread": [{"mmap": {"at": "every slot"}}]},
            "Input should be 'anywhere', 'slot', 'layout', 'own slots', 'mapped', 'image' or 'stack'",
        ),
        ({"thread": [{"touch": {"at": "mapped"}}]}, "at `mapped` without an mmap step before it"),
        (
            {"layout": {"request": "8 KiB", "stride": "64 KiB", "order": "own"}},
            "at `slot` without layout.base",
        ),
        (
            {"measured": {"first": 3, "last": 2}},
            "measured requests must lie within 0..3, first not after last",
        ),
        ({"measured": {"first": 0, "last": 4}}, "measured requests must lie within 0..3"),
        ({"layout": {"request": "5 KiB"}}, "request must be a whole number of pages"),
        ({"layout": {"stride": "4 KiB"}}, "request must fit into stride"),
        ({"placements": {"low": {"speed": 1}}}, "Extra inputs are not permitted"),
        ({"requests": 0}, "greater than 0"),
    ],
)
def test_which_files_are_refused(changes: dict[str, Any], message: str) -> None:
    layout = {"request": "8 KiB", "stride": "64 KiB", "order": "own", "base": "4 GiB"}
    if "layout" in changes and "order" not in changes["layout"]:
        changes = {**changes, "layout": {**layout, **changes["layout"]}}
    with pytest.raises(ValidationError, match=re.escape(message)):
        workload(**changes)


def test_may_the_setup_map_the_layout_that_threads_use() -> None:
    layout = {"request": "8 KiB", "stride": "64 KiB", "order": "own"}
    steps = [{"mmap": {"at": "layout"}}, {"touch": {"at": "every slot"}}]
    assert plan(layout=layout, setup=steps).layout.base is None
    with pytest.raises(ValidationError, match=r"at `every slot` without layout\.base"):
        plan(layout=layout, setup=steps[::-1])


def test_is_what_was_worked_out_of_a_spec_that_of_a_changed_copy() -> None:
    """A plan and its roles are made once; a copy with other values makes its own."""
    spec = workload()
    assert spec.plan("low") is spec.plan("low")
    assert spec.plan("low").parts is spec.plan("low").parts
    assert spec.model_copy(update={"requests": 8}).plan("low").requests == 8
    assert spec.plan("low").requests == 4
    short = spec.plan("low").model_copy(update={"thread": spec.plan("low").thread[:1]})
    assert [len(part.role.steps) for part in (short.parts[0], spec.plan("low").parts[0])] == [1, 3]
    assert workload().plan("low") == spec.plan("low")


def test_how_much_has_a_point_to_do() -> None:
    """Requests of all threads in all runs; of a window in time, its microseconds."""
    assert plan().amount(3) == 3 * 4
    pooled = plan(pooled_threads=8)
    assert [pooled.amount(threads) for threads in (1, 2, 3, 8, 9)] == [32, 32, 36, 32, 36]
    counted = {"warm_up": "2 requests", "length": "5 requests"}
    assert plan(measured=None, window=counted).amount(3) == 21
    assert plan(measured=None, window={"warm_up": "30 us", "length": "1 ms"}).amount(3) == 3090
    rounds = counted | {"whole_rounds": 2, "threads_per_round": 1}
    assert plan(measured=None, window=rounds).amount(3) == 3 * 2 + 4 * 4  # 15 requests are four rounds
    pilot = counted | {"pilot": {"requests": 4, "rounds": 2}}
    assert plan(measured=None, window=pilot).amount(3) == 21 + 3 * 2 * (1 + 4)
    assert workload().amount("high", 3) == 12
