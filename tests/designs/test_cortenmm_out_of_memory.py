"""Does a transaction that finds no memory end, with all as it was and nothing lost?

Each operation is run again and again: the first time the first allocation in it fails, then the second, and
so on until it needs no more than it gets. So each place is reached at which memory may be missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from contents import Files
from kernels import BASE, EVERY_CORTENMM, GIB, LEAF

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

EVERY_KIND = pytest.mark.parametrize("kind", [kind for kind in EVERY_CORTENMM if kind != "nontransactional"])
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

NEEDS_NONE = {
    "rw": {"madvise", "mincore", "msync"},
    "coarse": {"madvise", "mincore", "msync"},
    "optimistic": {"mincore", "msync"},
}
"""The walk of rw and coarse makes no tables, and who only looks at versions has no lock."""
IN_PARTS = {"optimistic": {"prepopulate"}}
"""What is done page by page: those before stay as they are then."""
NOT_IN_ASTERINAS = {"mincore", "mlock", "mlock of a page", "munlock"}
FAULTS_PAGES = {"a read of a file"}
"""What brings in pages one by one, of which those before stay."""
ENOUGH = 1 << 40
MOST = 40
"""Frames that an operation needs at most."""


class Short(Files):
    """A process whose transactions have a single table at hand, with all kinds of memory, or, if *small*,
    with none. *files* has a file with holes."""

    def __init__(self, kind: str, *, small: bool = False, **options: Any) -> None:
        changes = {"limits": {"table_pool_low": 0, "table_pool_full": 1}}
        super().__init__(kind=kind, changes=changes, **options)
        self.files = [self.file(LEAF + 20)]
        if small:
            return
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


class Memory:
    """How many more frames can be had."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = ENOUGH
        allocate = FrameAllocator.allocate

        def fails(frames: FrameAllocator, cpu: Cpu) -> Steps[int]:
            self.left -= 1
            if self.left < 0:
                raise OutOfMemory("none is left for this test")
            return (yield from allocate(frames, cpu))

        monkeypatch.setattr(FrameAllocator, "allocate", fails)


@EVERY_KIND
@pytest.mark.parametrize("name", OPERATIONS)
def test_does_what_finds_no_memory_leave_all_as_it_was(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory(monkeypatch)
    failed, in_parts = 0, name in IN_PARTS.get(kind, ())
    for limit in range(MOST):
        files = Short(kind)
        asked, before = OPERATIONS[name](files), files.mappings()
        files.empty_the_pool()
        memory.left = limit
        answer = files.attempt(asked)
        memory.left = ENOUGH
        if isinstance(answer, OutOfMemory) or answer in (Errno.ENOMEM, Errno.EAGAIN):
            failed += 1
            assert files.mappings() == before or in_parts
            files.use()
        elif isinstance(asked, Brk) and answer == START_BRK:
            failed += 1
            assert files.mappings() == before
        else:
            files.use()
            break
    else:
        assert in_parts, f"{name} needs more than {MOST} frames"
    assert failed or name in NEEDS_NONE.get(kind, ())


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in NOT_IN_ASTERINAS])
def test_does_what_finds_no_memory_leave_all_as_it_was_below_a_vmar(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asterinas would panic. What has no table has no page, so what only unmaps never fails."""
    memory = Memory(monkeypatch)
    for limit in range(MOST):
        files = Short("asterinas-0.18", machine={"memory": {"size_per_socket": "16 GiB"}})
        asked, before = OPERATIONS[name](files), files.mappings()
        memory.left = limit
        answer = files.attempt(asked)
        memory.left = ENOUGH
        if not isinstance(answer, OutOfMemory) and answer is not Errno.ENOMEM:
            files.use()
            return
        assert files.mappings() == before or name in FAULTS_PAGES
        files.use()
    raise AssertionError(f"{name} needs more than {MOST} frames")


@pytest.mark.parametrize(
    "asked",
    [
        lambda files: Mmap(2 * LEAF + 5, AT + 3),
        lambda files: Mmap(3 * LEAF),
        lambda files: MmapShared(LEAF + 7, AT + 3),
        lambda files: MmapFile(files.files[0], LEAF + 9, at=AT + LEAF - 3),
        lambda files: Brk(START_BRK + LEAF + 3),
    ],
)
def test_is_what_was_mapped_entry_by_entry_cleared_without_memory(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nontransactional: with all that it had done before it found none, as nobody is told of it."""
    memory = Memory(monkeypatch)
    refused = []
    for limit in range(MOST):
        files = Short("nontransactional", small=True)
        files.empty_the_pool()
        operation = asked(files)
        memory.left = limit
        answer = files.attempt(operation)
        memory.left = ENOUGH
        if answer not in (Errno.ENOMEM, START_BRK):
            break
        refused.append(limit)
        assert not list(files.space.mappings())
        files.use()
    assert len(refused) > 3


def test_does_what_was_unmapped_entry_by_entry_stay_so_without_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = Memory(monkeypatch)
    files = Short("nontransactional", small=True)
    files.do(Mmap(GIB, AT), Munmap(AT + LEAF + 1, 1), Mmap(1, AT - 1))
    files.empty_the_pool()
    memory.left = 0
    answer = files.attempt(Munmap(AT - 1, 1 + LEAF))  # a page, and a mark of 2 MiB that gets a table
    memory.left = ENOUGH
    assert answer is Errno.ENOMEM
    assert files.space.status(AT - 1) is None
    assert files.space.status(AT) is not None
    files.do(Munmap(AT, GIB))
    files.end()
