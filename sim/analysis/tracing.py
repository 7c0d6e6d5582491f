"""Traces: points simulated once more with somebody who writes down what each cpu does when.

The points are those of an experiment or of a finished run; their rows are the same with and without. For each
there is a timeline for Perfetto, folded stacks of all threads and of one, and a flame graph; of several
points also one with all of them in the same scale of time per operation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sim.errors import CortensimError, Fault, InputError
from sim.experiment import choose, experiment_of, is_of_this_model, load, run_point
from sim.files import presets, write_atomically
from sim.quantities import PS_PER_NS, UnitError, parse_duration

if TYPE_CHECKING:
    from sim.experiment import Experiment, Outcome, Point
    from sim.timeline import Asked, Folded, Shootdowns, Shown

MOST: Final = 16
"""Points that are traced in one go, at most: each is a simulation and some MB."""


class NotTraced(CortensimError):
    """A point that did not run to its end."""


@dataclass(frozen=True)
class Traced:
    """What came of a point: its *outcome*, what is *shown* of its first run, and where its time went."""

    point: Point
    outcome: Outcome
    shown: Shown
    folded: Folded
    shootdown: tuple[str, ...] = ()
    """The shootdown that was asked for, as lines of text."""

    @property
    def ns_per_op(self) -> dict[tuple[tuple[str, ...], str, str], float]:
        """Stack -> ns per operation: the point's breakdown, by stacks instead of activities."""
        operations = self.outcome.row.operations
        assert operations
        return {stack: time / operations / PS_PER_NS for stack, time in self.folded.scaled.items()}

    @property
    def title(self) -> str:
        """The point in words, with its threads."""
        threads = self.point.threads
        return self.point.label.replace(f" x{threads} ", f", {threads} thread{'s' * (threads > 1)} ", 1)


def trace(
    experiment: Experiment | str | Path,
    point: str | Sequence[str] = (),
    *,
    out: Path | str | None = None,
    window: str | None = None,
    sample: int = 1,
    quick: bool = False,
    shootdown: str | None = None,
) -> list[Traced]:
    """Simulate points of *experiment* (a name, a file, or the folder of a run) and trace them.

    *point* says which: `"design=linux-6.13,threads=64"`, or several of these. *window* bounds what is drawn
    (`"10us..25us"`), *sample* N draws one cpu in N. *shootdown* (`"longest"` or a time) asks for one in text
    (`Traced.shootdown`). With *out* the files are written into that folder.

    Raises `InputError` for what cannot be read or is too much, `NotTraced` for a point that fails.
    """
    from sim.timeline import Asked, parse_window

    begin, end = (0, None) if window is None else parse_window(window)
    if not isinstance(experiment, str | Path):
        points: Sequence[Point] = experiment.points
    else:
        points, _ = points_of(Path(experiment), quick=quick)
    chosen = few(choose(points, [point] if isinstance(point, str) else point))
    traced = [trace_point(each, Asked(begin, end, sample), shootdown) for each in chosen]
    if out is not None:
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        write(traced, folder)
    return traced


def points_of(
    source: Path, overrides: Sequence[Any] = (), *, quick: bool = False
) -> tuple[Sequence[Point], str]:
    """The points of an experiment, or of the finished run in a folder; and a warning, if one is due.

    Raises `InputError` for a source that is neither, and for *overrides* or *quick* of a run.
    """
    if not is_run(source):
        return load(str(source), overrides, quick=quick).points, ""
    if overrides or quick:
        option = "--set" if overrides else "--quick"
        raise InputError(Fault(f"{source} is a finished run, which is traced as it was", option))
    experiment, manifest = experiment_of(source)
    if is_of_this_model(manifest):
        return experiment.points, ""
    return (
        experiment.points,
        f"{source} was made by another version of the model: rows may differ from its own",
    )


def is_run(source: Path) -> bool:
    """Whether *source* means a folder: a run, or one that has the name of no experiment."""
    known = source.name == str(source) and str(source) in presets.names("experiment")
    return source.is_dir() and ((source / "manifest.json").is_file() or not known)


def few(points: Sequence[Point]) -> Sequence[Point]:
    """*points*, if they are few enough to be traced. Raises `InputError`."""
    if len(points) > MOST:
        allowed = f"at most {MOST}, chosen by --point, such as --point threads={points[0].threads}"
        raise InputError(Fault("too many points to trace", value=len(points), allowed=allowed))
    return points


LONGEST: Final = "longest"


