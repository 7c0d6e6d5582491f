"""How far a sweep is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from sim.plaintext import plain, say

if TYPE_CHECKING:
    from sim.terminal import Console

_SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class Slowest:
    """The point that took longest so far."""

    label: str
    seconds: float


@dataclass(frozen=True)
class Tick:
    """The state of a sweep after each finished point, and once before the first."""

    done: int
    total: int
    failed: int
    kept: int
    """Points among *done* that an earlier run had finished."""
    share: float
    """How much of the work that was left is done: a point weighs as much as it has threads."""
    label: str | None
    """The point that finished last."""
    slowest: Slowest | None = None


Progress = Callable[[Tick], None]


Style = Literal["people", "json", "quiet"]


@contextmanager
def meter(console: Console, style: Style = "people") -> Iterator[Progress]:
    """A progress display on *console*, to be passed to `run`: for people, as JSON lines, or none."""
    if style == "quiet":
        yield lambda tick: None
    elif style == "json":
        yield _json_lines(console)
    elif console.is_terminal:
        with _bar(console) as progress:
            yield progress
    else:
        yield _Lines(console)


@contextmanager
def _bar(console: Console) -> Iterator[Progress]:
    from sim.terminal import bar

    with bar(console) as display:
        task = display.add_task("points", total=None, state="", label="")
        started = time.monotonic()

        def update(tick: Tick) -> None:
            state = ", ".join(_words(tick, time.monotonic() - started))
            display.update(
                task, completed=tick.done, total=tick.total, state=plain(state), label=plain(tick.label or "")
            )

        yield update


def _json_lines(console: Console) -> Progress:
    """Every tick as one JSON object on a line."""
    started = time.monotonic()

    def write(tick: Tick) -> None:
        seconds = time.monotonic() - started
        moving = tick.kept < tick.done and seconds > 0 and tick.share > 0
        record = {
            "done": tick.done,
            "failed": tick.failed,
            "kept": tick.kept,
            "left": tick.total - tick.done,
            "seconds": round(seconds, 3),
            "points_per_second": round((tick.done - tick.kept) / seconds, 3) if moving else None,
            "seconds_left": round(_left(tick, seconds), 1) if moving else None,
            "point": tick.label,
            "slowest": asdict(tick.slowest) if tick.slowest else None,
        }
        console.file.write(json.dumps(record) + "\n")
        console.file.flush()

    return write


class _Lines:
    """Progress as plain lines: the first, the last, and one every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = self._last = time.monotonic()

    def __call__(self, tick: Tick) -> None:
        now = time.monotonic()
        if tick.done < tick.total and tick.label is not None and now - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = now
        words = [f"{tick.done}/{tick.total} points", *_words(tick, now - self._started)]
        say(", ".join(words), self._console.file)


def _words(tick: Tick, seconds: float) -> list[str]:
    """What is worth saying beside the count: kept and failed points, the rate, the time that is left."""
    words = []
    if tick.kept:
        words.append(f"{tick.kept} kept")
    if tick.failed:
        words.append(f"{tick.failed} failed")
    if tick.kept < tick.done < tick.total and seconds > 0:
        words.append(f"{(tick.done - tick.kept) / seconds:.2g} a second")
        words.append(f"{_clock(_left(tick, seconds))} left")
    if tick.slowest is not None and tick.slowest.seconds >= 1:
        words.append(f"slowest {tick.slowest.seconds:.0f} s: {tick.slowest.label}")
    return words


def _left(tick: Tick, seconds: float) -> float:
    """Seconds until the end, if the rest goes like what is done."""
    return seconds * (1 - tick.share) / tick.share


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
