"""Do all designs mean the same by mmap, munmap, mprotect and touch, whatever runs beside them?

Several threads work in one process. Whenever all have come to rest, what is mapped and what is present is
held against a plain dictionary of pages. Frames, tables, TLBs and accounts are verified (`kernels.Process`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels import BASE, KINDS, LEAF, Process

from sim.designs.linux.lru import Lru
from sim.engine import ScheduleName, Steps
from sim.hardware import Cpu
from sim.mm import (
    READ,
    READ_WRITE,
    WRITE,
    LazyFlush,
    Mmap,
    Mprotect,
    Munmap,
    Present,
    Rights,
    SynchronousFlush,
)

PARTS = [(-2 * LEAF, -LEAF + 188), (-LEAF + 188, -24), (-24, LEAF + 64), (LEAF + 64, 2 * LEAF)]
"""Each thread's own pages, relative to `BASE`: two parts contain a whole leaf, all share leaves."""

EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
BOTH_TIES = pytest.mark.parametrize("ties", ["fifo", "shuffle"])


class Operation(NamedTuple):
    name: str
    where: float
    """From the beginning (0) to the end (1) of the thread's part."""
    pages: int


operations = st.builds(
    Operation,
    st.sampled_from(["mmap", "mmap", "munmap", "touch", "touch", "read only", "writable", "anywhere"]),
    st.sampled_from([0.0, 0.03, 0.2, 0.5, 0.75, 0.99]),
    st.sampled_from([1, 2, 7, 64, LEAF, 2 * LEAF]),
)
rounds = st.lists(st.lists(st.lists(operations, max_size=5), min_size=4, max_size=4), min_size=1, max_size=3)


