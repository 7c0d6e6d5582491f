"""What a run of the benchmarks was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """*quick*: fewer rounds and sizes. *against*: another checkout, measured in turns with this one. *cimba*:
    an interpreter whose environment has that library. *cpus*: of simulated operations, if not all.
    """

    quick: bool = False
    against: Path | None = None
    cimba: str | None = None
    cpus: tuple[int, ...] | None = None

    @property
    def rounds(self) -> int:
        return 3 if self.quick else 9
