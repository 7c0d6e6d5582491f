"""Outcomes as tables: `points.csv`, `points.parquet`, `breakdown.csv`, and data frames of the same columns.

A run with a report of its points has five more: `counters.csv`, `locks.csv`, `cpus.csv`, `latencies.csv` and
`transfers.csv`.

The files depend on the outcomes alone, byte for byte: floats are written as the shortest text that reads
back to the same number.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.experiment import model
from sim.experiment.results.outcome import COLUMNS, KEY, PART_COLUMN, Outcome
from sim.files import write_atomically

if TYPE_CHECKING:
    from pandas import DataFrame

Table = dict[str, list[Any]]
"""Column -> values."""


def write_tables(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the tables of a run; their rows are in the order of *outcomes*."""
    points = _points(outcomes)
    write_atomically(folder / "points.csv", lambda path: _write_csv(path, points))
    write_atomically(folder / "breakdown.csv", lambda path: _write_csv(path, _breakdown(outcomes)))
    write_atomically(folder / "points.parquet", lambda path: _write_parquet(path, points))
    for name, table in _profile(outcomes).items():
        write_atomically(folder / f"{name}.csv", partial(_write_csv, table=table))


def frame(outcomes: Sequence[Outcome]) -> DataFrame:
    """The outcomes as a frame with the columns of `points.csv`; its `attrs` have the other tables by name."""
    import pandas as pd

    points = pd.DataFrame(
        {
            name: pd.Series(column, dtype=_PANDAS[_kind(name, column)])
            for name, column in _points(outcomes).items()
        }
    )
    points.attrs["breakdown"] = pd.DataFrame(_breakdown(outcomes))
    for name, table in _profile(outcomes).items():
        points.attrs[name] = pd.DataFrame(table)
    return points


def rows_of_points(outcomes: Sequence[Outcome]) -> list[dict[str, str]]:
    """Column -> text of each row of `points.csv`, as it is written."""
    table = _points(outcomes)
    return [dict(zip(table, map(_text, row), strict=True)) for row in zip(*table.values(), strict=True)]


def frame_of(rows: Sequence[tuple[Outcome, dict[str, Any]]], columns: Sequence[str]) -> DataFrame:
    """Rows of any table with *columns*, behind the columns that name the points which they are of."""
    import pandas as pd

    named = _of([outcome for outcome, _ in rows])
    return pd.DataFrame(named | {name: [row[name] for _, row in rows] for name in columns})


_PANDAS: dict[type, Any] = {int: "Int64", float: "float64", str: "object", bool: "boolean"}


def _kind(name: str, column: Sequence[Any]) -> type:
    """The type of a column: a missing value does not change it; that of a swept one is what it holds."""
    if name in COLUMNS:
        hint = COLUMNS[name]
        return next((kind for kind in (int, float) if hint in (kind, kind | None)), str)
    kinds = {type(value) for value in column if value is not None}
    return kinds.pop() if len(kinds) == 1 else float if kinds == {int, float} else str


def _points(outcomes: Sequence[Outcome]) -> Table:
    """One row a point; swept values stand behind the columns that name a point, parts at the end."""
    rows = [vars(outcome.row) for outcome in outcomes]
    measured = [name for name in COLUMNS if name not in KEY]
    return (
        {name: [row[name] for row in rows] for name in KEY}
        | _swept(outcomes)
        | {name: [row[name] for row in rows] for name in measured}
        | _parts(outcomes)
    )


def _parts(outcomes: Sequence[Outcome]) -> Table:
    """A column for each part of requests that any of *outcomes* tells."""
    names = sorted({name for outcome in outcomes for name in outcome.parts})
    return {PART_COLUMN.format(name): [outcome.parts.get(name) for outcome in outcomes] for name in names}


def _breakdown(outcomes: Sequence[Outcome]) -> Table:
    """One row a point and activity."""
    rows = [(outcome, *item) for outcome in outcomes for item in outcome.breakdown.items()]
    return _of([outcome for outcome, _, _ in rows]) | {
        "activity": [activity for _, activity, _ in rows],
        "ns_per_op": [ns for _, _, ns in rows],
    }


def _profile(outcomes: Sequence[Outcome]) -> dict[str, Table]:
    """`counters`, one row a point and counter, and the tables of the report; none without any."""
    counters = [(outcome, *item) for outcome in outcomes for item in outcome.counters.items()]
    if not counters:
        return {}
    tables = {
        "counters": _of([outcome for outcome, _, _ in counters])
        | {"counter": [name for _, name, _ in counters], "value": [value for _, _, value in counters]},
    }
    for table, columns in model.report_columns().items():
        rows = [(outcome, row) for outcome in outcomes for row in getattr(outcome, table)]
        named = _of([outcome for outcome, _ in rows])
        tables[table] = named | {name: [row[name] for _, row in rows] for name in columns}
    return tables


def _of(outcomes: Sequence[Outcome]) -> Table:
    """The columns that name the points of *outcomes*."""
    return {name: [getattr(outcome.row, name) for outcome in outcomes] for name in KEY} | _swept(outcomes)


def _swept(outcomes: Sequence[Outcome]) -> Table:
    paths = dict.fromkeys(path for outcome in outcomes for path in outcome.swept)
    columns = {path: [outcome.swept[path] for outcome in outcomes] for path in paths}
    return {
        path: [str(value) for value in column] if _kind(path, column) is str else column
        for path, column in columns.items()
    }


def _write_csv(path: Path, table: Table) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(table)
        writer.writerows([_text(value) for value in row] for row in zip(*table.values(), strict=True))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def _write_parquet(path: Path, table: Table) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    arrow = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
    schema = pa.schema([(name, arrow[_kind(name, column)]) for name, column in table.items()])
    parquet.write_table(pa.table(table, schema=schema), path)