class Oracle:
    """What one process should have mapped: pages with their rights, and those that have been touched."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.mapped: dict[int, Rights] = {}
        self.touched: set[int] = set()
        self.elsewhere: dict[int, tuple[int, int]] = {}
        # Anchors: so that mappings without an address stay clear of all parts, in every design.
        process.do(("mmap", 1, BASE // 2), ("mmap", 1, BASE + 4 * LEAF))

    def thread(self, plan: list[Operation]) -> Callable[[Cpu], Steps[None]]:
        def body(cpu: Cpu) -> Steps[None]:
            for operation in plan:
                yield from self.apply(cpu, operation)

        return body

    def apply(self, cpu: Cpu, operation: Operation) -> Steps[None]:
        space = self.process.space
        low, high = (BASE + page for page in PARTS[cpu.id])
        start = low + int(operation.where * (high - low))
        pages = min(operation.pages, high - start)
        if operation.name == "mmap":
            found = yield from space.perform(cpu, Mmap(pages, start))
            assert found == start
            self.forget(start, pages)
            self.mapped.update(dict.fromkeys(range(start, start + pages), READ_WRITE))
        elif operation.name in ("read only", "writable"):
            if all(page in self.mapped for page in range(start, start + pages)):
                rights = READ if operation.name == "read only" else READ_WRITE
                yield from space.perform(cpu, Mprotect(start, pages, rights))
                self.mapped.update(dict.fromkeys(range(start, start + pages), rights))
                for page in range(start, start + pages):
                    for other in self.process.translators(page):
                        assert rights & WRITE or not other.tlb.frames()[page].writable
        elif operation.name == "munmap":
            yield from space.perform(cpu, Munmap(start, pages))
            self.forget(start, pages)
            for page in range(start, start + pages):
                assert space.root.walk(page) is None
                for other in self.process.translators(page):
                    assert space.may_be_stale(page, other.tlb.frames()[page].frame)
        elif operation.name == "touch":
            for page in sorted({start, start + pages // 2, start + pages - 1} & self.mapped.keys()):
                write = operation.where != 0.5
                if write and not self.mapped[page] & WRITE:
                    continue
                yield from space.access(cpu, page, write=write)
                self.touched.add(page)
                assert isinstance(space.root.walk(page), Present)
        elif cpu.id not in self.elsewhere:
            start = yield from space.perform(cpu, Mmap(pages))
            self.elsewhere[cpu.id] = (start, pages)
            self.mapped.update(dict.fromkeys(range(start, start + pages), READ_WRITE))
            yield from space.access(cpu, start + pages - 1)
            self.touched.add(start + pages - 1)
        else:
            start, pages = self.elsewhere.pop(cpu.id)
            yield from space.perform(cpu, Munmap(start, pages))
            self.forget(start, pages)

    def forget(self, start: int, pages: int) -> None:
        gone = range(start, start + pages)
        for page in gone:
            self.mapped.pop(page, None)
        self.touched.difference_update(gone)

    def check(self) -> None:
        """Everything rests: the process is what the dictionary and the set say."""
        space = self.process.space
        universe = set(range(BASE + PARTS[0][0], BASE + PARTS[-1][1])) | self.mapped.keys()
        found = {page: space.status(page) for page in universe}
        assert {page: rights for page, rights in found.items() if rights is not None} == self.mapped
        present = {page: entry.rights for page, entry in space.root.present_entries()}
        assert present == {page: self.mapped[page] for page in self.touched}


@EVERY_KIND
@BOTH_TIES
@given(rounds=rounds, threads=st.integers(1, 4), seed=st.integers(0, 3))
def test_does_every_design_agree_with_a_dictionary_of_pages(
    kind: str, ties: ScheduleName, rounds: list[list[list[Operation]]], threads: int, seed: int
) -> None:
    process = Process(kind, cpus=4, ties=ties, seed=seed)
    oracle = Oracle(process)
    for plans in rounds:
        process.run({cpu: oracle.thread(plans[cpu]) for cpu in range(threads)})
        oracle.check()
    process.end()


def random_rounds(draw: Any, threads: int) -> list[list[list[Operation]]]:
    names = ["mmap", "mmap", "munmap", "touch", "touch", "touch", "read only", "writable", "anywhere"]

    def operation() -> Operation:
        return Operation(draw.choice(names), draw.random(), draw.choice([1, 2, 7, 64, LEAF, 2 * LEAF]))

    return [[[operation() for _ in range(draw.randrange(9))] for _ in range(threads)] for _ in range(4)]


@pytest.mark.slow
@EVERY_KIND
@BOTH_TIES
def test_does_every_design_agree_in_a_thousand_long_runs(kind: str, ties: ScheduleName) -> None:
    for seed in range(1000):
        process = Process(kind, cpus=4, ties=ties, seed=seed)
        oracle = Oracle(process)
        for plans in random_rounds(process.machine.engine.stream("plans"), threads=4):
            process.run({cpu: oracle.thread(plan) for cpu, plan in enumerate(plans)})
            oracle.check()
        process.end()


# -- on the same pages ---------------------------------------------------------------------------------

shared = st.tuples(st.sampled_from(["replace", "touch", "touch"]), st.sampled_from([0, 1, 5, LEAF - 1, LEAF]))
shared_plans = st.lists(
    st.lists(st.tuples(shared, st.sampled_from([1, 2, LEAF, LEAF + 7])), max_size=5), min_size=2, max_size=4
)


@EVERY_KIND
@BOTH_TIES
@given(plans=shared_plans)
def test_may_threads_touch_what_others_replace(
    kind: str, ties: ScheduleName, plans: list[list[tuple[tuple[str, int], int]]]
) -> None:
    """The range is mapped at every instant, so no touch may fail, and no page may be lost."""
    touch_what_others_replace(Process(kind, cpus=len(plans), ties=ties), plans)


def touch_what_others_replace(process: Process, plans: list[list[tuple[tuple[str, int], int]]]) -> None:
    space = process.space
    process.do(("mmap", 4 * LEAF, BASE - LEAF), ("touch", BASE), ("touch", BASE + LEAF))

    def body(cpu: Cpu) -> Steps[None]:
        for (name, offset), pages in plans[cpu.id]:
            start = BASE + offset
            if name == "replace":
                yield from space.perform(cpu, Mmap(pages, start))
            else:
                for page in (start, start + pages - 1):
                    yield from space.access(cpu, page)

    process.run(dict.fromkeys(range(len(plans)), body))
    assert all(process.is_mapped(page) for page in range(BASE - LEAF, BASE + 3 * LEAF))
    process.end()


# -- mutants -------------------------------------------------------------------------------------------


def unmap_what_all_have_touched(kind: str) -> None:
    process = Process(kind, cpus=4)
    process.do(("mmap", 8, BASE))
    for cpu in range(4):
        process.do(*(("touch", BASE + page) for page in range(4)), cpu=cpu)
    process.do(("munmap", BASE, 2), ("munmap", BASE + 2, 2))
    process.end()


@EVERY_KIND
def test_is_the_right_munmap_let_through(kind: str) -> None:
    unmap_what_all_have_touched(kind)


def test_is_a_munmap_without_shootdown_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(flush: SynchronousFlush, cpu: Cpu, pages: list[int], **how: bool) -> Steps[None]:
        return
        yield

    monkeypatch.setattr(SynchronousFlush, "flush", nothing)
    with pytest.raises(AssertionError, match=r"frame \d+ is freed while cpu \d translates to it"):
        unmap_what_all_have_touched("linux")


@pytest.mark.parametrize("kind", ["rw", "adv"])
def test_is_a_munmap_without_lazy_flush_caught(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def release_only(flush: LazyFlush, cpu: Cpu, removed: Any, release: Callable[[], None]) -> Steps[None]:
        release()
        return
        yield

    monkeypatch.setattr(LazyFlush, "flush_lazily", release_only)
    with pytest.raises(AssertionError, match=r"frame \d+ is freed while cpu \d translates to it"):
        unmap_what_all_have_touched(kind)


def test_is_a_frame_that_linux_frees_before_the_flush_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    flush, release = SynchronousFlush.flush, Lru.release
    put_off: list[tuple[SynchronousFlush, list[int]]] = []

    def flush_later(tlb: SynchronousFlush, cpu: Cpu, pages: list[int], **how: bool) -> Steps[None]:
        put_off.append((tlb, pages))
        return
        yield

    def release_then_flush(lru: Lru, cpu: Cpu, frames: list[int]) -> Steps[None]:
        yield from release(lru, cpu, frames)
        tlb, pages = put_off.pop()
        yield from flush(tlb, cpu, pages)

    monkeypatch.setattr(SynchronousFlush, "flush", flush_later)
    monkeypatch.setattr(Lru, "release", release_then_flush)
    with pytest.raises(AssertionError, match=r"frame \d+ is freed while cpu \d translates to it"):
        unmap_what_all_have_touched("linux")


@pytest.mark.parametrize("kind", ["rw", "adv"])
def test_is_a_frame_that_cortenmm_frees_before_the_flush_caught(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    flush = LazyFlush.flush_lazily

    def releases_first(lazy: LazyFlush, cpu: Cpu, removed: Any, release: Callable[[], None]) -> Steps[None]:
        release()
        yield from flush(lazy, cpu, removed, lambda: None)

    monkeypatch.setattr(LazyFlush, "flush_lazily", releases_first)
    with pytest.raises(AssertionError, match=r"frame \d+ is freed while cpu \d translates to it"):
        unmap_what_all_have_touched(kind)


def test_is_a_record_that_is_released_too_early_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant frees when it publishes: its own TLB is clean, the others' are not."""
    flush = LazyFlush.flush_lazily

    def frees_when_published(lazy: LazyFlush, cpu: Cpu, removed: Any, release: Any) -> Steps[None]:
        yield from flush(lazy, cpu, removed, lambda: None)
        release()

    monkeypatch.setattr(LazyFlush, "flush_lazily", frees_when_published)
    with pytest.raises(AssertionError, match=r"frame \d+ is freed while cpu 1 translates to it"):
        unmap_what_all_have_touched("adv")
