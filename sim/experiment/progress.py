"""How far a sweep is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_SECONDS_BETWEEN_LINES = 10.0


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


Progress = Callable[[Tick], None]


@contextmanager
def meter(console: Console) -> Iterator[Progress]:
    """A progress display on *console*, to be passed to `run`."""
    if console.is_terminal:
        with _bar(console) as progress:
            yield progress
    else:
        yield _Lines(console)


@contextmanager
def _bar(console: Console) -> Iterator[Progress]:
    from rich import progress as rich
    from rich.table import Column

    columns = (
        rich.TextColumn("{task.completed}/{task.total} points", table_column=Column(no_wrap=True)),
        rich.BarColumn(bar_width=20),
        rich.TextColumn("{task.fields[state]}", table_column=Column(no_wrap=True)),
        rich.TextColumn("[dim]{task.fields[label]}", table_column=Column(no_wrap=True, ratio=1)),
    )
    with rich.Progress(*columns, console=console, transient=True, expand=True) as display:
        task = display.add_task("points", total=None, state="", label="")
        started = time.monotonic()

        def update(tick: Tick) -> None:
            state = ", ".join(_words(tick, time.monotonic() - started))
            display.update(task, completed=tick.done, total=tick.total, state=state, label=tick.label or "")

        yield update


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
        self._console.print(", ".join(words), highlight=False)


def _words(tick: Tick, seconds: float) -> list[str]:
    """What is worth saying beside the count: kept and failed points, the rate, the time that is left."""
    words = []
    if tick.kept:
        words.append(f"{tick.kept} kept")
    if tick.failed:
        words.append(f"{tick.failed} failed")
    if tick.kept < tick.done < tick.total and seconds > 0:
        words.append(f"{(tick.done - tick.kept) / seconds:.2g} a second")
        words.append(f"{_clock(seconds * (1 - tick.share) / tick.share)} left")
    return words


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
