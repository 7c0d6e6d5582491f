"""A fault that sleeps lets its lock go first (mm/filemap.c __folio_lock_or_retry, fs/userfaultfd.c; 6.13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, PageTablePage, slot_of

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma


class FaultRetry(Exception):
    """VM_FAULT_RETRY: the fault in *page* has slept, and its lock is not held any more.

    *major*: the page was read from a device, so the next time it waits with the lock (FAULT_FLAG_TRIED).
    """

    def __init__(self, page: int, *, major: bool = False) -> None:
        super().__init__(page)
        self.page = page
        self.major = major


def release_fault_lock(mm: LinuxMm, cpu: Cpu, vma: Vma, *, vma_locked: bool) -> Steps[None]:
    """release_fault_lock: the VMA's lock, or mmap_lock."""
    if vma_locked:
        yield from vma.lock.end_read(cpu)
    else:
        yield from mm.locks.unlock_read(cpu)


def handle_userfault(
    mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, *, vma_locked: bool
) -> Steps[None]:
    """handle_userfault: ask for *page*, of which nothing is there. Raises `FaultRetry` once it is there."""
    uffd = mm.uffd
    assert uffd is not None

    def must_wait() -> Steps[bool]:
        """userfaultfd_must_wait: whether the page is still missing, now that the message can be read."""
        yield from table.line(slot_of(page, 1)).read(cpu, PAGE_TABLE)
        return table.get(slot_of(page, 1)) is None

    fault = yield from uffd.wait(cpu, page, mm.cost.uffd_fault, must_wait)
    yield from release_fault_lock(mm, cpu, vma, vma_locked=vma_locked)
    yield from uffd.sleep(cpu, fault)
    raise FaultRetry(page)
