"""Design families by name, and what of a design comes from outside packages (see `sim.plugins`)."""

from __future__ import annotations

from typing import Any, Final

from sim.designs.asterinas import FAMILY as ASTERINAS
from sim.designs.base import Family, Kernel
from sim.designs.base_spec import DesignSpec, OneOf
from sim.designs.bench import FAMILY as BENCH
from sim.designs.cortenmm import FAMILY as CORTENMM
from sim.designs.linux import FAMILY as LINUX
from sim.designs.linux import VMA_INDEXES, VMA_LOCKS
from sim.designs.nros import FAMILY as NROS
from sim.designs.radixvm import FAMILY as RADIXVM
from sim.hardware import Machine
from sim.mm import Operation
from sim.plugins import Part, Plugin, Registry


def _flaw(name: str, thing: object) -> str | None:
    if not isinstance(thing, Family):
        return f"what it names is of type {type(thing).__name__}, not a sim.designs.Family"
    if thing.name != name:
        return f"its Family has the name {thing.name!r}, not that of the entry point"
    if not (isinstance(thing.spec, type) and issubclass(thing.spec, DesignSpec)):
        return "the spec of its Family is no subclass of sim.designs.DesignSpec"
    return None


_ON_BOARD: Final = {family.name: family for family in (LINUX, CORTENMM, ASTERINAS, RADIXVM, NROS, BENCH)}
_FAMILIES: Final[Registry[Family]] = Registry("cortensim.designs", _ON_BOARD, _flaw)


def families() -> list[str]:
    """Names that a design file may give as its `family`, whether or not a plug-in's can be imported."""
    return _FAMILIES.names()


def parts_of(spec: DesignSpec) -> tuple[Part, ...]:
    """What the design of *spec* takes from outside packages: its family, or one of its strategies."""
    strategies = (
        mark.registry.part(getattr(spec, name))
        for name, field in type(spec).model_fields.items()
        for mark in field.metadata
        if isinstance(mark, OneOf)
    )
    return tuple(part for part in (_FAMILIES.part(spec.family), *strategies) if part is not None)


def refusal(plugin: Plugin) -> str | None:
    """Why *plugin* cannot be used, if so. Imports it."""
    registries: tuple[Registry[Any], ...] = (_FAMILIES, VMA_INDEXES, VMA_LOCKS)
    return next(each for each in registries if each.group == plugin.group).refusal(plugin)


def spec_model(family: str) -> type[DesignSpec]:
    """The model that a design file of *family* is read into.

    Raises `KeyError` where there is no such family, `InputError` where its plug-in cannot be used.
    """
    return _FAMILIES[family].spec


def build(machine: Machine, spec: DesignSpec) -> Kernel:
    """Boot the kernel of *spec* on *machine*."""
    return _FAMILIES[spec.family].build(machine, spec)


def operations_of(spec: DesignSpec) -> frozenset[type[Operation]]:
    """What the design of *spec* offers."""
    return _FAMILIES[spec.family].operations(spec)


def places_memory(spec: DesignSpec) -> bool:
    """Whether the design of *spec* can take pages from the nodes that a workload chooses."""
    return _FAMILIES[spec.family].places_memory(spec)
