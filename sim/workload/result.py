"""What one run gives, and the rule that its accounts keep."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.errors import AccountingError

if TYPE_CHECKING:
    from sim.hardware import Cpu
    from sim.mm import Footprint, ProcessStatus


@dataclass(frozen=True)
class Run:
    """One run, in ps: *operations* of *threads* measured threads ended in its *span*, in which the *cpus* of
    these spent their time.

    *latencies* are of measured operations, *spent* is by activity. *span* is the window; without one it is
    all of *elapsed*, from the start of the threads to the end of the last one. *footprint* is the kernel's,
    *statuses* are what threads have read of their processes.
    """

    operations: int
    latencies: list[int]
    threads: int
    cpus: int
    span: int
    spent: Mapping[str, float]
    elapsed: int
    events: int
    footprint: Footprint | None = None
    statuses: Sequence[ProcessStatus] = ()


def balanced(run: Run) -> Run:
    """*run*, whose time by activity is what its cpus had. Raises `AccountingError` where it is not.

    Exact to the picosecond where all of a run counts; in a window the pages of the accounts are scaled, which
    leaves the rounding of a float.
    """
    charged, passed = sum(run.spent.values()), run.cpus * run.span
    scaled = any(isinstance(time, float) for time in run.spent.values())
    if not math.isclose(charged, passed, rel_tol=1e-9 if scaled else 0):
        raise AccountingError(f"{charged} ps are accounted for, {run.cpus} x {run.span} ps passed")
    return run


def whole(cpus: Iterable[Cpu]) -> dict[str, float]:
    """Activity -> the time (ps) of *cpus* since their accounts were opened."""
    spent: dict[str, float] = {}
    for cpu in cpus:
        for activity, time in cpu.spent.items():
            spent[activity] = spent.get(activity, 0) + time
    return spent
