"""Folded stacks: how much time each stack of frames had, as the flame graph tools of the field read them.

    linux-6.13;munmap;holding mmap_lock;tlb flush;[line from the other socket] 1840331

One stack a line: the design or the cpu, what is asked for, what is held, the activity, and in brackets how
its time was spent, unless it was work. The number is in ps, so that sums are the accounts' to the last digit.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.timeline.lane import Lane, Stack


class Folded:
    """Where the measured time of all runs of a point went.

    *measured* is of the cpus whose accounts make the breakdown, *others* of the rest, *first* of the first of
    those that are measured; all in ps, as charged. *span* is how long the measured parts were. *scaled* is
    *measured* as the breakdown has it: a cpu that was at work when the window began or ended has a page that
    is a little longer or shorter than the window, and is scaled to it (`Meter.spent`).
    """

    def __init__(self) -> None:
        self.measured: Counter[Stack] = Counter()
        self.others: Counter[Stack] = Counter()
        self.first: Counter[Stack] = Counter()
        self.first_cpu = ""
        self.cpus = 0
        self.span = 0
        self.scaled: defaultdict[Stack, float] = defaultdict(float)

    def add(self, lanes: Sequence[Lane], measured: Sequence[int], page: int, span: int) -> None:
        """Count a run whose accounts have been closed; *page* of them counts, for *span* ps."""
        self.span += span
        self.cpus = len(measured)
        chosen = dict.fromkeys(measured)
        for lane in lanes:
            stacks = lane.folded[page]
            if lane.cpu.id not in chosen:
                self.others.update(stacks)
                continue
            if sum(stacks.values()) <= 0:  # as in `Meter.spent`: the work was charged before
                stacks = stacks + lane.folded[0]
            charged = sum(stacks.values())
            self.measured.update(stacks)
            if not self.first_cpu or self.first_cpu == str(lane.cpu):
                self.first_cpu = str(lane.cpu)
                self.first.update(stacks)
            for stack, time in stacks.items():
                self.scaled[stack] += time * span / charged


def by_activity(stacks: Mapping[Stack, float]) -> dict[str, float]:
    """Activity -> the time of all stacks with it."""
    times: dict[str, float] = {}
    for (_, activity, _), time in stacks.items():
        times[activity] = times.get(activity, 0) + time
    return times


def names_of(stack: Stack) -> tuple[str, ...]:
    """The frames of *stack* as a flame graph names them."""
    path, activity, how = stack
    return (*path, activity, f"[{how}]") if how else (*path, activity)


def lines(stacks: Mapping[Stack, int], root: str) -> list[str]:
    """The lines of a file: stacks below *root*, sorted, each with its time in ps."""
    times: Counter[str] = Counter()
    for stack, time in stacks.items():
        times[";".join(name.replace(";", ",") for name in (root, *names_of(stack)))] += time
    return [f"{stack} {time}" for stack, time in sorted(times.items()) if time]
