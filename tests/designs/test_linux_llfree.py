"""Does Linux run with LLFree as its page allocator, and do its pages come from the right node?"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels import BASE, LEAF, Process, frames_in_use

from sim.designs.linux import LinuxKernel
from sim.experiment import load, run_point
from sim.mm import FrameMap, Llfree, Mmap, Munmap, OutOfMemory, node_policy
from sim.mm.allocators.llfree import Trees
from sim.mm.policy_spec import Bind
from sim.verify.kernels import ALLOCATORS

LLFREE: dict[str, Any] = {"page_allocator": "llfree", **ALLOCATORS}
SMALL: dict[str, Any] = {"memory": {"size_per_socket": "8 MiB"}}
"""Two nodes of 2048 pages."""
PAGES = 2 * 2048


def linux(cpus: int = 2, policy: Any = None, **options: Any) -> Process:
    process = Process("linux", cpus=cpus, changes=LLFREE, machine=SMALL, **options)
    if policy is not None:
        process.kernel.place_memory(node_policy(policy, process.machine.spec.topology))
    return process


def pages_of(process: Process) -> Llfree:
    assert isinstance(process.kernel, LinuxKernel)
    assert isinstance(process.kernel.pages, Llfree)
    return process.kernel.pages


def fill(process: Process, pages: int, cpu: int = 0) -> Counter[int]:
    """Map and touch *pages* pages; how many of them lie on each node."""
    process.do(("mmap", pages, BASE), *(("touch", BASE + page) for page in range(pages)), cpu=cpu)
    frames = FrameMap(process.machine.spec)
    return Counter(frames.node(entry.frame, 0) for _, entry in process.space.root.present_entries())


def nothing_is_lost(process: Process) -> None:
    pages = pages_of(process)
    free = sum(pool.buddy.free_frames for pool in pages.buddies())
    assert free + frames_in_use(pages) == PAGES


@pytest.mark.parametrize(("cpu", "own"), [(0, 0), (8, 1)])
def test_does_a_page_come_from_the_node_of_its_cpu_and_then_from_the_next(cpu: int, own: int) -> None:
    assert set(fill(linux(9), 500, cpu)) == {own}
    filled = linux(9)
    nodes = fill(filled, 3000, cpu)
    assert 1700 < nodes[own] < 2048  # the slabs have the rest
    assert nodes[own] + nodes[1 - own] == 3000
    filled.do(("munmap", BASE, 3000), cpu=cpu)
    filled.end()
    nothing_is_lost(filled)


def test_is_bound_memory_refused_rather_than_taken_elsewhere() -> None:
    assert set(fill(linux(policy=Bind(bind=1)), 1000)) == {1}
    with pytest.raises(OutOfMemory, match=r"but node 1 has 0 B of 8 MiB left \(memory is bound to node 1\)"):
        fill(linux(policy=Bind(bind=1)), 2100)


def test_does_interleaving_take_from_both_nodes() -> None:
    nodes = fill(linux(policy="interleave"), 1000)
    assert nodes[0] == pytest.approx(nodes[1], abs=4)


@given(st.lists(st.permutations(range(4)), min_size=1, max_size=3), st.sampled_from(["fifo", "shuffle"]))
@pytest.mark.slow
def test_are_frames_lost_or_given_out_twice_when_cpus_free_what_others_took(
    rounds: list[list[int]], ties: Any
) -> None:
    """Two cpus on each node touch pages, then each unmaps somebody's: `Process` refuses any frame with two
    owners, or freed twice or too early, while it happens."""
    process = linux(9, ties=ties)
    space, cpus = process.space, (0, 1, 7, 8)

    def touches(number: int) -> Any:
        def body(cpu: Any) -> Any:
            yield from space.perform(cpu, Mmap(40, BASE + number * LEAF))
            for page in range(40):
                yield from space.access(cpu, BASE + number * LEAF + page)

        return body

    for victims in rounds:
        process.run({cpu: touches(number) for number, cpu in enumerate(cpus)})
        process.run(
            {
                cpu: partial(space.perform, operation=Munmap(BASE + victim * LEAF, 40))
                for cpu, victim in zip(cpus, victims, strict=True)
            }
        )
        nothing_is_lost(process)
    assert not list(space.root.present_entries())


def test_do_bits_and_entries_go_to_whoever_frees_and_come_back() -> None:
    """Cpu 8 unmaps what cpu 0 has touched: the lines of bits and entries go there, and come back with the
    next page that cpu 0 takes; what cpu 0 has reserved stays where it is."""
    process = linux(9)
    fill(process, 40)
    frame = next(entry.frame for _, entry in process.space.root.present_entries())
    part = pages_of(process).parts[0]
    assert isinstance(part, Trees)
    near, far = process.cpus[0], process.cpus[8]
    area = frame >> 9
    bits, entries = part.lower._bit_line(area, near), part.lower._entry_line(area, near)
    assert bits.exclusive_to(near)
    assert entries.exclusive_to(near)
    process.do(("munmap", BASE, 40), cpu=8)
    process.do(("mmap", 1, BASE), ("munmap", BASE, 1))  # cpu 0 drains its batch, which kept some of them
    assert bits.held_by(near) or bits.held_by(far)
    fill(process, 4)
    assert bits.exclusive_to(near)


def test_does_the_shipped_design_run() -> None:
    changes = {"threads": [8], "designs": ["linux-6.13", "linux-6.13-llfree"], "workloads": ["mmap-pf"]}
    buddy, llfree = (
        run_point(point) for point in load("quickstart", changes | {"placements": ["low"]}).points
    )
    assert (buddy.row.error, llfree.row.error) == ("", "")
    assert buddy.row.operations == llfree.row.operations
    assert "lock: zone" not in llfree.breakdown
    assert "lock: zone" in buddy.breakdown


@pytest.mark.parametrize("name", ["llfree", "list-cas"])
def test_is_an_allocator_without_its_costs_refused(name: str) -> None:
    none = {"llfree": None, "frame_list": None}
    with pytest.raises(ValueError, match=f"`page_allocator: {name}` needs its costs"):
        Process("linux", changes={"page_allocator": name, **none})
