"""What `cortensim sensitivity` says and writes: tables, a tornado of the costs, and the curves with bands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sim.analysis.sensitivity import Finding, Study
from sim.analysis.wording import plain_number
from sim.files import write_atomically
from sim.terminal import TextTable

if TYPE_CHECKING:
    from sim.terminal import Console

_NOTABLE = 0.005
SHOWN = 12
"""Costs that the printed table has."""


def render(study: Study, console: Console) -> None:
    """Print conclusions with the share of samples in which they hold, and the costs that move most."""
    for conclusion in study.conclusions:
        console.print(
            f"{conclusion.text}: {conclusion.ratio:.3g} times "
            f"({conclusion.low:.3g} to {conclusion.high:.3g}); "
            f"holds in {conclusion.holds} of {conclusion.samples} samples"
            + ("" if math.isnan(conclusion.share) else f" ({conclusion.share:.0%})"),
            highlight=False,
        )
    console.print("")
    console.print(cost_table(study))
    idle = [group for group in study.groups if not group[2]]
    if idle:
        most = max(idle, key=lambda group: max(end.size for end in group[1]))
        console.print(
            f"not looked into one by one: {sum(len(group.costs) for group, _, _ in idle)} costs "
            f"in {len(idle)} "
            f"groups; the largest effect of a whole group, {most[0].name}, "
            f"is {_percent(max(end.size for end in most[1]))}",
            highlight=False,
        )
    if any(_one_way(finding, answer) for finding, answer in _most_moved(study)[:SHOWN]):
        console.print(
            "an effect with the same sign at both ends is mostly chance: other costs make another order of "
            "events. `replicates` of the experiment make chance smaller",
            highlight=False,
        )
    if study.cramped:
        console.print(
            f"{study.cramped} variants of files could not have all costs where they were to be: some must "
            "keep "
            "an order, and were taken nearer to the file's own values",
            highlight=False,
        )
    for left in study.left_out:
        console.print(f"left out: {left}", highlight=False)


def cost_table(study: Study) -> TextTable:
    """The costs that move some answer most: what each does at the ends of its interval, and by Morris."""
    several = len(study.answers) > 1
    what = "the answers" if several or not study.answers else study.answers[0].name
    table = TextTable(
        box=None, pad_edge=False, header_style="bold", title_justify="left",
        title=f"what moves {what} most: each cost at the low and the high end of its interval",
    )  # fmt: skip
    for heading in ("cost", "quality", "interval"):
        table.add_column(heading)
    for heading in ("low", "high", "mu*", "sigma"):
        table.add_column(heading, justify="right")
    if several:
        table.add_column("of")
    for finding, answer in _most_moved(study)[:SHOWN]:
        ends, effect = finding.ends[answer], finding.effects[answer] if finding.effects else None
        star = effect is not None and not math.isnan(effect.mu_star)
        table.add_row(
            finding.cost.name, finding.cost.quality, f"{finding.cost.low} to {finding.cost.high}",
            _percent(ends.low), _percent(ends.high),
            f"{effect.mu_star:.2g} ± {effect.interval:.1g}" if effect and star else "-",
            f"{effect.sigma:.2g}" if effect and star else "-",
            *([study.answers[answer].name] if several else []),
        )  # fmt: skip
    return table


def write_tables(study: Study, folder: Path) -> list[Path]:
    """`conclusions.csv`, `costs.csv`, `groups.csv` and `bands.csv`."""
    tables = {
        "conclusions": conclusion_frame(study), "costs": cost_frame(study), "groups": group_frame(study),
        "bands": study.bands,
    }  # fmt: skip
    paths = []
    for name, table in tables.items():
        paths.append(folder / f"{name}.csv")
        text = table.to_csv(index=False, lineterminator="\n", float_format="%.6g")
        write_atomically(paths[-1], lambda path, text=text: path.write_text(text, encoding="utf-8"))  # type: ignore[misc]
    return paths


def conclusion_frame(study: Study) -> pd.DataFrame:
    """A row a conclusion."""
    columns = ("conclusion", "ratio", "low", "high", "holds", "samples", "share")
    rows = [
        (one.text, one.ratio, one.low, one.high, one.holds, one.samples, one.share)
        for one in study.conclusions
    ]
    return pd.DataFrame(rows, columns=columns)


def cost_frame(study: Study) -> pd.DataFrame:
    """A row an answer and cost, what moves it most first. All but the interval's ends are logarithms."""
    rows: list[dict[str, Any]] = []
    for number, answer in enumerate(study.answers):
        for rank, finding in enumerate(study.ranked(number), 1):
            cost, ends = finding.cost, finding.ends[number]
            effect = vars(finding.effects[number]) if finding.effects else {}
            rows.append(
                {
                    "answer": answer.name, "rank": rank, "cost": cost.name, "group": cost.group,
                    "quality": cost.quality, "value": cost.value, "from": cost.low, "to": cost.high,
                    "low": ends.low, "high": ends.high,
                    **{name: effect.get(name) for name in ("mu", "mu_star", "interval", "sigma")},
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def group_frame(study: Study) -> pd.DataFrame:
    """A row an answer and group of costs, as they were moved together; empty if all were looked at singly."""
    columns = ("answer", "group", "costs", "low", "high", "looked_into")
    rows = [
        (answer.name, group.name, len(group.costs), ends[number].low, ends[number].high, inside)
        for number, answer in enumerate(study.answers)
        for group, ends, inside in study.groups
    ]
    return pd.DataFrame(rows, columns=columns)


def _most_moved(study: Study) -> Sequence[tuple[Finding, int]]:
    """Each cost that was looked at and moves something, with the answer that it moves most, by how much."""
    found = [
        (finding, max(range(len(study.answers)), key=finding.size))
        for finding in study.findings
        if study.answers
    ]
    moving = [(finding, answer) for finding, answer in found if finding.size(answer) > 0]
    return sorted(moving, key=lambda pair: -pair[0].size(pair[1]))


def _one_way(finding: Finding, answer: int) -> bool:
    """Whether both ends of a cost move the *answer* in one direction, and notably."""
    low, high = finding.ends[answer].low, finding.ends[answer].high
    return low * high > 0 and min(abs(low), abs(high)) > _NOTABLE


def _percent(logarithm: float) -> str:
    if math.isnan(logarithm):
        return "failed"
    change = math.expm1(logarithm)
    return f"{change:+.1%}" if abs(change) < 10 else f"x {plain_number(math.exp(logarithm))}"
