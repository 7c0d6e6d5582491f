"""A validation as text: on a terminal, as `validation.csv`, and as the page `docs/validation.md`.

The page is generated and never edited. What people know about a miss stands in `docs/misses.yaml`, a mapping
from a row's key (`dataset/system/workload/placement/tasks/metric`) to its explanation.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from sim.analysis.activities import grouped
from sim.analysis.bands import WIDEST, Band, band_key, read_bands
from sim.analysis.metrics import KNEE_GAIN, CellName
from sim.analysis.tables import FROM_LATENCY, POINT_KEYS, THROUGHPUT
from sim.analysis.validation import MISS, OK, RESULT_COLUMNS, SHOWN, Judgement, ValidationResult
from sim.analysis.wording import duration, plain_number
from sim.errors import Fault, InputError
from sim.files import read_document, write_atomically
from sim.plaintext import plain
from sim.terminal import Console, TextTable, styled

NOT_EXPLAINED = "not explained yet"
_PICTURE = (
    "Published against simulated, a panel a dataset, both logarithmic, with lines at 25 % and a factor of 2"
)
"""What the figure beside the page shows (`published_figure`)."""
_MARKUP = re.compile(r"[\\`*<\[|]")
_COLOURS = {OK: "green", MISS: "red", SHOWN: "yellow"}


def render(result: ValidationResult, console: Console) -> None:
    """Print the covered rows, the reasons of the others, and the summary."""
    for dataset, judgements in _covered_by_dataset(result):
        table = TextTable("system", "workload", "placement", title=f"{dataset}: published beside simulated")
        for name in ("tasks", "published", "simulated", "error", "allowed"):
            table.add_column(name, justify="right")
        table.add_column("metric", overflow="fold")
        table.add_column("use")
        table.add_column("verdict")
        for judgement in judgements:
            row, colour = judgement.observation, _COLOURS[judgement.verdict]
            table.add_row(
                *(row.system, row.workload, row.placement, str(row.tasks)),
                f"{plain_number(row.value)} {row.unit}",
                *(_number(judgement.simulated), _percent(judgement.relative_error), f"±{row.tolerance:.0%}"),
                *(row.metric, row.use, styled(judgement.verdict, colour)),
            )
        console.print(table)
    reasons = _reasons(result.judgements)
    if reasons:
        table = TextTable("dataset", "rows", "why", title="not covered")
        for (dataset, reason), count in reasons.items():
            table.add_row(dataset, str(count), reason)
        console.print(table)
    table = TextTable("dataset", "use", title="summary")
    for name in ("rows", OK, MISS, "not covered", "median error", "worst error"):
        table.add_column(name, justify="right")
    for cells in _summary_cells(result):
        table.add_row(*cells)
    console.print(table)


def write_csv(result: ValidationResult, directory: Path) -> Path:
    """Write `validation.csv` into *directory*: the input's cells as they were, then what the model says."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(RESULT_COLUMNS)
    for judgement in result.judgements:
        answers = ("" if math.isnan(x) else repr(x) for x in (judgement.simulated, judgement.relative_error))
        writer.writerow([*judgement.observation.cells, *answers, judgement.verdict])
    path = directory / "validation.csv"
    _write(path, text.getvalue())
    return path


def write_report(result: ValidationResult, path: Path, misses: Path | None = None) -> Path:
    """Write the page at *path*, with the explanations of *misses* (by default `misses.yaml` beside it), and
    the bands that stand in `bands.csv` beside it."""
    explanations = read_explanations(misses or path.with_name("misses.yaml"))
    _write(path, markdown(result, explanations, read_bands(path.with_name("bands.csv"))))
    return path


def read_explanations(path: Path) -> dict[str, str]:
    """The explanations in a `misses.yaml`; none if there is no such file. Raises `InputError`."""
    if not path.exists():
        return {}
    faults: list[Fault] = []
    document = read_document(path, faults)
    tree = document.tree if document else {}
    faults += [
        Fault("an explanation is text", file=str(path), key=str(key), value=value)
        for key, value in tree.items()
        if not isinstance(value, str)
    ]
    if faults:
        raise InputError(faults)
    return {key: value.strip() for key, value in tree.items()}


def markdown(
    result: ValidationResult, explanations: Mapping[str, str], bands: Mapping[str, Band] | None = None
) -> str:
    """The whole page."""
    return "\n".join(_page(result, explanations, bands or {})) + "\n"


