"""The state of one process (struct vmap): the tree and the page tables, and steps that operations share.

Source: aclements/sv6 at 9271b3f, include/vm.hh, kernel/vm.cc.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from sim.designs.radixvm.refcache import Counted
from sim.designs.radixvm.slots import Node
from sim.designs.radixvm.tables import PerCoreTables, SharedTable, Shootdown, Tables
from sim.designs.radixvm.tree import Held, RadixTree
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, AddressSpace, Mapped, PageTablePage, Present, Rights, Walk

if TYPE_CHECKING:
    from sim.designs.radixvm.kernel import RadixKernel

FIRST_HINT: Final = 16 << 8
"""The page from which room is looked for first: 16 MiB."""


class Vmap(AddressSpace):
    """One process. *hints* are the pages from which each thread looks for room; *users* are the processes
    that run in it."""

    __slots__ = ("cost", "hints", "kernel", "tlb", "tree")

    entries_own: ClassVar[bool] = False

    def __init__(self, kernel: RadixKernel, cpu: Cpu) -> None:
        super().__init__(kernel.machine)
        self.kernel = kernel
        self.cost = kernel.cost
        self.tree = RadixTree(kernel, cpu, self)
        per_core = kernel.spec.page_tables == "per-core"
        self.tlb: Tables = PerCoreTables(kernel, cpu, self.tree) if per_core else SharedTable(kernel, cpu)
        self.root = self.tlb.table_of(cpu)
        self.hints: dict[Cpu, int] = {}

    def table_of(self, cpu: Cpu) -> PageTablePage:
        return self.tlb.table_of(cpu)

    def roots(self) -> Sequence[PageTablePage]:
        return self.tlb.roots()

    def activate(self, cpu: Cpu) -> None:
        self.kernel.contexts.activate(cpu, self.tlb)

    def asid_left_on(self, cpu: Cpu) -> int | None:
        """Without PCID none has any."""
        return None

    def node_of(self, cpu: Cpu, frame: int) -> int:
        return self.kernel.frames.node(cpu, frame)

    def status(self, page: int) -> Rights | None:
        desc = self.tree.at(page)
        return None if desc is None else desc.rights

    def present(self, page: int) -> Present | None:
        """A page is there if its descriptor has a frame, whoever has an entry for it."""
        desc = self.tree.at(page)
        if desc is None or desc.counted is None:
            return None
        return Present(desc.counted.frame, desc.rights, copy_on_write=desc.cow)

    def present_entries(self) -> Iterator[tuple[int, Present]]:
        for page, _, desc in self.tree.values():
            if desc.counted is not None:
                yield page, Present(desc.counted.frame, desc.rights, copy_on_write=desc.cow)

    def settle(self) -> None:
        self.kernel.refcache.settle()

    # -- parts ----------------------------------------------------------------------------------------------

    def enter(self, cpu: Cpu) -> Steps[None]:
        """Enter the kernel for a system call."""
        yield from self.kernel.refcache.enter(cpu)
        self.machine.entry.syscall(cpu, SYSCALL, self.cost.syscall)

    def take_pages(
        self, cpu: Cpu, start: int, end: int, asked: Shootdown, *, drop: bool = True
    ) -> Steps[list[Counted]]:
        """Take [*start*, *end*), which is locked and `open`, out of this core's reach. Value: what was in it,
        of which the descriptors say nothing any more if it is to *drop*."""
        gone: list[Counted] = []
        cores = 0
        for node, slot in (yield from self.tree.slots(cpu, start, end)):
            desc = node.slots[slot]
            assert not isinstance(desc, Node)
            if desc is None:
                continue
            if drop and desc.counted is not None:
                gone.append(desc.counted)
                desc.counted = None
            cores |= desc.cores
            desc.cores = 0
        yield from self.tlb.invalidate(cpu, start, end, cores, asked)
        return gone

    def let_go(self, cpu: Cpu, gone: Sequence[Counted]) -> Steps[None]:
        """The references of an operation that is over (page_holder)."""
        for counted in gone:
            yield from self.kernel.refcache.put(cpu, counted)

    def unlock(self, cpu: Cpu, held: Held) -> Steps[None]:
        """The end of an operation on what is locked."""
        return self.tree.release(cpu, held)

    # -- the end state --------------------------------------------------------------------------------------

    def mappings(self) -> Iterator[Mapped]:
        """What is alike side by side is one."""
        start = end = 0
        rights: Rights | None = None
        for page, pages, desc in self.tree.values():
            if page != end or desc.rights != rights:
                if rights is not None:
                    yield Mapped(start, end, rights)
                start, rights = page, desc.rights
            end = page + pages
        if rights is not None:
            yield Mapped(start, end, rights)

    def contradictions(self, walk: Walk, mappings: Sequence[Mapped]) -> Iterator[str]:
        """No slot is locked; tables say what the tree says, and each page is in the tables of its cores."""
        for node in (self.tree.root, *self.tree.nodes()):
            for slot, holder in enumerate(node.holders):
                if holder is not None:
                    yield f"{holder} has {node.lock(slot).name}, and no operation is under way"
        tables = self.tlb
        for root in tables.roots():
            for page, entry in root.present_entries():
                yield from self._fits(page, entry)
        if not isinstance(tables, PerCoreTables):
            return
        known: dict[Cpu, set[int]] = {}
        for cpu, root in tables.owners():
            known[cpu] = {page for page, _ in root.present_entries()}
        for page, _, desc in self.tree.values():
            for cpu in self.machine.cpus:
                has = page in known.get(cpu, ())
                lost = desc.counted is not None and page in tables.lost.get(cpu, ())
                if has != bool(desc.cores & cpu.bit) and (has or not lost):
                    says = "has" if has else "has not"
                    yield f"the table of {cpu} {says} page {page:#x}, and its set of cores says otherwise"

    def _fits(self, page: int, entry: Present) -> Iterator[str]:
        desc = self.tree.at(page)
        if desc is None or desc.counted is None or desc.counted.frame != entry.frame:
            yield f"page {page:#x} is {entry} in a table, and the tree says: {desc}"
        elif entry.writable and desc.cow:
            yield f"page {page:#x} is to be copied, and can be written: {entry}"
