"""Making a morsel and taking it apart (A. Halbuer, Morsels, 3.3.1, 3.3.3, 3.5; 4.2).

    create     the root, zeroed | upper tables of the prototype | the meta page | the ID is handed out
    destroy    from the leaves up: clear the entry above, then free the frame | root | meta page

Until the ID is handed out a crash loses what is made. While it is taken apart what is left is always a whole,
smaller morsel: an entry is cleared before its frame is free, so a crash between the two loses one frame.
Of one with a meta page the data goes but for its root, then the reference in the meta page, then both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.morsel import ALL_RIGHTS, MetaPage, Morsel, new_table
from sim.designs.linux.morsel_fault import MORSEL, new_page
from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import Cpu
from sim.mm import (
    MAX_MORSEL,
    SLOTS,
    SYSCALL,
    CreateMorsel,
    DestroyMorsel,
    Errno,
    OutOfMemory,
    PageTablePage,
    Present,
    morsel_pages,
)

if TYPE_CHECKING:
    from sim.designs.linux.kernel import LinuxKernel


def create_morsel(kernel: LinuxKernel, cpu: Cpu, asked: CreateMorsel) -> Steps[int | Errno]:
    """A call of the driver. Value: the ID; `EINVAL` for an order or an address that there is not."""
    morsels, machine = kernel.morsels, kernel.machine
    assert morsels is not None
    machine.entry.syscall(cpu, SYSCALL)
    cpu.work(morsels.cost.create, MORSEL)
    fixed = asked.fixed
    if not 0 <= asked.order <= MAX_MORSEL or (
        fixed is not None and (not asked.meta or fixed < 0 or fixed % morsel_pages(asked.order))
    ):
        return Errno.EINVAL
    taken: list[int] = []
    try:
        taken.append((yield from new_page(kernel, cpu)))
        built: dict[int, list[int]] = {}
        if morsels.prebuilt and asked.order >= 3:
            for level in range(asked.order - 1, 1, -1):
                built[level] = []
                for _ in range(1 << 9 * (asked.order - level)):
                    frame = yield from new_page(kernel, cpu)
                    cpu.work(morsels.cost.entry, MORSEL)
                    built[level].append(frame)
                    taken.append(frame)
        if asked.meta:
            taken.append((yield from new_page(kernel, cpu)))
    except OutOfMemory:
        for frame in taken:
            yield from kernel.pages.free(cpu, frame)
        return Errno.ENOMEM
    morsel = Morsel(asked.order, _root(kernel, cpu, asked.order, taken[0]), cpu.socket)
    morsels.count_root(morsel)
    morsel.built = built
    morsels.count_tables(morsel, sum(map(len, built.values())))
    if asked.meta:
        line = machine.line(f"meta page of {morsel!r}", cpu.socket, owner=cpu.id)
        morsel.meta = MetaPage(taken[-1], line, morsel, fixed)
        yield from line.store(cpu, MORSEL)
        morsels.contents[morsel.meta.frame] = morsel.meta
    else:
        morsels.contents[taken[0]] = morsel
    return morsel.id


def _root(kernel: LinuxKernel, cpu: Cpu, order: int, frame: int) -> PageTablePage | Present:
    if order == 0:
        return Present(frame, ALL_RIGHTS)
    home = kernel.machine.spec.topology.socket_of_node(kernel.pages.node(cpu, frame))
    return new_table(kernel.machine, order, 0, frame, home, cpu.id)


def destroy_morsel(kernel: LinuxKernel, cpu: Cpu, asked: DestroyMorsel) -> Steps[Errno | None]:
    """A call of the driver. That nobody maps it is the caller's duty: the kernel cannot tell.

    Raises `ModelError` where somebody does: his tables would refer to free memory.
    """
    morsels = kernel.morsels
    assert morsels is not None
    kernel.machine.entry.syscall(cpu, SYSCALL)
    cpu.work(morsels.cost.destroy, MORSEL)
    found = morsels.at(asked.morsel)
    if found is None:
        return Errno.EINVAL
    meta = found if isinstance(found, MetaPage) else None
    morsel = meta.morsel if meta is not None else found
    assert isinstance(morsel, Morsel)
    if morsel.linked:
        raise ModelError(f"{morsel!r} is destroyed and mapped: {next(iter(morsel.linked))}")
    if isinstance(morsel.root, PageTablePage):
        yield from _empty(kernel, cpu, morsel, morsel.root)
    if meta is not None:
        yield from meta.line.store(cpu, MORSEL)
        del morsels.contents[meta.frame]
    else:
        del morsels.contents[morsel.root.frame]
    morsels.count_tables(morsel, -morsel.tables)
    yield from kernel.pages.free(cpu, morsel.root.frame)
    if meta is not None:
        yield from kernel.pages.free(cpu, meta.frame)
    return None


def _empty(kernel: LinuxKernel, cpu: Cpu, morsel: Morsel, table: PageTablePage) -> Steps[None]:
    """All below *table* goes, in post-order."""
    morsels, pages = kernel.morsels, kernel.pages
    assert morsels is not None
    for slot in range(SLOTS):
        cpu.work(morsels.cost.destroy_slot, MORSEL)
        page = table.base + (slot << 9 * (table.level - 1))
        below = morsel.child(kernel.machine, table, slot, page)
        if below is None:
            continue
        if isinstance(below, PageTablePage):
            yield from _empty(kernel, cpu, morsel, below)
            morsels.count_tables(morsel, -1)
            frame = below.frame
        else:
            assert isinstance(below, Present)
            morsel.pages -= 1
            frame = below.frame
        yield from table.line(slot).store(cpu, MORSEL)
        table.set(slot, None)
        yield from pages.free(cpu, frame)
