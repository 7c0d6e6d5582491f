"""What became of a point: a row of the result table, and where its time went."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from pydantic import ConfigDict

from sim.errors import CortensimError, Exhausted

if TYPE_CHECKING:
    from sim.experiment.plan import Point
    from sim.workload import Measurement

PointStatus = Literal["ok", "failed"]
_AS_WRITTEN = ConfigDict(extra="forbid")
"""For records that are read back: a field that is not known here is of another version."""


@dataclass(frozen=True)
class Row:
    """One line of `points.csv`; its fields are the columns. A failed point has no measurements.

    Nothing here depends on the clock on the wall, on the worker or on the order of work.
    """

    __pydantic_config__ = _AS_WRITTEN

    design: str
    machine: str
    workload: str
    placement: str
    threads: int
    seed: int
    replicate: int
    throughput_ops_per_us: float | None = None
    throughput_from_latency_ops_per_us: float | None = None
    latency_mean_ns: float | None = None
    latency_p50_ns: float | None = None
    latency_p95_ns: float | None = None
    latency_p99_ns: float | None = None
    idle_share: float | None = None
    interrupts_per_flush: float | None = None
    context_switches_per_op: float | None = None
    page_table_bytes_peak: int | None = None
    page_table_bytes_end: int | None = None
    metadata_bytes_peak: int | None = None
    metadata_bytes_end: int | None = None
    vma_bytes_peak: int | None = None
    vma_bytes_end: int | None = None
    frame_descriptor_bytes: int | None = None
    process_resident_bytes: int | None = None
    process_page_table_bytes: int | None = None
    simulated_ns: float | None = None
    operations: int | None = None
    events: int | None = None
    status: PointStatus = "ok"
    error: str = ""


COLUMNS: dict[str, Any] = get_type_hints(Row)
"""The columns of `points.csv`, in order, with their types."""

PART_COLUMN = "latency_{}_ns"
"""A column of `points.csv` behind those: a part of the requests, where any workload asks for them."""


def parts_in(columns: Iterable[str]) -> dict[str, str]:
    """The columns of `points.csv` that are parts of requests: part -> column."""
    before, after = PART_COLUMN.split("{}")
    found = (name for name in columns if name.startswith(before) and name.endswith(after))
    return {name.removeprefix(before).removesuffix(after): name for name in found if name not in COLUMNS}


KEY = ("design", "machine", "workload", "placement", "threads", "seed", "replicate")
"""The columns that name a point."""


@dataclass(frozen=True)
class Outcome:
    """A finished point. *transient* marks a failure of the machine, which another try may not repeat."""

    __pydantic_config__ = _AS_WRITTEN

    point_id: str
    row: Row
    breakdown: dict[str, float] = field(default_factory=dict)
    """Activity -> ns per operation."""
    swept: dict[str, Any] = field(default_factory=dict)
    """Swept path -> value: further columns that name the point."""
    counters: dict[str, float] = field(default_factory=dict)
    """Counter -> how often; empty unless the point was profiled."""
    locks: list[dict[str, Any]] = field(default_factory=list)
    """Rows of `locks.csv`, column -> value; so of the next three."""
    cpus: list[dict[str, Any]] = field(default_factory=list)
    latencies: list[dict[str, Any]] = field(default_factory=list)
    transfers: list[dict[str, Any]] = field(default_factory=list)
    parts: dict[str, float] = field(default_factory=dict)
    """Part of the requests -> its mean latency (ns); empty unless the workload asks for them."""
    trace: str = ""
    """The Python traceback of a failure that the simulator did not foresee."""
    transient: bool = False
    seconds: float = field(default=0.0, compare=False)
    """Wall time it took; for progress and the manifest, never for a table."""

    @property
    def failed(self) -> bool:
        return self.row.status == "failed"


def measured(point: Point, measurement: Measurement) -> Outcome:
    """The outcome of a point that ran."""
    status = measurement.status
    row = Row(
        *_key(point),
        throughput_ops_per_us=float(measurement.throughput_ops_per_us),
        throughput_from_latency_ops_per_us=float(measurement.throughput_from_latency_ops_per_us),
        latency_mean_ns=float(measurement.latency_mean_ns),
        latency_p50_ns=float(measurement.latency_p50_ns),
        latency_p95_ns=float(measurement.latency_p95_ns),
        latency_p99_ns=float(measurement.latency_p99_ns),
        idle_share=_maybe(measurement.idle_share),
        interrupts_per_flush=_maybe(measurement.interrupts_per_flush),
        context_switches_per_op=float(measurement.context_switches_per_op),
        **_memory(measurement),
        process_resident_bytes=None if status is None else int(status.resident),
        process_page_table_bytes=None if status is None else int(status.page_tables),
        simulated_ns=float(measurement.simulated_ns),
        operations=int(measurement.operations),
        events=int(measurement.events),
    )
    breakdown = {activity: float(ns) for activity, ns in measurement.breakdown_ns_per_op.items()}
    parts = {name: float(ns) for name, ns in measurement.parts_ns.items()}
    return Outcome(point.id, row, breakdown, dict(point.swept), parts=parts)


def with_report(
    outcome: Outcome, counters: dict[str, float], rows: Mapping[str, list[dict[str, Any]]]
) -> Outcome:
    """*outcome* with the tables of a run report: its counters, and the *rows* of the others by name."""
    return replace(
        outcome,
        counters=counters,
        locks=rows["locks"],
        cpus=rows["cpus"],
        latencies=rows["latencies"],
        transfers=rows["transfers"],
    )


def _memory(measurement: Measurement) -> dict[str, Any]:
    """The columns of `Memory`."""
    memory = measurement.memory
    if memory is None:
        return {}
    columns = {f"{name}_bytes_peak": size for name, size in memory.peak.items()}
    columns |= {f"{name}_bytes_end": size for name, size in memory.end.items()}
    return columns | {"frame_descriptor_bytes": memory.frame_descriptors}


def _maybe(value: float | None) -> float | None:
    return None if value is None else float(value)


def raised(point: Point, error: Exception) -> Outcome:
    """The outcome of a point whose simulation raised: a failed row with one line of explanation."""
    words = " ".join(str(error).split())
    if isinstance(error, Exhausted):
        return replace(_failed(point, f"{type(error).__name__}: {words}"), transient=True)
    if isinstance(error, MemoryError):
        return replace(_failed(point, "out of memory"), transient=True)
    if isinstance(error, CortensimError):
        return _failed(point, f"{type(error).__name__}: {words}")
    return _failed(
        point, f"internal error: {type(error).__name__}: {words}", "".join(traceback.format_exception(error))
    )


def killed(point: Point) -> Outcome:
    """The outcome of a point that took its worker process down twice."""
    return replace(_failed(point, "the worker process died (killed, or out of memory)"), transient=True)


def _failed(point: Point, error: str, trace: str = "") -> Outcome:
    row = Row(*_key(point), status="failed", error=error)
    return Outcome(point.id, row, swept=dict(point.swept), trace=trace)


def _key(point: Point) -> tuple[str, str, str, str, int, int, int]:
    return (
        point.design,
        point.machine,
        point.workload,
        point.placement,
        point.threads,
        point.seed,
        point.replicate,
    )
