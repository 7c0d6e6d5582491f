"""Page allocators that any design can have: is no block given twice, and does what they count agree?"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import BASE, LEAF, Process
from machines import run, small_machine

from sim.engine import Steps
from sim.errors import ModelError
from sim.experiment import load, run_point
from sim.hardware import Cpu, Machine
from sim.mm import AllocatorName, Fork, HasAllocator, OutOfMemory, PooledAllocator, make_allocator
from sim.mm.allocators.llfree import Trees
from sim.mm.allocators.llfree.lower import AREA, HUGE, Lower, first_run
from sim.mm.invariants import check
from sim.verify.kernels import ALLOCATORS
from sim.verify.mutants import Edit, Mutant

NAMES: list[AllocatorName] = ["buddy", "llfree", "list-locked", "list-cas", "list-local"]
SMALL: dict[str, Any] = {"memory": {"size_per_socket": "16 MiB"}, "topology": {"sockets": 1, "numa_nodes": 1}}
"""4096 frames on one node: eight areas, two trees of four."""


def made(name: AllocatorName, cpus: int = 3, children: int = 4) -> tuple[Machine, PooledAllocator]:
    machine = small_machine(SMALL, online=cpus)
    raw = ALLOCATORS | {"llfree": ALLOCATORS["llfree"] | {"tree_children": children}}
    return machine, make_allocator(machine, name, HasAllocator.model_validate(raw))


def lives(
    pages: PooledAllocator, seed: int, orders: list[int], rounds: int, pool: list[tuple[int, int]]
) -> Any:
    """Takes blocks, and gives back some that anybody has taken, from *pool*; all of them at the end."""
    draw = Random(seed)

    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(rounds):
            if draw.random() < 0.55:
                order = draw.choice(orders)
                try:
                    frame = yield from pages.allocate(cpu, order)
                except OutOfMemory:
                    continue
                pool.append((frame, order))
            elif pool:
                frame, order = pool.pop(draw.randrange(len(pool)))
                yield from pages.free(cpu, frame, order)
        while pool:
            frame, order = pool.pop()
            yield from pages.free(cpu, frame, order)
        if cpu.pending:
            yield cpu.take_pending()

    return body


@pytest.mark.ci
@settings(max_examples=40)
@given(st.sampled_from(NAMES), st.integers(0, 10**6), st.sampled_from([[0], [0, 0, 3, 9], list(range(11))]))
def test_is_no_block_given_twice_and_everything_free_in_the_end(
    name: AllocatorName, seed: int, orders: list[int]
) -> None:
    """Owners refuse a frame that somebody has (`FrameTable.add`), as do bits one that is set."""
    machine, pages = made(name)
    pool: list[tuple[int, int]] = []
    run(machine, {number: lives(pages, seed + number, orders, 60, pool) for number in range(3)})
    check(pages, {})
    assert sum(part.free_frames for part in pages.parts) == 4096


@pytest.mark.parametrize("name", NAMES)
def test_is_each_frame_given_once_before_memory_is_out(name: AllocatorName) -> None:
    machine, pages = made(name)
    taken: list[int] = []

    def body(cpu: Cpu) -> Steps[None]:
        while True:
            frame = yield from pages.allocate(cpu)
            taken.append(frame)

    with pytest.raises(OutOfMemory, match="asked for 4 KiB, but node 0 has 0 B of 16 MiB left"):
        run(machine, {0: body})
    assert sorted(taken) == list(range(4096))


@given(st.integers(0, (1 << 64) - 1), st.integers(0, 6))
def test_is_the_first_aligned_run_of_zeros_found(bits: int, order: int) -> None:
    size = 1 << order
    runs = (at for at in range(0, 64, size) if not bits >> at & ((1 << size) - 1))
    assert first_run(bits, 64, order) == next(runs, -1)


def trees_of(pages: PooledAllocator) -> Trees:
    (part,) = pages.parts
    assert isinstance(part, Trees)
    return part


def churned(children: int = 4) -> tuple[Machine, PooledAllocator, list[tuple[int, int]]]:
    """LLFree of which three cpus have taken nearly all, and of which the others' has come back."""
    machine, pages = made("llfree", children=children)
    held: list[tuple[int, int]] = []

    def takes(cpu: Cpu) -> Steps[None]:
        for _ in range(1300):
            frame = yield from pages.allocate(cpu)
            held.append((frame, 0))
        if cpu.pending:
            yield cpu.take_pending()

    def gives(cpu: Cpu) -> Steps[None]:
        for _ in range(1500):
            frame, order = held.pop(0)
            yield from pages.free(cpu, frame, order)
        for _ in range(600):
            frame = yield from pages.allocate(cpu)
            held.append((frame, 0))
        if cpu.pending:
            yield cpu.take_pending()

    run(machine, dict.fromkeys(range(3), takes))
    run(machine, {1: gives})
    run(machine, {2: gives})
    return machine, pages, held


