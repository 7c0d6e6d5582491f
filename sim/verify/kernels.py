"""Designs with round costs and near limits, so that what happens at a border happens often.

A *kind* is one of them, or the name of a design file. Batches have three or four pages, grace periods end
soon, and a hundred operations come to where a shipped design comes after a million.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from sim.designs import DesignSpec, spec_model
from sim.designs.linux.fork_spec import SharedTableCosts
from sim.designs.linux.slab.spec import SlabCosts
from sim.designs.linux.vfs.spec import CallCosts
from sim.files import load_spec
from sim.verify.machines import RWSEM, merged

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
    "title": "Linux for verification",
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

_CORTENMM: dict[str, Any] = {
    "title": "CortenMM for verification",
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

_RADIX: dict[str, Any] = {
    "name": "radix",
    "title": "RadixVM for verification",
    "family": "radixvm",
    "page_tables": "per-core",
    "pause": "2 cycles",
    "tree": {"node": "256 B", "leaf_slot": "64 B"},
    "refcache": {"ways": 16, "tick": "10 us", "descriptor": "64 B"},
    "frames": {"hot_pages": 4},
    "flush": {"method": "ipi", "calls": "sv6", "concurrent": False, "asids": 1},
    "costs": _each_cost("radixvm"),
}
_NROS: dict[str, Any] = {
    "name": "nros-replicas",
    "title": "NrOS for verification: a replica for every cpu or two, and a log that is soon full",
    "family": "nros",
    "replicas": 3,
    "retry": "2 us",
    "log": {"entries": 16, "reserve": 4, "entry_lines": 2, "helps_after": 2},
    "caches": {
        "base_pages": 40,
        "large_pages": 2,
        "large_share": 0.87,
        "refill": 7,
        "refill_call": 20,
    },
    "tree": {"keys": 5, "key_lines": 1, "value_lines": 2},
    "shootdown": {"cluster": 2, "cores": 256, "acknowledge": "first", "whole_above": 20},
    "costs": _each_cost("nros"),
}

ALLOCATORS: dict[str, Any] = {
    "llfree": {
        "tree_children": 2,
        "words_per_line": 32,
        **dict.fromkeys(("get", "put", "huge_get", "huge_put", "scan", "reserve", "pause"), "10 cycles"),
        "linux": {
            "threshold": 600,
            **dict.fromkeys(("get", "put", "far_block", "check", "check_cached"), "10 cycles"),
        },
    },
    "frame_list": dict.fromkeys(("get", "put", "descriptor", "pause"), "10 cycles"),
    "frame_buddy": {"batch": 8, "high": 20, **dict.fromkeys(("get", "put", "move"), "10 cycles")},
}
"""What allocators cost that a kernel may have instead of its own."""

TABLE_SHARERS = ("forks-on-demand", "forks-cow-pte-owner", "forks-cow-pte")
"""Linux whose fork leaves tables to parent and child."""


def _shares_tables(name: str) -> dict[str, Any]:
    costs, tables = dict.fromkeys(SharedTableCosts.model_fields, "10 cycles"), name.removeprefix("forks-")
    vma_lock = "rwsem" if tables == "on-demand" else "none"
    return {**_LINUX, "name": name, "vma_lock": vma_lock, "fork": {"tables": tables, "costs": costs}}


OTHERS: dict[str, dict[str, Any]] = {
    **{name: _shares_tables(name) for name in TABLE_SHARERS},
    "linux-trees": {**_LINUX, "name": "linux-trees", "page_allocator": "llfree", **ALLOCATORS},
    "linux-list-cas": {**_LINUX, "name": "linux-list-cas", "page_allocator": "list-cas", **ALLOCATORS},
    "adv-trees": {
        **_CORTENMM,
        "name": "adv-trees",
        "protocol": "adv",
        "page_allocator": "llfree",
        **ALLOCATORS,
    },
    "nros-replicas": _NROS,
    "radix": _RADIX,
    "radix-shared": {
        **_RADIX,
        "name": "radix-shared",
        "page_tables": "shared",
        "tree": {"node": "128 B", "leaf_slot": "32 B"},
    },
}
"""Designs of other families, and Linux with add-ons, with round costs and near limits, by their names."""


@cache
def _shipped(name: str) -> DesignSpec:
    spec = load_spec("design", name).spec
    assert isinstance(spec, DesignSpec)
    return spec


def design(kind: str, changes: Mapping[str, Any] | None = None) -> DesignSpec:
    """`linux`, or a CortenMM, by its protocol, with *changes* merged into what its file would say.

    Any other *kind* is a design file that comes with the simulator, as it is.
    """
    if kind in OTHERS:
        return spec_model(OTHERS[kind]["family"]).model_validate(merged(OTHERS[kind], changes or {}))
    if kind not in (*KINDS, *VARIANTS):
        return _shipped(kind)
    raw = _LINUX
    if kind != "linux":
        raw = {**_CORTENMM, "name": f"cortenmm-{kind}", "protocol": kind, **VARIANTS.get(kind, {})}
    return spec_model(raw["family"]).model_validate(merged(raw, changes or {}))
