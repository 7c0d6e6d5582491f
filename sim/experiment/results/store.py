"""The folder of a run: claimed before anything is simulated, filled point by point, closed with its tables.

    results/paper-micro/
        manifest.json     what was run, from which files, with which versions; says `running` until the end
        journal.jsonl     every finished point, as it finishes
        points.csv        one row a point            \\
        points.parquet    the same                    }  written at the end, whole or not at all
        breakdown.csv     point x activity           /
        counters.csv, locks.csv, cpus.csv, latencies.csv, transfers.csv    of a profiled run
        plots/            figures
        .lock             empty; held while a run writes here

A folder belongs to one run. One that holds anything else is refused: a point that finished well is never
overwritten. Points that failed are worth less: a run in which nothing finished well may start over, and a
corrected experiment may leave its failed points behind.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sim.errors import Fault, InputError
from sim.experiment.results import journal as journals
from sim.experiment.results import manifest as manifests
from sim.experiment.results.outcome import Outcome
from sim.experiment.results.tables import write_tables
from sim.files import display, reason

_LOG = logging.getLogger("cortensim")
_OTHER = "another folder with --out"


class RunFolder:
    """The claimed folder of a run. *known* holds the outcomes that need no further work, by point id."""

    def __init__(
        self,
        folder: Path,
        manifest: dict[str, Any],
        points: Sequence[str],
        resume: bool,
        retry_failed: bool = False,
    ) -> None:
        """Claim *folder*, which is made if need be, for the run of *points* (their ids) in *manifest*.

        With *resume* a run that is there goes on; *retry_failed* then leaves its failed points to be run
        again. Raises `InputError` if the folder cannot be written, belongs to something else, or holds
        points that finished well and would be lost.
        """
        self.folder = folder
        self._started = time.monotonic()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            refuse_foreign(folder)
            self.journal = journals.Journal(folder)
            try:
                self.known = self._claim(manifest["experiment"]["name"], points, resume, retry_failed)
                self.kept = len(self.known)
                self._manifest = manifest
                manifests.write_manifest(folder, self._manifest)
            except BaseException:
                self.journal.close()
                raise
        except OSError as error:
            message = f"cannot write results here: {reason(error)}"
            raise InputError(Fault(message, display(folder))) from error

    def record(self, outcome: Outcome) -> None:
        """Keep one outcome for good."""
        self.journal.record(outcome)

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

    def _claim(
        self, name: str, points: Sequence[str], resume: bool, retry_failed: bool
    ) -> dict[str, Outcome]:
        """What of the run in this folder is kept. Raises `InputError` rather than lose a good point."""
        held = self._held(points, resume)
        if held is not None and held.experiment.name != name:
            message = f"this folder holds a run of another experiment, {held.experiment.name!r}"
            raise InputError(Fault(message, display(self.folder), allowed=_OTHER))
        good = {key for key, outcome in self.journal.finished.items() if not outcome.failed}
        if not resume:
            if good or (held is not None and held.finished_well):
                state = "complete" if held is not None and held.status == "complete" else "unfinished"
                count = f"{len(self.journal.finished)} points"
                message = f"this folder holds a run of this experiment already ({state}, {count})"
                remedy = f"--resume to continue it, or {_OTHER}"
                raise InputError(Fault(message, display(self.folder), allowed=remedy))
            self.journal.clear()
            return {}
        wanted = set(points)
        if lost := good - wanted:
            message = (
                f"cannot resume: {len(lost)} of the {len(good)} points that finished well do not belong to "
                "this experiment as it is now (its files, its seed or the model changed)"
            )
            raise InputError(Fault(message, display(self.folder), allowed=_OTHER))
        self._tell_of_damage()
        kept = good if retry_failed else self.journal.finished.keys() & wanted
        return {key: outcome for key, outcome in self.journal.finished.items() if key in kept}

    def _held(self, points: Sequence[str], resume: bool) -> manifests.Manifest | None:
        """The manifest that is here. A damaged one is written again if the journal says whose run it is."""
        try:
            return manifests.read_manifest(self.folder)
        except manifests.Damaged as error:
            mine = not self.journal.finished.keys().isdisjoint(points)
            if resume and mine:
                return None
            remedy = "--resume, which writes it again" if mine else _OTHER
            raise InputError([replace(fault, allowed=remedy) for fault in error.faults]) from None

    def _tell_of_damage(self) -> None:
        if lines := self.journal.damaged:
            places = f"line{'s' * (len(lines) > 1)} {', '.join(map(str, lines[:5]))}"
            path = display(self.folder / journals.NAME)
            _LOG.warning("%s: damaged at %s: a point that is lost there is run again", path, places)


def refuse_foreign(folder: Path) -> None:
    """A folder with files and without a journal is somebody else's, or what is left of a run."""
    entries = sorted(entry.name for entry in folder.iterdir() if entry.name != journals.LOCK)
    if not entries or journals.NAME in entries:
        return
    if manifests.NAME in entries:
        message = f"this folder holds a {manifests.NAME} but no {journals.NAME}, without which no run goes on"
        raise InputError(Fault(message, display(folder), allowed=_OTHER))
    message = "this folder holds other files: choose an empty or new one"
    raise InputError(Fault(message, display(folder), value=", ".join(entries[:3])))
