"""A sweep in several parts, each run wherever there is room, and made one again.

cortensim run paper-micro --shard 1/4 --out part1       # on one machine
cortensim run paper-micro --shard 2/4 --out part2       # on another ...
cortensim merge part1 part2 part3 part4 --out whole     # the same bytes as from one machine
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.errors import Fault, InputError
from sim.experiment.journal import NAME as JOURNAL
from sim.experiment.journal import Journal
from sim.experiment.manifest import read_manifest
from sim.experiment.outcome import Outcome
from sim.experiment.points import Point
from sim.experiment.store import RunFolder
from sim.experiment.yaml_loader import display

_SHARD = re.compile(r"([1-9]\d{0,5})/([1-9]\d{0,5})\Z")
_SAME = ("experiment", "model_version", "plugins", "resolved", "seed")


@dataclass(frozen=True)
class Shard:
    """Part *index* (from 1) of *count*."""

    index: int
    count: int

    def of(self, points: Sequence[Point]) -> tuple[Point, ...]:
        """Its points, in order. Every shard gets its share of the long ones, those with many threads."""
        ranked = sorted(range(len(points)), key=lambda place: -points[place].threads)
        mine = sorted(ranked[self.index - 1 :: self.count])
        return tuple(points[place] for place in mine)


def parse_shard(text: str) -> Shard:
    """`'2/4'` -> the second of four. Raises `ValueError`."""
    match = _SHARD.match(text)
    if match is None or int(match[1]) > int(match[2]):
        raise ValueError(f"not a shard, such as 2/4: {text!r}")
    return Shard(int(match[1]), int(match[2]))


def merge(folders: Sequence[Path], out: Path) -> list[Outcome]:
    """Write the run that *folders*, shards of one experiment, make together. Raises `InputError`."""
    manifests = [_shard_manifest(folder) for folder in folders]
    first = manifests[0]
    faults = [
        Fault(f"a shard of another run than {display(folders[0])}: its {key} is different", display(folder))
        for folder, manifest in zip(folders, manifests, strict=True)
        for key in _SAME
        if manifest.get(key) != first.get(key)
    ]
    order: list[str] = first["shard"]["order"]
    if faults:
        raise InputError(faults[:20])
    known: dict[str, Outcome] = {}
    for folder in folders:
        with Journal(folder) as journal:
            known |= journal.finished
    missing = sum(point not in known for point in order)
    if missing:
        found = ", ".join(f"{m['shard']['index']}/{m['shard']['of']}" for m in manifests)
        message = f"{missing} of {len(order)} points are missing: a shard is not here or not finished"
        raise InputError(Fault(message, value=found))
    whole = {key: value for key, value in first.items() if key != "shard"}
    whole |= {"merged_from": [_summary(manifest) for manifest in manifests]}
    outcomes = [known[point] for point in order]
    with RunFolder(out, whole, order, resume=False) as run:
        for outcome in dict.fromkeys(order):
            run.journal.record(known[outcome])
        run.close_with(outcomes)
    return outcomes


def _shard_manifest(folder: Path) -> dict[str, Any]:
    if not (folder / JOURNAL).is_file() or (manifest := read_manifest(folder)) is None:
        raise InputError(Fault("no such run directory", display(folder)))
    if "shard" not in manifest:
        raise InputError(Fault("this run is no shard: make one with run --shard", display(folder)))
    return manifest


def _summary(manifest: dict[str, Any]) -> dict[str, Any]:
    """What is worth keeping of a shard's own manifest."""
    keys = ("started", "finished", "wall_seconds", "platform", "versions", "git")
    shard = f"{manifest['shard']['index']}/{manifest['shard']['of']}"
    return {"shard": shard} | {key: manifest[key] for key in keys if key in manifest}
