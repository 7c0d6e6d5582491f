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
from sim.mm.policy_spec import Bind

LLFREE: dict[str, Any] = {
    "page_allocator": "llfree",
    "llfree": {
        "tree_pages": 64,
        **dict.fromkeys(("get", "put", "huge_get", "huge_put", "reserve"), "10 cycles"),
    },
}
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
@pytest.mark.ci
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


def test_does_a_cpu_fetch_its_tree_after_another_has_freed_into_it() -> None:
    """Cpu 8 unmaps what cpu 0 has touched: the line of cpu 0's tree goes there and comes back."""
    process = linux(9)
    tree = pages_of(process)._trees[0][0]
    fill(process, 40)
    near = process.cpus[0]
    assert tree.line.exclusive_to(near)
    process.do(("munmap", BASE, 40), cpu=8)
    process.do(("mmap", 1, BASE), ("munmap", BASE, 1))  # cpu 0 drains its batch, which kept some of them
    assert tree.line.exclusive_to(near) or tree.line.held_by(process.cpus[8])
    fill(process, 4)
    assert tree.line.exclusive_to(near)


def test_does_the_shipped_design_run() -> None:
    changes = {"threads": [8], "designs": ["linux-6.13", "linux-6.13-llfree"], "workloads": ["mmap-pf"]}
    buddy, llfree = (
        run_point(point) for point in load("quickstart", changes | {"placements": ["low"]}).points
    )
    assert (buddy.row.error, llfree.row.error) == ("", "")
    assert buddy.row.operations == llfree.row.operations
    assert "lock: zone" not in llfree.breakdown
    assert "lock: zone" in buddy.breakdown


@pytest.mark.parametrize(
    "changes", [{"page_allocator": "llfree"}, {"llfree": LLFREE["llfree"]}], ids=["no block", "no name"]
)
def test_is_half_of_it_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="`llfree` is for `page_allocator: llfree`, which needs it"):
        Process("linux", changes=changes)
