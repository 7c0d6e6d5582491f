"""The designs with round costs, booted on the small machine, and a process of one to run threads in.

What every operation must leave behind is checked while it happens, by a listener (`Watch`) that knows no
design: a frame has one owner and is not freed while a TLB translates to it, no two cpus have overlapping
ranges to themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from machines import RWSEM, run, small_machine

from sim.check import Watch
from sim.designs import DesignSpec, build, spec_model
from sim.designs.linux.slab.spec import SlabCosts
from sim.designs.linux.vfs.spec import CallCosts
from sim.engine import Probe, ScheduleName, Steps
from sim.files import load_spec
from sim.hardware import Cpu
from sim.mm import (
    Brk,
    Madvise,
    Mincore,
    Mlock,
    Mmap,
    Mprotect,
    Mremap,
    Msync,
    Munlock,
    Munmap,
    PageTablePage,
    PhysicalMemory,
    Present,
    Status,
    SwitchMm,
    slot_of,
)

GIB = 1 << 18
"""Pages that a level-2 table covers."""
BASE = 4 * GIB
"""A page where all levels below the root begin a new table."""
LEAF = 512
"""Pages that a level-1 table covers."""

KINDS = ["linux", "rw", "adv"]

VARIANTS: dict[str, dict[str, Any]] = {
    "coarse": {},
    "nontransactional": {},
    "optimistic": {"metadata": "array", "metadata_entry": 16},
    "arrays": {"protocol": "adv", "metadata": "array"},
}
"""Further CortenMMs: what their files say beside the protocol, which is their name unless it stands here."""

EVERY_CORTENMM = ["rw", "adv", *VARIANTS]

_RECORDS = {
    "mmap": Mmap,
    "munmap": Munmap,
    "mprotect": Mprotect,
    "discard": Madvise,
    "madvise": Madvise,
    "brk": Brk,
    "mremap": Mremap,
    "mlock": Mlock,
    "munlock": Munlock,
    "mincore": Mincore,
    "msync": Msync,
}

MM_STRUCT = (
    ("pgtables_bytes", "map_count", "page_table_lock", "mmap_lock.count"),
    ("mmap_lock.owner", "mm_lock_seq", "hiwater_rss"),
    ("hiwater_vm", "total_vm", "locked_vm", "data_vm"),
)
"""What lies together in 6.13."""


def _each_cost(family: str) -> dict[str, str]:
    costs: Any = spec_model(family).model_fields["costs"].annotation
    return dict.fromkeys(costs.model_fields, "10 cycles")


_LINUX: dict[str, Any] = {
    "name": "linux",
    "title": "Linux for tests",
    "family": "linux",
    "switches": {
        "prefetchw_mmap_lock": True,
        "lru_drain_on_zap": True,
        "munmap_downgrade": True,
        "dontneed_lock": "mmap",
        "anon_vma_early_check": False,
        "mmap_layout": "top-down",
        "thp_align": "none",
        "file_fault_vma_lock": True,
        "uffd_lock": "vma",
        "mm_cid": "none",
        "mm_lock_seq": "end",
        "rss_stat": "percpu",
        "maps_lock": "mmap",
        "process_madvise": "each",
        "fork_tree": "duplicate",
        "fork_batch": True,
        "tree_preallocation": "store",
        "vvar_vclock": True,
    },
    "mmap_lock": "rwsem",
    "vma_index": "maple",
    "vma_lock": "rwsem",
    "layout": {"mm_struct": MM_STRUCT},
    "flush": {"method": "ipi", "concurrent": True, "asids": 6},
    "memcg": {"levels": 0, "charge_batch": 4, "uncharge_batch": 3},
    "limits": {
        "lru_batch": 4,
        "lru_release_batch": 3,
        "pcp_batch": 4,
        "pcp_high": 12,
        "pcp_blocks": True,
        "pcp_drain": "in a row",
        "fault_around": 4,
        "unlink_batch": 8,
        "rss_events": 64,
        "gather_pages": 600,
        "percpu_areas": 2,
        "max_map_count": 65530,
        "maps_lines": 3,
        "committed_share": 4,
    },
    "rwsem": RWSEM,
    "costs": _each_cost("linux"),
    "calls": {"d_lockref": "apart", "costs": dict.fromkeys(CallCosts.model_fields, "10 cycles")},
    "slab": {
        "kind": "slub",
        "caches": {
            "vm_area_struct": {"size": "184 B", "align": "8 B", "head": "56 B", "free": "rcu"},
            "vma_lock": {"size": "40 B", "align": "8 B", "head": "40 B", "free": "rcu"},
            "maple_node": {"size": "256 B", "align": "256 B", "head": "64 B", "free": "rcu"},
            "anon_vma": {"size": "96 B", "align": "8 B", "head": "64 B", "free": "at once"},
            "anon_vma_chain": {"size": "64 B", "align": "64 B", "head": "64 B", "free": "at once"},
        },
        "rules": {
            "max_order": 3,
            "waste": 16,
            "min_partial": 5,
            "max_partial": 10,
            "cpu_partial": [{"below": "256 B", "objects": 120}, {"below": "1 KiB", "objects": 52}],
        },
        "costs": dict.fromkeys(SlabCosts.model_fields, "10 cycles"),
    },
    "rcu": {
        "tick": "10 us",
        "least": "20 us",
        "urgent": "100 us",
        "restarts": 10,
        "preemptible": True,
        "batch": 10,
        "share": 7,
        "call": "10 cycles",
        "callback": "10 cycles",
    },
}

RWSEM_LOCK: dict[str, Any] = {"vma_lock": "rwsem"}
"""What a Linux design file says of its VMA locks until 6.14."""
REFCOUNT_LOCK: dict[str, Any] = {
    "vma_lock": "refcount",
    "switches": {"mm_lock_seq": "seqcount"},
    "slab": {
        "caches": {
            "vm_area_struct": {"size": "192 B", "align": "64 B", "head": "64 B", "free": "at once"},
        },
    },
}
"""And since 6.15."""

_CORTENMM: dict[str, Any] = {
    "title": "CortenMM for tests",
    "family": "cortenmm",
    "va_allocator": "per-core",
    "latr_tick": "10 us",
    "limits": {
        "frame_cache": 12,
        "frame_refill": 8,
        "frame_chunk": 1024,
        "table_pool_low": 1,
        "table_pool_full": 4,
        "fault_around": 16,
        "latr_slots": 4,
    },
    "bravo": {"slots": 1021, "inhibit": "20 us", "scan_line": "1 cycles", "frame_metadata": 96},
    "costs": _each_cost("cortenmm"),
}


@cache
def _shipped(name: str) -> DesignSpec:
    spec = load_spec("design", name).spec
    assert isinstance(spec, DesignSpec)
    return spec


def design(kind: str, changes: Mapping[str, Any] | None = None) -> DesignSpec:
    """`linux`, or a CortenMM, by its protocol, with *changes* merged into what its file would say.

    Any other *kind* is a design file that comes with the simulator, as it is.
    """
    if kind not in (*KINDS, *VARIANTS):
        return _shipped(kind)
    raw = _LINUX
    if kind != "linux":
        raw = {**_CORTENMM, "name": f"cortenmm-{kind}", "protocol": kind, **VARIANTS.get(kind, {})}
    return spec_model(raw["family"]).model_validate(_merged(raw, changes or {}))


class Process:
    """A process whose threads run on the first *cpus* cpus, the only ones online.

    With more *processes* than one, which have the cpus by turns; *space* is the first one's. *spec* is a
    design in place of those with round costs.
    """

    def __init__(
        self,
        kind: str,
        *,
        cpus: int = 2,
        processes: int = 1,
        ties: ScheduleName = "fifo",
        seed: int = 0,
        changes: Mapping[str, Any] | None = None,
        spec: DesignSpec | None = None,
        machine: Mapping[str, Any] | None = None,
        listeners: Sequence[Probe] = (),
    ) -> None:
        self.watch = Watch()
        self.machine = small_machine(
            machine, ties=ties, seed=seed, online=cpus, listeners=(self.watch, *listeners)
        )
        self.cpus = self.machine.cpus
        self.kernel = build(self.machine, spec or design(kind, changes))
        self.spaces: list[Any] = [self.kernel.new_process(cpu) for cpu in self.cpus[:processes]]
        self.space = self.spaces[0]
        self._loaded = {cpu: self.spaces[cpu.id % processes] for cpu in self.cpus}
        for cpu, space in self._loaded.items():
            space.activate(cpu)
        self.watch.machine = self.machine
        memory = self.kernel.memory
        assert memory is not None
        for frame in memory.in_use.refcount:
            self.watch.owned.update(range(frame, frame + (1 << memory.in_use.orders.get(frame, 0))))

    def space_of(self, cpu: Cpu) -> Any:
        """The space that *cpu* has loaded."""
        return self._loaded[cpu]

    def load(self, cpu: Cpu, space: Any) -> Steps[None]:
        """*cpu* goes on in *space*."""
        yield from self.kernel.perform(cpu, SwitchMm(space))
        self.loads(cpu, space)

    def loads(self, cpu: Cpu, space: Any) -> None:
        """*cpu* has loaded *space*, a new one perhaps."""
        self._loaded[cpu] = space
        if space not in self.spaces:
            self.spaces.append(space)

    def run(self, bodies: Mapping[int, Callable[[Cpu], Steps[None]]]) -> None:
        """Run a thread on every cpu, an idle one where *bodies* has none, to its end; then verify."""
        for cpu in self.cpus:
            cpu.in_kernel_wait = False
        run(self.machine, {cpu.id: self._whole_life(bodies.get(cpu.id)) for cpu in self.cpus})
        self.verify()

    def do(self, *operations: tuple[Any, ...], cpu: int = 0) -> list[Any]:
        """Run operations, ("mmap" | "munmap" | "touch" | ..., arguments...), one after another on one cpu."""
        values = []

        def body(here: Cpu) -> Steps[None]:
            for name, *arguments in operations:
                if name == "touch":
                    values.append((yield from self.space.access(here, *arguments)))
                else:
                    values.append((yield from self.space.perform(here, _RECORDS[name](*arguments))))

        self.run({cpu: body})
        return values

    def verify(self) -> None:
        """The end state holds against all invariants."""
        loaded: dict[Any, list[Cpu]] = {space: [] for space in self.spaces}
        for cpu in self.cpus:
            loaded[self.space_of(cpu)].append(cpu)
        self.kernel.verify(loaded)

    def end(self) -> None:
        """Pass the grace periods and let every record be swept: nothing waits to be freed any more."""
        self.run({})
        self.run({})
        for space in self.spaces:
            space.settle()
            assert not list(space.deferred())
        self.verify()

    # -- what is mapped -------------------------------------------------------------------------------------

    def is_mapped(self, page: int) -> bool:
        """Whether the process may touch *page*."""
        return self.space.status(page) is not None

    def is_present(self, page: int) -> bool:
        return self.space.root.walk(page) is not None

    def translators(self, page: int) -> list[Cpu]:
        """Cpus whose TLB can translate *page* (one that flushes before it runs again cannot)."""
        return [cpu for cpu in self.cpus if not cpu.tlb.stale and page in cpu.tlb.frames()]

    def _whole_life(self, body: Callable[[Cpu], Steps[None]] | None) -> Callable[[Cpu], Steps[None]]:
        def whole_life(cpu: Cpu) -> Steps[None]:
            cpu.tlb_catch_up()
            if body is not None:
                yield from body(cpu)
            yield from self.space_of(cpu).deactivate(cpu)

        return whole_life


def frames_in_use(memory: PhysicalMemory) -> int:
    """Frames that somebody has."""
    return sum(1 << memory.in_use.orders.get(block, 0) for block in memory.in_use.refcount)


def entry_of(root: PageTablePage, page: int) -> PageTablePage | Present | Status | None:
    """What stands for *page* in the table, at whatever level."""
    table = root
    while (child := table.child(slot_of(page, table.level))) is not None:
        table = child
    return table.get(slot_of(page, table.level))


def table_of(root: PageTablePage, page: int, level: int) -> PageTablePage | None:
    """The table of *level* that covers *page*, if it exists."""
    table: PageTablePage | None = root
    while table is not None and table.level > level:
        table = table.child(slot_of(page, table.level))
    return table


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        result[key] = _merged(base.get(key, {}), value) if isinstance(value, Mapping) else value
    return result
