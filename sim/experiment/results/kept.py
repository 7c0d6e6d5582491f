"""Points that are kept for whoever asks for them again, of whatever experiment: a journal and nothing else.

The id of a point holds all that its result depends on, the model's code included. So what is here is right
whenever it is asked for; what is of another version is never asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from sim.errors import Fault, InputError
from sim.experiment.results import journal as journals
from sim.experiment.results import manifest as manifests
from sim.experiment.results.outcome import Outcome
from sim.experiment.results.store import refuse_foreign
from sim.files import display, reason


class Keeper(Protocol):
    """Where outcomes go as they come: a run's folder, or `KeptPoints`."""

    @property
    def known(self) -> Mapping[str, Outcome]:
        """By point id, the outcomes that need no further work."""
        ...

    def record(self, outcome: Outcome) -> None:
        """Keep one outcome for good."""
        ...


class KeptPoints:
    """The points in *folder*, which is made if need be; several commands may use it, one after the other.

    Raises `InputError` if the folder cannot be written, is a run's or somebody else's, or in use.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / manifests.NAME).exists():
                what, remedy = "this folder holds a run, whose points are its own", "another folder"
                raise InputError(Fault(what, display(folder), allowed=remedy))
            refuse_foreign(folder)
            self._journal = journals.Journal(folder)
        except OSError as error:
            message = f"cannot keep points here: {reason(error)}"
            raise InputError(Fault(message, display(folder))) from error

    @property
    def known(self) -> Mapping[str, Outcome]:
        return self._journal.finished

    def record(self, outcome: Outcome) -> None:
        self._journal.record(outcome)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._journal.close()
