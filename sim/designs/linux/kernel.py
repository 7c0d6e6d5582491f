"""The booted kernel: machine-wide allocators and locks, and its processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from sim.designs.base import Kernel
from sim.designs.base_spec import DesignSpec
from sim.designs.linux import committed
from sim.designs.linux.addresses import FIRST_PAGE, HIGHEST_PAGE, LEGACY_BASE
from sim.designs.linux.bare_index import BareIndex, make_bare_index
from sim.designs.linux.committed import make_committed
from sim.designs.linux.costs import Costs
from sim.designs.linux.descriptors import Descriptors
from sim.designs.linux.drive import LinuxDrive
from sim.designs.linux.forked_tables.shared import ForkedTables
from sim.designs.linux.huge_fault import HugeZero
from sim.designs.linux.huge_pmd import Deposits
from sim.designs.linux.hugetlb import HugePool
from sim.designs.linux.latr.kept import KeptMemory
from sim.designs.linux.latr.lazy_flush import LatrRings
from sim.designs.linux.lru import Lru
from sim.designs.linux.memcg import Charges, Memcg
from sim.designs.linux.morsel import Morsels
from sim.designs.linux.objcg import ObjectCharges
from sim.designs.linux.objects import create_object, destroy_object
from sim.designs.linux.page_alloc import PageAllocator
from sim.designs.linux.page_cache import PageCache
from sim.designs.linux.percpu_areas import PercpuAreas
from sim.designs.linux.rcu import TreeRcu
from sim.designs.linux.recycling.recycler import RecycledFrames
from sim.designs.linux.rmap import Rmap
from sim.designs.linux.slab import SlabCaches
from sim.designs.linux.space import DriveSpace, ExmapSpace, LinuxSpace
from sim.designs.linux.spec import CnaSpec, LinuxSpec
from sim.designs.linux.swap_cache import Swap
from sim.designs.linux.truncate import fallocate, ftruncate
from sim.designs.linux.vfs import Dentries
from sim.designs.linux.vma import AnonVma
from sim.designs.linux.vma_indexes import VMA_INDEXES
from sim.designs.linux.vma_locks import VMA_LOCKS
from sim.designs.linux.vmscan import Reclaimer
from sim.designs.rules import Rules
from sim.engine import Steps
from sim.engine.costs import at_clock, at_clocks
from sim.hardware import Cpu, Machine
from sim.mm import (
    SYSCALL,
    AddressSpace,
    AllocatePages,
    AllocateRegion,
    Allocator,
    ContextTable,
    CreateFile,
    CreateObject,
    DestroyObject,
    Fallocate,
    File,
    Footprint,
    FreePages,
    Ftruncate,
    Handlers,
    LookUp,
    NodePolicy,
    PhysicalMemory,
    PlaceRegions,
    Reference,
    SwitchMm,
    WriteRegion,
    make_allocator,
)
from sim.mm.invariants import structures_agree
from sim.sync import NumaAwareNodes, QueueNodes, Scheduler

if TYPE_CHECKING:
    from sim.designs.linux.exmap import Exmap

STRUCT_PAGE: Final = 64
"""Bytes of a struct page (include/linux/mm_types.h)."""


def _create_file(kernel: LinuxKernel, cpu: Cpu, asked: CreateFile) -> Steps[File]:
    inode = kernel.page_cache.create(cpu, asked.title, asked.pages)
    if asked.resident:
        kernel.page_cache.fill(cpu, inode)
    else:
        kernel.machine.entry.syscall(cpu, SYSCALL)
    return inode
    yield


def _allocate(kernel: LinuxKernel, cpu: Cpu, asked: AllocatePages) -> Steps[int]:
    return kernel.pages.allocate(cpu, asked.order)


def _free(kernel: LinuxKernel, cpu: Cpu, asked: FreePages) -> Steps[None]:
    return kernel.pages.free(cpu, asked.frame, asked.order)


def _switch(kernel: LinuxKernel, cpu: Cpu, asked: SwitchMm) -> Steps[None]:
    assert isinstance(asked.space, LinuxSpace)
    yield from kernel.contexts.switch(cpu, asked.space.tlb)
    cpu.active_mm = asked.space.lazy


def _place_regions(kernel: LinuxKernel, cpu: Cpu, asked: PlaceRegions) -> Steps[None]:
    kernel.bare_index = make_bare_index(LinuxSpace(kernel, cpu), cpu)
    return kernel.bare_index.place(cpu, asked.regions)


def _look_up(kernel: LinuxKernel, cpu: Cpu, asked: LookUp) -> Steps[bool]:
    assert kernel.bare_index is not None
    return kernel.bare_index.look_up(cpu, asked.page)


def _write_region(kernel: LinuxKernel, cpu: Cpu, asked: WriteRegion) -> Steps[None]:
    assert kernel.bare_index is not None
    return kernel.bare_index.write(cpu, asked.at, asked.at + asked.pages)


def _allocate_region(kernel: LinuxKernel, cpu: Cpu, asked: AllocateRegion) -> Steps[int]:
    assert kernel.bare_index is not None
    return kernel.bare_index.allocate(cpu, asked.pages)


class LinuxKernel(Kernel):
    """Linux of one version on one machine."""

    __slots__ = (
        "_footprint",
        "_tables_going",
        "bare_index",
        "charges",
        "committed",
        "contexts",
        "cost",
        "dentries",
        "deposits",
        "descriptors",
        "drive",
        "exmaps",
        "forked",
        "huge_zero",
        "hugetlb",
        "kept",
        "latr",
        "lru",
        "machine",
        "memcg",
        "mmap_nodes",
        "morsels",
        "nodes",
        "osq_nodes",
        "page_cache",
        "pages",
        "percpu",
        "perf_mmap",
        "rcu",
        "reclaimer",
        "recycled",
        "rmap",
        "scheduler",
        "slabs",
        "spec",
        "swap",
        "total_pages",
        "ucounts",
    )

    space = LinuxSpace

    def __init__(self, machine: Machine, spec: DesignSpec) -> None:
        assert isinstance(spec, LinuxSpec)
        self.machine = machine
        self.spec = spec
        cna = spec.cna
        self.nodes = _queue_nodes(machine, "qspinlock", cna if cna is not None and cna.spin_locks else None)
        self.mmap_nodes = self.nodes
        if spec.mmap_lock in ("qspinlock", "cna"):
            self.mmap_nodes = _queue_nodes(machine, "mmap_lock", cna if spec.mmap_lock == "cna" else None)
        self.osq_nodes = QueueNodes(machine, "osq")
        self.scheduler = Scheduler(machine)
        self.contexts = ContextTable(machine, spec.flush.asids)
        clock, plain = machine.spec.kernel_clock, machine.spec.plain_clock
        self.cost = at_clocks(spec.costs, clock, Costs.plain, plain)
        self.perf_mmap = machine.spec.kernel.perf_mmap.at(plain)
        self.rcu = TreeRcu(machine, spec.rcu)
        self.latr = None if spec.latr is None else LatrRings(machine, spec.latr, spec.rcu.tick)
        self.kept: list[KeptMemory] = []  # by LATR, of each process
        self._tables_going: dict[int, None] = {}
        self.bare_index: BareIndex | None = None
        """An index of no process that runs, which a bench works on."""
        self.pages = self._make_allocator()
        self.recycled: RecycledFrames | None = None
        if spec.recycling is not None:
            assert isinstance(self.pages, PageAllocator)
            self.recycled = self.pages.recycled = RecycledFrames(spec.recycling, plain)
        self.total_pages = sum(pool.buddy.managed for pool in self.pages.buddies())
        self._footprint = Footprint(self.total_pages * STRUCT_PAGE)
        self.memcg = Memcg(machine, spec.memcg)
        self.slabs = SlabCaches(
            self.footprint,
            machine,
            self.pages,
            self.nodes,
            self.rcu,
            spec.slab,
            self._object_charges(),
            separate_locks=VMA_LOCKS[spec.vma_lock].separate,
            tree_nodes=VMA_INDEXES[spec.vma_index].has_nodes,
        )
        share = spec.limits.committed_share
        self.committed = make_committed(machine, self.nodes, self.total_pages, share)
        self.descriptors = Descriptors(machine, self.scheduler, self.pages.node)
        self.percpu = PercpuAreas(machine, self.nodes, self.cost, spec.limits.percpu_areas)
        self.deposits = Deposits()
        self.huge_zero = HugeZero()
        self.hugetlb = HugePool(
            machine,
            self.pages,
            self.descriptors,
            self.nodes,
            self.osq_nodes,
            self.scheduler,
            spec.huge_pages.pool,
        )
        self.charges = Charges(spec.memcg, self.cost.memcg_charge)
        self.page_cache = PageCache(self)
        self.dentries = Dentries(self)
        self.ucounts = machine.line("ucounts")
        self.lru = Lru(
            machine,
            self.pages,
            self.descriptors,
            spec.limits.lru_batch,
            spec.limits.lru_release_batch,
            self.cost,
            self.nodes,
            self.charges,
            self.memcg,
            ordered=spec.swap is not None,
        )
        self.rmap = Rmap(self)
        self.drive = None if spec.drive is None else LinuxDrive(self, spec.drive)
        self.exmaps: list[Exmap] = []  # of each process that has one
        self.morsels: Morsels | None = None
        if spec.morsels is not None:
            self.morsels = Morsels(spec.morsels, at_clock(spec.morsels.costs, clock), self.footprint)
        self.swap: Swap | None = None
        self.reclaimer: Reclaimer | None = None
        if spec.swap is not None:
            assert isinstance(self.pages, PageAllocator)
            self.swap = Swap(self, spec.swap)
            self.total_pages += spec.swap_pages
            self.reclaimer = self.pages.reclaimer = Reclaimer(self, spec.swap, self.swap, self.pages.zones)
        self.forked = None if spec.fork is None else ForkedTables(spec.fork, clock, self.pages.in_use)
        self._boot()

    @property
    def footprint(self) -> Footprint:
        return self._footprint

    def _make_allocator(self) -> Allocator:
        if self.spec.page_allocator == "buddy":
            return PageAllocator(self.machine, self.spec, self.cost, self.nodes, self.rcu)
        return make_allocator(self.machine, self.spec.page_allocator, self.spec)

    def _object_charges(self) -> ObjectCharges | None:
        costs = self.spec.memcg.objects
        if costs is None or not self.memcg.counters:
            return None
        return ObjectCharges(self.machine, self.memcg, at_clock(costs, self.machine.spec.plain_clock))

    def _boot(self) -> None:
        """The state a running kernel is in: what each cpu keeps is at some random level."""
        draw = self.machine.engine.stream("boot").random
        for cpu in self.machine.cpus:
            waiting = int(draw() * self.spec.limits.lru_batch)
            self.lru.boot(cpu, self.pages.boot(cpu, waiting, draw))
        self.slabs.boot(draw, self._where_the_last_one_ended())

    def _where_the_last_one_ended(self) -> Cpu:
        """The cpu that ran the exit of the process before: beside the first one, where its main thread was
        woken when the others had ended (select_idle_sibling looks for a cpu that shares their cache)."""
        first, *others = self.machine.cpus
        return next((cpu for cpu in others if cpu.cluster == first.cluster and cpu.core != first.core), first)

    def new_process(self, cpu: Cpu) -> LinuxSpace:
        return LinuxSpace(self, cpu)

    @property
    def grace_periods(self) -> TreeRcu:
        return self.rcu

    @property
    def memory(self) -> PhysicalMemory:
        return self.pages

    def note_switch(self, cpu: Cpu) -> Steps[None]:
        self.rcu.quiescent(cpu)
        return
        yield

    @property
    def rules(self) -> Rules:
        switches, huge = self.spec.switches, self.spec.huge_pages
        topdown = switches.mmap_layout == "top-down"
        new_places = self.spec.interval is not None or self.spec.recycling is not None
        return Rules(
            tells_fills=True,
            knows_flags=True,
            zero_page=True,
            holes_end_mprotect=True,
            frees_tables=not new_places,
            leaves_tables=self.forked is not None,
            kernel_dirties=True,
            area=None
            if self.spec.interval or self.spec.recycling
            else (FIRST_PAGE if topdown else LEGACY_BASE, HIGHEST_PAGE),
            bottom_up=not topdown,
            swaps=self.swap is not None,
            memory=self.total_pages,
            max_map_count=self.spec.limits.max_map_count,
            madvises_itself=switches.process_madvise != "remote",
            levels=self.machine.spec.page_tables.levels,
            pool=huge.pool,
            huge=huge.thp != "never" or bool(huge.folios),
        )

    def reclaim(self, cpu: Cpu) -> Steps[None]:
        if self.reclaimer is not None and isinstance(self.pages, PageAllocator):
            yield from self.reclaimer.try_to_free_pages(cpu, self.pages.zones)

    def free_table(self, cpu: Cpu, frame: int) -> Steps[None]:
        """pte_free: the frame of a page table that nobody can reach any more."""
        yield from self.charges.uncharge_kmem(cpu, frame)
        yield from self.pages.free(cpu, frame)

    def free_table_later(self, cpu: Cpu, frame: int) -> None:
        """The same after a grace period: a fault may still be on its way through it."""
        self._tables_going[frame] = None
        self.rcu.call(cpu, partial(self._free_table_now, frame))

    def _free_table_now(self, frame: int, cpu: Cpu) -> Steps[None]:
        del self._tables_going[frame]
        yield from self.free_table(cpu, frame)

    def references(self) -> Iterator[Reference]:
        for frame in self._tables_going:
            yield Reference(frame, "a page table that waits for a grace period")
        yield from self.lru.references()
        yield from self.slabs.references()
        yield from self.page_cache.references()
        yield from self.deposits.references()
        yield from self.hugetlb.references()
        if self.morsels is not None:
            yield from self.morsels.references()
        if self.huge_zero.frame is not None:
            yield Reference(self.huge_zero.frame, "the huge page of zeros")
        if self.swap is not None:
            yield from self.swap.references()
        for kept in self.kept:
            yield from kept.references(shown=False)
        for exmap in self.exmaps:
            yield from exmap.references()

    def verify(self, loaded: Mapping[AddressSpace, Sequence[Cpu]], held: Iterable[Reference] = ()) -> None:
        structures_agree(self.lru.contradictions())
        structures_agree(self.slabs.contradictions())
        structures_agree(self.hugetlb.contradictions(vma for space in loaded for vma in _linux(space).tree))
        spaces = [_linux(space) for space in loaded]
        structures_agree(self.page_cache.contradictions(spaces))
        if self.morsels is not None:
            vmas_of_all = [vma for space in spaces for vma in space.tree]
            structures_agree(self.morsels.contradictions(self.pages, vmas_of_all))
        opened = {file: None for space in spaces if space.files for file in space.files.open_now()}
        structures_agree(self.dentries.contradictions(file.dentry.inode for file in opened))
        if self.swap is not None:
            structures_agree(self.swap.contradictions(spaces))
        super().verify(loaded, held)
        structures_agree(self._lost_objects(loaded))
        if self.bare_index is not None:
            structures_agree(self.bare_index.contradictions())
        structures_agree(self.charges.contradictions([self.memcg], self.pages.in_use))
        vmas = [vma for space in spaces for vma in space.tree]
        structures_agree(committed.contradictions(self.committed, vmas, self.page_cache.inodes))

    def _lost_objects(self, spaces: Iterable[AddressSpace]) -> Iterator[str]:
        """Objects that somebody has are those of VMAs in trees, and nodes of trees."""
        vmas = nodes = links = 0
        anon_vmas: set[AnonVma] = set()
        for space in map(_linux, spaces):
            nodes += space.tree.nodes()
            vmas += 0 if space.kept is None else len(list(space.kept.vmas))
            for vma in space.tree:
                vmas += 1
                links += len(vma.chain)
                anon_vmas.update(vma.chain)
        slabs = self.slabs
        locks = vmas
        if self.bare_index is not None:
            nodes += self.bare_index.index.nodes()
            vmas += self.bare_index.model is not None
            locks = vmas + (len(list(self.bare_index.index)) if self.spec.interval is not None else 0)
        counted = {
            slabs.vm_area_struct: vmas,
            slabs.anon_vma_chain: links,
            slabs.anon_vma: len(anon_vmas),
        }
        if slabs.maple_node is not None:
            counted[slabs.maple_node] = nodes
        if slabs.vma_lock is not None:
            counted[slabs.vma_lock] = locks
        for cache, number in counted.items():
            if cache.live != number:
                yield f"{cache.live} objects of {cache.name} are in use and {number} can be found"

    def place_memory(self, policy: NodePolicy) -> None:
        self.pages.policy = policy

    def put_page(self, cpu: Cpu, frame: int) -> Steps[None]:
        """folio_put."""
        return self.lru.release(cpu, [frame])

    operations: ClassVar[Handlers] = {
        AllocatePages: _allocate,
        FreePages: _free,
        SwitchMm: _switch,
        CreateFile: _create_file,
        Fallocate: fallocate,
        Ftruncate: ftruncate,
        CreateObject: create_object,
        DestroyObject: destroy_object,
        PlaceRegions: _place_regions,
        LookUp: _look_up,
        WriteRegion: _write_region,
        AllocateRegion: _allocate_region,
    }


class KernelWithDrive(LinuxKernel):
    """One that has a drive to read from."""

    __slots__ = ()

    space = DriveSpace

    def new_process(self, cpu: Cpu) -> LinuxSpace:
        return DriveSpace(self, cpu)


class KernelWithExmap(LinuxKernel):
    """One that has the module exmap loaded, and perhaps a drive."""

    __slots__ = ()

    space = ExmapSpace

    def new_process(self, cpu: Cpu) -> LinuxSpace:
        return ExmapSpace(self, cpu)


def kernel_of(spec: DesignSpec) -> type[LinuxKernel]:
    """The class of the kernel that *spec* describes: what its processes offer depends on it."""
    assert isinstance(spec, LinuxSpec)
    if spec.exmap is not None:
        return KernelWithExmap
    return LinuxKernel if spec.drive is None else KernelWithDrive


def _queue_nodes(machine: Machine, name: str, cna: CnaSpec | None) -> QueueNodes:
    """What waiters of spin locks queue on: of NUMA-aware ones with *cna*."""
    return QueueNodes(machine, name) if cna is None else NumaAwareNodes(machine, name, cna.threshold)


def _linux(space: AddressSpace) -> LinuxSpace:
    assert isinstance(space, LinuxSpace)
    return space
