"""The page itself: one HTML file with its data, its charts and their library inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from sim.analysis.metrics import KNEE_GAIN
from sim.analysis.report.charts import breakdown_charts, throughput_charts
from sim.analysis.report.facts import Panel, baseline_of, panels_of
from sim.analysis.report.trust import Costs, Held, costs_of, held_against_published, standing
from sim.analysis.report.words import headline, interval, sentences, share_of
from sim.analysis.tables import RunTables, read_report, read_run
from sim.analysis.wording import design_title, duration, plain_number, thread_count
from sim.errors import Fault, InputError
from sim.files import write_atomically

NAME = "report.html"
_LOCKS = 60
"""Locks of the longest waits that the page has."""


def write_report(folder: Path, out: Path | None = None, *, as_is: bool = False) -> Path:
    """Write the report of the run in *folder* and return its path (by default *folder*/report.html).

    Raises `InputError` if *folder* is no finished run, if its tables were changed (unless *as_is*), or if
    none of its points finished; `OSError` if the page cannot be written.
    """
    tables = read_run(folder, as_is=as_is)
    panels = panels_of(tables)
    if not panels:
        raise InputError(Fault("no point of this run finished: there is nothing to report", str(folder)))
    page = render(tables, panels, read_report(folder, tables, ["locks"]).get("locks"), _gains(folder))
    path = out or folder / NAME
    write_atomically(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return path


def render(
    tables: RunTables,
    panels: list[Panel],
    locks: pd.DataFrame | None = None,
    gains: pd.DataFrame | None = None,
) -> str:
    """The page as text, with the *locks* of a profiled run and what `whatif` has found, if there are any."""
    import vl_convert
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sim.analysis.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": plain_number, "duration": duration, "threads": thread_count, "design": design_title,
        "interval": interval, "share": share_of,
    }  # fmt: skip
    baseline = baseline_of(tables.points)
    held = held_against_published(tables, baseline)
    charts = {
        "throughput": throughput_charts(tables, panels),
        "breakdown": breakdown_charts(tables, panels),
    }
    text: str = environment.get_template("page.html.j2").render(
        title=tables.title,
        name=tables.name,
        knee_gain=KNEE_GAIN,
        baseline=baseline,
        panels=panels,
        headlines=[headline(panel, baseline) for panel in panels],
        sentences=[sentences(panel) for panel in panels],
        trust=[_trust(panel, held) for panel in panels],
        standings=[_standings(panel, held) for panel in panels],
        held=held,
        costs=costs_of(tables.manifest),
        qualities=_qualities(costs_of(tables.manifest)),
        points=[{**row, "trust": _standing_of(row, held)} for row in _rows(tables.points)],
        columns=[
            *(column for column in tables.points.columns if tables.points[column].notna().any()),
            "trust",
        ],
        locks=None if locks is None else locks.nlargest(_LOCKS, "wait_ns").to_dict("records"),
        gains=None if gains is None else gains.to_dict("records"),
        manifest=tables.manifest.content if tables.manifest else {},
        specs=_script(charts),
        library=vl_convert.javascript_bundle(None),  # type: ignore[arg-type]  # its stub forgets None
    )
    return text


def _gains(folder: Path) -> pd.DataFrame | None:
    """What `whatif` has written beside the run, the largest gain first; None if nobody has asked."""
    try:
        table = pd.read_csv(folder / "whatif" / "whatif.csv", keep_default_na=True)
        answered = table.loc[table["kind"].notna() & table["gain"].notna()]
        return answered.sort_values("gain", ascending=False).astype(object).fillna("")
    except (OSError, ValueError, KeyError):
        return None


def _trust(panel: Panel, held: list[Held]) -> str:
    """What was measured in a panel, in a line."""
    mine = [
        row
        for row in held
        if (row.machine, row.workload, row.placement) == (panel.machine, panel.workload, panel.placement)
        and not panel.variant
    ]
    if not mine:
        return "Nothing published was measured here: these are predictions, as good as the costs below."
    parts = []
    fitted, predicted = ([row for row in mine if row.fitted is which] for which in (True, False))
    if fitted:
        worst = max(abs(row.error) for row in fitted)
        parts.append(f"{len(fitted)} measured numbers were fitted to (off by {share_of(worst)} at most)")
    if predicted:
        errors = ", ".join(
            f"{100 * row.error:+.0f} % for {design_title(row.design)} with {thread_count(row.threads)}"
            for row in predicted
        )
        parts.append(f"predicted, and measured by others: {errors}")
    return "; ".join(parts)[0].upper() + "; ".join(parts)[1:] + "."


def _standings(panel: Panel, held: list[Held]) -> list[str]:
    """How far to trust each curve's last number; a variant of a panel is not what was measured."""
    place = {"machine": panel.machine, "workload": panel.workload, "placement": panel.placement}
    return [
        "predicted"
        if panel.variant
        else standing(held, {**place, "design": curve.design, "threads": curve.threads[-1]})
        for curve in panel.curves
    ]


def _standing_of(row: dict[str, Any], held: list[Held]) -> str:
    """How far to trust a row of the table of points."""
    swept = any("." in column and row[column] != "" for column in row)
    return "" if row["status"] != "ok" else "predicted" if swept else standing(held, row)


def _qualities(costs: list[Costs]) -> list[str]:
    """All qualities that occur, the best first."""
    known = ["measured", "published", "derived", "fitted", "recalled", "estimated"]
    found = {quality for each in costs for quality, _ in each.qualities}
    return [*(name for name in known if name in found), *sorted(found - set(known))]


def _rows(points: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(key): "" if value != value else value for key, value in row.items()}
        for row in points.to_dict("records")
    ]


def _script(charts: dict[str, list[dict[str, Any]]]) -> str:
    """JSON that may stand in a script element."""
    return json.dumps(charts, separators=(",", ":")).replace("<", "\\u003c")
