"""The report's charts, as Vega-Lite: throughput over threads, and what takes the time, a panel each.

Charts are interactive (a point says what it is; a click in the legend leaves one design) and as wide as the
page lets them be. Colours are those of all figures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pandas as pd

from sim.analysis.activities import group_colour, grouped
from sim.analysis.report.facts import PANEL, Panel
from sim.analysis.style import design_styles
from sim.analysis.tables import POINT_KEYS, THROUGHPUT, RunTables, averaged, finished
from sim.analysis.variants import parted

_KEYS = (*POINT_KEYS, "variant")
_HEIGHT = 240
_ELSEWHERE: Any = {"name": "data"}
"""Altair copies the data of a chart with each of its parts; ours is put in at the end."""
_STROKES: Mapping[str, list[int]] = {"-": [], "--": [6, 3], "-.": [6, 3, 1, 3]}


def throughput_charts(tables: RunTables, panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """A chart for each panel, in its order."""
    curves = averaged(finished(parted(tables.points)), THROUGHPUT, _KEYS)
    curves = curves.loc[curves["mean"] > 0]
    with _unchecked():
        return [_throughput_chart(_of(curves, panel), panel) for panel in panels]


def breakdown_charts(tables: RunTables, panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """A chart for each panel: ns of an operation over threads, stacked, a column a design."""
    times = grouped(parted(tables.breakdown), list(_KEYS))
    order = [str(name) for name in times.columns]
    long = times.reset_index().melt(id_vars=list(_KEYS), var_name="part", value_name="ns")
    long = long.loc[long["ns"] > 0]
    totals = long.groupby(list(_KEYS), observed=True, sort=False)["ns"].transform("sum")
    long = long.assign(share=long["ns"] / totals)
    with _unchecked():
        return [_breakdown_chart(_of(long, panel), panel, order) for panel in panels]


def _unchecked() -> AbstractContextManager[None]:
    """Altair holds each part of a chart against its schema, which takes most of the time."""
    from altair.utils.schemapi import debug_mode

    return debug_mode(False)


def _of(frame: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    place = [getattr(panel, name) for name in PANEL]
    return frame.loc[(frame[list(PANEL)] == place).all(axis=1)].drop(columns=list(PANEL))


def _throughput_chart(curves: pd.DataFrame, panel: Panel) -> dict[str, Any]:
    import altair as alt

    styles = design_styles(curve.design for curve in panel.curves)
    names = list(styles)
    pick = alt.selection_point(fields=["design"], bind="legend")
    colour = alt.Color(
        "design:N",
        scale=alt.Scale(domain=names, range=[styles[name].colour for name in names]),
        legend=alt.Legend(title=None, orient="top", columns=2, labelLimit=260),
    )
    dash = alt.StrokeDash(
        "design:N",
        scale=alt.Scale(domain=names, range=[_STROKES.get(str(styles[n].dashes), [2, 2]) for n in names]),
        legend=None,
    )
    base = alt.Chart(_ELSEWHERE).encode(
        x=alt.X("threads:Q", scale=alt.Scale(type="log", base=2, nice=False), title="threads",
                axis=alt.Axis(values=_ticks(curves["threads"]), format="d")),
        opacity=alt.condition(pick, alt.value(1.0), alt.value(0.12)),
    )  # fmt: skip
    y = alt.Y("mean:Q", scale=alt.Scale(type="log"), title="operations per µs",
              axis=alt.Axis(format="~g", tickCount=5))  # fmt: skip
    tips = [
        alt.Tooltip("design:N"), alt.Tooltip("threads:Q"),
        alt.Tooltip("mean:Q", title="operations per µs", format=".4g"),
        alt.Tooltip("low:Q", title="95 % from", format=".4g"),
        alt.Tooltip("high:Q", title="to", format=".4g"),
        alt.Tooltip("replicates:Q"),
    ]  # fmt: skip
    lines = base.mark_line(strokeWidth=2).encode(y=y, color=colour, strokeDash=dash)
    dots = base.mark_point(size=45, filled=True).encode(
        y=y, color=colour, tooltip=tips,
        shape=alt.Shape("design:N", scale=alt.Scale(domain=names), legend=None),
    )  # fmt: skip
    bands = base.mark_rule(strokeWidth=3).encode(y="low:Q", y2="high:Q", color=colour)
    layers = [bands, lines, dots] if curves["low"].notna().any() else [lines, dots]
    chart = alt.layer(*layers).add_params(pick)
    return _finished(chart, curves.round(6), f"Throughput of {panel.name} over threads, one line a design")


def _breakdown_chart(times: pd.DataFrame, panel: Panel, order: Sequence[str]) -> dict[str, Any]:
    import altair as alt

    here = [name for name in order if (times["part"] == name).any()]
    ranks = {name: number for number, name in enumerate(here)}
    times = times.assign(
        rank=times["part"].map(ranks), ns=times["ns"].round(2), share=times["share"].round(4)
    )
    pick = alt.selection_point(fields=["part"], bind="legend")
    designs = [curve.design for curve in panel.curves]
    chart = (
        alt.Chart(_ELSEWHERE)
        .mark_bar()
        .encode(
            x=alt.X("threads:O", title="threads", axis=alt.Axis(labelAngle=0, labelOverlap=True)),
            y=alt.Y("share:Q", title="share of an operation's time", axis=alt.Axis(format="%", tickCount=5)),
            color=alt.Color(
                "part:N",
                scale=alt.Scale(domain=here, range=[group_colour(name) for name in here]),
                legend=alt.Legend(title=None, orient="top", columns=2, labelLimit=200),
            ),
            order=alt.Order("rank:Q"),
            opacity=alt.condition(pick, alt.value(1.0), alt.value(0.2)),
            tooltip=[
                alt.Tooltip("threads:O"), alt.Tooltip("part:N"),
                alt.Tooltip("ns:Q", title="ns an operation", format=",.3~r"),
                alt.Tooltip("share:Q", format=".1%"),
            ],
        )
        .add_params(pick)
    )  # fmt: skip
    if len(designs) > 1:
        chosen = alt.selection_point(
            fields=["design"], value=designs[0],
            bind=alt.binding_select(options=designs, name="design "),
        )  # fmt: skip
        chart = chart.add_params(chosen).transform_filter(chosen)
    return _finished(chart, times, f"What takes the time of an operation of {panel.name}, over threads")


def _finished(chart: Any, data: pd.DataFrame, description: str) -> dict[str, Any]:
    """The chart's specification with its *data*, as wide as its place."""
    made = chart.properties(width="container", height=_HEIGHT, description=description)
    spec: dict[str, Any] = made.configure_view(stroke=None).to_dict(validate=False)
    spec["data"] = {"values": json.loads(data.to_json(orient="records"))}
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    return spec


def _ticks(threads: pd.Series[int]) -> list[int]:
    """The thread counts that an axis names: powers of four and the last."""
    counts = sorted({int(value) for value in threads})
    last = counts[-1]
    kept = [count for count in counts if count in {4**n for n in range(8)} and count * 1.6 < last]
    return [*kept, last]
