"""Several processes whose threads share cpus: are their translations kept apart, and never stale?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import BASE, KINDS, design
from machines import NS, small_machine

from sim.designs import build
from sim.engine import Activity, ScheduleName, Steps
from sim.hardware import Cpu
from sim.mm import AddressSpace, Mmap, Munmap, SwitchMm
from sim.sync import RunQueues, Scheduler

US = 1000 * NS
MS = 1000 * US
PCID = {"pcid": True, "switch": "50 ns"}


class Machinery:
    """Two processes of a kernel, and threads of them on the cpus of a small machine."""

    def __init__(self, kind: str, *, cpus: int, ties: ScheduleName = "fifo", pcid: bool = True) -> None:
        changes = {"kernel": {"slice": "30 us", "tick": "40 us"}, "tlb": PCID if pcid else {}}
        self.machine = small_machine(changes, online=cpus, ties=ties)
        self.cpus = self.machine.cpus
        self.kernel = build(self.machine, design(kind))
        self.spaces: list[AddressSpace] = [self.kernel.new_process(self.cpus[0]) for _ in range(2)]
        self.scheduler = Scheduler(self.machine)
        self.loads: list[tuple[int, AddressSpace]] = []
        self.tasks = RunQueues(self.machine, switch_mm=self._load, note_switch=self.kernel.note_switch)
        for cpu in self.cpus:
            cpu.open_account()

    def _load(self, cpu: Cpu, space: AddressSpace) -> Steps[None]:
        self.loads.append((cpu.id, space))
        return self.kernel.perform(cpu, SwitchMm(space))

    def run(self) -> None:
        self.machine.engine.run()
        for cpu in self.cpus:
            cpu.close_account()
        last = dict(self.loads)
        loaded = {space: [cpu for cpu in self.cpus if last.get(cpu.id) is space] for space in self.spaces}
        self.kernel.verify(loaded)
        for space in self.spaces:
            space.settle()
        self.kernel.verify(loaded)


@pytest.mark.parametrize("kind", KINDS)
def test_do_two_processes_at_the_same_addresses_share_a_cpu(kind: str) -> None:
    """Both touch the same pages again and again; each finds its own frames."""
    machinery = Machinery(kind, cpus=1)

    def body(space: AddressSpace) -> Callable[[Cpu], Steps[None]]:
        def steps(cpu: Cpu) -> Steps[None]:
            yield from space.perform(cpu, Mmap(8, BASE))
            for _ in range(20):
                for page in range(BASE, BASE + 8):
                    yield from space.access(cpu, page)
                    entry, found = space.root.walk(page), cpu.tlb.lookup(page)
                    assert entry is not None
                    assert found is not None
                    assert found.frame == entry.frame
                yield from machinery.tasks.compute(cpu, 10 * US, Activity("user"))

        return steps

    for number, space in enumerate(machinery.spaces):
        machinery.tasks.spawn(machinery.cpus[0], body(space), f"process {number}", space)
    machinery.run()
    assert len(machinery.loads) > 10
    assert all(one[1] is not other[1] for one, other in pairwise(machinery.loads))
    frames = [{entry.frame for _, entry in space.root.present_entries()} for space in machinery.spaces]
    assert not frames[0] & frames[1]


@pytest.mark.parametrize("kind", KINDS)
def test_is_a_space_loaded_only_where_another_one_is(kind: str) -> None:
    """Threads of one process switch without loading anything."""
    machinery = Machinery(kind, cpus=1)
    for number in range(3):
        machinery.tasks.spawn(
            machinery.cpus[0],
            lambda cpu: machinery.tasks.compute(cpu, 100 * US, Activity("user")),
            f"thread {number}",
            machinery.spaces[0],
        )
    machinery.run()
    assert machinery.loads == [(0, machinery.spaces[0])]
    assert machinery.machine.tally.switches == 1


STEP = st.one_of(
    st.tuples(st.just("map"), st.integers(0, 2)),
    st.tuples(st.just("unmap"), st.integers(0, 2)),
    st.tuples(st.just("touch"), st.integers(0, 2)),
    st.tuples(st.just("nap"), st.integers(1, 80)),
    st.tuples(st.just("compute"), st.integers(1, 80)),
)


@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("kind", KINDS)
@given(
    plans=st.lists(st.lists(STEP, min_size=1, max_size=10), min_size=2, max_size=7),
    cpus=st.integers(1, 3),
    ties=st.sampled_from(["fifo", "shuffle"]),
    pcid=st.booleans(),
)
def test_is_no_translation_stale_whatever_the_processes_do(
    kind: str, plans: list[list[tuple[str, int]]], cpus: int, ties: Any, pcid: bool
) -> None:
    """Threads of two processes map, touch and unmap pages of their own and sleep; end states are verified."""
    machinery = Machinery(kind, cpus=min(cpus, len(plans)), ties=ties, pcid=pcid)

    def body(thread: int, space: AddressSpace, plan: list[tuple[str, int]]) -> Callable[[Cpu], Steps[None]]:
        def steps(cpu: Cpu) -> Steps[None]:
            mapped: set[int] = set()
            for what, number in plan:
                at = BASE + 16 * thread + 4 * number
                if what == "nap":
                    yield from machinery.scheduler.nap(cpu, number * US, Activity("asleep"))
                elif what == "compute":
                    yield from machinery.tasks.compute(cpu, number * US, Activity("user"))
                elif what == "map" and number not in mapped:
                    yield from space.perform(cpu, Mmap(4, at))
                    mapped.add(number)
                elif what == "unmap" and number in mapped:
                    yield from space.perform(cpu, Munmap(at, 4))
                    mapped.remove(number)
                elif what == "touch" and number in mapped:
                    for page in range(at, at + 4):
                        yield from space.access(cpu, page)
                yield from machinery.tasks.preempt(cpu)

        return steps

    for thread, plan in enumerate(plans):
        place, process = thread % len(machinery.cpus), thread // len(machinery.cpus) % 2
        space = machinery.spaces[process]
        machinery.tasks.spawn(machinery.cpus[place], body(thread, space, plan), f"thread {thread}", space)
    machinery.run()
