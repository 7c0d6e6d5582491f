"""Flushes that come late, or not at all: is each seen when it happens, and not by what comes of it?"""

from __future__ import annotations

from typing import Any

import pytest
from checked import US, WAITING, caught, checked
from kernels import BASE, Process

from sim.check import Checks, Violation
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import Fork, Madvise, Mmap, Munmap, Touch
from sim.verify.mutants import MUTANTS


def waits(cpu: Cpu, time: int) -> Steps[None]:
    cpu.work(time, WAITING)
    yield cpu.take_pending()


# -- switches -------------------------------------------------------------------------------------------


def goes_and_comes_back(kind: str) -> None:
    """A cpu leaves a process, in which another one unmaps a page meanwhile, and comes back."""
    process = Process(kind, cpus=2, processes=2, listeners=Checks().listeners, machine=PCID)
    first, second = process.spaces

    def goes(cpu: Cpu) -> Steps[None]:
        yield from process.load(cpu, first)
        yield from first.perform(cpu, Touch((BASE,)))
        yield from process.load(cpu, second)
        yield from waits(cpu, 40 * US)
        yield from process.load(cpu, first)

    def unmaps(cpu: Cpu) -> Steps[None]:
        yield from process.load(cpu, first)
        yield from waits(cpu, 20 * US)
        yield from first.perform(cpu, Munmap(BASE, 1))

    process.do(("mmap", 2, BASE))
    process.run({0: goes, 1: unmaps})


PCID = {"tlb": {"pcid": True, "switch": "100 cycles"}}


def test_is_a_space_that_comes_back_with_old_entries_seen() -> None:
    goes_and_comes_back("linux")
    with (
        MUTANTS["old-entries-of-an-asid-believed"].applied(),
        pytest.raises(Violation, match="who comes back to a space has no translation that was flushed"),
    ):
        goes_and_comes_back("linux")


# -- lazy flushes ---------------------------------------------------------------------------------------


def unmaps_what_others_have(space: Any, cpu: Cpu) -> Steps[None]:
    """LATR has four slots here."""
    yield from space.perform(cpu, Touch((BASE - 2,)))
    yield from waits(cpu, 5 * US)
    if cpu.id == 0:
        for _ in range(12):
            yield from space.perform(cpu, Munmap(BASE - 2, 1))
            yield from space.perform(cpu, Mmap(1, BASE - 2))
            yield from space.perform(cpu, Touch((BASE - 2,)))


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("latr-does-not-flush-here", "a lazy flush begins with the cpu's own TLB (I13): "),
        ("latr-slot-freed-early", "a lazy flush is over when all cpus have swept (I12): "),
    ],
)
def test_is_a_lazy_flush_that_is_none_seen(name: str, rule: str) -> None:
    checked("adv", unmaps_what_others_have)
    with MUTANTS[name].applied():
        assert caught("adv", unmaps_what_others_have).startswith(rule)


# -- discards, copies -----------------------------------------------------------------------------------


def discards_at_a_time(space: Any, cpu: Cpu) -> Steps[None]:
    """One discards pages of two tables, others those of the first, which are cleared and not flushed yet; the
    last cpu has them in its TLB."""
    pages = range(BASE - 2, BASE + 60)
    if cpu.id == 0:
        yield from space.perform(cpu, Mmap(60, BASE))
        yield from space.perform(cpu, Touch(pages))
        yield from waits(cpu, 100 * US - cpu.now)
        yield from space.perform(cpu, Madvise(pages.start, len(pages), "dontneed"))
    elif cpu.id == 1:
        yield from waits(cpu, 90 * US)
        yield from space.perform(cpu, Touch((BASE - 2, BASE - 1), write=False))
        yield from waits(cpu, 60 * US)
    else:
        yield from waits(cpu, 100 * US + (cpu.id - 1) * US // 4)
        yield from space.perform(cpu, Madvise(BASE - 2, 1, "dontneed"))


def test_is_a_discard_that_relies_on_the_flush_of_another_seen() -> None:
    checked("linux", discards_at_a_time, cpus=12)
    with MUTANTS["nested-flush-ignored"].applied():
        message = caught("linux", discards_at_a_time, cpus=12)
    assert message.startswith("no translation is staler than an operation that has returned (I13): ")


def writes_what_a_child_has(kind: str, *, child_reads: bool = False) -> None:
    process = Process(kind, cpus=1, listeners=Checks().listeners)
    process.do(("mmap", 2, BASE), ("touch", BASE))

    def body(cpu: Cpu) -> Steps[None]:
        space = process.space
        child = yield from space.perform(cpu, Fork())
        process.spaces.append(child)
        yield from space.perform(cpu, Touch((BASE,), write=False))
        yield from space.perform(cpu, Touch((BASE,)))
        if child_reads:
            yield from process.load(cpu, child)
            yield from child.perform(cpu, Touch((BASE,), write=False))

    process.run({0: body})


@pytest.mark.parametrize("kind", ["rw", "adv"])
def test_is_an_old_page_that_is_let_go_before_the_flush_seen(kind: str) -> None:
    """Its other owner has it still, so nothing comes of it here."""
    writes_what_a_child_has(kind)
    with (
        MUTANTS["cow-frees-before-the-flush"].applied(),
        pytest.raises(Violation, match=r"who has copied a page lets the old one go after the flush \(I12\)"),
    ):
        writes_what_a_child_has(kind)


def test_is_a_private_page_that_two_have_and_one_writes_seen() -> None:
    """When the second one loads it, not at the end."""
    writes_what_a_child_has("linux", child_reads=True)
    with (
        MUTANTS["cow-believes-to-be-alone"].applied(),
        pytest.raises(Violation, match=r"no private frame is mapped twice and writable \(I16\)"),
    ):
        writes_what_a_child_has("linux", child_reads=True)
