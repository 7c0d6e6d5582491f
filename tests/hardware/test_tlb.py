"""What does a cpu's TLB hold?"""

from __future__ import annotations

from machines import NS, run, small_machine

from sim.engine import ThreadBody
from sim.hardware import Cpu, Tlb, Translation


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

    def body(cpu: Cpu) -> ThreadBody:
        cpu.tlb.fill(1, frame=1, writable=True)
        cpu.tlb_catch_up()
        assert (len(cpu.tlb.frames()), cpu.pending) == (1, 0)
        cpu.tlb.stale = True
        cpu.tlb_catch_up()
        assert (cpu.tlb.frames(), cpu.tlb.stale) == ({}, False)
        assert cpu.pending == 90 * NS
        yield cpu.take_pending()

    run(machine, {0: body})
