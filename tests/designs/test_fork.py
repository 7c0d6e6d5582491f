"""Do a parent and a child have the same memory until one of them writes, and is nothing of a process left?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
from contents import Files
from kernels import BASE, LEAF, design
from machines import run

from sim.designs.linux import fork
from sim.designs.linux.tables import ensure_leaf_table
from sim.designs.linux.vma_indexes.maple import MapleTree
from sim.engine import Probe, Steps
from sim.engine.probe import CpuView
from sim.hardware import Cpu
from sim.mm import (
    PAGE_TABLE,
    READ,
    READ_WRITE,
    AddressSpace,
    Errno,
    Exec,
    Exit,
    Fork,
    Madvise,
    Mlock,
    Mmap,
    MmapFile,
    MmapShared,
    Mprotect,
    Munmap,
    OutOfMemory,
    PageTablePage,
    Present,
    SwitchMm,
    Vfork,
    slot_of,
)


class Family:
    """Processes that fork; each runs on a cpu of its own, the first one on cpu 0."""

    def __init__(self, cpus: int = 3, **options: Any) -> None:
        self.files = Files(cpus=cpus, **options)
        self.process = self.files.process
        self.kernel = self.files.kernel
        self.parent = self.files.space
        self.on: dict[int, Any] = dict.fromkeys(range(cpus), self.parent)

    def fork(self, onto: int, *, by: int = 0) -> Any:
        """The process on cpu *by* forks; the child runs on cpu *onto*."""
        (child,) = self.do(by, Fork())
        self.load(onto, child)
        return child

    def load(self, cpu: int, space: Any) -> None:
        self.on[cpu] = space
        self._run(cpu, lambda here: self.kernel.perform(here, SwitchMm(space)))

    def do(self, cpu: int, *operations: Any) -> list[Any]:
        return [
            self._run(cpu, lambda here, asked=asked: self.on[cpu].perform(here, asked))
            for asked in operations
        ]

    def write(self, cpu: int, page: int) -> int:
        self.files.space = self.on[cpu]
        return self._run(cpu, self.files.write(page))

    def read(self, cpu: int, *pages: int) -> list[int]:
        self.files.space = self.on[cpu]
        return [self._run(cpu, self.files.read(page)) for page in pages]

    def _run(self, cpu: int, step: Callable[[Cpu], Steps[Any]]) -> Any:
        found: list[Any] = []

        def body(here: Cpu) -> Steps[None]:
            here.tlb_catch_up()
            found.append((yield from step(here)))
            yield from self.on[cpu].deactivate(here)

        machine, bodies = self.process.machine, {cpu: body}
        for other in machine.cpus:
            other.in_kernel_wait = False
        run(machine, {each.id: bodies.get(each.id, _nothing) for each in machine.cpus})
        if isinstance(found[0], AddressSpace):
            self.process.spaces.append(found[0])
            if not list(self.on[cpu].tree):  # exec
                self.on[cpu] = found[0]
        self.verify()
        return found[0]

    def verify(self) -> None:
        loaded: dict[Any, list[Cpu]] = {space: [] for space in self.process.spaces}
        for cpu in self.process.cpus:
            loaded[self.on[cpu.id]].append(cpu)
        self.kernel.verify(loaded)

    def frames(self) -> int:
        self._run(0, self.kernel.lru.drain)
        return len(self.kernel.pages.in_use)


def _performed(space: Any, operation: Any, cpu: Cpu) -> Steps[Any]:
    return (yield from space.perform(cpu, operation))


def _nothing(cpu: Cpu) -> Steps[None]:
    cpu.tlb_catch_up()
    return
    yield


def test_do_parent_and_child_see_the_same_until_one_writes() -> None:
    family = Family()
    family.do(0, Mmap(8, BASE))
    first, second = family.write(0, 1), family.write(0, 2)
    family.read(0, 3)
    child = family.fork(1)
    assert (child.status(BASE), child.status(BASE + 8)) == (READ_WRITE, None)
    assert child.root.walk(BASE + 1).frame == family.parent.root.walk(BASE + 1).frame
    assert not family.parent.root.walk(BASE + 1).writable
    assert family.read(1, 1, 2, 3, 4) == [first, second, 0, 0]
    own = family.write(1, 1)
    new = family.write(0, 2)
    late = family.write(0, 5)
    assert family.read(1, 1, 2, 5) == [own, second, 0]
    assert family.read(0, 1, 2, 5) == [first, new, late]


def test_does_the_last_owner_of_a_page_write_it_in_place() -> None:
    """The child has copied it, or has gone: the parent's page is its own again (wp_page_reuse)."""
    family = Family()
    family.do(0, Mmap(8, BASE))
    family.write(0, 1), family.write(0, 2)
    frames = [family.parent.root.walk(BASE + page).frame for page in (1, 2)]
    family.fork(1)
    family.write(1, 1)
    family.write(0, 1)
    assert family.parent.root.walk(BASE + 1).frame == frames[0]
    family.do(1, Exit())
    family.write(0, 2)
    assert family.parent.root.walk(BASE + 2).frame == frames[1]
    assert family.parent.stat.anon_pages == 2


