"""Fitting: which of some candidate values bring the model closest to the rows that costs may be fitted to.

Only rows marked `calibrate` are ever simulated or read here, so that a value chosen by this table cannot
have been chosen with a prediction in view. A candidate's score is the root mean square of
ln(simulated / published): 0.1 is about 10 %, twice as fast counts as much as twice as slow.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from sim.analysis.coverage import Catalogue, FileCatalogue, Question, points_of, questions
from sim.analysis.published import CALIBRATE, Observation, default_files, read_published, select_datasets
from sim.analysis.validation import Judgement, by_cell, judge, with_reported
from sim.errors import Fault, InputError
from sim.experiment import Progress, run_points
from sim.files import Override, presets

if TYPE_CHECKING:
    from sim.terminal import Console


@dataclass(frozen=True)
class Candidate:
    """One choice of values, by the path at which each goes, and how far the calibration rows are off."""

    values: Mapping[str, object]
    judgements: tuple[Judgement, ...]

    @property
    def score(self) -> float:
        """Root mean square of the logarithms of simulated over published; infinite if a point failed."""
        ratios = [judgement.relative_error + 1 for judgement in self.judgements]
        if any(not ratio > 0 for ratio in ratios):
            return math.inf
        return math.sqrt(math.fsum(math.log(ratio) ** 2 for ratio in ratios) / len(ratios))

    @property
    def worst(self) -> float:
        """The largest relative error, absolute."""
        return max(abs(judgement.relative_error) for judgement in self.judgements)


@dataclass(frozen=True)
class Fit:
    """All candidates, the best first, and the rows that they were held against."""

    candidates: tuple[Candidate, ...]
    rows: tuple[Observation, ...]

    @property
    def table(self) -> pd.DataFrame:
        """One row a candidate: its values, score, worst error."""
        return pd.DataFrame([{**c.values, "score": c.score, "worst_error": c.worst} for c in self.candidates])

    def render(self, console: Console) -> None:
        """Print the table, and the rows of the best candidate."""
        from sim.terminal import TextTable

        names = list(self.candidates[0].values)
        table = TextTable(*names, title=f"{len(self.rows)} rows marked {CALIBRATE}")
        table.add_column("score", justify="right")
        table.add_column("worst error", justify="right")
        for candidate in self.candidates:
            cells = (str(candidate.values[name]) for name in names)
            table.add_row(*cells, f"{candidate.score:.3f}", f"{candidate.worst:.1%}")
        console.print(table)
        best = TextTable("system", "workload", "placement", title="the best candidate")
        for name in ("tasks", "published", "simulated", "error"):
            best.add_column(name, justify="right")
        for judgement in self.candidates[0].judgements:
            row = judgement.observation
            best.add_row(
                *(row.system, row.workload, row.placement, str(row.tasks)),
                *(f"{row.value:.4g} {row.unit}", f"{judgement.simulated:.4g}"),
                f"{judgement.relative_error:+.1%}",
            )
        console.print(best)


def fit(
    candidates: Sequence[Sequence[Override]],
    machine: str,
    paths: Sequence[Path] = (),
    datasets: Sequence[str] = (),
    workloads: Sequence[str] = (),
    workers: int = 1,
    progress: Progress | None = None,
    *,
    keep: Path | None = None,
    catalogue: Catalogue | None = None,
) -> Fit:
    """Try every combination of the *candidates* (for each parameter its values, as overrides).

    The rows are those of *machine* (a name, or the path of a file that has it) marked `calibrate`, of these
    *datasets* and *workloads* if any are named.
    Points are kept in the folder *keep*, and those that are there are not run again.
    Raises `InputError` where there is no such row, a value does not fit its file, or the folder cannot be
    used.
    """
    files = FileCatalogue()
    if presets.is_path(machine):
        machine = files.give("machine", Path(machine))
    known = select_datasets(read_published(list(paths) or default_files()), datasets)
    rows = [
        row
        for row in known
        if row.use == CALIBRATE
        and _stem(row.machine) == machine
        and (not workloads or row.workload in workloads)
    ]
    asked = list(zip(rows, questions(rows, catalogue or files), strict=True))
    pairs = [(row, question) for row, question in asked if isinstance(question, Question)]
    if not pairs:
        machines = ", ".join(dict.fromkeys(row.machine for row in known if row.use == CALIBRATE))
        reasons = dict.fromkeys(reason for _, reason in asked if isinstance(reason, str))
        message = ": ".join([f"no row marked {CALIBRATE} that the model covers", *reasons])
        raise InputError(Fault(message, value=machine, allowed=machines or None))
    choices = list(itertools.product(*candidates))
    cells = points_of(question for _, question in pairs)
    points = [point for choice in choices for point in files.points(cells, choice)]
    frame = with_reported(run_points(points, workers, progress, keep=keep), catalogue or files)
    tried = []
    for number, choice in enumerate(choices):
        found = by_cell(frame.iloc[number * len(cells) : (number + 1) * len(cells)])
        judgements = tuple(judge(row, question, found) for row, question in pairs)
        tried.append(Candidate({override.written: override.value for override in choice}, judgements))
    return Fit(tuple(sorted(tried, key=lambda candidate: candidate.score)), tuple(row for row, _ in pairs))


def _stem(reference: str) -> str:
    """The name in a reference to a file."""
    return Path(reference).stem if presets.is_path(reference) else reference