def synced() -> PooledAllocator:
    """A core has taken nearly all of its tree, another has given most of that back, and it takes more."""
    machine, pages = made("llfree", cpus=2)
    held: list[int] = []

    def takes(number: int) -> Any:
        def body(cpu: Cpu) -> Steps[None]:
            for _ in range(number):
                frame = yield from pages.allocate(cpu)
                held.append(frame)
            if cpu.pending:
                yield cpu.take_pending()

        return body

    def gives(cpu: Cpu) -> Steps[None]:
        for _ in range(1500):
            yield from pages.free(cpu, held.pop())
        if cpu.pending:
            yield cpu.take_pending()

    run(machine, {0: takes(2000)})
    run(machine, {1: gives})
    run(machine, {0: takes(200)})
    return pages


def test_does_a_core_get_what_others_have_given_back_to_its_tree() -> None:
    trees = trees_of(synced())
    local = trees.locals[0]
    assert (local.tree, local.free, trees.free[0]) == (0, 2048 - 2000 + 1500 - 200, 0)
    assert list(trees.contradictions()) == []


def test_do_words_locals_entries_and_bits_agree_when_trees_have_changed_hands() -> None:
    _, pages, held = churned()
    trees = trees_of(pages)
    assert list(trees.contradictions()) == []
    assert trees.free_frames == 4096 - len(held)


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        (Trees._let_go, "    self.free[tree] += rest\n", ""),
        (Trees._swap, "found, self.free[tree] = self.free[tree], 0", "found = self.free[tree]"),
        (Trees._sync, "found, self.free[tree] = self.free[tree], 0", "found = self.free[tree]"),
        (Lower._clear, "        self.bits[area] = bits ^ run\n", "        pass\n"),
    ],
)
def test_is_a_count_that_goes_wrong_found(function: Any, old: str, new: str) -> None:
    """What is left of a tree is lost, or counted by two, or a bit stays set."""
    with Mutant("here", "counts", [Edit(function, old, new)]).applied():
        try:
            pages = synced() if function is Trees._sync else churned()[1]
        except ModelError:
            return  # somebody got what is not there
        assert list(trees_of(pages).contradictions())


def test_is_a_part_of_a_huge_page_given_back_alone() -> None:
    """What was taken whole is 512 frames from then on (partial_put_huge)."""
    machine, pages = made("llfree")
    trees = trees_of(pages)

    def body(cpu: Cpu) -> Steps[None]:
        frame = yield from trees.get(cpu, 9)
        assert trees.lower.entries[frame >> 9] == HUGE
        yield from trees.put(cpu, frame + 64, 3)
        assert trees.lower.entries[frame >> 9] == 8
        assert (yield from trees.get(cpu, 3)) != frame
        if cpu.pending:
            yield cpu.take_pending()

    run(machine, {0: body})
    assert list(trees.contradictions()) == []
    with pytest.raises(ModelError, match="is given back and is free"):
        trees.put_now(machine.cpus[0], AREA * 5, 0)


