"""Validation: the model held against published measurements, row by row.

Published rows become questions (`sim.analysis.coverage`), questions name points, each point is simulated
once, metrics answer the questions, and every row gets a verdict:

- `ok`: the relative error is within the row's tolerance;
- `miss`: it is not, or a point that the row needs failed;
- `shown`: nobody judges it, because the row itself is under suspicion;
- `not covered`: the model cannot be asked, and `note` says why.

Rows marked `calibrate` may have been fitted; rows marked `check` are predictions. They are summed up apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from sim.analysis.coverage import Catalogue, FileCatalogue, Question, points_of, questions
from sim.analysis.metrics import SHARES, CellName, PointFailedError, Simulated
from sim.analysis.published import COLUMNS, Observation, default_files, read_published, select_datasets
from sim.analysis.tables import FROM_LATENCY, THROUGHPUT
from sim.analysis.wording import plain_number
from sim.experiment import Progress, parts_in, run_points

OK, MISS, SHOWN, NOT_COVERED = "ok", "miss", "shown", "not covered"
RESULT_COLUMNS = (*COLUMNS, "simulated", "relative_error", "verdict")

Runner = Callable[[Sequence[CellName], int, Progress | None], pd.DataFrame]
"""Simulates cells with so many workers; the frame is that of `sim.run`, its breakdown in `attrs`."""


@dataclass(frozen=True)
class Judgement:
    """One published row beside what the model says.

    *simulated* is in the row's unit and *relative_error* is simulated over published less 1, or of shares
    their difference; both are NaN without an answer. *note* is the reason of a row that has none, or the
    workloads behind a group's value. *points* are the cells that were simulated for it.
    """

    observation: Observation
    simulated: float
    relative_error: float
    verdict: str
    note: str
    points: tuple[CellName, ...]

    @property
    def covered(self) -> bool:
        return self.verdict != NOT_COVERED


@dataclass(frozen=True)
class ValidationResult:
    """All judgements, in the order of the input, with the simulated points behind them."""

    judgements: tuple[Judgement, ...]
    points: pd.DataFrame
    breakdown: pd.DataFrame

    @property
    def ok(self) -> bool:
        """Whether no covered row is a miss."""
        return all(judgement.verdict != MISS for judgement in self.judgements)

    @property
    def complete(self) -> bool:
        """Whether every row is covered."""
        return all(judgement.covered for judgement in self.judgements)

    @property
    def answered(self) -> bool:
        """Whether any row is covered."""
        return any(judgement.covered for judgement in self.judgements)

    @property
    def misses(self) -> list[Judgement]:
        return [judgement for judgement in self.judgements if judgement.verdict == MISS]

    @property
    def table(self) -> pd.DataFrame:
        """One row a published row: the input's columns, simulated, relative_error, verdict and note."""
        rows = [
            {
                **{name: getattr(j.observation, name) for name in COLUMNS},
                "simulated": j.simulated,
                "relative_error": j.relative_error,
                "verdict": j.verdict,
                "note": j.note,
            }
            for j in self.judgements
        ]
        return pd.DataFrame(rows, columns=[*RESULT_COLUMNS, "note"])

    @property
    def summary(self) -> pd.DataFrame:
        """Per dataset and use: rows, ok, miss, not_covered, median_error and worst_error (absolute).

        The errors of shares, which are differences, are not among these.
        """
        table = self.table
        errors = table["relative_error"].mask(table["metric"].isin(SHARES)).abs()
        marks = pd.get_dummies(table["verdict"]).reindex(columns=[OK, MISS, NOT_COVERED], fill_value=False)
        marks.columns = pd.Index(["ok", "miss", "not_covered"])
        parts = [table[["dataset", "use"]], marks.astype(int), errors.rename("error")]
        return (
            pd.concat(parts, axis=1)
            .groupby(["dataset", "use"], sort=False)
            .agg(
                rows=("ok", "size"),
                ok=("ok", "sum"),
                miss=("miss", "sum"),
                not_covered=("not_covered", "sum"),
                median_error=("error", "median"),
                worst_error=("error", "max"),
            )
            .reset_index()
        )