def _page(
    result: ValidationResult, explanations: Mapping[str, str], bands: Mapping[str, Band]
) -> Iterator[str]:
    yield from (
        "# The model beside published measurements",
        "",
        "Generated by `cortensim validate --report docs/validation.md`; do not edit. What is known of a",
        "miss is in `misses.yaml`.",
        "",
        "Published rows are in `results/published/`. *Error* is simulated over published, less 1. A row is",
        "`ok` when its error is within the row's own tolerance. Costs may have been fitted to rows marked",
        "`calibrate`; rows marked `check` are predictions. Rows marked `shown` are under suspicion: nobody",
        "judges them.",
        "",
        "`knee_threads` is the first thread count after which further threads, however many, bring less than",
        f"{KNEE_GAIN:.0%} of what linear scaling would (on doublings of the thread count and all cpus). A",
        "workload such as `(all five)` stands for all that the dataset names: the worst of them for scaling",
        "per thread, the median for knees.",
        "",
        "## Summary",
        "",
    )
    summary = [(_escaped(name), *numbers) for name, *numbers in _summary_cells(result)]
    sums = ("dataset", "use", "rows", "ok", "miss", "not covered", "median error", "worst error")
    yield from _table(sums, summary, numbers_from=2)
    yield from ("", f"![{_PICTURE}](figures/published.png)")
    yield from _bands_summary(result, bands)
    yield from _two_throughputs(result)
    for dataset, judgements in _covered_by_dataset(result):
        yield from ("", f"## {_escaped(dataset)}", "")
        header: tuple[str, ...] = ("machine", "system", "workload", "placement", "metric", "use", "verdict")
        header += ("tasks", "published", "simulated", "error", "allowed")
        cells: list[tuple[str, ...]] = [_cells(judgement) for judgement in judgements]
        if any(band_key(judgement.observation) in bands for judgement in judgements):
            header += ("band", "by the band")
            pairs = zip(cells, judgements, strict=True)
            cells = [(*own, *_band_cells(judgement, bands)) for own, judgement in pairs]
        yield from _table(header, cells, numbers_from=7)
    if result.misses:
        yield from ("", "## Misses")
        for judgement in result.misses:
            yield from _miss(result, judgement, explanations)
    reasons = _reasons(result.judgements)
    if reasons:
        yield from ("", "## Not covered", "")
        rows = [(_escaped(name), _escaped(why), str(count)) for (name, why), count in reasons.items()]
        yield from _table(("dataset", "why", "rows"), rows, numbers_from=2)
    keys = {judgement.observation.key for judgement in result.judgements}
    missed = {judgement.observation.key for judgement in result.misses}
    stale = [key for key in explanations if key in keys - missed]
    if stale:
        yield from ("", "## Explained, and not a miss", "")
        yield from (f"- `{plain(key)}`" for key in stale)


def _bands_summary(result: ValidationResult, bands: Mapping[str, Band]) -> Iterator[str]:
    """How many rows lie in their bands, a dataset."""
    known = [
        (j.observation.dataset, bands[band_key(j.observation)].verdict(j.observation.value))
        for j in result.judgements
        if j.covered and band_key(j.observation) in bands
    ]
    if not known:
        return
    yield from (
        "",
        "## Bands",
        "",
        "Costs are known so well and no better: measured ones within 5 %, derived and recalled ones within",
        "15 %, estimates within 30 %, or within the range that their file gives. A band is what the model",
        "answers when all costs are drawn at random from these intervals, some times over",
        "(`cortensim validate --bands`). A row is *predicted* if the published value lies in its band and",
        f"the band is no wider than a factor of {WIDEST:g}. In a wider one the model *cannot tell*.",
        "Some bands may be older than the model: they are not drawn anew for each page.",
        "",
    )
    kinds = ("predicted", "cannot tell", "outside")
    counts = Counter(known)
    rows = [
        (_escaped(dataset), *(str(counts[dataset, kind]) for kind in kinds))
        for dataset in dict.fromkeys(dataset for dataset, _ in known)
    ]
    yield from _table(("dataset", *kinds), rows, numbers_from=1)


def _band_cells(judgement: Judgement, bands: Mapping[str, Band]) -> tuple[str, str]:
    band = bands.get(band_key(judgement.observation))
    if band is None:
        return "-", "-"
    ends = f"{plain_number(band.low)} to {plain_number(band.high)}"
    return ends, band.verdict(judgement.observation.value)


def _two_throughputs(result: ValidationResult) -> Iterator[str]:
    """Both throughputs of the points that were judged by latency, at the most threads of their machine."""
    points = result.points
    if points.empty or (judged := points.loc[points["reported"] == "from-latency"]).empty:
        return
    most = judged.loc[judged["threads"] == judged.groupby("machine")["threads"].transform("max")]
    yield from (
        "",
        "## Two throughputs",
        "",
        "Some benchmarks do not count operations over time: they divide the number of threads by the mean",
        "latency of some requests, which leaves out what a thread waits before, between and after these.",
        "Rows measured so are compared with the same number. Work done is what the threads really completed:",
        "all operations over the time from the start to the end of the last thread. Both are in operations a",
        "microsecond.",
        "",
    )
    header = ("machine", "system", "workload", "placement", "threads", "work done", "from latency", "ratio")
    rows = [
        (
            *(_escaped(row[name]) for name in ("machine", "design", "workload", "placement", "threads")),
            *(plain_number(row[name]) for name in (THROUGHPUT, FROM_LATENCY)),
            f"{row[FROM_LATENCY] / row[THROUGHPUT]:.2f}",
        )
        for row in most.to_dict("records")
        if row["status"] != "failed"
    ]
    yield from _table(header, rows, numbers_from=4)


