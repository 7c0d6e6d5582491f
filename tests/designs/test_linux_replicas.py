"""Page tables of each node: who walks which, who is told of a change, and who is interrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

from sim.designs import DesignSpec
from sim.engine import Activity, Steps
from sim.errors import RuleError
from sim.hardware import Cpu
from sim.mm import READ, Present, slot_of
from sim.verify.kernels import BASE, LEAF, design
from sim.verify.variants import LATR, NODES
from tests.kernels import Process

US = 1_000_000
NUMAPTE: dict[str, Any] = {"method": "numapte", "follow": "10 cycles", "look": "10 cycles"}
MITOSIS = NUMAPTE | {"method": "mitosis"}


def work(length: int, cpu: Cpu) -> Steps[None]:
    cpu.work(length, Activity("user"))
    yield cpu.take_pending()


class Nodes(Process):
    """Four cpus, each a node. Cpu 0 has made a mapping at BASE and written its pages; the other threads
    compute while one works."""

    def __init__(self, replicas: Mapping[str, Any], pages: int = 1) -> None:
        super().__init__("linux", spec=spec_of(replicas), cpus=4, machine=NODES)
        self.do(("mmap", pages, BASE), *[("touch", BASE + each) for each in range(pages)])

    def run(self, bodies: Mapping[int, Callable[[Cpu], Steps[None]]], wakes_elsewhere: Any = ()) -> None:
        self.machine.tally.ipis = 0
        super().run({**dict.fromkeys(range(4), partial(work, 40 * US)), **bodies})

    def entries(self, node: int, page: int = BASE) -> Present | None:
        """What the table of *node* says of *page*."""
        entry: Present | None = self.space.replicas.roots[node].walk(page)
        return entry


def spec_of(replicas: Mapping[str, Any], **changes: Any) -> DesignSpec:
    return design("linux", {"replicas": dict(replicas), **changes})


OPERATIONS = [("munmap", BASE, 1), ("mprotect", BASE, 1, READ), ("discard", BASE, 1)]


@pytest.mark.parametrize("readers", [(), (2,), (1, 3)])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_are_cpus_interrupted_of_nodes_that_have_the_table(
    readers: tuple[int, ...], operation: tuple[Any, ...]
) -> None:
    process = Nodes(NUMAPTE)
    for cpu in readers:
        process.do(
            (
                "touch",
                BASE,
            ),
            cpu=cpu,
        )
    process.do(operation)
    assert process.machine.tally.ipis == len(readers)
    assert process.translators(BASE) == []
    process.end()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_does_mitosis_interrupt_all(operation: tuple[Any, ...]) -> None:
    process = Nodes(MITOSIS)
    process.do(operation)
    assert process.machine.tally.ipis == 3
    process.end()


def test_is_the_owner_asked_even_if_it_has_never_looked() -> None:
    """The mapping is of node 0, so its table is there, whoever has touched the page."""
    process = Process("linux", spec=spec_of(NUMAPTE), cpus=4, machine=NODES)
    process.do(("mmap", 1, BASE))
    process.do(("touch", BASE), cpu=2)
    trees = process.space.replicas
    assert [trees.roots[node].walk(BASE) is not None for node in range(4)] == [True, False, True, False]
    process.end()


@pytest.mark.parametrize(("replicas", "nodes"), [(NUMAPTE, [0]), (MITOSIS, [0, 1, 2, 3])])
def test_who_has_a_page_that_one_node_has_touched(replicas: dict[str, Any], nodes: list[int]) -> None:
    process = Nodes(replicas)
    assert [node for node in range(4) if process.entries(node) is not None] == nodes
    frames = [
        process.machine.spec.topology.socket_of_node(process.kernel.pages.node(process.cpus[0], table.frame))
        for node in nodes
        for table in process.space.replicas.roots[node].tables()
        if table.frame >= 0
    ]
    assert frames == [node for node in nodes for _ in range(3)], "each table lies on its node"


def test_does_a_change_reach_a_node_that_has_the_table() -> None:
    """Page 1 is written by cpu 0 when node 2 has a table already, so it needs no fault there."""
    process = Nodes(NUMAPTE)
    process.do(("mmap", 2, BASE + 8))
    process.do(("touch", BASE), cpu=2)
    assert process.entries(2, BASE + 8) is None
    process.do(("touch", BASE + 8))
    assert process.entries(2, BASE + 8) is process.entries(0, BASE + 8)
    process.do(("mprotect", BASE + 8, 2, READ))
    entry = process.entries(2, BASE + 8)
    assert entry is not None
    assert not entry.writable


@pytest.mark.parametrize(("prefetch", "copied"), [(0, 1), (2, 4), (3, 6), (9, 6)])
def test_how_many_entries_does_a_new_table_begin_with(prefetch: int, copied: int) -> None:
    """Those of the mapping alone, which has six pages."""
    process = Nodes({**NUMAPTE, "prefetch": prefetch}, pages=6)
    process.do(("touch", BASE + 1), cpu=3)
    assert sum(process.entries(3, BASE + each) is not None for each in range(6)) == copied


def test_are_neighbours_of_two_nodes_one_vma() -> None:
    process = Nodes(NUMAPTE)
    process.do(("mmap", 1, BASE + 1), cpu=1)
    process.do(("mmap", 1, BASE + 2), cpu=1)
    assert [(vma.pages, vma.area.node) for vma in process.space.tree] == [(1, 0), (2, 1)]


def test_does_the_last_mapping_take_the_tables_of_all_nodes() -> None:
    process = Nodes(NUMAPTE, pages=2)
    process.do(("touch", BASE), cpu=1)
    process.do(("munmap", BASE, 2), cpu=3)
    assert [sum(1 for _ in root.tables()) for root in process.space.roots()] == [1, 1, 1, 1]
    process.end()


def test_do_entries_move_with_a_mapping_and_not_with_its_table() -> None:
    process = Nodes(NUMAPTE, pages=LEAF)
    process.do(("touch", BASE), cpu=1)
    to = BASE + 4 * LEAF
    process.do(("mremap", BASE, LEAF, LEAF, True, to))
    assert process.entries(1) is None
    process.do(("touch", to), cpu=1)
    assert process.entries(1, to) is process.entries(0, to)
    assert slot_of(to, 1) == 0


def test_is_a_cpu_that_was_not_asked_behind() -> None:
    """The next flush that it is told of is one of everything: what it has of other pages goes, too."""
    process = Nodes(NUMAPTE)
    process.do(("mmap", 1, BASE + 4 * LEAF), ("touch", BASE + 4 * LEAF))
    process.do(("mmap", 1, BASE + 8 * LEAF), ("touch", BASE + 8 * LEAF), cpu=2)
    process.do(("touch", BASE), cpu=2)
    process.do(("munmap", BASE + 4 * LEAF, 1))  # nothing of node 2
    assert BASE + 8 * LEAF in process.cpus[2].tlb.frames()
    process.do(("munmap", BASE, 1))
    assert BASE + 8 * LEAF not in process.cpus[2].tlb.frames()


@pytest.mark.parametrize(
    "changes",
    [
        {"huge_pages": {"thp": "always"}},
        {"huge_pages": {"pool": 1}},
        {"flush": {"method": "broadcast", "broadcast_from": 2}},
        {"latr": {**LATR, "slots": 4}},
        {"vma_lock": "recheck", "vma_index": "bonsai"},
    ],
)
def test_what_do_replicas_not_go_with(changes: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="page tables of each node") as refused:
        spec_of(NUMAPTE, **changes)
    assert any(isinstance(each["ctx"]["error"], RuleError) for each in refused.value.errors())  # type: ignore[attr-defined]
