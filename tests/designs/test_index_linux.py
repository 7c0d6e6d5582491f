"""The maple tree and the interval skip list alone: do they hold what was put in, and who waits for whom?"""

from __future__ import annotations

import pytest
from kernels import design
from machines import SmallMachine, run, small_machine

from sim.designs.linux import LinuxKernel
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import AllocateRegion, LookUp, PlaceRegions, WriteRegion

KINDS = ("index-maple", "index-interval-skiplist")
REGIONS = tuple((start, start + 4) for start in range(1 << 20, (1 << 20) + 4000, 100))


def booted(kind: str, online: int) -> tuple[SmallMachine, LinuxKernel]:
    machine = small_machine(online=online, ties="shuffle")
    kernel = LinuxKernel(machine, design(kind))
    run(machine, {0: lambda cpu: kernel.perform(cpu, PlaceRegions(REGIONS))})
    return machine, kernel


def stored(kernel: LinuxKernel) -> list[tuple[int, int]]:
    assert kernel.bare_index is not None
    return [(vma.start, vma.end) for vma in kernel.bare_index.index]


@pytest.mark.parametrize("kind", KINDS)
def test_do_threads_find_what_is_there_while_others_write_and_allocate(kind: str) -> None:
    machine, kernel = booted(kind, 8)
    found: list[int] = []

    def writer(cpu: Cpu) -> Steps[None]:
        for number in range(8):
            yield from kernel.perform(cpu, WriteRegion(REGIONS[5 * number + cpu.id][1] + 10, 8))

    def allocator(cpu: Cpu) -> Steps[None]:
        for _ in range(8):
            start = yield from kernel.perform(cpu, AllocateRegion(4))
            found.append(start)

    def reader(cpu: Cpu) -> Steps[None]:
        for start, end in REGIONS:
            assert (yield from kernel.perform(cpu, LookUp(start + 3)))
            assert not (yield from kernel.perform(cpu, LookUp(end + 5)))

    bodies = {0: writer, 1: writer, 2: writer, 3: allocator, 4: allocator, 5: allocator, 6: reader, 7: reader}
    run(machine, bodies)
    assert stored(kernel) == sorted([*REGIONS, *((start, start + 4) for start in found)])
    kernel.verify({})


@pytest.mark.parametrize("kind", KINDS)
def test_does_a_search_write_no_line(kind: str) -> None:
    machine, kernel = booted(kind, 4)
    assert kernel.bare_index is not None
    before = {line: (line.owner, line.sharers) for line in kernel.bare_index.index.lines()}
    run(machine, {3: lambda cpu: kernel.perform(cpu, LookUp(REGIONS[9][0]))})
    assert before == {line: (line.owner, line.sharers) for line in kernel.bare_index.index.lines()}


def test_does_the_maple_tree_take_one_writer_at_a_time_and_the_list_several() -> None:
    """Four write at places that have nothing to do with each other."""
    times = {}
    for kind in KINDS:
        taken = []
        for writers in (1, 4):
            machine, kernel = booted(kind, 4)
            begun = machine.engine._now

            def writer(cpu: Cpu, kernel: LinuxKernel = kernel) -> Steps[None]:
                for number in range(6):
                    yield from kernel.perform(cpu, WriteRegion(REGIONS[8 * cpu.id + number][1] + 10, 8))

            run(machine, dict.fromkeys(range(writers), writer))
            taken.append(machine.engine._now - begun)
        times[kind] = taken[1] / taken[0]
    assert times["index-maple"] > 3
    assert times["index-interval-skiplist"] < 2.5
