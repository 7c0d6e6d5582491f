"""Ablation: what becomes of the predictions when one mechanism of the model is switched off.

    configs/ablations.yaml   a mechanism -> values that switch it off, by path
    for each mechanism       load the files of all points with these values, where they have the keys
                             simulate anew the points whose files changed; the others are as before
    a dataset's answer       its median error over rows marked `check`, with and without

A mechanism without which no dataset is worse is questioned: it costs code and time, and explains nothing that
was measured. It may still be true.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from sim.analysis.coverage import FileCatalogue, covered, points_of
from sim.analysis.metrics import SHARES
from sim.analysis.published import CHECK, default_files, read_published, select_datasets
from sim.analysis.validation import Judgement, affordable, by_cell, judge, with_reported
from sim.errors import Fault, InputError, nearest
from sim.experiment import Progress, run_points
from sim.files import MEMBERS, from_mapping, presets, read_document

if TYPE_CHECKING:
    import pandas as pd
    from pydantic import BaseModel

    from sim.analysis.coverage import Loading, Question
    from sim.analysis.metrics import CellName, Simulated
    from sim.analysis.published import Observation
    from sim.files import KeyPath, Kind, Override, Resolved

WORSE = 0.005
"""Points of a median error from which on a dataset counts as better or worse."""
MOVED = 0.01
"""Relative change of an answer from which on its row counts as moved."""


@dataclass(frozen=True)
class Mechanism:
    """A part of the model that can be switched off, and how."""

    name: str
    title: str
    off: tuple[Override, ...]


@dataclass(frozen=True)
class Effect:
    """What a dataset's check rows do without a mechanism: the median absolute error, and how many moved."""

    rows: int
    moved: int
    before: float
    after: float
    failed: int = 0
    """Rows that cannot be simulated without the mechanism: their workload asks for it."""

    @property
    def helps(self) -> bool:
        """Whether the dataset is worse without, or cannot be simulated."""
        return self.failed > 0 or self.after - self.before > WORSE


@dataclass(frozen=True)
class Ablation:
    """The effects of one mechanism, by dataset. Datasets of which no row moved are not there."""

    mechanism: Mechanism
    effects: Mapping[str, Effect]

    @property
    def questioned(self) -> bool:
        """Whether datasets use it, and none is worse without it."""
        return bool(self.effects) and not any(effect.helps for effect in self.effects.values())


def read_mechanisms(path: Path | None = None) -> dict[str, Mechanism]:
    """The mechanisms of a file, by default those on board. Raises `InputError`."""
    path = path or presets.root() / "configs" / "ablations.yaml"
    faults: list[Fault] = []
    document = read_document(path, faults)
    if document is None:
        raise InputError(faults)
    found: dict[str, Mechanism] = {}
    for name, entry in document.tree.items():
        off = entry.get("off") if isinstance(entry, dict) else None
        if not isinstance(off, dict) or set(entry) != {"title", "off"}:
            faults.append(document.fault((name,), "must have a title, and values under `off`"))
            continue
        found[name] = Mechanism(name, str(entry["title"]), tuple(from_mapping(off)))
        allowed = " or ".join(f"{kind}.<key>" for kind in MEMBERS)
        for change in found[name].off:
            if change.target not in MEMBERS:
                place = (name, "off", change.written)
                faults.append(document.fault(place, "no value of a file", at_key=True, allowed=allowed))
    if faults:
        raise InputError(faults)
    return found


def ablate(
    names: Sequence[str] = (),
    paths: Sequence[Path] = (),
    datasets: Sequence[str] = (),
    workers: int = 1,
    progress: Progress | None = None,
    *,
    keep: Path | None = None,
    mechanisms: Mapping[str, Mechanism] | None = None,
    events: int | None = None,
) -> list[Ablation]:
    """Switch off the mechanisms with these *names* (by default each), one at a time.

    With *events*, rows that need a point of more events are left out. Points are kept in the folder *keep*,
    and those that are there are not run again. Raises `InputError` for files that cannot be read, unknown
    datasets and mechanisms, and a folder that cannot be used.
    """
    known = read_mechanisms() if mechanisms is None else mechanisms
    for name in names:
        if name not in known:
            fault = Fault(
                "unknown mechanism",
                value=name,
                allowed=", ".join(known),
                suggestion=nearest(name, list(known)),
            )
            raise InputError(fault)
    observations = select_datasets(read_published(list(paths) or default_files()), datasets)
    files = FileCatalogue()
    pairs = covered(observations, files, CHECK)

    def simulate(cells: Sequence[CellName], load: Loading | None = None) -> pd.DataFrame:
        return with_reported(run_points(files.points(cells, load=load), workers, progress, keep=keep), files)

    frame = simulate(points_of(question for _, question in pairs))
    pairs = [(row, asked) for row, asked in pairs if affordable(frame, events).issuperset(asked.points())]
    cells = points_of(question for _, question in pairs)
    whole = by_cell(frame)
    judged = _judged(pairs, whole)
    effects = []
    for mechanism in (known[name] for name in names or known):
        without = _without(files, mechanism)
        changed = [cell for cell in cells if _changes(without, cell)]
        anew = by_cell(simulate(changed, without.file)) if changed else {}
        effects.append(Ablation(mechanism, _effects(judged, _judged(pairs, {**whole, **anew}))))
    return effects


