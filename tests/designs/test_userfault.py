"""Does a thread serve the missing pages of others, as userfaultfd lets it?"""

from __future__ import annotations

from typing import Any

import pytest
from contents import Files
from held import Held
from kernels import BASE

from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.mm import (
    Errno,
    Fork,
    Mlock,
    Mmap,
    MmapShared,
    Mremap,
    Munmap,
    UffdClose,
    UffdCopy,
    UffdRead,
    UffdRegister,
    UffdUnregister,
    UffdWake,
    UffdZeropage,
)
from sim.mm.invariants import BrokenInvariant

PAGES = 8
SOURCE = 500
"""A page that has been written, as an offset from `BASE`."""


def registered(**options: Any) -> Files:
    files = Files(cpus=options.pop("cpus", 3), **options)
    files.do(Mmap(PAGES, BASE), Mmap(1, BASE + SOURCE), UffdRegister(BASE, PAGES))
    files.run(files.write(SOURCE))
    return files


def serve(files: Files, *, zeros: tuple[int, ...] = ()) -> Any:
    """A monitor until the file is closed: answers with `SOURCE`, or zeros at *zeros*; *seen* is what came."""
    seen: list[int] = []

    def body(cpu: Cpu) -> Steps[None]:
        while True:
            page = yield from files.space.perform(cpu, UffdRead())
            if page is None:
                return
            seen.append(page - BASE)
            zero = page - BASE in zeros
            yield from files.space.perform(cpu, UffdZeropage(page) if zero else UffdCopy(page, BASE + SOURCE))

    body.seen = seen  # type: ignore[attr-defined]
    return body


def touch(files: Files, pages: Any, then_close: bool = True, write: bool = False) -> Any:
    """Accesses *pages*. Value: what is found."""
    found: list[int] = []

    def body(cpu: Cpu) -> Steps[None]:
        for page in pages:
            yield from files.space.access(cpu, BASE + page, write=write)
            found.append(files.contents.of.get(cpu.tlb.lookup(BASE + page).frame, 0))  # type: ignore[union-attr]
        if then_close:
            yield from files.space.perform(cpu, UffdClose())

    body.found = found  # type: ignore[attr-defined]
    return body


@pytest.mark.parametrize("write", [True, False])
def test_does_a_missing_page_come_from_the_monitor(write: bool) -> None:
    files = registered()
    monitor, faulter = serve(files, zeros=(3,)), touch(files, [5, 3, 5], write=write)
    files.process.run({0: monitor, 1: faulter})
    assert monitor.seen == [5, 3]
    assert faulter.found == [1, 0, 1]
    files.do(Munmap(BASE, SOURCE + 1))
    files.end()


def test_do_two_that_want_a_page_both_get_it() -> None:
    files = registered(cpus=4)
    monitor = serve(files)
    first, second = touch(files, [2], then_close=False), touch(files, [2])

    def late(cpu: Cpu) -> Steps[None]:
        cpu.work(300_000, Activity("user"))
        yield from second(cpu)

    files.process.run({0: monitor, 1: first, 2: late})
    assert (first.found, second.found) == ([1], [1])
    assert monitor.seen in ([2], [2, 2])


def test_do_two_monitors_share_the_work() -> None:
    files = registered(cpus=4)
    monitors = [serve(files), serve(files)]
    files.process.run({0: monitors[0], 1: monitors[1], 2: touch(files, range(PAGES))})
    assert sorted([*monitors[0].seen, *monitors[1].seen]) == list(range(PAGES))


def test_is_no_lock_held_while_a_fault_waits() -> None:
    """The monitor maps something else first, which takes mmap_lock and the VMA's neighbours."""
    files = registered()

    def monitor(cpu: Cpu) -> Steps[None]:
        page = yield from files.space.perform(cpu, UffdRead())
        yield from files.space.perform(cpu, Mmap(4, BASE + 600))
        yield from files.space.perform(cpu, Munmap(BASE + 600, 4))
        yield from files.space.perform(cpu, UffdCopy(page, BASE + SOURCE))

    faulter = touch(files, [0])
    files.process.run({0: monitor, 1: faulter})
    assert faulter.found == [1]


