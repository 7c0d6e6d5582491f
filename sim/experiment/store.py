"""The folder of a run: claimed before anything is simulated, filled point by point, closed with its tables.

    results/paper-micro/
        manifest.json     what was run, from which files, with which versions; says `running` until the end
        journal.jsonl     every finished point, as it finishes
        points.csv        one row a point            \\
        points.parquet    the same                    }  written at the end, whole or not at all
        breakdown.csv     point x activity           /
        plots/            figures

A folder belongs to one run. One that holds anything else is refused: results are never overwritten.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sim.errors import Fault, InputError
from sim.experiment import journal as journals
from sim.experiment import manifest as manifests
from sim.experiment.outcome import Outcome
from sim.experiment.tables import write_tables
from sim.experiment.yaml_loader import display


class RunFolder:
    """The claimed folder of a run. *journal* holds the points that are finished."""

    def __init__(self, folder: Path, manifest: dict[str, Any], points: Sequence[str], resume: bool) -> None:
        """Claim *folder*, which is made if need be, for the run of *points* (their ids) in *manifest*.

        Raises `InputError` if it cannot be written, belongs to something else, or holds a run that
        *resume* does not ask to continue.
        """
        self.folder = folder
        self._started = time.monotonic()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _refuse_foreign(folder)
            self.journal = journals.Journal(folder)
            try:
                _refuse_other_run(folder, manifest["experiment"]["name"], points, self.journal, resume)
                self.kept = len(self.journal.finished)
                self._manifest = manifest
                manifests.write_manifest(folder, self._manifest)
            except BaseException:
                self.journal.close()
                raise
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InputError(Fault(f"cannot write results here: {reason}", display(folder))) from error

    def close_with(self, outcomes: Sequence[Outcome]) -> None:
        """Write the tables and the final manifest. *outcomes* are in the order of the experiment's points."""
        write_tables(self.folder, outcomes)
        wall_seconds = time.monotonic() - self._started
        final = manifests.conclude(self._manifest, outcomes, self.folder, wall_seconds, self.kept)
        manifests.write_manifest(self.folder, final)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.journal.close()


def _refuse_foreign(folder: Path) -> None:
    """A folder with files and without a run in it is somebody else's."""
    entries = sorted(entry.name for entry in folder.iterdir())
    if not entries or journals.NAME in entries or manifests.read_manifest(folder) is not None:
        return
    message = "this folder holds other files: choose an empty or new one"
    raise InputError(Fault(message, display(folder), value=", ".join(entries[:3])))


def _refuse_other_run(
    folder: Path, name: str, points: Sequence[str], journal: journals.Journal, resume: bool
) -> None:
    """Continue the same run if asked to; never another one, and never at the cost of a finished point."""
    manifest = manifests.read_manifest(folder)
    if manifest is None and not journal.finished:
        return  # new, or stopped before its first point
    held = manifest["experiment"]["name"] if manifest else name
    state = "complete" if manifest and manifest.get("status") == "complete" else "unfinished"
    if held != name:
        message = f"this folder holds a run of another experiment, {held!r}: choose another with --out"
        raise InputError(Fault(message, display(folder)))
    if not resume:
        message = (
            f"this folder holds a run of this experiment already ({state}, {len(journal.finished)} points)"
        )
        remedy = "--resume to continue it, or another folder with --out"
        raise InputError(Fault(message, display(folder), allowed=remedy))
    lost = set(journal.finished) - set(points)
    if lost:
        message = (
            f"cannot resume: {len(lost)} of the {len(journal.finished)} finished points do not belong to "
            "this experiment as it is now (its files, its seed or the model changed)"
        )
        raise InputError(Fault(message, display(folder), allowed="another folder with --out"))