@dataclass(frozen=True)
class _Files:
    """The files of a model without a mechanism: *file* loads one, *changed* says whether it is another."""

    file: Callable[[Kind, str], Resolved[BaseModel]]
    changed: Callable[[Kind, str], bool]


def _without(files: FileCatalogue, mechanism: Mechanism) -> _Files:
    @cache
    def values(kind: Kind, name: str) -> tuple[Override, ...]:
        resolved = files.load(kind, name)
        return tuple(
            change
            for change in mechanism.off
            if change.target == kind and said(resolved, change.inner) not in (None, change.value)
        )

    @cache
    def load(kind: Kind, name: str) -> Resolved[BaseModel]:
        return files.load(kind, name, values(kind, name))

    return _Files(load, lambda kind, name: bool(values(kind, name)))


def said(resolved: Resolved[BaseModel], path: KeyPath) -> object:
    """What a file has at *path*: as it is written, or else by default."""
    if (written := resolved.document.at(path)) is not None:
        return written
    value: object = resolved.spec
    for part in path:
        value = getattr(value, str(part), None)
    return value


def _changes(files: _Files, cell: CellName) -> bool:
    named: Sequence[tuple[Kind, str]] = (
        ("machine", cell.machine),
        ("design", cell.design),
        ("workload", cell.workload),
    )
    return any(files.changed(kind, name) for kind, name in named)


def _judged(
    pairs: Sequence[tuple[Observation, Question]], found: Mapping[CellName, Simulated]
) -> list[Judgement]:
    return [judge(row, question, found) for row, question in pairs]


def _effects(before: Sequence[Judgement], after: Sequence[Judgement]) -> dict[str, Effect]:
    effects = {}
    for dataset in dict.fromkeys(judgement.observation.dataset for judgement in before):
        rows = [
            (old, new)
            for old, new in zip(before, after, strict=True)
            if old.observation.dataset == dataset and old.observation.metric not in SHARES
        ]
        told = [
            (old.relative_error, new.relative_error)
            for old, new in rows
            if not math.isnan(old.relative_error + new.relative_error)
        ]
        failed = sum(not math.isnan(old.relative_error) for old, _ in rows) - len(told)
        moved = sum(abs((new + 1) / (old + 1) - 1) > MOVED for old, new in told)
        if moved or failed:
            medians = [_median([abs(errors[which]) for errors in told]) for which in (0, 1)]
            effects[dataset] = Effect(len(told) + failed, moved, medians[0], medians[1], failed)
    return effects


def _median(values: Sequence[float]) -> float:
    return median(values) if values else math.nan


def report(ablations: Sequence[Ablation], datasets: Sequence[str] = (), events: int | None = None) -> str:
    """The page in markdown; *datasets* are those that were asked for, if not all."""
    lines = [
        "# The model without one of its mechanisms",
        "",
        "Generated by `cortensim ablate --report docs/ablation.md`; do not edit. What is switched off, and",
        "how, is in `configs/ablations.yaml`.",
        "",
        "Each mechanism is switched off, alone, and the published rows marked `check` are simulated again.",
        "A dataset is in a mechanism's line if one of its rows moved by more than 1 %: the median of the",
        "absolute errors with the mechanism, and without. A mechanism that datasets use, and without which",
        "none is worse by half a point, is *questioned*: the measurements that are here do not need it.",
        "It may be true all the same.",
        *(["", f"Datasets that were simulated: {', '.join(datasets)}."] if datasets else []),
        *(["", f"Rows that need a point of more than {events:,} events are left out."] if events else []),
        "",
        "| mechanism | what it is | dataset | rows moved | median error | without | |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    for ablation in ablations:
        first = f"| `{ablation.mechanism.name}` | {ablation.mechanism.title} "
        if not ablation.effects:
            lines.append(f"{first}| - | 0 | | | |")
        for dataset, effect in ablation.effects.items():
            verdict = "helps" if effect.helps else "hurts" if effect.before - effect.after > WORSE else ""
            if ablation.questioned:
                verdict = f"{verdict}, questioned" if verdict else "questioned"
            counts = f"{effect.moved} of {effect.rows}"
            if effect.failed:
                counts += f", {effect.failed} need it"
            medians = " | ".join("" if math.isnan(x) else f"{x:.1%}" for x in (effect.before, effect.after))
            lines.append(f"{first}| {dataset} | {counts} | {medians} | {verdict} |")
            first = "| | "
    return "\n".join(lines) + "\n"
