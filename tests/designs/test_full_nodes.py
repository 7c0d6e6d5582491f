"""What happens when a node has no page left?"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from kernels import BASE, LEAF, Process, frames_in_use

from sim.designs.linux import LinuxKernel
from sim.mm import FrameMap, OutOfMemory, node_policy
from sim.mm.policy_spec import Bind

SMALL: dict[str, Any] = {"memory": {"size_per_socket": "8 MiB"}}
"""Two nodes of 2048 pages."""
NPS2: dict[str, Any] = {"memory": {"size_per_socket": "8 MiB"}, "topology": {"numa_nodes": 4}}
"""Four nodes of 1024 pages."""


def process(kind: str, policy: Any = None, machine: Any = SMALL, **options: Any) -> Process:
    process = Process(kind, machine=machine, **options)
    if policy is not None:
        process.kernel.place_memory(node_policy(policy, process.machine.spec.topology))
    return process


def fill(process: Process, pages: int, cpu: int = 0, at: int = BASE) -> Counter[int]:
    """Map and touch *pages* pages; how many of them lie on each node."""
    process.do(("mmap", pages, at), *(("touch", at + page) for page in range(pages)), cpu=cpu)
    frames = FrameMap(process.machine.spec)
    walked = [process.space.root.walk(at + page) for page in range(pages)]
    return Counter(frames.node(mapping.frame, 0) for mapping in walked)


def nothing_is_lost(process: Process, at: int, pages: int) -> None:
    """Unmap all: every page of the machine is free, or a table's, or waits in a batch, as the checks say."""
    process.do(("munmap", at, pages))
    process.end()
    assert not list(process.space.root.present_entries())


@pytest.mark.parametrize(("cpu", "own"), [(0, 0), (8, 1)])
def test_does_first_touch_go_on_with_the_next_node(cpu: int, own: int) -> None:
    filled = process("linux", cpus=9)
    nodes = fill(filled, 3000, cpu)
    assert 1700 < nodes[own] < 2048  # what else there is: slabs, and the batches of nine cpus
    assert nodes[own] + nodes[1 - own] == 3000
    nothing_is_lost(filled, BASE, 3000)


def test_does_it_go_to_the_other_node_of_the_socket_first() -> None:
    nodes = fill(process("linux", machine=NPS2, cpus=16), 3500, cpu=12)
    assert nodes[3] > 900
    assert nodes[2] > 900
    assert {node: count > 900 for node, count in nodes.items()} == {3: True, 2: True, 1: True, 0: False}


def test_does_a_page_that_comes_from_afar_go_back_there() -> None:
    filled = process("linux")
    fill(filled, 3000)
    filled.do(("munmap", BASE, 3000))
    assert isinstance(filled.kernel, LinuxKernel)
    near, far = filled.kernel.pages.zones
    assert near.buddy.free_frames > 1900
    assert far.buddy.free_frames > 1900


@pytest.mark.parametrize("kind", ["linux", "rw", "adv"])
def test_is_bound_memory_refused_rather_than_taken_elsewhere(kind: str) -> None:
    filled = process(kind, Bind(bind=1))
    with pytest.raises(
        OutOfMemory,
        match=r"^cpu 0 asked for 4 KiB, but node 1 has 0 B of 8 MiB left \(.*memory is bound to node 1\)",
    ):
        fill(filled, 2100)


def test_does_interleaving_go_on_with_the_node_that_has_pages() -> None:
    """First half of node 1 is taken; then both in turn until that is full, and node 0 takes the rest."""
    filled = process("linux", Bind(bind=1))
    fill(filled, 1000, at=BASE + 8 * LEAF)
    filled.kernel.place_memory(node_policy("interleave", filled.machine.spec.topology))
    nodes = fill(filled, 2500)
    assert nodes[1] == pytest.approx(1040, abs=12)
    nothing_is_lost(filled, BASE, 8 * LEAF + 1000)


@pytest.mark.parametrize("kind", ["rw", "adv"])
def test_does_cortenmm_use_the_memory_of_all_nodes(kind: str) -> None:
    """By itself it takes frames in the order of their addresses; placed, it follows the list of the node."""
    by_itself = fill(process(kind), 3500)
    assert by_itself[0] > 2000
    assert by_itself[1] > 1400
    assert fill(process(kind, "interleave"), 3500)[1] == pytest.approx(1750, abs=8)
    placed = process(kind, machine=NPS2)
    placed.kernel.place_memory(_Preferred(2))
    nodes = fill(placed, 3000)
    assert nodes[2] > 1000
    assert nodes[3] > 1000
    assert nodes[0] > 900
    assert nodes[1] == 0


class _Preferred:
    """MPOL_PREFERRED: always begins at one node, and is not strict about it."""

    strict = False

    def __init__(self, first: int) -> None:
        self._first = first

    def node(self, cpu: Any) -> int:
        return self._first


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("linux", "cpu 0 asked for 4 KiB, but node 0 has 0 B of 8 MiB left, node 1 has 0 B of 8 MiB left"),
        ("adv", "cpu 0 asked for 4 KiB, but the machine has 0 B of 16 MiB left"),
    ],
)
def test_what_is_said_when_nothing_is_left(kind: str, message: str) -> None:
    with pytest.raises(OutOfMemory, match=message):
        fill(process(kind), 4096)


def test_are_the_lists_of_other_cpus_drained_before_memory_is_out() -> None:
    """Cpu 1 leaves free pages on its lists; cpu 0 gets every page but those that somebody owns."""
    filled = process("linux", changes={"limits": {"pcp_batch": 200, "pcp_high": 800}})
    fill(filled, 300, cpu=1)
    filled.do(("munmap", BASE, 300), cpu=1)
    assert isinstance(filled.kernel, LinuxKernel)
    allocator = filled.kernel.pages
    assert sum(len(zone.pcp[1]) for zone in allocator.zones) > 200
    with pytest.raises(OutOfMemory):
        fill(filled, 4096, at=BASE + 16 * LEAF)
    assert frames_in_use(allocator) == 4096


def test_does_a_full_zone_cost_a_look_and_not_its_lock() -> None:
    filled = process("linux")
    fill(filled, 3000)
    assert isinstance(filled.kernel, LinuxKernel)
    allocator = filled.kernel.pages
    full = allocator.zones[0]
    full.lock = None  # type: ignore[assignment]
    full.free_lists = watched = _Reads()  # type: ignore[assignment]
    fill(filled, 200, at=BASE + 16 * LEAF)
    assert watched.reads >= 200


class _Reads:
    """A line that only says how often it is read."""

    reads = 0

    def read(self, cpu: Any, activity: str) -> Any:
        self.reads += 1
        return iter(())
