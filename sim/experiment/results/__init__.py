"""Results: what became of the points, on the disk and as tables."""

from sim.experiment.results.kept import Keeper, KeptPoints
from sim.experiment.results.manifest import (
    Manifest,
    WrittenTable,
    describe_run,
    package_version,
    read_manifest,
)
from sim.experiment.results.merging import merge
from sim.experiment.results.outcome import (
    COLUMNS,
    KEY,
    Outcome,
    PointStatus,
    killed,
    measured,
    parts_in,
    raised,
    with_report,
)
from sim.experiment.results.store import RunFolder
from sim.experiment.results.tables import frame, frame_of, rows_of_points

__all__ = [
    "COLUMNS",
    "KEY",
    "Keeper",
    "KeptPoints",
    "Manifest",
    "Outcome",
    "PointStatus",
    "RunFolder",
    "WrittenTable",
    "describe_run",
    "frame",
    "frame_of",
    "killed",
    "measured",
    "merge",
    "package_version",
    "parts_in",
    "raised",
    "read_manifest",
    "rows_of_points",
    "with_report",
]