def _miss(result: ValidationResult, judgement: Judgement, explanations: Mapping[str, str]) -> Iterator[str]:
    row = judgement.observation
    tasks = "1 task" if row.tasks == 1 else f"{row.tasks} tasks"
    where = ", ".join(part for part in (row.workload, row.placement, tasks) if part)
    yield from ("", _escaped(f"### {row.system}: {where}: {row.metric}"), "")
    if math.isnan(judgement.simulated):
        yield _escaped(judgement.note)
    else:
        published = f"{plain_number(row.value)} {_escaped(row.unit)}"
        told = f"Published {published}, simulated {_number(judgement.simulated)}"
        each = f" ({_escaped(judgement.note)})" if judgement.note else ""
        yield f"{told}{each}: {_percent(judgement.relative_error)}, allowed ±{row.tolerance:.0%}."
    yield ""
    yield from explanations.get(row.key, f"*{NOT_EXPLAINED}* (`{plain(row.key)}`)").splitlines()
    ends = (1, row.tasks)  # of a whole curve, one thread and the row's own thread count are enough
    yield from _time_table(result, [point for point in judgement.points if point.threads in ends])


def _time_table(result: ValidationResult, points: Sequence[CellName]) -> Iterator[str]:
    """Where the time of the points behind a miss went, in ns an operation."""
    if result.breakdown.empty:
        return
    keys = [(p.design, p.machine, p.workload, p.placement, p.threads) for p in points]
    own = pd.MultiIndex.from_frame(result.breakdown[list(POINT_KEYS)]).isin(keys)
    if not own.any():
        return
    table = grouped(result.breakdown.loc[own], POINT_KEYS)  # groups that matter here, not elsewhere
    chosen = table.loc[[key for key in keys if key in table.index]]
    yield from ("", "Simulated cpu time of an operation (ns), waiting included:", "")
    header = ("design", "workload", "threads", "time", *map(_escaped, chosen.columns))
    rows = [
        (
            _escaped(key[0]),
            _escaped(" ".join(filter(None, key[2:4]))),
            str(key[4]),
            duration(sum(values)),
            *(plain_number(value) for value in values),
        )
        for key, values in zip(chosen.index, chosen.to_numpy().tolist(), strict=True)
    ]
    yield from _table(header, rows, numbers_from=2)


def _cells(judgement: Judgement) -> tuple[str, ...]:
    row = judgement.observation
    verdict = f"**{judgement.verdict}**" if judgement.verdict == MISS else judgement.verdict
    names = (
        row.machine,
        row.system,
        row.workload,
        row.placement or "-",
        f"{row.metric} ({row.unit})",
        row.use,
    )
    return (
        *map(_escaped, names),
        *(verdict, str(row.tasks), plain_number(row.value), _number(judgement.simulated)),
        *(_percent(judgement.relative_error), f"±{row.tolerance:.0%}"),
    )


def _summary_cells(result: ValidationResult) -> Iterator[tuple[str, ...]]:
    for row in result.summary.to_dict("records"):
        counts = (str(row[name]) for name in ("rows", "ok", "miss", "not_covered"))
        errors = (_percent(row[name], sign="") for name in ("median_error", "worst_error"))
        yield (row["dataset"], row["use"], *counts, *errors)


def _covered_by_dataset(result: ValidationResult) -> Iterator[tuple[str, list[Judgement]]]:
    """The covered rows of each dataset that has any."""
    covered = [judgement for judgement in result.judgements if judgement.covered]
    for dataset in dict.fromkeys(judgement.observation.dataset for judgement in covered):
        yield dataset, [judgement for judgement in covered if judgement.observation.dataset == dataset]


def _reasons(judgements: Sequence[Judgement]) -> Counter[tuple[str, str]]:
    """How many rows of a dataset are not covered for a reason, in order of appearance."""
    return Counter((j.observation.dataset, j.note) for j in judgements if not j.covered)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int) -> Iterator[str]:
    """A markdown table; columns from *numbers_from* on are aligned to the right."""
    yield "| " + " | ".join(header) + " |"
    yield "|" + "|".join("---:" if place >= numbers_from else "---" for place in range(len(header))) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _escaped(text: object) -> str:
    """Text as it is in a page of markdown, on one line."""
    return _MARKUP.sub(r"\\\g<0>", plain(" ".join(str(text).split())))


def _number(value: float) -> str:
    return "-" if math.isnan(value) else plain_number(value)


def _percent(value: float, sign: str = "+") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.1%}"


def _write(path: Path, text: str) -> None:
    """Whole or not at all. Raises `InputError` when the place cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise InputError(Fault(f"cannot be written: {error.strerror}", file=str(path))) from None