def test_are_counts_made_of_bits_after_a_crash() -> None:
    """Whatever entries, words and reservations say: the bits are right."""
    _, pages, held = churned()
    trees = trees_of(pages)
    trees.lower.entries[0] = 77
    trees.free[1] += 5
    assert len(list(trees.contradictions())) >= 2
    trees.recover()
    assert list(trees.contradictions()) == []
    assert trees.free_frames == sum(trees.free) == 4096 - len(held)


def test_does_a_core_that_frees_to_one_tree_reserve_it() -> None:
    """Three frees in a row to a tree that has more than 1024 frames left: the next ones are its own."""
    machine, pages = made("llfree", cpus=2)
    trees = trees_of(pages)
    frames: list[int] = []

    def takes(cpu: Cpu) -> Steps[None]:
        for _ in range(8):
            frame = yield from pages.allocate(cpu)
            frames.append(frame)
        trees.free[trees.locals[0].tree] += trees.locals[0].free  # it goes away, and its core with it
        trees.reserved[trees.locals[0].tree] = False
        trees.locals[0].tree, trees.locals[0].free = -1, 0
        if cpu.pending:
            yield cpu.take_pending()

    def gives(cpu: Cpu) -> Steps[None]:
        for frame in frames:
            yield from pages.free(cpu, frame)
        if cpu.pending:
            yield cpu.take_pending()

    run(machine, {0: takes})
    assert trees.locals[1].tree == -1
    run(machine, {1: gives})
    assert trees.locals[1].tree == frames[0] // 2048
    assert list(trees.contradictions()) == []


@pytest.mark.parametrize("kind", ["linux", "adv", "radix"])
@pytest.mark.parametrize("name", NAMES)
def test_has_each_design_any_of_them(kind: str, name: AllocatorName) -> None:
    """Pages are mapped, unmapped by another cpu, and nothing is lost; `Process` checks the end."""
    changes = {**ALLOCATORS, "page_allocator": name}
    process = Process(kind, changes=changes, machine={"memory": {"size_per_socket": "16 MiB"}})
    touches = [("touch", BASE + page) for page in range(40)]
    process.do(("mmap", LEAF, BASE), *touches)
    process.do(("munmap", BASE, 20), cpu=1)
    process.do(("mmap", 30, BASE + LEAF), *(("touch", BASE + LEAF + page) for page in range(30)))
    if kind != "radix":
        process.run({0: lambda cpu: _forks(process, cpu)})
    process.end()
    memory = process.kernel.memory
    assert memory is not None
    assert list(memory.contradictions()) == []


def _forks(process: Process, cpu: Cpu) -> Steps[None]:
    child = yield from process.space.perform(cpu, Fork())
    process.spaces.append(child)


def latency(design: str, workload: str, placement: str, threads: int) -> float:
    changes = {"machine": "xeon-5320", "threads": [threads], "designs": [design], "workloads": [workload]}
    (point,) = load("quickstart", changes | {"placements": [placement]}).points
    outcome = run_point(point)
    assert not outcome.row.error
    return outcome.row.latency_mean_ns


@pytest.mark.ci
def test_does_llfree_lose_to_the_buddy_where_its_list_can_recycle() -> None:
    assert latency("llfree", "repeat", "order-0", 1) > 1.3 * latency("linux-buddy", "repeat", "order-0", 1)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 4, 26])
def test_is_the_allocator_not_what_faults_wait_for(threads: int) -> None:
    """LLFree under Linux changes the fault benchmark by at most 6 %."""
    found = [
        latency(design, "pft-one-vma", "threads", threads) for design in ("linux-6.0", "linux-6.0-llfree")
    ]
    assert found[1] == pytest.approx(found[0], rel=0.06)
