"""The shards of an experiment, each run somewhere else, made one run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.errors import Fault, InputError
from sim.experiment.results.journal import NAME as JOURNAL
from sim.experiment.results.journal import read_journal
from sim.experiment.results.manifest import ShardPart, read_manifest, restarted
from sim.experiment.results.outcome import Outcome
from sim.experiment.results.store import RunFolder
from sim.files import display

_SAME = ("experiment", "model_version", "plugins", "resolved", "seed")


@dataclass(frozen=True)
class _ShardFolder:
    """A folder with a part of a sweep. *content* is its whole manifest."""

    folder: Path
    shard: ShardPart
    content: dict[str, Any]
    finished: dict[str, Outcome]
    damaged: tuple[int, ...]

    @property
    def label(self) -> str:
        return f"{self.shard.index}/{self.shard.of}"


def merge(folders: Sequence[Path], out: Path) -> list[Outcome]:
    """Write the run that *folders*, shards of one experiment, make together. Raises `InputError`."""
    parts = [_read(folder) for folder in folders]
    first = parts[0]
    base = display(first.folder)
    faults = [
        Fault(f"a shard of another run than {base}: its {key} is different", display(part.folder))
        for part in parts
        for key in _SAME
        if part.content.get(key) != first.content.get(key)
    ]
    order = first.shard.order
    if faults:
        raise InputError(faults[:20])
    known: dict[str, Outcome] = {}
    for part in parts:
        known |= part.finished
    if missing := sum(point not in known for point in order):
        message = f"{missing} of {len(order)} points are missing: a shard is not here or not finished"
        raise InputError([Fault(message, value=", ".join(part.label for part in parts)), *_lost(parts)])
    whole = restarted(first.content, len(order)) | {"merged_from": [_summary(part) for part in parts]}
    outcomes = [known[point] for point in order]
    with RunFolder(out, whole, order, resume=False) as run:
        for outcome in dict.fromkeys(order):
            run.record(known[outcome])
        run.close_with(outcomes)
    return outcomes


def _read(folder: Path) -> _ShardFolder:
    if not (folder / JOURNAL).exists() or (manifest := read_manifest(folder)) is None:
        raise InputError(Fault("no such run directory", display(folder)))
    if manifest.shard is None:
        raise InputError(Fault("this run is no shard: make one with run --shard", display(folder)))
    records = read_journal(folder)
    return _ShardFolder(folder, manifest.shard, manifest.content, records.finished, records.damaged)


def _lost(parts: Sequence[_ShardFolder]) -> list[Fault]:
    """Where points may have been lost."""
    return [
        Fault("damaged: run this shard again with --resume", display(part.folder / JOURNAL), part.damaged[0])
        for part in parts
        if part.damaged
    ]


def _summary(part: _ShardFolder) -> dict[str, Any]:
    """What is worth keeping of a shard's own manifest."""
    keys = ("started", "finished", "wall_seconds", "platform", "versions", "git")
    return {"shard": part.label} | {key: part.content[key] for key in keys if key in part.content}