def trace_point(point: Point, asked: Asked, shootdown: str | None = None) -> Traced:
    """Simulate *point* and listen, for one *shootdown* as well: `LONGEST`, or the one that begins nearest to
    a time since the measured part began.

    Raises `NotTraced` if it does not end well, `InputError` for a *shootdown* that is no time.
    """
    from sim.timeline import Shootdowns, Timeline

    plan = point.workload_spec.plan(point.placement)
    timeline = Timeline(asked, windowed=plan.window is not None)
    one = None
    if shootdown is not None:
        one = Shootdowns(timeline, parse_shootdown(shootdown), asked.begin, asked.end)
    outcome = run_point(point, listeners=[timeline] if one is None else [timeline, one])
    if outcome.failed:
        raise NotTraced(f"{point.label} failed: {outcome.row.error}")
    return Traced(point, outcome, timeline.shown, timeline.folded, _told(one, shootdown))


def parse_shootdown(text: str) -> int | None:
    """`longest` -> None, `556.7us` -> ps. Raises `InputError`."""
    if text == LONGEST:
        return None
    try:
        return parse_duration(text)
    except UnitError:
        allowed = f"{LONGEST}, or a time since the measured part began, such as 252us"
        raise InputError(Fault("no shootdown", f"--shootdown {text}", allowed=allowed)) from None


def _told(one: Shootdowns | None, which: str | None) -> tuple[str, ...]:
    """The shootdown that was found, in lines."""
    from sim.analysis.shootdown_text import shootdown_lines

    if one is None:
        return ()
    if one.found is None:
        return ("no cpu has called others by IPI there, from begin to end",)
    named = f"the longest of {one.seen}" if which == LONGEST else f"the one nearest to {which}, of {one.seen}"
    return tuple(shootdown_lines(one.found, one.zero, f"shootdown ({named})"))


# -- files ------------------------------------------------------------------------------------------------


def write(traced: Sequence[Traced], folder: Path) -> list[Path]:
    """Write the files of *traced* into *folder*, and one flame graph of all if there are several."""
    from sim.analysis.flame import flame_graph

    written: list[Path] = []
    names = stems([each.point for each in traced])
    for each, stem in zip(traced, names, strict=True):
        written += _write_point(each, folder, stem)
    if len(traced) > 1:
        panels = [panel(each) for each in sorted(traced, key=lambda each: each.point.threads)]
        written.append(
            _write(folder / "flame.svg", flame_graph(panels, "Where the time of an operation goes"))
        )
    return written


def panel(traced: Traced) -> tuple[str, str, dict[tuple[tuple[str, ...], str, str], float]]:
    """A flame graph's panel of one point."""
    return traced.title, traced.point.design, traced.ns_per_op


def _write_point(traced: Traced, folder: Path, stem: str) -> list[Path]:
    from sim.analysis.flame import flame_graph
    from sim.analysis.tracks import fits, tracks_picture
    from sim.timeline import encode, lines

    folded, one = traced.folded, traced.folded.first_cpu
    texts = {
        f"{stem}.folded": lines(folded.measured, traced.point.design),
        f"{stem}.{one.replace(' ', '-')}.folded": lines(folded.first, one),
    }
    if folded.others:
        texts[f"{stem}.not-measured.folded"] = lines(folded.others, traced.point.design)
    timeline = folder / f"{stem}.pftrace"
    encoded = encode(traced.shown, traced.title)
    write_atomically(timeline, lambda path: path.write_bytes(encoded))
    stacks = [_write(folder / name, "".join(f"{line}\n" for line in text)) for name, text in texts.items()]
    flame = flame_graph([panel(traced)], "Where the time of an operation goes")
    pictures = [_write(folder / f"{stem}.svg", flame)]
    if fits(traced.shown):
        picture = tracks_picture(traced.shown, traced.title)
        pictures.append(_write(folder / f"{stem}.timeline.svg", picture))
    return [timeline, *stacks, *pictures]


def _write(path: Path, text: str) -> Path:
    write_atomically(path, lambda place: place.write_text(text, encoding="utf-8", newline="\n"))
    return path


def stems(points: Sequence[Point]) -> list[str]:
    """A name for the files of each point: design, workload, placement, threads, and whatever else differs."""
    told = [[point.design, point.workload, point.placement, str(point.threads)] for point in points]
    for also in ("machine", "replicate", "swept", "seed"):
        if len({tuple(words) for words in told}) == len(points):
            break
        for words, point in zip(told, points, strict=True):
            value = getattr(point, also)
            words.append("-".join(str(part) for _, part in value) if also == "swept" else str(value))
    return [re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(word for word in words if word)) for words in told]
