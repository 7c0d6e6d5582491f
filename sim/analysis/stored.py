"""The tables of a run folder, read back: are they those that the run wrote, and can they be drawn?

A table is what its run wrote if its checksum is the one in the manifest. Who changes one (rows left out, a
spreadsheet that rounds numbers) draws something else than the run, under the run's name; that is refused
unless asked for. Whatever its checksum, a table with a cell that no run writes is refused.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from sim.analysis.sheets import (
    Rule,
    decoded,
    finite,
    name,
    one_of,
    row_length_fault,
    rows_of,
    shortened,
    whole,
)
from sim.errors import Fault, InputError
from sim.experiment import COLUMNS, KEY, Manifest, PointStatus, WrittenTable, parts_in
from sim.files import read_regular, reason

POINTS, BREAKDOWN, PARQUET = "points.csv", "breakdown.csv", "points.parquet"
_MOST_FAULTS = 20
_MEASURED = Rule(finite(least=0), "a finite number from 0")
_REMEDY = (
    "`cortensim run EXPERIMENT --out DIR --resume`, which writes the tables again from the journal; "
    "`cortensim plot --as-is`, which draws them as they are and says so"
)
_MAY_BE_EMPTY = [column for column, hint in COLUMNS.items() if type(None) in get_args(hint)]
"""The columns that are empty where a point failed."""

_RULES: dict[str, Rule] = {
    "design": name(),
    "machine": name(),
    "workload": name(),
    "placement": name(may_be_empty=True),
    "threads": whole(1),
    "seed": whole(0),
    "replicate": whole(0),
    "status": one_of(get_args(PointStatus)),
    "activity": name(),
    "ns_per_op": _MEASURED,
    "lock": name(),
    "mode": name(may_be_empty=True),
    "locks": whole(1),
    "wait_ns": _MEASURED,
    "cpu": whole(0),
    "cluster": whole(0),
    "socket": whole(0),
    "measured": whole(0),
    "of": name(),
    "name": name(may_be_empty=True),
    "count": whole(1),
    "percentile": _MEASURED,
    "latency_ns": _MEASURED,
    "from_cluster": name(),
    "to_cluster": name(),
    "distance": name(),
    "transfers": whole(1),
    "transfer_ns": _MEASURED,
    **dict.fromkeys(_MAY_BE_EMPTY, _MEASURED),
}


_NAMES = (
    "activity",
    "lock",
    "mode",
    "cpu",
    "of",
    "name",
    "percentile",
    "from_cluster",
    "to_cluster",
    "distance",
)
"""Columns that tell the rows of one point apart."""


@dataclass(frozen=True)
class StoredTable:
    """The bytes of a table and where they were read. *file* is its name as messages show it."""

    file: str
    data: bytes = field(repr=False)


def read_table(folder: Path, table: str) -> StoredTable:
    """The table called *table* of a run. Raises `InputError` if it is not there."""
    path = folder / table
    try:
        return StoredTable(str(path), read_regular(path))
    except FileNotFoundError:
        remedy = "finish it with `cortensim run EXPERIMENT --out DIR --resume`"
        raise InputError(
            Fault("not a finished run: this table is missing", str(path), allowed=remedy)
        ) from None
    except OSError as error:
        raise InputError(Fault(f"cannot be read: {reason(error)}", str(path))) from None


def refuse_changed(tables: Sequence[StoredTable], manifest: Manifest) -> None:
    """Raise `InputError` unless *tables* are those that the run of *manifest* wrote at its end."""
    if manifest.status != "complete":
        message = "older than the run, which was started again and has not finished"
        raise InputError([Fault(message, table.file, allowed=_REMEDY) for table in tables])
    faults = [
        Fault(f"changed after the run: {how}", table.file, allowed=_REMEDY)
        for table in tables
        if (how := _change(table, manifest.tables.get(Path(table.file).name)))
    ]
    if faults:
        raise InputError(faults)


def typed(table: StoredTable, needed: Sequence[str]) -> pd.DataFrame:
    """The table as a frame; its columns have at least the *needed* ones.

    Raises `InputError` with the line, the column and the value of every cell that no run writes, and of
    every point that stands there twice.
    """
    text = decoded(table.data, table.file)
    rows = rows_of(text, table.file)
    header = next(rows, (1, []))[1]
    faults = [Fault("missing column", table.file, 1, key=column) for column in needed if column not in header]
    faults += [
        Fault("column named twice", table.file, 1, key=column)
        for column in dict.fromkeys(header)
        if header.count(column) > 1
    ]
    if faults:
        raise InputError(faults[:_MOST_FAULTS])
    for fault in _row_faults(rows, header, table.file):
        faults.append(fault)
        if len(faults) == _MOST_FAULTS:
            break
    if faults:
        raise InputError(faults)
    missing: Mapping[str, Any] = {column: [""] for column in (*_MAY_BE_EMPTY, *parts_in(header).values())}
    return pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=missing)


def swept(columns: Sequence[str]) -> list[str]:
    """Those of *columns* that hold what a sweep varied: `machine.coherence.cross_socket`."""
    kinds = ("machine", "design", "workload")
    return [column for column in columns if column.partition(".")[0] in kinds and "." in column]


def _change(table: StoredTable, written: WrittenTable | None) -> str:
    """How a table differs from what was written, in words; empty if it does not."""
    if written is None:
        return "the manifest has no checksum of it" if not table.file.endswith(PARQUET) else ""
    if sha256(table.data).hexdigest() == written.sha256:
        return ""
    if table.file.endswith(PARQUET) or written.rows is None:
        return "its checksum is not the one in manifest.json"
    rows = max(0, len(table.data.splitlines()) - 1)
    if rows != written.rows:
        return f"it has {rows} rows, and the run wrote {written.rows}"
    return f"it still has {rows} rows, but not the text that the run wrote"


def _row_faults(rows: Iterator[tuple[int, list[str]]], header: Sequence[str], file: str) -> Iterator[Fault]:
    """What is wrong with the rows, one after the other."""
    parts = set(parts_in(header).values())
    every = _RULES | dict.fromkeys(swept(header), name()) | dict.fromkeys(parts, _MEASURED)
    if "lock" in header:
        every["activity"] = name(may_be_empty=True)  # what locks that share a row have not in common
    rules = [(place, column, every[column]) for place, column in enumerate(header) if column in every]
    names = {*KEY, *_NAMES, *swept(header)} - {"seed"}
    key = [place for place, column in enumerate(header) if column in names]
    status = header.index("status") if "status" in header else None
    seen: dict[tuple[str, ...], int] = {}
    for line, row in rows:
        if (fault := row_length_fault(row, header, file, line)) is not None:
            yield fault
            continue
        failed = status is not None and row[status] == "failed"
        for place, column, rule in rules:
            cell = row[place]
            if not cell and column in parts:
                continue
            if not cell and column in _MAY_BE_EMPTY and (failed or column != "throughput_ops_per_us"):
                continue
            try:
                rule.parse(cell)
            except ValueError:
                shown = shortened(cell)
                yield Fault(
                    "not what a run writes", file, line, key=column, value=shown, allowed=rule.allowed
                )
        first = seen.setdefault(tuple(row[place] for place in key), line)
        if first != line:
            yield Fault(f"the same point as on line {first}", file, line, allowed="every point once")
