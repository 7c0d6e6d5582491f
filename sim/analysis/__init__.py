"""The analysis floor: tables of a run, figures, and the model held against published measurements.

For notebooks: `speedup_table`, `ratio_table`, `curve_table` (knees and laws), `latency_table` and
`replicate_table` take what `sim.run` returns, and give tidy frames. `fairness_table`, `percentile_table` and
`cdf_table` take the tables of a run with a profile: `df.attrs["cpus"]` and `df.attrs["latencies"]`.

Figures live in `sim.analysis.figures` (files) and `sim.plot` (notebooks): matplotlib is loaded only there.
"""

from sim.analysis.distributions import cdf_table, percentile_table
from sim.analysis.fairness import fairness_table, gini, jain, max_over_min, variation
from sim.analysis.laws import Estimate, Law, Scaling, fit_laws
from sim.analysis.metrics import knee
from sim.analysis.published import Observation, read_published
from sim.analysis.scaling import curve_table, latency_table, ratio_table, replicate_table, speedup_table
from sim.analysis.tables import RunTables, averaged, ratio_to, read_run
from sim.analysis.validation import Judgement, ValidationResult, validate
from sim.analysis.validation_report import write_report

__all__ = [
    "Estimate",
    "Judgement",
    "Law",
    "Observation",
    "RunTables",
    "Scaling",
    "ValidationResult",
    "averaged",
    "cdf_table",
    "curve_table",
    "fairness_table",
    "fit_laws",
    "gini",
    "jain",
    "knee",
    "latency_table",
    "max_over_min",
    "percentile_table",
    "ratio_table",
    "ratio_to",
    "read_published",
    "read_run",
    "replicate_table",
    "speedup_table",
    "validate",
    "variation",
    "write_report",
]
