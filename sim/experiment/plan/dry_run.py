"""What a run would do, in words, before it does it: `cortensim run EXPERIMENT --dry-run`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sim.files import presets, real
from sim.quantities import format_size

if TYPE_CHECKING:
    from sim.experiment.plan.experiment import Experiment
    from sim.experiment.plan.points import Point
    from sim.experiment.plan.shards import Shard

BYTES_A_POINT = 2048
"""On the disk, tables and journal together: the mean of the quickstart with six thread counts."""


def preview(experiment: Experiment, out: Path, shard: Shard | None = None) -> Iterator[str]:
    """The points, the grid that they are from, the files behind them, and about how much they are."""
    points = experiment.points if shard is None else shard.of(experiment.points)
    part = "" if shard is None else f", shard {shard.index} of {shard.count}"
    yield f"experiment {experiment.name}: {_count(len(points), 'point')}{part}"
    for name in ("machine", "design", "workload", "placement", "threads", "replicate"):
        yield from _axis(name, [getattr(point, name) for point in points])
    for number, (path, _) in enumerate(points[0].swept if points else ()):
        yield from _axis(path, [point.swept[number][1] for point in points])
    yield "files:"
    for file in experiment.files:
        yield f"  {file.path} ({_origin(Path(file.path))})"
    threads = sum(point.threads for point in points)
    yield f"size: {_count(threads, 'simulated thread')} in all, {_largest(points)}"
    yield f"results: {out}, about {format_size(len(points) * BYTES_A_POINT)} (nothing is written now)"


def _axis(name: str, values: Sequence[object]) -> Iterator[str]:
    """Each value with the number of its points, where these differ."""
    counts = Counter(str(value) for value in values)
    if not any(counts):
        return
    even = len(set(counts.values())) == 1
    shown = [value if even else f"{value} (x{count})" for value, count in counts.items()]
    yield f"  {name}: {', '.join(shown)}"


def _largest(points: Sequence[Point]) -> str:
    return f"{max(point.threads for point in points)} in the largest point" if points else "no point"


def _origin(path: Path) -> str:
    """Whose file it is."""
    shipped = [real(presets.folder(kind)) for kind in presets.KINDS]
    return "preset" if any(real(path).is_relative_to(folder) for folder in shipped) else "your own"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + "s" * (number != 1)