@pytest.mark.parametrize("end", [UffdClose(), UffdUnregister(BASE, PAGES)])
def test_does_the_kernel_serve_what_is_not_registered_any_more(end: Any) -> None:
    files = registered()

    def gives_up(cpu: Cpu) -> Steps[None]:
        page = yield from files.space.perform(cpu, UffdRead())
        assert page == BASE
        yield from files.space.perform(cpu, end)

    faulter = touch(files, [0, 1], then_close=False)
    files.process.run({0: gives_up, 1: faulter})
    assert faulter.found == [0, 0]
    files.end()


def test_does_mlock_wait_for_the_monitor() -> None:
    files = registered()
    monitor = serve(files)

    def locks(cpu: Cpu) -> Steps[None]:
        assert (yield from files.space.perform(cpu, Mlock(BASE, PAGES))) is None
        yield from files.space.perform(cpu, UffdClose())

    files.process.run({0: monitor, 1: locks})
    assert monitor.seen == list(range(PAGES))


@pytest.mark.parametrize(("lock", "events"), [("vma", []), ("mmap", ["read", "release"])])
def test_which_lock_does_a_copy_hold(lock: str, events: list[str]) -> None:
    held = Held()
    files = registered(listeners=(held,), changes={"switches": {"uffd_lock": lock}})
    files.do(UffdZeropage(BASE))  # makes the anon_vma, which takes mmap_lock
    held.heard()
    assert files.do(UffdCopy(BASE + 1, BASE + SOURCE)) == [None]
    assert held.heard() == events


def test_what_is_refused() -> None:
    files = registered()
    far = BASE + 10_000
    shared = BASE + 700
    asked = [
        (UffdRegister(far, 1), Errno.EINVAL),  # nothing is there
        (UffdRegister(shared, 1), Errno.EINVAL),
        (UffdRegister(BASE, 0), Errno.EINVAL),
        (UffdCopy(BASE, BASE + SOURCE, 0), Errno.EINVAL),
        (UffdCopy(BASE, -1), Errno.EINVAL),
        (UffdWake(BASE, 0), Errno.EINVAL),
        (UffdCopy(BASE + SOURCE, BASE + SOURCE), Errno.ENOENT),  # not registered
        (UffdCopy(BASE + PAGES - 1, BASE + SOURCE, 2), Errno.ENOENT),  # beyond the VMA
        (UffdCopy(BASE, far), Errno.EFAULT),
        (UffdCopy(BASE, BASE + SOURCE), None),
        (UffdCopy(BASE, BASE + SOURCE), Errno.EEXIST),
        (UffdCopy(BASE + 1, BASE + SOURCE, 2), Errno.EAGAIN),  # what is behind the source is not mapped
        (UffdZeropage(BASE), Errno.EEXIST),
        (UffdClose(), None),
        (UffdZeropage(BASE + 5), Errno.EINVAL),
        (UffdRead(), None),
    ]
    files.do(MmapShared(1, shared))
    assert files.do(*(operation for operation, _ in asked)) == [answer for _, answer in asked]
    assert files.process.is_present(BASE + 1)
    files.end()


def test_are_a_childs_memory_and_what_has_moved_the_kernels() -> None:
    files = registered()
    parent, space = files.space, BASE + 900

    def forks(cpu: Cpu) -> Steps[None]:
        child = yield from parent.perform(cpu, Fork())
        yield from files.process.load(cpu, child)
        yield from child.access(cpu, BASE)
        yield from files.process.load(cpu, parent)

    files.process.run({0: forks})
    files.do(Mremap(BASE, PAGES, PAGES, to=space))
    files.run(lambda cpu: parent.access(cpu, space))
    files.end()


def test_is_a_question_that_nobody_answers_noticed() -> None:
    files = registered()

    def leaves(cpu: Cpu) -> Steps[None]:
        yield from files.space.uffd.wait(cpu, BASE, 0, lambda: found(cpu))

    def found(cpu: Cpu) -> Steps[bool]:
        return True
        yield

    with pytest.raises(BrokenInvariant, match=r"a userfault in page 0x100000 has not been answered"):
        files.run(leaves)
