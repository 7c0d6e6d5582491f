"""Does a search of the bare radix tree stay out of a writer's way, and what does a write leave?"""

from __future__ import annotations

from kernels import design
from machines import SAME_CLUSTER, SmallMachine, run, small_machine

from sim.designs.radixvm.kernel import RadixKernel
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import LookUp, PlaceRegions, WriteRegion

REGIONS = tuple((start, start + 8) for start in range(1 << 20, 1 << 22, 1 << 18))
FREE = REGIONS[3][0] + 1000
"""Nothing is mapped near it, but the nodes above leaves are there."""


def booted(online: int) -> tuple[SmallMachine, RadixKernel]:
    machine = small_machine(online=online)
    kernel = RadixKernel(machine, design("radix"))
    run(machine, {0: lambda cpu: kernel.perform(cpu, PlaceRegions(REGIONS))})
    return machine, kernel


def nodes(kernel: RadixKernel) -> int:
    assert kernel.bare_tree is not None
    return len(list(kernel.bare_tree.tree.nodes()))


def test_does_a_search_find_what_is_set_and_nothing_else() -> None:
    machine, kernel = booted(2)

    def body(cpu: Cpu) -> Steps[None]:
        for start, end in REGIONS:
            for page, there in ((start, True), (end - 1, True), (end, False), (start - 1, False)):
                assert (yield from kernel.perform(cpu, LookUp(page))) == there

    run(machine, {1: body})
    kernel.verify({})


def test_does_who_searches_elsewhere_notice_nothing_of_a_writer() -> None:
    """A write makes a leaf and writes its slots: no line that a search for another region reads."""
    machine, kernel = booted(16)
    taken = []

    def search(cpu: Cpu) -> Steps[None]:
        begun = cpu.now
        assert (yield from kernel.perform(cpu, LookUp(REGIONS[0][0])))
        taken.append(cpu.now - begun)

    run(machine, {15: search})  # its pages are in the TLB from now on
    run(machine, {15: search})
    run(machine, {0: lambda cpu: kernel.perform(cpu, WriteRegion(FREE, 8))})
    run(machine, {15: search})
    assert taken[1] == taken[2] < taken[0]


def test_does_a_write_leave_its_nodes_and_no_region() -> None:
    """The second write at one place finds the leaf, which the first one had to zero."""
    machine, kernel = booted(1)
    before, taken = nodes(kernel), []

    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(2):
            begun = cpu.now
            yield from kernel.perform(cpu, WriteRegion(FREE, 8))
            taken.append(cpu.now - begun)
            assert not (yield from kernel.perform(cpu, LookUp(FREE)))

    run(machine, {0: body})
    assert nodes(kernel) == before + 1
    assert taken[0] - taken[1] > SAME_CLUSTER
    kernel.verify({})
