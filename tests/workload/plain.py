"""Workloads for tests, and how to run one on the small machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kernels import design
from machines import raw_spec

from sim.engine import QUIET, Probe
from sim.hardware import MachineSpec
from sim.workload import Budget, Measurement, WorkloadPlan, WorkloadSpec, simulate

BUDGET = Budget(events=1_000_000, simulated_ps=10**12)

_PLAIN: dict[str, Any] = {
    "name": "plain",
    "title": "a workload for tests",
    "requests": 4,
    "measured": {"first": 2, "last": 3},
    "pooled_threads": 1,
    "stack": {"size": "16 KiB", "touched": "4 KiB"},
    "layout": {"request": "8 KiB", "stride": "64 KiB", "order": "own", "base": "4 GiB"},
    "thread": [{"mmap": {"at": "slot"}}, {"touch": {"at": "slot"}}, {"munmap": {"at": "slot"}}],
    "placements": {"low": {}, "high": {"layout": {"order": "shuffled"}}},
}


def workload(**changes: Any) -> WorkloadSpec:
    """The plain workload with *changes* of its top-level keys (None: absent)."""
    raw = {key: value for key, value in {**_PLAIN, **changes}.items() if value is not None}
    return WorkloadSpec.model_validate_json(json.dumps(raw))


def plan(placement: str = "low", **changes: Any) -> WorkloadPlan:
    return workload(**changes).plan(placement)


def measure(
    spec: WorkloadSpec | None = None,
    kind: str = "adv",
    *,
    placement: str = "low",
    threads: int = 3,
    seed: int = 0,
    budget: Budget = BUDGET,
    machine: Mapping[str, Any] | None = None,
    probe: Probe = QUIET,
) -> Measurement:
    """One point on the small machine."""
    return simulate(
        MachineSpec.model_validate(raw_spec(machine)),
        design(kind),
        spec or workload(),
        placement=placement,
        threads=threads,
        seed=seed,
        budget=budget,
        probe=probe,
    )
