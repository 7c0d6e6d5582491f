"""What does a cpu's TLB hold?"""

from __future__ import annotations

from typing import Any

import pytest
from machines import NS, raw_spec, run, small_machine
from pydantic import ValidationError

from sim.engine import Steps
from sim.hardware import Cpu, MachineSpec, Tlb, Translation


def tlb() -> Tlb:
    return small_machine().cpus[0].tlb


def test_is_a_filled_page_found_until_it_is_invalidated() -> None:
    tlb_ = tlb()
    assert tlb_.lookup(7) is None
    assert tlb_.fill(7, frame=70, writable=True) == 10 * NS
    assert tlb_.lookup(7) == Translation(frame=70, writable=True)
    tlb_.invalidate([6, 7])
    assert tlb_.lookup(7) is None


def test_does_the_least_recently_used_entry_make_room() -> None:
    tlb_ = tlb()
    for page in range(8):
        tlb_.fill(page, frame=page, writable=False)
    tlb_.lookup(0)
    tlb_.fill(8, frame=8, writable=False)
    assert sorted(tlb_.frames()) == [0, 2, 3, 4, 5, 6, 7, 8]


def test_does_a_second_fill_replace_the_translation() -> None:
    tlb_ = tlb()
    for _ in range(20):
        tlb_.fill(3, frame=1, writable=False)
    tlb_.fill(3, frame=2, writable=True)
    assert tlb_.frames() == {3: Translation(frame=2, writable=True)}


def test_does_a_flush_leave_nothing() -> None:
    tlb_ = tlb()
    tlb_.fill(1, frame=1, writable=True)
    tlb_.flush()
    assert tlb_.frames() == {}


def test_is_a_flush_that_was_skipped_in_lazy_mode_done_before_the_thread_runs_again() -> None:
    machine = small_machine()

    def body(cpu: Cpu) -> Steps[None]:
        cpu.tlb.fill(1, frame=1, writable=True)
        cpu.tlb_catch_up()
        assert (len(cpu.tlb.frames()), cpu.pending) == (1, 0)
        cpu.tlb.stale = True
        cpu.tlb_catch_up()
        assert (cpu.tlb.frames(), cpu.tlb.stale) == ({}, False)
        assert cpu.pending == 90 * NS
        yield cpu.take_pending()

    run(machine, {0: body})


FAR = {"core_lines": 2, "llc": "30 ns", "cluster_lines": 4, "cold": "150 ns"}
TWO_LEVELS = {"first_level": {"entries": 2, "miss": "3 ns"}}
PCID = {"pcid": True, "switch": "50 ns"}


def test_does_a_hit_beyond_the_first_level_cost_its_miss() -> None:
    tlb_ = small_machine({"tlb": TWO_LEVELS}).cpus[0].tlb
    for page in range(3):
        tlb_.fill(page, frame=page, writable=False)
    assert tlb_.promote(0) == 3 * NS  # 1 and 2 were filled last
    assert [tlb_.promote(0), tlb_.promote(2), tlb_.promote(1)] == [0, 0, 3 * NS]
    tlb_.invalidate([1])
    tlb_.fill(3, frame=3, writable=False)
    assert tlb_.promote(2) == 0  # 1 has left a place for 3


def test_is_a_hit_free_where_the_first_level_is_not_known() -> None:
    assert tlb().promote(5) == 0


def test_what_does_a_walk_cost_whose_line_was_used_long_ago() -> None:
    """Two lines in the core's caches, four in the cluster's, which cpu 1 shares and cpu 4 does not."""
    machine = small_machine({"tlb": {"far_walk": FAR}})
    lines = [machine.line(f"entries {number}") for number in range(8)]

    def walk(cpu: int, *numbers: int) -> list[int]:
        return [machine.cpus[cpu].tlb.walker.walk(lines[number]) // NS for number in numbers]

    assert walk(0, 0, 0, 1, 2) == [150, 10, 150, 150]
    assert walk(0, 0, 2) == [30, 10]  # 0 left the core's two for 1 and 2, not the cluster's four
    assert walk(1, 2, 1) == [30, 30]  # a neighbour's walks fill the cluster's cache
    assert walk(4, 2) == [150]
    assert walk(0, 3, 4, 5, 6, 2) == [150, 150, 150, 150, 150]
    machine.cpus[0].tlb.walker.near(lines[7])
    assert walk(0, 7) == [10]


def test_does_changing_the_address_space_drop_the_entries_without_pcid() -> None:
    tlb_ = tlb()
    tlb_.fill(1, frame=1, writable=True)
    assert tlb_.load(0, flush=False) == 90 * NS
    assert tlb_.frames() == {}


def test_are_entries_kept_apart_by_their_address_space_with_pcid() -> None:
    tlb_ = small_machine({"tlb": {**PCID, **TWO_LEVELS}}).cpus[0].tlb
    tlb_.fill(1, frame=10, writable=True)
    assert tlb_.load(3, flush=False) == 50 * NS
    assert (tlb_.asid, tlb_.lookup(1)) == (3, None)
    tlb_.fill(1, frame=30, writable=True)
    tlb_.fill(2, frame=31, writable=True)
    tlb_.invalidate([1], asid=0)
    assert (sorted(tlb_.frames()), tlb_.frames(0)) == ([1, 2], {})
    tlb_.load(0, flush=False)
    tlb_.fill(7, frame=11, writable=True)
    assert tlb_.load(3, flush=True) == 90 * NS  # of this space only
    assert (tlb_.frames(), sorted(tlb_.frames(0))) == ({}, [7])


def test_does_page_table_isolation_double_what_a_page_costs() -> None:
    kpti = {"name": "kpti", "since": "4.15", "own_tables": True}
    changes = {"tlb": {"invalidate_user": "100 ns"}, "kernel": {"mitigations": [kpti]}}
    isolated = small_machine(changes).cpus[0].tlb
    assert (tlb().invalidate_cost, isolated.invalidate_cost) == (40 * NS, 140 * NS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pcid": True}, "needs `switch`"),
        ({"first_level": {"entries": 9, "miss": "1 ns"}}, "must not exceed entries"),
        ({"far_walk": {**FAR, "cold": "20 ns"}}, "cold must not be cheaper than llc"),
        ({"far_walk": {**FAR, "llc": "5 ns"}}, "llc must not be cheaper than walk"),
    ],
)
def test_which_tlbs_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MachineSpec.model_validate(raw_spec({"tlb": fields}))
