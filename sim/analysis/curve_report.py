"""How each curve of a run scales, on the terminal: one line a curve."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from sim.analysis.laws import LEAST_COUNTS
from sim.analysis.scaling import PLACE
from sim.analysis.wording import plain_number
from sim.terminal import TextTable

if TYPE_CHECKING:
    import pandas as pd

EXPLANATION = (
    "Universal Scalability Law. σ: part of an operation that one thread at a time can do; κ: what each pair "
    "of threads adds to it; peak: threads at which the law is highest; fit: how far the law is off. In "
    "parentheses: 95 % intervals, for a curve that follows the law. < and >: only a bound is determined."
)
FAIRNESS = (
    "Jain's index of the operations of the cpus: 1 if all complete as many, 1/n if one of n does all. "
    "most/least: of the operations of a cpu, at the most threads."
)
_COUNTS = 8
ROUGH = 0.15
"""From this error on a law describes a curve so badly that its parameters mean little."""


def curve_lines(curves: pd.DataFrame, title: str = "") -> TextTable:
    """The *curves* of `scaling.curve_table`; what data do not determine is the bound that they give."""
    table = TextTable(
        box=None, pad_edge=False, header_style="bold", title=title or None, title_justify="left",
    )  # fmt: skip
    keys = [key for key in PLACE if curves[key].nunique() > 1] or ["design"]
    for key in keys:
        table.add_column("value" if key == "variant" else key)
    for heading in ("knee", "best", "speed-up", "σ", "κ", "peak", "fit"):
        table.add_column(heading, justify="right")
    for row in curves.to_dict("records"):
        table.add_row(
            *(str(row[key]) for key in keys),
            str(row["knee"]),
            str(row["best_threads"]),
            f"{row['speedup']:.3g} of {row['threads']}",
            *law_words(row),
        )
    return table


def law_words(row: Mapping[Hashable, Any]) -> tuple[str, str, str, str]:
    """σ, κ, peak and fit of a row of `scaling.curve_table`, in words; "-" where nothing is fitted."""
    return _share(row, "sigma"), _share(row, "kappa"), _peak(row), _fit(row)


def fairness_lines(fairness: pd.DataFrame) -> TextTable:
    """The index of each curve at up to `_COUNTS` thread counts; *fairness* is `fairness.fairness_table`."""
    table = TextTable(
        box=None, pad_edge=False, header_style="bold", title="fairness between cpus, over threads",
        title_justify="left",
    )  # fmt: skip
    keys = [key for key in PLACE if fairness[key].nunique() > 1] or ["design"]
    for key in keys:
        table.add_column("value" if key == "variant" else key)
    counts = sorted({int(count) for count in fairness["threads"]})
    shown = [*counts[:: -(-len(counts) // _COUNTS)]]
    shown = shown if shown[-1] == counts[-1] else [*shown, counts[-1]]
    for count in shown:
        table.add_column(str(count), justify="right")
    table.add_column("most/least", justify="right")
    for _, curve in fairness.groupby(list(PLACE), sort=False):
        rows = {int(row["threads"]): row for row in curve.to_dict("records")}
        last = rows[max(rows)]
        cells = [f"{rows[count]['jain']:.3f}" if count in rows else "-" for count in shown]
        ratio = float(last["max_over_min"])
        table.add_row(*(str(last[key]) for key in keys), *cells, "∞" if math.isinf(ratio) else f"{ratio:.3g}")
    return table


def worth_fitting(curves: pd.DataFrame) -> bool:
    """Whether a curve has enough thread counts for the laws."""
    return bool((curves["counts"] >= LEAST_COUNTS).any())


def _share(row: Mapping[Hashable, Any], name: str) -> str:
    value, low, high = (float(row[key]) for key in (name, f"{name}_low", f"{name}_high"))
    if math.isnan(value):
        return "-"
    if row[f"{name}_determined"]:
        return f"{value:.2g} ({low:.2g}..{high:.2g})"
    return f"< {high:.2g}"


def _peak(row: Mapping[Hashable, Any]) -> str:
    """The peak as a number of threads; one that is not determined as what it is above."""
    value, low, high = (float(row[key]) for key in ("peak", "peak_low", "peak_high"))
    if math.isnan(value):
        return "-"
    if not row["peak_determined"]:
        return f"> {_threads(low)}"
    beyond = " (not run)" if value > float(row["threads"]) else ""
    return f"{_threads(value)} ({_threads(low)}..{_threads(high)}){beyond}"


def _threads(value: float) -> str:
    return "any" if math.isinf(value) else f"{value:.0f}" if value < 10_000 else plain_number(value)


def _fit(row: Mapping[Hashable, Any]) -> str:
    error = float(row["usl_error"])
    if math.isnan(error):
        return "-"
    return f"±{error:.0%}" + (" rough" if error > ROUGH else "")
