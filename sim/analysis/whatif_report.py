"""`cortensim whatif` for people: the plan, the answer on a terminal, `whatif.csv` and `whatif.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sim.analysis.changes import Way
from sim.analysis.whatif import PLACE, Plan, verdict
from sim.files import write_atomically
from sim.terminal import Console, TextTable, styled

if TYPE_CHECKING:
    import pandas as pd

TABLE, JSON = "whatif.csv", "whatif.json"
_KINDS: Mapping[str, str] = {
    Way.EXACT: "exact: the lock does not exist in the run",
    Way.ESTIMATE: "estimate: the model needs the lock, which stays; what threads wait for it is given back",
    Way.BOUND: "bound: the lock stays and costs nothing itself; a lower bound of the gain without it",
    Way.LINE: "line: it is always in the own cache",
    Way.COST: "cost: numbers of the files are others",
    Way.SWITCH: "switch: done as in another kernel",
}


def render_plan(plan: Plan, console: Console) -> None:
    """Print what would be taken away, and how many points are simulated."""
    for place in plan.places:
        table = TextTable("without", "kind", "what it is", title=place.label)
        for change in place.changes:
            table.add_row(change.name, str(change.way), change.title)
        console.print(table)
    least, most = plan.runs
    console.print(f"{least} to {most} points would be simulated, {plan.replicates} replicates each")


def render(table: pd.DataFrame, console: Console) -> None:
    """Print the answer, a table for each place."""
    for name, rows in table.groupby([*PLACE, "swept"], sort=False):
        records = [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]
        _render_place(records, _title(cast("tuple[Any, ...]", name)), console)
    kinds = [kind for kind in dict.fromkeys(table["kind"]) if kind]
    for kind in kinds:
        console.print(_KINDS[kind])


def _title(name: tuple[Any, ...]) -> str:
    machine, design, workload, placement, threads, swept = name
    words = f"{design}, {workload} {placement}".strip()
    return f"{words}, {threads} thread{'s' if threads > 1 else ''} on {machine}{', ' if swept else ''}{swept}"


def _render_place(rows: list[dict[str, Any]], title: str, console: Console) -> None:
    base, *others = rows
    if base["remark"]:
        console.print(f"{title}: failed: {base['remark']}")
        return
    before = base["with_ops_per_us"]
    largest = f"{base['largest']} ({base['largest_share']:.0%})"
    console.print(f"{title}: {before:.4g} operations/us, most of the time {largest}")
    screen = TextTable("without", "kind", title="what would be gained without it")
    for heading in ("it had", "gain", "95 % interval"):
        screen.add_column(heading, justify="right")
    screen.add_column("most of the time is then")
    idle = [row for row in others if row["remark"] == "changes nothing here"]
    broken = [row for row in others if math.isnan(row["gain"])]
    pairs = [row for row in others if not math.isnan(row["product"])]
    for row in others:
        if row not in idle and row not in broken:
            screen.add_row(
                row["without"],
                row["kind"],
                _share(row),
                _gain(row),
                _interval(row),
                f"{row['largest']} ({row['largest_share']:.0%})",
            )
    if len(idle) + len(broken) < len(others):
        console.print(screen)
    for row in pairs:
        console.print(
            f"{row['without']}: {_percent(row['gain'])} together, the product is {_percent(row['product'])}: "
            f"{verdict(row)}"
        )
    if idle:
        console.print(f"changes nothing here: {', '.join(row['without'] for row in idle)}")
    for row in broken:
        console.print(f"{row['without']}: {row['remark']}")
    for row in others:
        if row["remark"].startswith("the model needs"):
            console.print(f"{row['without']}: {row['remark']}")


def _share(row: Mapping[str, Any]) -> str:
    if math.isnan(row["share"]):
        return ""
    part = "" if row["kind"] in (Way.EXACT, Way.ESTIMATE, Way.BOUND) else "up to "
    return f"{part}{row['share']:.0%}"


def _gain(row: Mapping[str, Any]) -> Any:
    certain = row["gain_low"] > 0 or row["gain_high"] < 0
    colour = ("green" if row["gain"] > 0 else "red") if certain else "dim"
    word = {Way.BOUND: "at least ", Way.ESTIMATE: "about "}.get(row["kind"], "")
    return styled(f"{word}{_percent(row['gain'])}", colour)


def _interval(row: Mapping[str, Any]) -> str:
    if math.isnan(row["gain_low"]):
        return "-"
    return f"{_percent(row['gain_low'])} to {_percent(row['gain_high'])}"


def _percent(value: float) -> str:
    return f"{100 * value:+.1f} %" if abs(value) < 1 else f"{100 * value:+.0f} %"


def as_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The table's rows for JSON: what is not there is null."""
    return [
        {
            str(key): None if isinstance(value, float) and math.isnan(value) else value
            for key, value in row.items()
        }
        for row in table.to_dict("records")
    ]


def write(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write both files into *folder*. Raises `OSError`."""
    text = json.dumps(as_records(table), indent=1) + "\n"
    csv, js = folder / TABLE, folder / JSON
    write_atomically(csv, lambda temporary: table.to_csv(temporary, index=False, lineterminator="\n"))
    write_atomically(js, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return [csv, js]
