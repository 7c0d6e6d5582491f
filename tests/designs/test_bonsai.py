"""Is the tree of Bonsai balanced whatever comes, do readers keep their version, who takes which lock?"""

from __future__ import annotations

from random import Random
from typing import cast

import pytest
from kernels import Process

from sim.designs import DesignSpec
from sim.designs.linux.vma_indexes import balanced
from sim.designs.linux.vma_indexes.balanced import Node, Update
from sim.engine import Probe, Steps
from sim.files import load_spec
from sim.hardware import Cpu
from sim.mm import Mmap, Munmap, Touch


class Range:
    """As much of a VMA as the tree knows."""

    def __init__(self, start: int) -> None:
        self.start, self.end = start, start + 1


@pytest.mark.parametrize("seed", range(5))
def test_is_the_tree_balanced_and_in_order_after_each_update(seed: int) -> None:
    """So many updates at random places; a search is never deeper than the balance allows."""
    random, root, held = Random(seed), None, dict[int, Range]()
    for _ in range(400):
        update, at = Update(), random.randrange(200)
        if at in held:
            root = update.remove(root, held.pop(at))  # type: ignore[arg-type]
        else:
            held[at] = Range(at)
            root = update.insert(root, held[at])  # type: ignore[arg-type]
        assert list(balanced.contradictions(root)) == []
        assert [node.vma.start for node in balanced.in_order(root)] == sorted(held)
    depth = max(len(list(balanced.path_to(root, at))) for at in held)
    assert depth <= 2.5 * len(held).bit_length()


def test_does_an_update_leave_the_old_tree_as_it_was() -> None:
    """It makes nodes along its path only, and says which of the old ones are in the new tree no more."""
    root: Node | None = None
    for at in range(64):
        root = Update().insert(root, Range(at))  # type: ignore[arg-type]
    before = list(balanced.in_order(root))
    shapes = [(node.left, node.right) for node in before]
    update = Update()
    after = update.insert(root, Range(1000))  # type: ignore[arg-type]
    assert list(balanced.in_order(root)) == before
    assert [(node.left, node.right) for node in before] == shapes
    new = set(balanced.in_order(after))
    assert set(before) - new == set(update.gone)
    assert new - set(before) == set(update.made)
    assert len(update.made) <= 10


class Locks(Probe):
    """How often mmap_lock was taken, by mode."""

    def __init__(self) -> None:
        self.taken = {"read": 0, "write": 0}

    def lock_acquired(self, lock: object, cpu: object, mode: str) -> None:
        if getattr(lock, "name", "") == "mmap_lock":
            self.taken[mode] += 1


def test_does_a_page_go_round_without_mmap_lock_for_reading() -> None:
    """Twice for writing, by mmap and munmap; Linux 2.6.37 takes it three times."""
    for name, read in (("bonsai-2.6.37", 0), ("linux-2.6.37", 1)):
        locks = Locks()
        spec = cast(DesignSpec, load_spec("design", name).spec)
        process = Process("linux", cpus=1, spec=spec, listeners=[locks])

        def body(cpu: Cpu, process: Process = process) -> Steps[None]:
            for operation in (Mmap(1, 1 << 20), Touch([1 << 20]), Munmap(1 << 20, 1)):
                yield from process.space.perform(cpu, operation)

        process.run({cpu.id: body for cpu in process.cpus})
        assert locks.taken == {"read": read, "write": 2}
