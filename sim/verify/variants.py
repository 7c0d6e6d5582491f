"""The kernels that take part: designs that are shipped, Linux with its switches thrown at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, Protocol, TypeVar, get_args, get_origin

from pydantic import ValidationError

from sim.designs import OneOf, Rules, build, operations_of
from sim.designs.linux.spec import LinuxSpec, Switches
from sim.files import presets
from sim.hardware import MachineSpec
from sim.mm import Mprotect, Operation
from sim.quantities import Spec
from sim.verify.kernels import ALLOCATORS, KINDS, OTHERS, VARIANTS, design
from sim.verify.machines import raw_spec, small_machine
from sim.verify.swapping import DEVICES, corten_swap, swap

T = TypeVar("T")


class Choose(Protocol):
    """One of some things."""

    def __call__(self, things: Sequence[T], /) -> T: ...


PCID: dict[str, Any] = {"tlb": {"pcid": True, "switch": "50 ns"}}
BROADCAST: dict[str, Any] = {
    "tlb": {
        **PCID["tlb"],
        "broadcast": {"issue": "20 ns", "pages_per_issue": 8, "sync": "600 ns"},
    }
}
LARGE: dict[str, Any] = {"memory": {"size_per_socket": "16 GiB"}}
NODES: dict[str, Any] = {
    "topology": {"sockets": 4, "clusters_per_socket": 1, "cores_per_cluster": 1, "numa_nodes": 4}
}
"""Each cpu is a node."""
RECYCLING: dict[str, Any] = {"addresses": 64, "mark": "10 cycles", "check": "10 cycles"}
LATR: dict[str, Any] = {
    "hold": "30 us",
    "pages_a_batch": 4,
    **dict.fromkeys(("publish", "look", "sweep", "keep"), "10 cycles"),
}
GO_TOGETHER = frozenset({"interval-skiplist", "interval", "rwsem-sharded", "ranges", "qspinlock", "cna"})
"""Choices that are not thrown one by one: a file that has one has all of them, and is a design of its own; or
who holds the lock may not sleep."""


def draw_variant(choose: Choose, *, huge: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """A Linux with some position of each switch: what is changed in its file and in its machine's."""
    for _ in range(4):
        changes: dict[str, Any] = {
            "switches": {name: choose(values) for name, values in positions(Switches).items()},
            **{name: choose(values) for name, values in positions(LinuxSpec).items()},
            "flush": {"concurrent": choose((True, False))},
        }
        machine: dict[str, Any] = {}
        if choose(("ipi", "ipi", "broadcast")) == "broadcast":
            changes["flush"] |= {"method": "broadcast", "broadcast_from": choose((1, 2, 4))}
            machine = dict(BROADCAST)
        if changes["page_allocator"] != "buddy":
            changes |= ALLOCATORS
        elif not huge and choose((True, False)):
            changes |= swap(DEVICES[choose(tuple(DEVICES))])
        if choose((True, False, False)):
            changes["cna"] = {"threshold": choose(("200 ns", "10 us"))}
        if changes["flush"].get("method") != "broadcast" and "swap" not in changes and choose((True, False)):
            changes |= {"latr": {**LATR, "slots": choose((2, 5, 256))}}
        if huge:
            _draw_huge(choose, changes, machine)
        try:
            design("linux", changes)
        except ValidationError:  # what excludes each other
            continue
        return changes, machine
    return {}, {}


def draw_corten_variant(choose: Choose) -> dict[str, Any]:
    """A CortenMM with some position of each switch; what the artifact leaves undone no model predicts."""
    changes = {
        "source": choose(("paper", "paper", "rfc")),
        "va_allocator": choose(("per-core", "global")),
        "munmap_flush": choose(("lazy", "synchronous")),
    }
    if changes["source"] == "paper" and choose((True, False)):
        return {**changes, **corten_swap()}
    return changes


def _draw_huge(choose: Choose, changes: dict[str, Any], machine: dict[str, Any]) -> None:
    changes["huge_pages"] = {
        "thp": choose(("never", "madvise", "always", "always")),
        "use_zero_page": choose((True, False)),
        "pool": choose((0, 1, 3)) if changes["page_allocator"] == "buddy" else 0,
        "folios": choose(([], ["16 KiB"], ["64 KiB"], ["16 KiB", "1 MiB"])),
        "folios_for": choose(("madvise", "always", "always")),
    }
    machine["page_tables"] = {"levels": choose((4, 5))}


@cache
def positions(spec: type[Spec]) -> dict[str, Sequence[Any]]:
    """What each key of *spec* that names one of some things, or says yes or no, may be."""
    found: dict[str, Sequence[Any]] = {}
    for name, key in spec.model_fields.items():
        strategies: list[Sequence[Any]] = [
            mark.registry.names() for mark in key.metadata if isinstance(mark, OneOf)
        ]
        if key.annotation is bool:
            found[name] = (True, False)
        elif get_origin(key.annotation) is Literal:
            strategies = [get_args(key.annotation)]
        if strategies:
            found[name] = [one for one in strategies[0] if one not in GO_TOGETHER]
    return found


@cache
def offered(kind: str) -> frozenset[type[Operation]]:
    """The operations of a design."""
    return operations_of(design(kind))


@cache
def needed(kind: str) -> Mapping[str, Any]:
    """What the machine has to have for a design: memory for the large chunks of shipped ones, broadcasts."""
    if kind in (*KINDS, *VARIANTS, *OTHERS):
        return {}
    spec = design(kind)
    if isinstance(spec, LinuxSpec) and spec.replicas is not None:
        return LARGE | NODES
    small = MachineSpec.model_validate(raw_spec())
    return LARGE if design(kind).refuses(small) is None else LARGE | BROADCAST


@cache
def rules_of(kind: str) -> Rules:
    """What a design says of itself."""
    booted = small_machine(needed(kind), online=1)
    return build(booted, design(kind)).rules


def shipped() -> list[str]:
    """The design files that come with the simulator and describe whole kernels, not benches of parts."""
    return [name for name in presets.names("design") if Mprotect in offered(name)]
