"""The state of one process: a log, its replicas, and the cores that run it (nrproc.rs, process.rs).

What is mapped is what the replica that is furthest says. The others come after, in the same order. User code
asks for addresses itself, so a library of its own knows what is where: here it looks that up, for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from sim.designs.nros.btree import Mapping
from sim.designs.nros.log import Log
from sim.designs.nros.operations import Adjust, LogOperation, MapFrame
from sim.designs.nros.replica import Replica
from sim.designs.nros.tables import TableFrames
from sim.designs.nros.vspace import VSpace, level_of
from sim.engine import Steps
from sim.mm import (
    SYSCALL,
    AddressSpace,
    Mapped,
    Mprotect,
    Munmap,
    Operation,
    PageTablePage,
    Present,
    Reference,
    Rights,
    Walk,
)

if TYPE_CHECKING:
    from sim.designs.nros.kernel import NrosKernel
    from sim.hardware import Cpu


class Cores:
    """The cores that run a process, as whoever checks flushes asks for them."""

    __slots__ = ("running",)

    def __init__(self) -> None:
        self.running: dict[Cpu, None] = {}

    @property
    def loaded_on(self) -> list[Cpu]:
        """All of them."""
        return list(self.running)


class NrosProcess(AddressSpace):
    """One process. *hints* are where each core's thread has memory mapped next."""

    __slots__ = ("_of_cpu", "cost", "hints", "kernel", "log", "replicas", "table_frames", "tlb")

    entries_own: ClassVar[bool] = False

    def __init__(self, kernel: NrosKernel, cpu: Cpu) -> None:
        super().__init__(kernel.machine)
        self.kernel = kernel
        self.cost = kernel.cost
        groups = kernel.groups
        homes = [group[0].socket for group in groups]
        nodes = [kernel.caches.seen_node(group[0]) for group in groups]
        self.log = Log(kernel.machine, kernel.spec.log, kernel.cost, cpu)
        self.table_frames = TableFrames(kernel.machine, kernel.caches, kernel.cost, nodes, homes)
        self.replicas = [
            Replica(
                kernel,
                self.log,
                VSpace(kernel, self.table_frames, number, homes[number], group[0]),
                number,
                group,
                homes[number],
            )
            for number, group in enumerate(groups)
        ]
        self.log.replicas = self.replicas
        self._of_cpu = {each: self.replicas[number] for number, group in enumerate(groups) for each in group}
        self.root = self.replica_of(cpu).vspace.root
        self.tlb = Cores()
        self.hints: dict[Cpu, int] = {}

    @property
    def active(self) -> dict[Cpu, None]:
        """The cores that run it: a shootdown asks all of them."""
        return self.tlb.running

    def replica_of(self, cpu: Cpu) -> Replica:
        """The replica of the node of *cpu*."""
        return self._of_cpu[cpu]

    @property
    def leader(self) -> Replica:
        """The replica that is furthest: it has all that any operation that is over has done."""
        leader = self.replicas[0]
        for each in self.replicas:
            if each.ltail > leader.ltail:
                leader = each
        return leader

    def mapped(self, start: int, end: int) -> list[tuple[int, Mapping]]:
        """The mappings that have pages in [*start*, *end*), in order, each behind its first page."""
        return self.leader.vspace.tree.within(start, end)

    # -- what every address space has -----------------------------------------------------------------------

    def table_of(self, cpu: Cpu) -> PageTablePage:
        return self._of_cpu[cpu].vspace.root

    def _walked(self) -> list[Replica]:
        """The replicas whose tables some core may walk. Others may be as far behind as the log allows."""
        walked = [each for each in self.replicas if any(cpu in self.active for cpu in each.slots)]
        return walked or [self.leader]

    def roots(self) -> Sequence[PageTablePage]:
        return [each.vspace.root for each in self._walked()]

    def activate(self, cpu: Cpu) -> None:
        self.kernel.shootdowns.refuse(cpu)
        self.active[cpu] = None

    def deactivate(self, cpu: Cpu) -> Steps[None]:
        return self.kernel.shootdowns.await_handlers(cpu)

    def node_of(self, cpu: Cpu, frame: int) -> int:
        return self.kernel.caches.node(cpu, frame)

    def status(self, page: int) -> Rights | None:
        found = self.leader.vspace.tree.covering(page)
        return None if found is None else found[1].rights

    def present(self, page: int) -> Present | None:
        return self.leader.vspace.root.walk(page)

    def present_entries(self) -> Iterator[tuple[int, Present]]:
        return self.leader.vspace.root.present_entries()

    def may_be_stale(self, page: int, frame: int) -> bool:
        """What a core has acknowledged to be gone it may still have until it is back in user mode."""
        return self.kernel.shootdowns.may_be_stale(self, page, frame)

    def may_be_behind(self, page: int, frame: int) -> bool:
        """The same of the tables of those cores."""
        return self.kernel.shootdowns.may_be_stale(self, page, frame)

    def deferred(self) -> Iterator[Reference]:
        return self.kernel.shootdowns.deferred(self)

    def refusal(self, operation: Operation) -> str:
        if not isinstance(operation, Munmap | Mprotect):
            return ""
        start, end = operation.at, operation.at + operation.pages
        for page, mapping in self.mapped(start, end):
            behind = page + mapping.pages
            if page < start or behind > end:
                return (
                    f"NrOS unmaps and protects whole frames, and pages {page:#x} to {behind - 1:#x} are one: "
                    "memory that is to go in parts has to be mapped in parts of less than 2 MiB"
                )
        return ""

    # -- parts of operations --------------------------------------------------------------------------------

    def access(self, cpu: Cpu, page: int, *, write: bool = True) -> Steps[None]:
        """As everywhere, but not while a handler on *cpu* has something to invalidate."""
        yield from self.kernel.shootdowns.let_finish(cpu)
        yield from super().access(cpu, page, write=write)

    def enter(self, cpu: Cpu) -> Steps[None]:
        """Enter the kernel for a system call. It runs with interrupts off."""
        yield from self.kernel.shootdowns.let_finish(cpu)
        self.machine.entry.syscall(cpu, SYSCALL, self.cost.syscall)
        cpu.disable_interrupts()

    def leave(self, cpu: Cpu) -> None:
        """Go back to user mode; what has interrupted meanwhile is answered first."""
        cpu.enable_interrupts()

    # -- the end state --------------------------------------------------------------------------------------

    def mappings(self) -> Iterator[Mapped]:
        """What is alike side by side is one."""
        start = end = 0
        rights: Rights | None = None
        for page, mapping in self.leader.vspace.tree.items():
            if page != end or mapping.rights != rights:
                if rights is not None:
                    yield Mapped(start, end, rights)
                start, rights = page, mapping.rights
            end = page + mapping.pages
        if rights is not None:
            yield Mapped(start, end, rights)

    def references(self) -> Iterator[Reference]:
        """Frames: what is mapped, tables of replicas that nobody walks, tables that wait for replicas."""
        for page, mapping in self.leader.vspace.tree.items():
            yield Reference(mapping.frame, "the mapping of page", page)
        walked = self._walked()
        for replica in self.replicas:
            if replica not in walked:
                for table in replica.vspace.root.tables():
                    if table is not replica.vspace.root:
                        yield Reference(
                            table.frame, f"a table of replica {replica.number}, of page", table.base
                        )
        yield from self.table_frames.references()

    def contradictions(self, walk: Walk, mappings: Sequence[Mapped]) -> Iterator[str]:
        """No lock is held, no slot has work; each replica's table says what its tree says; and a replica that
        is behind is what the leader is once it has replayed the rest."""
        leader = dict(self.leader.vspace.tree.items())
        for replica in self.replicas:
            if replica.combiner.holder is not None or replica.lock.writer is not None:
                yield f"replica {replica.number} is locked, and no operation is under way"
            for slot in replica.slots.values():
                if slot.operation is not None:
                    yield f"{slot.cpu} waits for {slot.operation}, and no operation is under way"
            its = dict(replica.vspace.tree.items())
            said = {
                page: Present(each.frame, each.rights, level_of(each.order)) for page, each in its.items()
            }
            if said != dict(replica.vspace.root.present_entries()):
                yield f"table and mappings of replica {replica.number} say different things"
            if len(its) != replica.vspace.tree.size:
                counts = replica.vspace.tree.size
                yield f"replica {replica.number} counts {counts} mappings and has {len(its)}"
            if _replayed(its, self.log.pending(replica)) != leader:
                yield f"replica {replica.number} does not come to what replica {self.leader.number} says"


def _replayed(mappings: dict[int, Mapping], operations: Sequence[LogOperation]) -> dict[int, Mapping]:
    """What *mappings* become by *operations*."""
    for each in operations:
        if isinstance(each, MapFrame):
            end = each.page + each.mapping.pages
            if not any(page < end and each.page < page + its.pages for page, its in mappings.items()):
                mappings[each.page] = each.mapping
            continue
        found = next((p for p, its in mappings.items() if p <= each.page < p + its.pages), None)
        if found is None:
            continue
        if isinstance(each, Adjust):
            mappings[found] = mappings[found]._replace(rights=each.rights)
        else:
            del mappings[found]
    return mappings
