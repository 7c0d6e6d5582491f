"""Does a transaction that finds no memory end, with all as it was and nothing lost?

Each operation is run again and again: the first time the first allocation in it fails, then the second, and
so on until it needs no more than it gets. So each place is reached at which memory may be missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from contents import Files
from kernels import BASE, GIB, LEAF

from sim.designs.cortenmm.frame_alloc import FrameAllocator
from sim.designs.cortenmm.va_alloc import START_BRK
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    READ,
    READ_WRITE,
    Brk,
    Errno,
    Fork,
    Madvise,
    Mapped,
    Mincore,
    Mlock,
    Mmap,
    MmapFile,
    MmapShared,
    Mprotect,
    Mremap,
    Msync,
    Munlock,
    Munmap,
    OutOfMemory,
    Prepopulate,
    Present,
    Touch,
)

BOTH = pytest.mark.parametrize("kind", ["rw", "adv"])
AT = BASE + 2 * GIB
"""Where nothing has tables yet."""

Asked = Callable[[Files], Any]

OPERATIONS: dict[str, Asked] = {
    "mmap": lambda files: Mmap(2 * LEAF + 5, AT + 3),
    "mmap over what is there": lambda files: Mmap(GIB, BASE - 7),
    "mmap anywhere": lambda files: Mmap(3 * LEAF),
    "mmap of shared memory": lambda files: MmapShared(LEAF + 7, AT + 3),
    "mmap of a file": lambda files: MmapFile(files.files[0], LEAF + 9, at=AT + LEAF - 3),
    "munmap of a part": lambda files: Munmap(BASE + 3 * GIB + 9, LEAF + 5),
    "mprotect of a part": lambda files: Mprotect(BASE + 3 * GIB + 9, LEAF + 5, READ),
    "madvise": lambda files: Madvise(BASE + 3 * GIB + 9, 5),
    "mincore": lambda files: Mincore(BASE + 3 * GIB + 9, 5),
    "msync": lambda files: Msync(BASE + 3 * GIB + 9, 5),
    "brk": lambda files: Brk(START_BRK + LEAF + 3),
    "mremap that grows": lambda files: Mremap(BASE, 9, 2 * LEAF + 3, may_move=False),
    "mremap that moves": lambda files: Mremap(BASE, 9, 2 * LEAF, to=AT + 3),
    "mremap of marks": lambda files: Mremap(BASE + 3 * GIB + 9, LEAF + 7, LEAF + 7, to=AT + 3),
    "mremap of a file": lambda files: Mremap(BASE + 6 * GIB, 20, 20, to=AT + LEAF - 3),
    "mremap that keeps": lambda files: Mremap(BASE, 9, 9, to=AT + 3, keep=True),
    "mlock": lambda files: Mlock(BASE + 3 * GIB + 9, LEAF + 5, on_fault=True),
    "mlock of a page": lambda files: Mlock(BASE + 3 * GIB + 9, 1),
    "munlock": lambda files: Munlock(BASE + 3 * GIB + 9, LEAF + 5),
    "fork": lambda files: Fork(),
    "prepopulate": lambda files: Prepopulate(BASE + 3 * GIB, LEAF),
    "a write": lambda files: Touch([BASE + 3 * GIB + 2 * LEAF]),
    "a write to shared memory": lambda files: Touch([BASE + 5 * GIB + 4]),
    "a read of a file": lambda files: Touch([BASE + 6 * GIB + 4], write=False),
}

NEEDS_NONE_IN_RW = {"madvise", "mincore", "msync"}
"""The walk of rw makes no tables."""


class Short(Files):
    """A process with all kinds of memory, whose transactions have a single table at hand. *files* has a file
    with holes."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind=kind, changes={"limits": {"table_pool_low": 0, "table_pool_full": 1}})
        self.files = [self.file(LEAF + 20)]
        self.do(
            Mmap(9, BASE),
            Touch(range(BASE, BASE + 5)),
            Mmap(GIB, BASE + 3 * GIB),
            Mmap(GIB, BASE + 4 * GIB),
            MmapShared(GIB, BASE + 5 * GIB),
            MmapFile(self.files[0], 20, at=BASE + 6 * GIB, shared=True),
        )

    def empty_the_pool(self) -> None:
        """No table is at hand."""

        def step(cpu: Cpu) -> Steps[None]:
            pool = self.kernel.table_pool[cpu.id]
            while pool:
                self.kernel.frames.free(cpu, pool.pop())
            return
            yield

        self.run(step)

    def attempt(self, asked: Any) -> Any:
        """The answer; the exception where it is one."""

        def step(cpu: Cpu) -> Steps[Any]:
            try:
                answer = yield from self.space.perform(cpu, asked)
            except OutOfMemory as error:
                return error
            if isinstance(asked, Fork) and not isinstance(answer, Errno):
                self.process.spaces.append(answer)
            return answer

        (answer,) = self.run(step)
        return answer

    def mappings(self) -> tuple[list[Mapped], dict[int, Present]]:
        """What is mapped, and what is there of it."""
        return list(self.space.mappings()), dict(self.space.root.present_entries())

    def use(self) -> None:
        """Another cpu finds nothing locked: all of the memory is one transaction."""
        self.do(Mprotect(0, 1 << 35, READ_WRITE), Munmap(0, 1 << 35), cpu=1)
        assert not list(self.space.mappings())
        self.do(Mmap(8, BASE), Touch([BASE]), cpu=1)
        self.end()


@BOTH
@pytest.mark.parametrize("name", OPERATIONS)
def test_does_what_finds_no_memory_leave_all_as_it_was(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocate, left = FrameAllocator.allocate, 1 << 40

    def fails(frames: FrameAllocator, cpu: Cpu) -> Steps[int]:
        nonlocal left
        left -= 1
        if left < 0:
            raise OutOfMemory("none is left for this test")
        return (yield from allocate(frames, cpu))

    monkeypatch.setattr(FrameAllocator, "allocate", fails)
    failed = 0
    for limit in range(40):
        files, left = Short(kind), 1 << 40
        asked, before = OPERATIONS[name](files), files.mappings()
        files.empty_the_pool()
        left = limit
        answer = files.attempt(asked)
        left = 1 << 40
        if isinstance(answer, OutOfMemory) or answer in (Errno.ENOMEM, Errno.EAGAIN):
            failed += 1
            assert files.mappings() == before
            files.use()
        elif isinstance(asked, Brk) and answer == START_BRK:
            failed += 1
            assert files.mappings() == before
        else:
            files.use()
            break
    else:
        pytest.fail(f"{name} needs more than 40 frames")
    assert failed or (kind == "rw" and name in NEEDS_NONE_IN_RW)
