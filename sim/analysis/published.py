"""Published measurements: what other people measured on real machines, one observation a row.

The format is that of `results/published/README.md`. A file is read as a whole and checked as a whole:
every bad cell of every file is one `Fault` with `file:line` and the column's name, all in one `InputError`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from sim.analysis.metrics import SHARES
from sim.analysis.sheets import Rule, finite, one_of, read_text, row_length_fault, rows_of, shortened, whole
from sim.errors import Fault, InputError, nearest
from sim.files import presets

COLUMNS = (
    "dataset",
    "machine",
    "system",
    "workload",
    "placement",
    "tasks",
    "metric",
    "value",
    "unit",
    "exactness",
    "tolerance",
    "use",
    "source",
)
EXACTNESS = ("exact", "approx", "derived")
CALIBRATE, CHECK = "calibrate", "check"
USES = (CALIBRATE, CHECK, "shown")
_MAY_BE_EMPTY = ("placement",)


@dataclass(frozen=True)
class Observation:
    """One measured number and the band a good model must stay in.

    *value* is in *unit* and above zero, for errors are relative to it; the error of a share is a difference,
    so it may be zero. *tolerance* is of that error; *use* says whether costs may be fitted to it
    (`calibrate`), the model must predict it (`check`), or it is under suspicion and only `shown`. *cells* are
    the row's texts as written, in the order of `COLUMNS`, so that a report can repeat its input exactly.
    """

    dataset: str
    machine: str
    system: str
    workload: str
    placement: str
    tasks: int
    metric: str
    value: float
    unit: str
    exactness: str
    tolerance: float
    use: str
    source: str
    file: str
    line: int
    cells: tuple[str, ...] = field(repr=False)

    @property
    def key(self) -> str:
        """The row's name in `docs/misses.yaml`; an empty placement is written `-`."""
        parts = (
            self.dataset,
            self.system,
            self.workload,
            self.placement or "-",
            str(self.tasks),
            self.metric,
        )
        return "/".join(parts)


def read_published(paths: Iterable[Path]) -> list[Observation]:
    """The observations of *paths*, file by file and row by row.

    Raises `InputError` with every fault of every file.
    """
    observations: list[Observation] = []
    faults: list[Fault] = []
    for path in paths:
        rows, found = _read_file(path)
        observations += rows
        faults += found
    if faults:
        raise InputError(faults)
    return observations


def select_datasets(observations: Sequence[Observation], datasets: Sequence[str]) -> list[Observation]:
    """The observations of the named *datasets*; all of them when none is named.

    Raises `InputError` for a dataset that no file holds.
    """
    if not datasets:
        return list(observations)
    known = list(dict.fromkeys(o.dataset for o in observations))
    faults = [
        Fault(
            "no such dataset in the files read",
            value=name,
            allowed=", ".join(known),
            suggestion=nearest(name, known),
        )
        for name in datasets
        if name not in known
    ]
    if faults:
        raise InputError(faults)
    return [o for o in observations if o.dataset in datasets]


def observed(file: str, line: int, **cells: object) -> Observation:
    """An observation that was read elsewhere, at *line* of *file*: *cells* has a value for each column.

    Raises `InputError` for a cell that no row may have.
    """
    return _observation([str(cells[name]) for name in COLUMNS], _PLACES, file, line)


def renamed(row: Observation, machine: str, system: str, workload: str, placement: str) -> Observation:
    """*row* of another place."""
    names = {"machine": machine, "system": system, "workload": workload, "placement": placement}
    cells = (names.get(name, cell) for name, cell in zip(COLUMNS, row.cells, strict=True))
    return replace(
        row, machine=machine, system=system, workload=workload, placement=placement, cells=tuple(cells)
    )


def write_published(observations: Iterable[Observation], stream: IO[str]) -> None:
    """Write *observations* in the format that `read_published` reads."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(row.cells for row in observations)


def default_files() -> list[Path]:
    """The published files that come with the program."""
    return sorted(presets.published().glob("*.csv"))


def _read_file(path: Path) -> tuple[list[Observation], list[Fault]]:
    """What a file holds and what is wrong with it."""
    observations: list[Observation] = []
    faults: list[Fault] = []
    file = str(path)
    try:
        rows = rows_of(read_text(path), file)
        _, header = next(rows, (1, []))
        places = _header_places(header, file)
        for line, row in rows:
            try:
                observations.append(_observation(row, places, file, line))
            except InputError as error:
                faults += error.faults
    except InputError as error:
        faults += error.faults
    if not observations and not faults:
        faults.append(Fault("no observation in this file", file=file, line=1))
    return observations, faults


def _header_places(header: Sequence[str], file: str) -> dict[str, int]:
    """Where each column stands; any order will do, but every column once and no other."""
    if not header:
        raise InputError(
            Fault("empty: the first line must name the columns", file=file, allowed=", ".join(COLUMNS))
        )
    names = [name.strip() for name in header]
    faults = [
        Fault("unknown column", file=file, line=1, value=name, suggestion=nearest(name, COLUMNS))
        for name in names
        if name not in COLUMNS
    ]
    faults += [
        Fault("column named twice", file=file, line=1, key=name) for name in COLUMNS if names.count(name) > 1
    ]
    faults += [
        Fault("missing column", file=file, line=1, key=name) for name in COLUMNS if names.count(name) == 0
    ]
    if faults:
        raise InputError(faults)
    return {name: names.index(name) for name in COLUMNS}


def _observation(row: Sequence[str], places: dict[str, int], file: str, line: int) -> Observation:
    if (fault := row_length_fault(row, places, file, line)) is not None:
        raise InputError(fault)
    cells = tuple(row[places[name]] for name in COLUMNS)
    typed: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, cell in zip(COLUMNS, cells, strict=True):
        text = typed[name] = cell.strip()
        if not text and name not in _MAY_BE_EMPTY:
            faults.append(Fault("empty cell", file=file, line=line, key=name))
        elif name in _CELLS:
            rule = _SHARE if name == "value" and typed["metric"] in SHARES else _CELLS[name]
            try:
                typed[name] = rule.parse(text)
            except ValueError:
                shown = shortened(text)
                faults.append(
                    Fault("not understood", file, line, key=name, value=shown, allowed=rule.allowed)
                )
    if faults:
        raise InputError(faults)
    return Observation(**typed, file=file, line=line, cells=cells)


_PLACES = {name: place for place, name in enumerate(COLUMNS)}
_SHARE = Rule(finite(least=0), "a finite number from 0")
_CELLS = {
    "tasks": whole(1),
    "value": Rule(finite(above=0), "a finite number above 0"),
    "exactness": one_of(EXACTNESS),
    "tolerance": Rule(finite(least=0), "a finite number from 0, relative"),
    "use": one_of(USES),
}
