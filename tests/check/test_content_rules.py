"""What user code finds: does the model that is followed refuse what cannot be, and nothing that may be?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from checked import US, WAITING, checked
from kernels import BASE, LEAF, Process

from sim.check import Checks, Violation
from sim.check.contents import ENDS
from sim.designs.cortenmm.va_alloc import FIRST_PAGE
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import Fork, Madvise, Mmap, MmapShared, Mremap, Munmap, Operation, Touch
from sim.verify.mutants import MUTANTS

FOUND = r"an access finds what was written last \(I10\): "
EVERY = pytest.mark.parametrize("kind", ["linux", "rw", "adv", "asterinas-0.18"])


def alone(
    kind: str, operations: Sequence[Operation], in_child: Sequence[Operation] = (), **changes: Any
) -> Checks:
    """One thread does them; then a child, if there is one, does others."""
    checks = Checks()
    process = Process(kind, cpus=1, listeners=checks.listeners, changes=changes)

    def body(cpu: Cpu) -> Steps[None]:
        space = process.space
        for operation in operations:
            value = yield from space.perform(cpu, operation)
            if isinstance(operation, Fork):
                process.spaces.append(value)
        for operation in in_child:
            yield from process.load(cpu, process.spaces[-1])
            yield from process.spaces[-1].perform(cpu, operation)

    process.run({0: body})
    return checks


def reads(page: int) -> Touch:
    return Touch((page,), write=False)


LIFE = [
    Mmap(4, BASE),
    Touch((BASE, BASE + 1)),
    Madvise(BASE + 1, 1, "dontneed"),
    reads(BASE + 1),
    Mremap(BASE, 2, 2, to=BASE + LEAF),
    reads(BASE + LEAF),
    MmapShared(2, BASE),
    Touch((BASE,)),
    Fork(),
    Touch((BASE + LEAF,)),
    Touch((BASE,)),
    Munmap(BASE + 3, 1),
]


@EVERY
def test_is_all_of_a_life_followed_and_let_through(kind: str) -> None:
    checks = alone(kind, LIFE, [reads(BASE + LEAF), reads(BASE), Touch((BASE,))])
    parent, child = checks.contents.cells.values()
    assert BASE + 3 not in parent
    assert parent[BASE] is child[BASE]  # shared memory
    assert parent[BASE + LEAF].version != child[BASE + LEAF].version is not None


@pytest.mark.parametrize(
    ("name", "kind", "operations", "in_child"),
    [
        ("copy-of-something-else", "linux", [Fork(), Touch((BASE,))], [Touch((BASE,))]),
        ("madvise-skips-the-last-page", "linux", [Madvise(BASE, 4, "dontneed"), reads(BASE + 3)], []),
        ("fork-misses-the-last-page", "linux", [Fork()], [reads(BASE + 3)]),
        (
            "shared-memory-copied-by-fork",
            "rw",
            [MmapShared(4, BASE), Touch((BASE,)), Fork(), Touch((BASE,))],
            [reads(BASE)],
        ),
    ],
)
def test_is_what_cannot_be_found_refused(
    name: str, kind: str, operations: list[Operation], in_child: list[Operation]
) -> None:
    """By the content itself: each of them leaves tables, frames and TLBs that fit together."""
    before = [Mmap(4, BASE), Touch(range(BASE, BASE + 4))]
    alone(kind, [*before, *operations], in_child)
    with MUTANTS[name].applied(), pytest.raises(Violation, match=FOUND):
        alone(kind, [*before, *operations], in_child)


def test_is_a_mapping_over_another_one_refused() -> None:
    """The search for room ends one page too early."""
    operations = [Mmap(2), Mmap(1, FIRST_PAGE + 3), Mmap(2)]
    alone("adv", operations, source="rfc")
    with (
        MUTANTS["room-one-page-too-small"].applied(),
        pytest.raises(Violation, match=r"a mapping that may go anywhere replaces nothing \(I10\): "),
    ):
        alone("adv", operations, source="rfc")


@EVERY
def test_is_what_may_be_found_in_a_race_let_through(kind: str) -> None:
    """A write beside a discard may be lost or stay, and be read as one or the other by whoever comes."""

    def races(space: Any, cpu: Cpu) -> Steps[None]:
        cpu.work(cpu.id * US // 8, WAITING)
        for _ in range(6):
            if cpu.id % 2:
                yield from space.perform(cpu, Madvise(BASE - 2, 2, "dontneed"))
            yield from space.perform(cpu, Touch((BASE - 2,), write=cpu.id < 3))

    assert checked(kind, races, cpus=6).contents.cells


def test_are_the_ends_of_a_large_mapping_followed() -> None:
    checks = alone("linux", [Mmap(10 * ENDS, BASE)])
    (cells,) = checks.contents.cells.values()
    assert sorted(cells) == [*range(BASE, BASE + ENDS), *range(BASE + 9 * ENDS, BASE + 10 * ENDS)]