def test_is_shared_memory_shared_and_a_private_file_not() -> None:
    family = Family()
    file = family.files.file(8)
    family.do(
        0, MmapShared(8, BASE), MmapFile(file, 8, shared=True, at=BASE + 10), MmapFile(file, 8, at=BASE + 20)
    )
    family.write(0, 1), family.write(0, 11)
    private = family.write(0, 22)
    child = family.fork(1)
    assert child.root.walk(BASE + 1) is None  # it faults shared pages in itself
    stamp, in_file = family.write(1, 1), family.write(1, 12)
    assert family.read(0, 1, 12) == [stamp, in_file]
    assert family.read(1, 22) == [private]
    other = family.write(1, 22)
    assert family.read(0, 22) == [private]
    assert family.read(1, 22) == [other]
    assert len(file.mapped_by) == 4  # type: ignore[attr-defined]
    family.do(1, Exit())
    assert family.read(0, 1) == [stamp]
    family.do(0, Munmap(BASE, 8))


def test_may_a_child_fork_and_change_its_mappings() -> None:
    family = Family()
    family.do(0, Mmap(8, BASE), Mmap(4, BASE + LEAF), Mlock(BASE + LEAF, 4))
    stamp = family.write(0, 2)
    child = family.fork(1)
    assert child.stat.locked_vm == 0
    family.do(1, Munmap(BASE + 4, 2), Mprotect(BASE + 1, 2, READ))
    grandchild = family.fork(2, by=1)
    assert [grandchild.status(BASE + page) for page in range(8)] == [
        READ_WRITE,
        READ,
        READ,
        READ_WRITE,
        None,
        None,
        READ_WRITE,
        READ_WRITE,
    ]
    assert family.read(2, 2) == [stamp]
    family.do(1, Exit())
    family.do(0, Exit())
    assert family.read(2, 2) == [stamp]
    family.do(2, Mprotect(BASE + 1, 2, READ_WRITE))
    last = family.write(2, 2)
    assert family.read(2, 2) == [last]


def test_does_a_vma_of_a_child_with_its_parents_pages_merge_with_no_other() -> None:
    """Its chain has two elements (is_mergeable_anon_vma)."""
    family = Family()
    family.do(0, Mmap(4, BASE))
    family.write(0, 1)
    family.fork(1)
    family.do(0, Mmap(2, BASE + 4))
    family.do(1, Mmap(2, BASE + 4))
    assert [len(list(family.on[cpu].tree)) for cpu in (0, 1)] == [1, 2]


def test_is_the_parent_flushed_before_its_other_threads_write_on() -> None:
    """Another cpu has the page writable in its TLB; after the fork its writes are its own."""
    flushes: list[int] = []

    class Watches(Probe):
        def flush(self, cpu: CpuView, pages: int) -> None:
            flushes.append(pages)

    family = Family(listeners=(Watches(),))
    family.do(0, Mmap(4, BASE))
    stamp = family.write(1, 0)
    assert family.process.cpus[1].tlb.frames()[BASE].writable
    family.fork(2)
    assert flushes == [0]
    assert BASE not in family.process.cpus[1].tlb.frames()
    later = family.write(1, 0)
    assert (family.read(2, 0), family.read(0, 0)) == ([stamp], [later])


def test_has_a_child_a_table_for_each_of_its_parents() -> None:
    """copy_pte_range allocates it before it looks whether there is an entry."""
    family = Family()
    family.do(0, Mmap(4, BASE))
    family.write(0, 1)
    family.do(0, Madvise(BASE, 4))
    child = family.fork(1)
    assert not list(child.root.present_entries())
    assert child.leaf_table(BASE) is not None
    assert child.stat.pgtables_bytes == family.parent.stat.pgtables_bytes


