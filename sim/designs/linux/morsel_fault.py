"""A fault in a morsel: tables and pages come one after another, and nobody holds a lock for that.

    level       root                 ...            1
    read the entry ... there: go down
                   ... empty: a zeroed page | build the entry | compare-and-swap
                                                               won:  go down
                                                               lost: give the page back, and go down in what
                                                                     the winner has put there

All who fault go through all levels, whether they win or lose on the way. A crash between any two of these
steps leaves a morsel that is whole; the page that was not stored yet is lost.

Source: A. Halbuer, Morsels, 3.4 and 4.2 (Linux 5.17).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.designs.linux.morsel import ALL_RIGHTS, Morsel, new_table
from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, PAGES_PER_ENTRY, READ, WRITE, PageTablePage, Present, Subtree, slot_of

if TYPE_CHECKING:
    from sim.designs.linux.kernel import LinuxKernel
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma

MORSEL: Final = Activity("morsel")


def morsel_fault(mm: LinuxMm, cpu: Cpu, vma: Vma, page: int) -> Steps[bool]:
    """handle_mm_fault, down to the entry that refers to the morsel, and the driver's handler. Value: True.

    The VMA is there, so nobody takes that entry away: who unmaps has the VMA out of the tree before.
    """
    morsel = vma.morsel
    assert morsel is not None
    table = mm.root
    while table.level > morsel.order + 1:
        slot = slot_of(page, table.level)
        yield from table.line(slot).read(cpu, PAGE_TABLE)
        below = table.child(slot)
        assert below is not None, "whoever maps a morsel makes the tables above it"
        table = below
    yield from table.line(slot_of(page, table.level)).read(cpu, PAGE_TABLE)
    yield from bring_in(mm.kernel, cpu, morsel, page - vma.start)
    return True


def fault_without_lock(mm: LinuxMm, cpu: Cpu, page: int, *, write: bool) -> Steps[bool]:
    """A fault that takes no lock of the process. Value: whether it was in a morsel that allows the access.

    Interrupts are off while it walks the process's own tables, as in gup_fast: whoever frees one flushes
    all cpus before that. The rights are in the entry that refers to the morsel, so no VMA is asked. All else
    that every fault does is taken to be done here, too.
    """
    found: Subtree | None = None
    if mm.pgd_line is not None:
        yield from mm.pgd_line.read(cpu, PAGE_TABLE)
    cpu.disable_interrupts()
    table: PageTablePage | None = mm.root
    span = 1
    while table is not None:
        slot = slot_of(page, table.level)
        yield from table.line(slot).read(cpu, PAGE_TABLE)
        entry = table.entries[slot]
        if type(entry) is Subtree:
            found, span = entry, PAGES_PER_ENTRY[table.level]
        table = entry if type(entry) is PageTablePage else None
    cpu.enable_interrupts()
    if found is None or not found.rights & (WRITE if write else READ):
        return False
    assert isinstance(found.owner, Morsel)
    cpu.work(mm.cost.fault, PAGE_TABLE)
    yield from bring_in(mm.kernel, cpu, found.owner, page % span)
    return True


def bring_in(kernel: LinuxKernel, cpu: Cpu, morsel: Morsel, page: int) -> Steps[None]:
    """Page *page* of *morsel* is there. Raises `OutOfMemory`, with the morsel whole."""
    morsels = kernel.morsels
    assert morsels is not None
    cost, machine = morsels.cost, kernel.machine
    cpu.work(cost.fault, MORSEL)
    table = morsel.root
    while isinstance(table, PageTablePage):
        slot = slot_of(page, table.level)
        cpu.work(cost.level, MORSEL)
        yield from table.line(slot).read(cpu, MORSEL)
        below = morsel.child(machine, table, slot, page)
        if below is None:
            below = yield from _add(kernel, cpu, morsel, table, slot, page)
        if not isinstance(below, PageTablePage):
            return
        table = below


def _add(
    kernel: LinuxKernel, cpu: Cpu, morsel: Morsel, table: PageTablePage, slot: int, page: int
) -> Steps[object]:
    """Put a zeroed page into an empty slot. Value: what is in the slot then, the caller's or another's."""
    morsels, machine = kernel.morsels, kernel.machine
    assert morsels is not None
    frame = yield from new_page(kernel, cpu)
    cpu.work(morsels.cost.entry, MORSEL)
    yield from table.line(slot).write(cpu, MORSEL)  # lock cmpxchg
    there: object | None = table.entries[slot]
    if there is not None:
        yield from kernel.pages.free(cpu, frame)
        return there
    if table.level == 1:
        morsel.pages += 1
        data = Present(frame, ALL_RIGHTS)
        table.set(slot, data)
        return data
    morsels.count_tables(morsel, 1)
    home = machine.spec.topology.socket_of_node(kernel.pages.node(cpu, frame))
    below = new_table(machine, table.level - 1, page, frame, home, cpu.id)
    table.set(slot, below)
    return below


def new_page(kernel: LinuxKernel, cpu: Cpu) -> Steps[int]:
    """A zeroed page; value: its frame. Raises `OutOfMemory`."""
    frame = yield from kernel.pages.allocate(cpu)
    yield from kernel.machine.memory.clear_page(cpu, kernel.pages.node(cpu, frame), frame)
    if cpu.heard:
        cpu.probe.frame_filled(cpu, frame, None)
    return frame
