"""The analysis floor: tables of a run, figures, and the model held against published measurements.

Figures live in `sim.analysis.figures` (files) and `sim.plot` (notebooks): matplotlib is loaded only there.
"""

from sim.analysis.published import Observation, read_published
from sim.analysis.tables import RunTables, averaged, ratio_to, read_run
from sim.analysis.validation import Judgement, ValidationResult, validate
from sim.analysis.validation_report import write_report

__all__ = [
    "Judgement",
    "Observation",
    "RunTables",
    "ValidationResult",
    "averaged",
    "ratio_to",
    "read_published",
    "read_run",
    "validate",
    "write_report",
]