def test_is_nothing_of_a_process_left_when_it_has_ended() -> None:
    family = Family()
    before = family.frames()
    file = family.files.file(4)
    family.do(0, Mmap(2 * LEAF, BASE), MmapFile(file, 4, at=BASE + 4 * LEAF), MmapShared(4, BASE + 5 * LEAF))
    for page in (0, LEAF, 4 * LEAF, 5 * LEAF):
        family.write(0, page)
    family.fork(1)
    family.write(1, LEAF)
    for cpu in (1, 0):
        family.do(cpu, Exit())
        space = family.on[cpu]
        assert (list(space.tree), list(space.root.present_entries()), space.stat.pgtables_bytes) == (
            [],
            [],
            0,
        )
    assert family.frames() - before == len(file.frames)  # type: ignore[attr-defined]


def test_does_exec_begin_with_nothing_and_leave_nothing_behind() -> None:
    family = Family()
    family.do(0, Mmap(8, BASE))
    family.write(0, 1)
    child = family.fork(1)
    (fresh,) = family.do(1, Exec())
    assert not list(child.tree)
    assert fresh.status(BASE) is None
    family.do(1, Mmap(2, BASE))
    assert family.read(1, 1) == [0]


def test_does_a_program_leave_borrowed_memory_as_it_was() -> None:
    family = Family()
    family.do(0, Mmap(8, BASE))
    stamp = family.write(0, 1)
    (lent,) = family.do(0, Vfork())
    assert lent is family.parent
    assert family.parent.users == 2
    (fresh,) = family.do(1, Exec())
    family.on[1] = fresh
    assert (family.parent.users, list(fresh.tree)) == (1, [])
    assert family.read(0, 1) == [stamp]
    family.do(1, Exit())
    family.do(0, Exit())
    assert not list(family.parent.tree)


def test_has_a_process_a_part_of_each_area_for_each_cpu() -> None:
    """fork takes longer by the lock and the parts of all cpus, whether they are online or not."""

    def length(areas: int) -> int:
        family = Family(cpus=1, changes={"limits": {"percpu_areas": areas}})
        times: list[int] = []

        def forks(cpu: Cpu) -> Steps[None]:
            since = cpu.now
            family.process.spaces.append((yield from family.parent.perform(cpu, Fork())))
            times.append(cpu.now - since)

        family.process.run({0: forks})
        return times[0]

    none, one, two, three = map(length, range(4))
    machine = Family().process.machine.spec
    assert one - none >= 10 * machine.cpus * 10**12 // machine.clock  # a cost of 10 cycles
    assert three - two == two - one > 0


def test_does_a_fork_without_memory_leave_nothing_of_the_child() -> None:
    """No page is left for the child's tables."""
    family = Family(machine={"memory": {"size_per_socket": "8 MiB"}})
    pages = family.kernel.total_pages

    def fills(cpu: Cpu) -> Steps[None]:
        for page in range(pages):
            yield from family.parent.access(cpu, BASE + page)

    family.do(0, Mmap(pages, BASE))
    with pytest.raises(OutOfMemory):
        family.process.run({0: fills})
    family.process.cpus[0].pending = 0
    assert family.do(0, Fork()) == [Errno.ENOMEM]
    assert family.write(0, 1)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("ties", ["fifo", "shuffle"])
def test_may_threads_touch_and_unmap_while_another_forks(ties: str, seed: int) -> None:
    family = Family(cpus=4, ties=ties, seed=seed)
    space = family.parent
    draw = family.process.machine.engine.stream("what")
    family.do(0, Mmap(LEAF + 64, BASE))
    children: list[Any] = []

    def touches(cpu: Cpu) -> Steps[None]:
        for _ in range(50):
            yield from space.access(cpu, BASE + draw.randrange(LEAF + 64), write=draw.random() < 0.6)

    def forks(cpu: Cpu) -> Steps[None]:
        for _ in range(3):
            child = yield from space.perform(cpu, Fork())
            children.append(child)

    def maps(cpu: Cpu) -> Steps[None]:
        for _ in range(10):
            start = draw.randrange(LEAF)
            yield from space.perform(cpu, Mmap(16, BASE + start))
            yield from space.perform(cpu, Mprotect(BASE + start, 8, READ_WRITE))

    run(family.process.machine, {0: touches, 1: touches, 2: forks, 3: maps})
    family.process.spaces.extend(children)
    family.verify()
    for child in children:
        for page, entry in child.root.present_entries():
            mine = space.root.walk(page)
            assert entry.copy_on_write
            assert mine is None or mine.frame != entry.frame or mine.copy_on_write


