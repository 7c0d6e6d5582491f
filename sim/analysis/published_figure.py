"""Published against simulated, both logarithmic: a panel a dataset, with the bands of predictions.

It is made of a validation as it ends, or of what one has written: `validation.csv`, which has all digits, or
the page docs/validation.md, which has three of each number. Bands stand in a `bands.csv` beside the table, or
on the page.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from sim.analysis.bands import Band, band_key, read_bands
from sim.analysis.layout import WIDEST, finish, grid, label_values
from sim.analysis.published import CALIBRATE, CHECK
from sim.analysis.style import FAINT, INK, LABEL_SIZE, dress
from sim.analysis.wording import plain_number
from sim.errors import Fault, InputError
from sim.files import display, read_regular, reason

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sim.analysis.validation import ValidationResult

NAME = "published"
MARKS = {
    CHECK: ("o", "#01665e", "check: a prediction"),
    CALIBRATE: ("s", "#bf812d", "calibrate: costs were fitted to it"),
    "shown": ("x", FAINT, "shown: nobody judges it"),
}
"""Use of a row -> marker, colour, what the legend says."""
BAND_LABEL = "band: where the model may be, for what is known of its costs"
_BAND_COLOUR = "#80cdc1"
_LINES = ((1.25, "--", "±25 %"), (2.0, ":", "factor 2"))
_LEAST = 3
"""Datasets of fewer rows share a panel."""
OTHERS = "others"
_SIZE = 1.95
_SUFFIXES = {"k": 1e3, "M": 1e6, "G": 1e9}
_NUMBER = re.compile(r"(-?[\d.]+(?:e[+-]?\d+)?)(?: ([kMG]))?\Z")
_BAND = re.compile(r"(.+) to (.+)\Z")
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True)
class Pair:
    """A row of a validation that was answered; *low* and *high* bound its band, NaN without one."""

    dataset: str
    use: str
    published: float
    simulated: float
    low: float = math.nan
    high: float = math.nan


def plot_validation(path: Path, folder: Path) -> list[Path]:
    """Draw the validation in *path* as PNG and SVG into *folder*. Raises `InputError`."""
    from sim.analysis.figures import write_figure

    figure = published_figure(read_pairs(path))
    if figure is None:
        raise InputError(Fault("no row of this validation was answered", display(path)))
    return write_figure(figure, folder, NAME)


def pairs_of(result: ValidationResult, bands: Mapping[str, Band]) -> list[Pair]:
    """The rows of a validation that has just ended."""
    found = []
    for judgement in result.judgements:
        row = judgement.observation
        if judgement.covered and not math.isnan(judgement.simulated):
            band = bands.get(band_key(row))
            ends = (band.low, band.high) if band else (math.nan, math.nan)
            found.append(Pair(row.dataset, row.use, row.value, judgement.simulated, *ends))
    return found


def read_pairs(path: Path) -> list[Pair]:
    """The answered rows in a `validation.csv` or a page of `validate --report`. Raises `InputError`."""
    try:
        text = read_regular(path).decode()
    except OSError as error:
        raise InputError(Fault(f"cannot be read: {reason(error)}", display(path))) from None
    except UnicodeDecodeError:
        raise InputError(Fault("not a text in UTF-8", display(path))) from None
    if path.suffix == ".csv":
        return list(_of_table(text, path))
    if path.suffix == ".md":
        return list(_of_page(text, path))
    allowed = "the folder of a run, a validation.csv, or a page of `validate --report`"
    raise InputError(Fault("neither a run nor a validation", display(path), allowed=allowed))


def _of_table(text: str, path: Path) -> Iterator[Pair]:
    reader = csv.DictReader(text.splitlines())
    needed = ("machine", "dataset", "system", "workload", "placement", "tasks", "metric", "use", "value",
              "simulated")  # fmt: skip
    if missing := [name for name in needed if name not in (reader.fieldnames or ())]:
        allowed = "the validation.csv of `validate --out`"
        raise InputError(Fault("missing column", display(path), 1, key=missing[0], allowed=allowed))
    bands = read_bands(path.with_name("bands.csv"))
    for row in reader:
        if not row["simulated"]:
            continue
        named = (row[name] for name in needed[1:4])
        key = "/".join([row["machine"], *named, row["placement"] or "-", row["tasks"], row["metric"]])
        band = bands.get(key)
        ends = (band.low, band.high) if band else (math.nan, math.nan)
        try:
            values = float(row["value"]), float(row["simulated"])
        except ValueError:
            fault = Fault("not a number", display(path), reader.line_num, key="value or simulated")
            raise InputError(fault) from None
        yield Pair(row["dataset"], row["use"], *values, *ends)


def _of_page(text: str, path: Path) -> Iterator[Pair]:
    """Tables of rows stand under the name of their dataset; a page has others, with other columns."""
    dataset = ""
    columns: list[str] = []
    found = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("## "):
            dataset, columns = _plain(line[3:]), []
        elif line.startswith("|"):
            cells = [_plain(cell.strip()) for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if not columns:
                columns = cells if {"published", "simulated", "use"} <= set(cells) else ["-"]
                found = found or columns != ["-"]
            elif columns != ["-"] and not cells[0].startswith("---"):
                row = dict(zip(columns, cells, strict=False))
                if row.get("simulated", "-") != "-":
                    yield _of_row(dataset, row, Fault("not a row of a validation", display(path), number))
        else:
            columns = []
    if not found:
        raise InputError(
            Fault("not the page of a validation", display(path), allowed="that of `validate --report`")
        )


def _of_row(dataset: str, row: Mapping[str, str], fault: Fault) -> Pair:
    try:
        ends = _BAND.match(row.get("band", "-"))
        low, high = (_number(ends[1]), _number(ends[2])) if ends else (math.nan, math.nan)
        return Pair(dataset, row["use"], _number(row["published"]), _number(row["simulated"]), low, high)
    except (KeyError, ValueError):
        raise InputError(fault) from None


def _number(text: str) -> float:
    """What `plain_number` has written. Raises `ValueError`."""
    match = _NUMBER.match(text)
    if match is None:
        raise ValueError(text)
    return float(match[1]) * _SUFFIXES.get(match[2] or "", 1.0)


def _plain(text: str) -> str:
    return _ESCAPE.sub(r"\1", text)


# -- the figure -------------------------------------------------------------------------------------------


def published_figure(
    pairs: Sequence[Pair], title: str = "published against simulated: every row of the validation"
) -> Figure | None:
    """A panel for each dataset of at least three rows; None without a row that has both numbers.

    Rows with a zero are left out: they have no place on a logarithmic axis.
    """
    drawn = [pair for pair in pairs if pair.published > 0 and pair.simulated > 0]
    if not drawn:
        return None
    by_dataset: dict[str, list[Pair]] = {}
    for pair in drawn:
        by_dataset.setdefault(pair.dataset, []).append(pair)
    panels = {name: own for name, own in by_dataset.items() if len(own) >= _LEAST}
    if rest := [pair for name, own in by_dataset.items() if len(own) < _LEAST for pair in own]:
        panels[OTHERS] = rest
    names = list(panels)
    rows = [names[start : start + WIDEST] for start in range(0, len(names), WIDEST)]
    figure, axes = grid(_SIZE, [_SIZE] * len(rows), rows)
    for row, places in zip(rows, axes, strict=True):
        for ax, name in zip(places, row, strict=True):
            _draw(ax, panels[name])
        label_values(places[0], "simulated", _SIZE)
    for column in range(len(rows[0])):
        [row for row in axes if column < len(row)][-1][column].set_xlabel("published", fontsize=LABEL_SIZE)
    note = f"{len(drawn)} rows, each in its own unit"
    if left := len(pairs) - len(drawn):
        note += f"; not drawn: {left} with a zero"
    finish(figure, title, [note], last=[BAND_LABEL, *(label for _, _, label in _LINES)])
    return figure


def _draw(ax: Axes, pairs: Sequence[Pair]) -> None:
    dress(ax)
    values = [value for pair in pairs for value in (pair.published, pair.simulated)]
    low, high = min(values) / 1.6, max(values) * 1.6
    if high < 30 * low:
        middle = math.sqrt(low * high)
        low, high = middle / 5.5, middle * 5.5
    ends = (low, high)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.plot(ends, ends, color=INK, linewidth=0.8, zorder=1.2)
    for factor, dashes, label in _LINES:
        for sign in (1, -1):
            line = [end * factor**sign for end in ends]
            ax.plot(ends, line, color=FAINT, linewidth=0.8, linestyle=dashes, zorder=1.1,
                    label=label if sign > 0 else "_nolegend_")  # fmt: skip
    banded = [pair for pair in pairs if not math.isnan(pair.low)]
    if banded:
        ax.vlines([pair.published for pair in banded], [max(pair.low, low) for pair in banded],
                  [max(pair.high, low) for pair in banded], color=_BAND_COLOUR, linewidth=1.8,
                  zorder=1.5, label=BAND_LABEL)  # fmt: skip
    for use, (marker, colour, label) in MARKS.items():
        own = [pair for pair in pairs if pair.use == use]
        if own:
            ax.plot([pair.published for pair in own], [pair.simulated for pair in own], linestyle="none",
                    marker=marker, markersize=4.2, markeredgecolor="white" if marker != "x" else colour,
                    markeredgewidth=0.5 if marker != "x" else 1.0, color=colour, label=label)  # fmt: skip
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    places = _ticks(low, high)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(FixedLocator(places))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))


def _ticks(low: float, high: float) -> list[float]:
    """Up to three powers of ten, or, where that would be one, also what is 2 or 3 times them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    tens = [10.0**power for power in powers if low <= 10.0**power <= high]
    if len(tens) > 1:
        return tens[:: math.ceil(len(tens) / 3)]
    finer = [step * 10.0**power for power in powers for step in (1.0, 3.0)]
    return [place for place in finer if low <= place <= high]