def validate(
    paths: Sequence[Path] = (),
    datasets: Sequence[str] = (),
    workers: int = 1,
    progress: Progress | None = None,
    *,
    keep: Path | None = None,
    catalogue: Catalogue | None = None,
    run: Runner | None = None,
) -> ValidationResult:
    """Hold the model against the published rows in *paths* (by default those that come with the program).

    *datasets* picks some of them by name. *catalogue* and *run* are what the model knows and how it is
    simulated; the defaults are the files beside the data and the presets, and the executor, which keeps the
    points in the folder *keep* and finds there those of an earlier call. Raises `InputError` for files that
    cannot be read, for unknown datasets, and for a folder that cannot be used.
    """
    observations = select_datasets(read_published(list(paths) or default_files()), datasets)
    files = FileCatalogue()
    known = catalogue or files
    asked = questions(observations, known)
    cells = points_of(question for question in asked if isinstance(question, Question))

    def simulate(cells: Sequence[CellName], workers: int, progress: Progress | None) -> pd.DataFrame:
        return run_points(files.points(cells), workers, progress, keep=keep)

    frame = (run or simulate)(cells, workers, progress) if cells else pd.DataFrame()
    frame = with_reported(frame, known)
    found = by_cell(frame)
    judgements = tuple(judge(row, question, found) for row, question in zip(observations, asked, strict=True))
    return ValidationResult(judgements, frame, frame.attrs.get("breakdown", pd.DataFrame()))


def judge(row: Observation, question: Question | str, found: Mapping[CellName, Simulated]) -> Judgement:
    """The verdict on one row: *question* is what it asks, or why it is not covered."""
    if isinstance(question, str):
        return Judgement(row, math.nan, math.nan, NOT_COVERED, question, ())
    points = tuple(question.points())
    try:
        answers = question.answer(found)
    except PointFailedError as failure:
        verdict = SHOWN if row.use == SHOWN else MISS
        return Judgement(row, math.nan, math.nan, verdict, f"not simulated: {failure}", points)
    simulated = question.fold(list(answers.values()))
    error = question.metric.error(simulated, row.value, question.factor)
    verdict = SHOWN if row.use == SHOWN else OK if abs(error) <= row.tolerance + 1e-9 else MISS
    several = [f"{name} {plain_number(value)}" for name, value in answers.items()] if len(answers) > 1 else []
    return Judgement(row, simulated, error, verdict, ", ".join(several), points)


def with_reported(frame: pd.DataFrame, catalogue: Catalogue) -> pd.DataFrame:
    """*frame* with a column `reported`: which of the two throughputs the benchmark of a point reports."""
    pairs = zip(frame["workload"], frame["placement"], strict=True) if len(frame) else ()
    return frame.assign(reported=[catalogue.reported(*pair) for pair in pairs])


def by_cell(frame: pd.DataFrame) -> dict[CellName, Simulated]:
    """What the points in *frame*, one a row, gave; throughput as their benchmarks report it."""
    found = {}
    mmap_lock = _shares_of(frame, "lock: mmap_lock")
    for row in frame.to_dict("records"):
        found[_cell(row)] = Simulated(
            float(row[FROM_LATENCY if row["reported"] == "from-latency" else THROUGHPUT]),
            float(row["latency_mean_ns"]),
            str(row["error"]) or "failed" if row["status"] == "failed" else "",
            float(row.get("idle_share", math.nan)),
            float(row.get("interrupts_per_flush", math.nan)),
            _told(row, "process_resident_bytes"),
            _told(row, "process_page_table_bytes"),
            _parts(row),
            mmap_lock.get(_cell(row), math.nan),
        )
    return found


def _told(row: Mapping[Hashable, Any], column: str) -> float:
    value = row.get(column)
    return math.nan if value is None or pd.isna(value) else float(value)


def _shares_of(frame: pd.DataFrame, activity: str) -> dict[CellName, float]:
    """How much of their threads' time the points in *frame* spent with *activity*. Nothing is said where a
    cell has several points."""
    breakdown = frame.attrs.get("breakdown")
    keys = [field.name for field in fields(CellName)]
    if breakdown is None or breakdown.empty or breakdown.duplicated([*keys, "activity"]).any():
        return {}
    own = breakdown["ns_per_op"].where(breakdown["activity"] == activity, 0.0)
    sums = breakdown.assign(own=own).groupby(keys)[["own", "ns_per_op"]].sum()
    shares = (sums["own"] / sums["ns_per_op"]).to_dict()
    return {CellName(**dict(zip(keys, key, strict=True))): share for key, share in shares.items()}


def _parts(row: Mapping[Hashable, Any]) -> dict[str, float]:
    """What the parts of the requests of a *row* took in the mean (ns)."""
    found = {part: row[column] for part, column in parts_in(map(str, row)).items()}
    return {part: float(ns) for part, ns in found.items() if not pd.isna(ns)}


def affordable(frame: pd.DataFrame, events: int | None) -> set[CellName]:
    """The points in *frame*, one a row, that took at most so many *events* (None: all)."""
    return {
        _cell(row) for row in frame.to_dict("records") if events is None or float(row["events"]) <= events
    }


def _cell(row: Mapping[Hashable, object]) -> CellName:
    return CellName(**{field.name: row[field.name] for field in fields(CellName)})  # type: ignore[arg-type]
