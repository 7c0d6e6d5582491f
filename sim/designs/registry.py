"""Designs register themselves by family name; outside packages through the entry point `cortensim.designs`.

An entry point names a `Family`, e.g. `radixvm = "my_package:FAMILY"`.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from sim.designs.base import DesignSpec, Family, Kernel
from sim.designs.bench import FAMILY as BENCH
from sim.designs.cortenmm import FAMILY as CORTENMM
from sim.designs.linux import FAMILY as LINUX
from sim.hardware import Machine


@cache
def _families() -> dict[str, Family]:
    known = {family.name: family for family in (LINUX, CORTENMM, BENCH)}
    for entry in entry_points(group="cortensim.designs"):
        known.setdefault(entry.name, entry.load())
    return known


def families() -> list[str]:
    """Names that a design file may give as its `family`."""
    return sorted(_families())


def spec_model(family: str) -> type[DesignSpec]:
    """The model that a design file of *family* is read into. Raises `KeyError`."""
    return _families()[family].spec


def build(machine: Machine, spec: DesignSpec) -> Kernel:
    """Boot the kernel of *spec* on *machine*."""
    return _families()[spec.family].build(machine, spec)
