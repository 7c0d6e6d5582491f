"""The model as experiments see it: what fits together, and which version of its code is here.

It is imported only when asked, so that whoever only reads results, or lists presets, does not load it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.designs import DesignSpec
    from sim.errors import Fault
    from sim.hardware import MachineSpec
    from sim.plugins import Part
    from sim.workload import WorkloadSpec

_ROOMS = ("quantities.py", "engine", "hardware", "sync", "mm", "designs", "workload")


def parts_of(design: DesignSpec) -> Sequence[Part]:
    """What a design takes from plug-ins."""
    from sim.designs import parts_of

    return parts_of(design)


def foresee(
    machine: MachineSpec, design: DesignSpec, workload: WorkloadSpec, placement: str, counts: Sequence[int]
) -> Fault | None:
    """Why a workload cannot run on a machine with these numbers of threads; the key is the workload's."""
    from sim.workload import foresee

    return foresee(machine, workload, placement, counts, design.swap_pages)


def never_works(workload: WorkloadSpec, placement: str) -> Fault | None:
    """Why a workload can run on no machine and with no number of threads, if so."""
    from sim.workload import never_works

    return never_works(workload, placement)


def lacking(design: DesignSpec, workload: WorkloadSpec) -> list[str]:
    """What a workload needs and a design does not offer, by name."""
    from sim.workload import lacking

    return lacking(design, workload)


def report_columns() -> Mapping[str, Sequence[str]]:
    """The columns of the tables of a run report by table."""
    from sim.profile import TABLES

    return TABLES


def object_columns() -> Mapping[str, Sequence[str]]:
    """The columns of the tables of locks and lines by object."""
    from sim.profile import OBJECT_COLUMNS

    return OBJECT_COLUMNS


@cache
def model_version() -> str:
    """A fingerprint of the model's own source: results of two different models never mix in one run."""
    package = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for room in _ROOMS:
        path = package / room
        for source in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(str(source.relative_to(package)).encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def code_version(parts: Sequence[Part]) -> str:
    """A fingerprint of all code that results of a design depend on: the model and what *parts* come from."""
    plugins = (part.plugin for part in parts)
    return "+".join([model_version(), *(plugin.digest[:16] for plugin in plugins if plugin)])