# -- faster ways that must not be seen ----------------------------------------------------------------------


def _copy_plainly(mm: Any, child: Any, cpu: Cpu, source: PageTablePage, page: int, stop: int) -> Steps[None]:
    """copy_pte_range with an access to the line of each entry."""
    target = yield from ensure_leaf_table(child, cpu, page)
    yield from child.table_lock(target).acquire(cpu)
    yield from mm.table_lock(source).acquire(cpu)
    anon = 0
    for each in range(page, stop):
        entry = source.get(slot_of(each, 1))
        if isinstance(entry, Present):
            cpu.work(mm.cost.fork_page, PAGE_TABLE)
            if not entry.special:
                folio = mm.pages.in_use.head(entry.frame)
                yield from mm.kernel.descriptors.write(cpu, folio, times=2)
                mm.pages.in_use.get(entry.frame)
                anon += 1
            if not entry.copy_on_write:
                yield from source.line(slot_of(each, 1)).store(cpu, PAGE_TABLE)
                entry.copy_on_write = True
            yield from target.line(slot_of(each, 1)).store(cpu, PAGE_TABLE)
            shared = Present(entry.frame, entry.rights, copy_on_write=True, dirty=entry.dirty)
            target.set(slot_of(each, 1), shared)
    yield from child.stat.add_rss_vec(cpu, anon=anon, files=0)
    yield from mm.table_lock(source).release(cpu)
    yield from child.table_lock(target).release(cpu)


@pytest.mark.parametrize("others", [0, 2])
def test_is_a_fork_as_long_as_with_an_access_to_each_line(
    others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times and accounts of all cpus are equal, with other threads that touch meanwhile and without."""

    def measured() -> tuple[list[int], int]:
        family = Family(cpus=1 + others)
        space, machine = family.parent, family.process.machine
        ends: list[int] = []

        def fills(cpu: Cpu) -> Steps[None]:
            yield from space.perform(cpu, Mmap(2 * LEAF, BASE))
            for page in range(0, 2 * LEAF, 3):
                yield from space.access(cpu, BASE + page)

        family.process.run({0: fills})

        def forks(cpu: Cpu) -> Steps[None]:
            family.process.spaces.append((yield from space.perform(cpu, Fork())))
            ends.append(cpu.now)

        def touches(cpu: Cpu) -> Steps[None]:
            for page in range(60):
                yield from space.access(cpu, BASE + 17 * page + cpu.id)
            ends.append(cpu.now)

        events = machine.engine.events
        family.process.run({0: forks, **dict.fromkeys(range(1, 1 + others), touches)})
        family.verify()
        return ends, machine.engine.events - events

    fast = measured()
    monkeypatch.setattr(fork, "_copy_table", _copy_plainly)
    plain = measured()
    assert fast[0] == plain[0]
    assert fast[1] < plain[1] - (250 if others else 500)


# -- the tree of the child ----------------------------------------------------------------------------------


def _fork_of(vmas: int, kernel: str) -> tuple[MapleTree, MapleTree, int]:
    """The trees of a parent with so many VMAs that do not merge and of its child, and the ps of its fork."""
    family = Family(cpus=1, spec=design(kernel))
    family.do(0, *(Mmap(1, BASE - 2 * number) for number in range(vmas)))
    times: list[int] = []

    def forks(cpu: Cpu) -> Steps[None]:
        since = cpu.now
        family.process.spaces.append((yield from family.parent.perform(cpu, Fork())))
        times.append(cpu.now - since)

    family.process.run({0: forks})
    return family.parent.tree, family.process.spaces[-1].tree, times[0]


def _fills(node: Any) -> list[int]:
    """How many ranges each leaf below *node* has."""
    if not node.children:
        return [len(node.slots)]
    return list(chain.from_iterable(map(_fills, node.children)))


def test_is_a_tree_duplicated_as_it_is_or_filled_in_order() -> None:
    """What is filled in order is nearly full, the last two leaves aside; what is duplicated is as it was."""
    parent, copy, fast = _fork_of(40, "linux-6.8")
    assert _fills(copy._root) == _fills(parent._root)
    parent, stored, slow = _fork_of(40, "linux-6.7")
    assert [vma.start for vma in stored] == [vma.start for vma in parent]
    assert _fills(stored._root) != _fills(parent._root)
    assert all(ranges >= 10 for ranges in _fills(stored._root)[:-1])
    assert fast < slow
