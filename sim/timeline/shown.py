"""What is drawn of a point: the tracks of its first run, counters, and what is worth a look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sim.timeline.counts import Series, series

if TYPE_CHECKING:
    from sim.engine.probe import CpuView
    from sim.timeline.counts import Counts
    from sim.timeline.held import Wait
    from sim.timeline.lane import Lane
    from sim.timeline.scope import Scope
    from sim.timeline.spans import Event

COUNTED_LOCKS: Final = 3
"""Locks with a counter of their waiters: those with the longest waits."""


@dataclass(slots=True)
class Call:
    """A call by IPI on many cpus, from *began* to *ended* (ps)."""

    sender: CpuView
    began: int
    targets: int
    flows: dict[int, int]
    """Number of the target's cpu (`Cpu.id`) -> the arrow to its handler."""
    acknowledged: int = 0
    ended: int = 0


@dataclass(frozen=True)
class Sight:
    """Something worth a look: *what* happens on *cpu* from *begin* to *end* (shown ps)."""

    what: str
    cpu: str
    begin: int
    end: int


@dataclass(frozen=True)
class Track:
    """The slices of one cpu, called *name*; *number*, *cluster* and *socket* say which it is."""

    name: str
    events: list[Event]
    number: int = 0
    cluster: int = 0
    socket: int = 0


@dataclass(frozen=True)
class Shown:
    """All that a trace holds; times in ps since the measured part began.

    Drawn is *begin* to *end* of *measured* ps, and a track for some of the *cpus* that were online. *cut*:
    there would have been too many *slices*.
    """

    tracks: list[Track] = field(default_factory=list)
    counters: dict[str, Series] = field(default_factory=dict)
    sights: list[Sight] = field(default_factory=list)
    begin: int = 0
    end: int = 0
    measured: int = 0
    cpus: int = 0
    slices: int = 0
    cut: bool = False


def shown_of(
    lanes: Sequence[Lane], scope: Scope, waits: Sequence[Wait], counts: Counts, calls: Sequence[Call]
) -> Shown:
    """What is drawn of a run that has ended."""
    zero, over = scope.zero, scope.over
    assert zero is not None
    assert over is not None
    begin, end = scope.asked.begin, over - zero if scope.ends is None else scope.ends
    names = {lane.cpu: _name(lane.cpu, alone=lane.alone) for lane in lanes}
    seen = [wait for wait in waits if wait.until > zero + begin and wait.since < zero + end]
    counters = {
        f"waiting for {name}": series(
            [change for wait in seen if wait.lock == name for change in ((wait.since, 1), (wait.until, -1))],
            zero + begin,
            zero + end,
        )
        for name in _most_waited(seen)
    }
    counters["cpus with a thread to run"] = series(counts.running, zero + begin, zero + end)
    counters["frames in use"] = series(counts.in_use, zero + begin, zero + end)
    return Shown(
        [
            Track(names[cpu], lane.events, cpu.number, cpu.cluster, cpu.socket)
            for lane in lanes
            if lane.drawn and (cpu := lane.cpu)
        ],
        {name: [(begin + at, value) for at, value in points] for name, points in counters.items()},
        _sights(seen, calls, zero, begin, end),
        begin,
        end,
        over - zero,
        len(lanes),
        scope.drawn,
        scope.cut is not None,
    )


def _name(cpu: CpuView, *, alone: bool) -> str:
    """What a track is called: its cpu, and the thread if it has it to itself."""
    thread = cpu.thread.name if alone and cpu.thread is not None else ""
    return f"{cpu}: {thread}" if thread else str(cpu)


def _most_waited(waits: Sequence[Wait]) -> list[str]:
    """The locks that were waited for longest."""
    total: Counter[str] = Counter()
    for wait in waits:
        total[wait.lock] += wait.until - wait.since
    ranked = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    return [name for name, _ in ranked[:COUNTED_LOCKS]]


def _sights(waits: Sequence[Wait], calls: Sequence[Call], zero: int, begin: int, end: int) -> list[Sight]:
    """What is drawn from begin to end: the longest shootdown, one of median length, and the longest wait."""
    whole = [
        Sight(
            f"call by IPI on {call.targets} cpu{'s' * (call.targets > 1)}",
            str(call.sender),
            call.began - zero,
            call.ended - zero,
        )
        for call in calls
        if call.acknowledged == call.targets and begin <= call.began - zero and call.ended - zero <= end
    ]
    whole.sort(key=lambda sight: (sight.end - sight.begin, sight.begin))
    chosen = [("longest", whole[-1:]), ("median", whole[:-1][len(whole) // 2 :][:1])]
    found = [
        Sight(f"{which} {sight.what}", sight.cpu, sight.begin, sight.end)
        for which, sights in chosen
        for sight in sights
    ]
    inside = [wait for wait in waits if begin <= wait.since - zero and wait.until - zero <= end]
    if wait := max(inside, key=lambda wait: wait.until - wait.since, default=None):
        what = f"longest wait for a lock: {wait.lock}"
        found.append(Sight(what, str(wait.cpu), wait.since - zero, wait.until - zero))
    return found
