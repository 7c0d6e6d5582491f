"""Bands: between which values a prediction lies if each cost is somewhere in its own interval.

    for each of N samples   draw all costs of all files at once (`uncertainty.drawn`)
                            simulate the points of the rows marked `check`, with the same seeds
    a row's band            from the least to the greatest of the N answers and the model's own

A row is *predicted* when the published value lies in a band no wider than a factor of 2. In a wider band
the model cannot tell. Costs are drawn independently: those that were fitted together are not kept together,
so a band may be wider than the rows of one thread allow.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sim.analysis.coverage import FileCatalogue, covered, points_of
from sim.analysis.metrics import PointFailedError
from sim.analysis.published import CHECK, default_files, read_published, select_datasets
from sim.analysis.uncertainty import drawn, uncertain, within_order
from sim.analysis.validation import affordable, by_cell, with_reported
from sim.errors import Fault, InputError
from sim.experiment import Progress, run_points
from sim.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd
    from pydantic import BaseModel

    from sim.analysis.coverage import Loading
    from sim.analysis.published import Observation
    from sim.experiment import Point
    from sim.files import Kind, Resolved

WIDEST = 2.0
"""The factor between its ends that a band may have to tell anything."""
_COLUMNS = ("row", "low", "high", "samples")


@dataclass(frozen=True)
class Band:
    """From *low* to *high*, in the row's unit, over so many *samples* that could be simulated."""

    low: float
    high: float
    samples: int

    @property
    def narrow(self) -> bool:
        return self.low > 0 and self.high <= WIDEST * self.low

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def verdict(self, published: float) -> str:
        """`predicted`, `cannot tell` (inside, but the band is wide) or `outside`."""
        if not self.holds(published):
            return "outside"
        return "predicted" if self.narrow else "cannot tell"


def bands(
    paths: Sequence[Path] = (),
    datasets: Sequence[str] = (),
    workers: int = 1,
    progress: Progress | None = None,
    *,
    keep: Path | None = None,
    samples: int,
    seed: int = 1,
    events: int | None = None,
) -> dict[str, Band]:
    """The bands of the covered rows marked `check`, by `band_key`.

    With *events*, rows that need a point of more events have none. Points are kept in the folder *keep*, and
    those that are there are not run again. Raises `InputError` for files that cannot be read, unknown
    datasets, less than one sample, and a folder that cannot be used.
    """
    if samples < 1:
        raise InputError(Fault("a band needs samples", value=samples, allowed="1 or more"))
    observations = select_datasets(read_published(list(paths) or default_files()), datasets)
    files = FileCatalogue()
    pairs = covered(observations, files, CHECK)

    def simulate(points: Sequence[Point]) -> pd.DataFrame:
        return with_reported(run_points(points, workers, progress, keep=keep), files)

    plain = simulate(files.points(points_of(question for _, question in pairs)))
    pairs = [(row, asked) for row, asked in pairs if affordable(plain, events).issuperset(asked.points())]
    cells = points_of(question for _, question in pairs)
    variants: list[Point] = []
    for sample in range(samples):
        variants += files.points(cells, load=drawn_files(files, sample, samples, seed))
    varied = simulate(variants)
    runs = [varied.iloc[n * len(cells) : (n + 1) * len(cells)] for n in range(samples)]
    answers: dict[str, list[float]] = {band_key(row): [] for row, _ in pairs}
    for found in map(by_cell, (plain, *runs)):
        for row, question in pairs:
            try:
                answers[band_key(row)].append(question.fold(list(question.answer(found).values())))
            except PointFailedError:
                continue
    return {
        key: Band(min(values), max(values), len(values) - 1)
        for key, values in answers.items()
        if len(values) > 1
    }


def band_key(row: Observation) -> str:
    """What tells one row's band from those of others: its machine, and its key."""
    return f"{row.machine}/{row.key}"


def drawn_files(files: FileCatalogue, sample: int, samples: int, seed: int) -> Loading:
    """How the files of one sample are loaded."""

    @cache
    def load(kind: Kind, name: str) -> Resolved[BaseModel]:
        plain = files.load(kind, name)
        costs = [] if kind == "workload" else list(uncertain(plain))
        if not costs:
            return plain
        return within_order(
            costs,
            lambda reach: drawn(costs, kind, sample, samples, seed, reach),
            lambda changes: files.load(kind, name, changes),
        )[0]

    return load


def read_bands(path: Path) -> dict[str, Band]:
    """The bands in a `bands.csv`; none if there is no such file. Raises `InputError`."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as text:
        reader = csv.DictReader(text)
        if tuple(reader.fieldnames or ()) != _COLUMNS:
            raise InputError(Fault("not a table of bands", str(path), 1, allowed=",".join(_COLUMNS)))
        found = {}
        for row in reader:
            try:
                found[row["row"]] = Band(float(row["low"]), float(row["high"]), int(row["samples"]))
            except (TypeError, ValueError):
                raise InputError(Fault("not a band", str(path), reader.line_num, value=str(row))) from None
    return found


def write_bands(path: Path, found: Mapping[str, Band]) -> None:
    """Write *found* to a `bands.csv`, beside the bands of other rows that it has."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for key, band in sorted({**read_bands(path), **found}.items()):
        writer.writerow([key, f"{band.low:.6g}", f"{band.high:.6g}", band.samples])
    write_atomically(path, lambda temporary: temporary.write_text(text.getvalue(), encoding="utf-8"))
