"""What an experiment file says: which designs, on which machines, under which workloads, how many threads."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sim.files.schedule import FIFO, ScheduleSpec, in_full
from sim.quantities import Duration, Size, WallTime


def _not_a_flag(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    return value


Count = Annotated[int, BeforeValidator(_not_a_flag), Field(ge=1)]
Name = Annotated[str, Field(min_length=1)]
Values = Annotated[tuple[Any, ...], Field(min_length=1)]
Condition = Annotated[dict[str, Any], Field(min_length=1)]
Names = Annotated[tuple[Name, ...], Field(min_length=1)]


POINT_KEYS = ("machine", "design", "workload", "placement", "threads", "replicate")
"""What a condition of `only` and `exclude` may ask of a point, beside the swept paths."""


class BudgetSpec(BaseModel):
    """How much one point may use before it is given up as a failed row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: Count = 50_000_000
    """Events of the simulation."""
    simulated_time: Duration = 10_000_000_000_000
    """Picoseconds."""
    wall: WallTime | None = None
    """Seconds of real time."""
    memory: Size | None = None
    """Bytes that the point may add to its worker process."""


class ExperimentSpec(BaseModel):
    """A grid of points: every design on every machine under every workload, placement and thread count.

    Names are of presets, or paths of files (relative to the experiment's own file). Without *placements*
    each workload runs with all of its own. *parameters* override values of the files by path, such as
    `workload.layout.leaves` or `design.costs.syscall`, in every file of that kind; *overrides* do so for
    the points of one machine, design or workload, which is named by its key.

    *sweep* and *zip* vary values by path (see `axes`), *only* and *exclude* leave points out (see
    `filters`), and *quick* holds what `run --quick` puts in place of the keys of the same name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]
    """The file's name without `.yaml`."""
    title: str = ""
    """One line for lists and figures."""
    machines: Names
    """Names of presets, or paths of files."""
    designs: Names
    """Names of presets, or paths of files."""
    workloads: Names
    """Names of presets, or paths of files."""
    placements: Names | None = None
    """Placements of the workloads. Absent: all that each has."""
    threads: Annotated[tuple[Count, ...], Field(min_length=1)]
    """Numbers of threads: a list, a range such as 1..384 x2, or a list of both."""
    seed: Annotated[int, BeforeValidator(_not_a_flag), Field(ge=0, lt=1 << 63)] = 2025
    """All random draws follow from it: the same seed gives the same bytes."""
    replicates: Annotated[Count, Field(le=1000)] = 1
    """Times each point is run, with seeds of their own."""
    parameters: dict[str, Any] = {}
    """Path -> value, for every file of its kind: {machine.tlb.entries: 2048}."""
    overrides: dict[str, dict[str, Any]] = {}
    """Machine, design or workload -> path -> value, for its points only."""
    sweep: dict[str, Values] = {}
    """Path -> values; each path is an axis, and every combination runs."""
    zip: dict[str, Values] = {}
    """Path -> values that belong together: first with first, second with second."""
    only: tuple[Condition, ...] = ()
    """Conditions of which a point must fulfil one."""
    exclude: tuple[Condition, ...] = ()
    """Conditions of which a point may fulfil none."""
    quick: dict[str, Any] = {}
    """What `run --quick` puts in place of the keys of the same name."""
    schedule: Annotated[ScheduleSpec, BeforeValidator(in_full)] = FIFO
    """What happens first of several things at the same instant: fifo, shuffle, priority:3 or a mapping."""
    budget: BudgetSpec = BudgetSpec()
    """How much one point may use before it is given up as a failed row."""
