"""What an experiment file says: which designs, on which machines, under which workloads, how many threads."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sim.engine.units import Duration, Size, WallTime
from sim.experiment.schedules import FIFO, ScheduleSpec, in_full


def _not_a_flag(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    return value


Count = Annotated[int, BeforeValidator(_not_a_flag), Field(ge=1)]
Name = Annotated[str, Field(min_length=1)]
Values = Annotated[tuple[Any, ...], Field(min_length=1)]
Condition = Annotated[dict[str, Any], Field(min_length=1)]
Names = Annotated[tuple[Name, ...], Field(min_length=1)]


class LimitsSpec(BaseModel):
    """How much one point may use before it is given up as a failed row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: Count = 50_000_000
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
    title: str = ""
    machines: Names
    designs: Names
    workloads: Names
    placements: Names | None = None
    threads: Annotated[tuple[Count, ...], Field(min_length=1)]
    seed: Annotated[int, BeforeValidator(_not_a_flag), Field(ge=0, lt=1 << 63)] = 2025
    replicates: Annotated[Count, Field(le=1000)] = 1
    parameters: dict[str, Any] = {}
    overrides: dict[str, dict[str, Any]] = {}
    sweep: dict[str, Values] = {}
    zip: dict[str, Values] = {}
    only: tuple[Condition, ...] = ()
    exclude: tuple[Condition, ...] = ()
    quick: dict[str, Any] = {}
    schedule: Annotated[ScheduleSpec, BeforeValidator(in_full)] = FIFO
    """What happens first of several things at the same instant: fifo, shuffle, priority:3 or a mapping."""
    limits: LimitsSpec = LimitsSpec()
