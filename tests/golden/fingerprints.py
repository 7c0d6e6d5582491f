"""A point's fingerprint: numbers that a reader compares and hashes of all else that a user sees of it.

    events, simulated_ns, both throughputs        as `points.csv` has them
    row                                           hash of the columns in `HASHED`
    breakdown                                     hash of the point's activities and their ns per operation
    tally                                         hash of the columns in `TALLIED`, which are of all cpus

Values are taken by the name of their column and written in full (the shortest text that reads back to the
same number), so two fingerprints are equal exactly if the results are, on any machine and under any Python,
and a new column of `points.csv` leaves all of them as they are until it is listed here.

Throughput is no part of a hash: it follows from other columns, and its definition can change where the run
does not. The breakdown has a hash of its own for the same reason.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

from sim.engine import Probe
from sim.errors import CortensimError, Fault, InputError
from sim.experiment import make_point, run_point
from sim.files import MEMBERS, Override, Resolved, from_mapping, load_spec

TABLE = Path(__file__).with_name("fingerprints.csv")

PLAIN = ("events", "simulated_ns", "throughput_ops_per_us", "throughput_from_latency_ops_per_us")
"""Columns of `points.csv` that stand in the table as they are."""

HASHED = (
    "operations",
    "latency_mean_ns",
    "latency_p50_ns",
    "latency_p95_ns",
    "latency_p99_ns",
    "simulated_ns",
    "events",
)
"""Columns of `points.csv` in the hash `row`, in this order."""

TALLIED = ("idle_share", "interrupts_per_flush", "context_switches_per_op")
"""Columns of `points.csv` in the hash `tally`, in this order."""

RESULTS = (*PLAIN, "row", "breakdown", "tally")

Fingerprint = Mapping[str, str]
"""A text for each of `RESULTS`."""

Changes = dict["Key", dict[str, tuple[str, str]]]
"""Point -> its results that differ -> what the table says, and what it is now."""


ONE_ROUND_IS_LONG = ("page_fault1", "page_fault2", "page_fault3")
SHORTER: Mapping[str, Sequence[Override]] = {
    workload: from_mapping({"workload.window.whole_rounds": 0, "workload.window.pilot.requests": 256})
    for workload in ONE_ROUND_IS_LONG
}
"""Workload -> what is otherwise than in its file: a window of a whole round is half a million events, and
whether results change can be seen in the first of them."""


class Key(NamedTuple):
    """A point of presets. *seed* is an experiment's, from which the point's own is derived."""

    design: str
    machine: str
    workload: str
    placement: str
    threads: int
    seed: int

    def __str__(self) -> str:
        workload = " ".join(filter(None, (self.workload, self.placement)))
        return f"{self.design}, {self.machine}, {workload}, {self.threads} threads, seed {self.seed}"


class Line(NamedTuple):
    """What the table says of a point. A line that was added by hand has no results and no reason yet."""

    fingerprint: Fingerprint
    reason: str


class FailedPointError(CortensimError):
    """A golden point did not run: it has no fingerprint."""


def read(path: Path = TABLE) -> dict[Key, Line]:
    """The table in the file at *path*, in its order. Raises `InputError` for what is no such table."""
    columns = (*Key._fields, *RESULTS, "reason")
    table: dict[Key, Line] = {}
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        if tuple(rows.fieldnames or ()) != columns:
            raise InputError(
                Fault("the columns are not those of the table", str(path), allowed=",".join(columns))
            )
        for row in rows:
            values: dict[str, Any] = {name: row[name] or "" for name in Key._fields}
            try:
                key = Key(**values | {"threads": int(values["threads"]), "seed": int(values["seed"])})
            except ValueError:
                message = "threads and seed must be whole numbers"
                raise InputError(Fault(message, str(path), rows.line_num)) from None
            if key in table:
                raise InputError(Fault("the same point twice", str(path), rows.line_num, value=str(key)))
            table[key] = Line({name: row[name] or "" for name in RESULTS}, row["reason"] or "")
    return table


def write(table: Mapping[Key, Line], path: Path = TABLE) -> None:
    """Write *table*, sorted."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow((*Key._fields, *RESULTS, "reason"))
        for key, line in sorted(table.items()):
            rows.writerow((*key, *(line.fingerprint[name] for name in RESULTS), line.reason))


def measure(key: Key, overrides: Sequence[Override] = (), listeners: Sequence[Probe] = ()) -> Fingerprint:
    """Simulate the point *key*, with *overrides* in place of values of its files, and tell *listeners* of it.

    Raises `FailedPointError` if it does not run and `InputError` for a name that no preset has.
    """
    names = (key.machine, key.design, key.workload)
    overrides = (*SHORTER.get(key.workload, ()), *overrides)
    machine, design, workload = (
        _preset(kind, name, tuple(override for override in overrides if override.target == kind))
        for kind, name in zip(MEMBERS, names, strict=True)
    )
    point = make_point(machine, design, workload, key.placement, key.threads, key.seed)
    outcome = run_point(point, listeners=listeners)
    if outcome.failed:
        raise FailedPointError(f"{key}: {outcome.row.error}")
    return fingerprint(vars(outcome.row), outcome.breakdown)


def fingerprint(row: Mapping[str, object], breakdown: Mapping[str, float]) -> Fingerprint:
    """The fingerprint of a *row* of `points.csv`, column -> value, and its *breakdown*, activity -> ns."""
    return {
        **{name: repr(row[name]) for name in PLAIN},
        "row": _digest((name, row[name]) for name in HASHED),
        "breakdown": _digest(sorted(breakdown.items())),
        "tally": _digest((name, row[name]) for name in TALLIED),
    }


def changes(table: Mapping[Key, Line], found: Mapping[Key, Fingerprint]) -> Changes:
    """Where the points of *found* differ from what *table* says of them."""
    changed: Changes = {}
    for key, now in found.items():
        before = table[key].fingerprint
        if differing := {name: (before[name], now[name]) for name in RESULTS if before[name] != now[name]}:
            changed[key] = differing
    return changed


def report(changed: Changes, compared: int) -> str:
    """*changed*, of so many points that were *compared*, for a person to read."""
    lines = [f"{len(changed)} of {compared} golden points changed:"]
    for key, results in sorted(changed.items()):
        lines.append(f"  {key}")
        lines += [f"    {name}: {before or '(new)'} -> {now}" for name, (before, now) in results.items()]
    return "\n".join(lines)


@cache
def _preset(kind: Any, name: str, overrides: tuple[Override, ...]) -> Resolved[Any]:
    return cast("Resolved[Any]", load_spec(kind, name, overrides))


def _digest(values: Iterable[tuple[str, object]]) -> str:
    text = "".join(f"{name}={value!r}\n" for name, value in values)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
