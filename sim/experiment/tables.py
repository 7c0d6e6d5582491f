"""Outcomes as tables: `points.csv`, `points.parquet`, `breakdown.csv`, and data frames of the same columns.

The files depend on the outcomes alone, byte for byte: floats are written as the shortest text that reads
back to the same number.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.experiment.files import write_atomically
from sim.experiment.outcome import COLUMNS, KEY, Outcome

if TYPE_CHECKING:
    from pandas import DataFrame

BREAKDOWN_COLUMNS = (*KEY, "activity", "ns_per_op")


def write_tables(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the three tables of a run; their rows are in the order of *outcomes*."""
    rows = [astuple(outcome.row) for outcome in outcomes]
    write_atomically(folder / "points.csv", lambda path: _write_csv(path, tuple(COLUMNS), rows))
    write_atomically(
        folder / "breakdown.csv", lambda path: _write_csv(path, BREAKDOWN_COLUMNS, _breakdown(outcomes))
    )
    write_atomically(folder / "points.parquet", lambda path: _write_parquet(path, rows))


def frame(outcomes: Sequence[Outcome]) -> DataFrame:
    """The outcomes as a frame with the columns of `points.csv`; `attrs["breakdown"]` is the other table."""
    import pandas as pd

    rows = [astuple(outcome.row) for outcome in outcomes]
    points = pd.DataFrame(
        {name: pd.Series(column, dtype=_PANDAS[_plain(name)]) for name, column in _columns(rows)}
    )
    points.attrs["breakdown"] = pd.DataFrame(list(_breakdown(outcomes)), columns=list(BREAKDOWN_COLUMNS))
    return points


_PANDAS: dict[type, Any] = {int: "Int64", float: "float64", str: "object"}


def _plain(column: str) -> type:
    """The type of a column: a missing value does not change it."""
    hint = COLUMNS[column]
    return next((kind for kind in (int, float) if hint in (kind, kind | None)), str)


def _columns(rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    for index, name in enumerate(COLUMNS):
        yield name, [row[index] for row in rows]


def _breakdown(outcomes: Sequence[Outcome]) -> Iterator[tuple[Any, ...]]:
    for outcome in outcomes:
        key = astuple(outcome.row)[: len(KEY)]
        for activity, ns_per_op in outcome.breakdown.items():
            yield (*key, activity, ns_per_op)


def _write_csv(
    path: Path, header: Sequence[str], rows: Sequence[tuple[Any, ...]] | Iterator[tuple[Any, ...]]
) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([_text(value) for value in row] for row in rows)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def _write_parquet(path: Path, rows: Sequence[tuple[Any, ...]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    arrow = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    schema = pa.schema([(name, arrow[_plain(name)]) for name in COLUMNS])
    parquet.write_table(pa.table(dict(_columns(rows)), schema=schema), path)
