"""The type of the spec of each kind of file.

Those of machines, designs and workloads stand in the rooms that use them, which are imported only when asked:
a list of presets must not load them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from sim.errors import InputError
from sim.files.experiment import ExperimentSpec

if TYPE_CHECKING:
    from sim.files.presets import Kind


def families() -> Sequence[str]:
    """The design families that are installed, whether or not their packages can be imported."""
    from sim.designs import families

    return families()


def of(kind: Kind, family: str | None = None) -> type[BaseModel]:
    """The type of a kind of file's spec; that of a design depends on its *family*.

    Raises `InputError` for the family of a plug-in that cannot be used.
    """
    if kind == "machine":
        from sim.hardware import MachineSpec

        return MachineSpec
    if kind == "design":
        from sim.designs import DesignSpec, spec_model

        return spec_model(family) if family else DesignSpec
    if kind == "workload":
        from sim.workload import WorkloadSpec

        return WorkloadSpec
    return ExperimentSpec


def in_new_form(kind: Kind, tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a file says, in the form that its type reads: files of earlier versions go on working."""
    if kind != "workload":
        return tree
    from sim.workload import in_new_form

    return in_new_form(tree)


def of_designs() -> Mapping[str, type[BaseModel]]:
    """The type of each design family's spec, but for those of plug-ins that cannot be used."""
    found: dict[str, type[BaseModel]] = {}
    for family in families():
        with suppress(InputError):
            found[family] = of("design", family)
    return found


def all_of(kind: Kind) -> list[type[BaseModel]]:
    """All types that a kind of file may be read into."""
    if kind == "design":
        return [of(kind), *of_designs().values()]
    return [of(kind)]
