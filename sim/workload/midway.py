"""Threads that begin in the middle: where in its round each stands in a run that has gone on for long.

A round is the requests and then the steps of `refill`. How long a thread is at each of them nobody knows
before: where threads queue for a lock, most of a round may be one step. So a small run comes first, the
*pilot*, whose rounds have few requests. It runs until threads queue as they do, and then says how a round's
time divides:

    round      | request 0 | request 1 | ... request 32767 |     munmap      | mmap |
    share                        0.35                            0.60          0.05
    threads       0       1        2         3       4       5      6     7     8
                  ^ the points are evenly spread over the *time* of a round, each at random in its part

A step of the refill takes a time that is always the same (the way of a lock to the next holder) and one that
grows with the requests before it. Two sizes of pilot, the smaller one first, tell the two apart, and a line
through them leads to a whole round:

    time |                            . . ' x      x: what is wanted
         |             . . o ' '                   o: what was measured, a quarter of a pilot and a pilot
         |  . o '
         +----+------------+----------------+----  requests of a round

What lies before a thread's point in its round is then done in bulk (`past`), and only then the warm-up
begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sim.engine import Steps

if TYPE_CHECKING:
    from random import Random

    from sim.engine import Engine
    from sim.hardware import Cpu
    from sim.workload.thread import Worker

Body = Callable[["Worker"], Steps[object]]


class Start(NamedTuple):
    """Where a thread begins: at *request* of its round, or behind all of them at step *refill*."""

    request: int
    refill: int | None = None


class Shares:
    """How the time of some threads divides between their requests (None) and the steps of their refill."""

    def __init__(self, steps: int) -> None:
        self._steps = (None, *range(steps))
        self._times: dict[int | None, int] = dict.fromkeys(self._steps, 0)
        self._at: dict[Worker, tuple[int | None, int]] = {}
        self._sizes: list[tuple[int, dict[int | None, float]]] = []
        self._done = 0

    def enter(self, worker: Worker, step: int | None, now: int) -> None:
        """From *now* (ps) on *worker* is at *step*."""
        before = self._at.get(worker)
        if before is not None:
            self._times[before[0]] += now - before[1]
        self._at[worker] = step, now

    def count(self) -> None:
        """One request more."""
        self._done += 1

    def begin(self, now: int) -> None:
        """Only what follows *now* counts."""
        self._done, self._times = 0, dict.fromkeys(self._steps, 0)
        self._at = {worker: (step, now) for worker, (step, _) in self._at.items()}

    def end(self, requests: int, now: int) -> None:
        """Nothing that follows *now* counts; a round had so many *requests*, more than the one before."""
        for worker, (step, _) in list(self._at.items()):
            self.enter(worker, step, now)
        self._at = {}
        rounds = self._done / requests
        if rounds:
            self._sizes.append((requests, {step: time / rounds for step, time in self._times.items()}))

    def round(self, requests: int) -> dict[int | None, float]:
        """The time (ps) of each part of a round of so many *requests*."""
        if not self._sizes:
            return dict.fromkeys(self._steps, 0.0) | {None: 1.0}
        measured, times = self._sizes[-1]
        fewer, shorter = self._sizes[0]
        parts: dict[int | None, float] = {None: times[None] * requests / measured}
        for step in self._steps[1:]:
            growth = proportional = times[step] / measured
            if measured > fewer:
                growth = (times[step] - shorter[step]) / (measured - fewer)
            parts[step] = times[step] + min(max(growth, 0.0), proportional) * (requests - measured)
        return parts

    def start(self, part: float, requests: int) -> Start:
        """What a thread is at after this *part* of its round's time, from 0 to 1; a round has *requests*."""
        times = self.round(requests)
        left = part * sum(times.values())
        for step, time in times.items():
            if left < time:
                return Start(int(left / time * requests)) if step is None else Start(requests, step)
            left -= time
        return Start(requests - 1)


class PilotRun:
    """One size of pilot, of all threads: half of it until it is steady, half of it to measure."""

    def __init__(self, engine: Engine, requests: int, rounds: int, threads: int) -> None:
        self.over = False
        self._engine = engine
        self._requests = requests
        self._done = 0
        self._half = -(-requests * rounds * threads // 2)
        self._roles: list[Shares] = []

    def body(self, shares: Shares, steps: Body, refill: Sequence[Body]) -> Body:
        """What each thread of a role does, which *shares* counts, until the pilot is over. At its end it has
        just refilled."""
        self._roles.append(shares)
        requests, random = self._requests, self._engine.stream("pilot").random

        def run(worker: Worker) -> Steps[None]:
            first = int(random() * requests)
            while not self.over:
                shares.enter(worker, None, self._engine._now)
                for request in range(first, requests):
                    worker.request = request
                    yield from at_once(steps, worker)
                    shares.count()
                    self._count()
                    if self.over:
                        break
                for number, step in enumerate(refill):
                    if not self.over:
                        shares.enter(worker, number, self._engine._now)
                    yield from at_once(step, worker)
                worker.forget_mapped()
                first = 0

        return run

    def _count(self) -> None:
        self._done += 1
        if self._done == self._half:
            for shares in self._roles:
                shares.begin(self._engine._now)
        elif self._done == 2 * self._half:
            self.over = True
            for shares in self._roles:
                shares.end(self._requests, self._engine._now)


def at_once(steps: Body, worker: Worker) -> Steps[None]:
    """*steps* of *worker*, to the end of what its cpu has pending then."""
    yield from steps(worker)
    cpu: Cpu = worker.cpu
    if cpu.pending:
        yield cpu.take_pending()


def spread(workers: Sequence[Worker], shares: Shares, requests: int, random: Random) -> dict[Worker, Start]:
    """A start for each of *workers*, who share a role: a random point in a part of the round of its own. Who
    has which part is random too, so that neighbours in one do not run on neighbouring cpus."""
    parts = list(range(len(workers)))
    random.shuffle(parts)
    return {
        worker: shares.start((part + random.random()) / len(workers), requests)
        for worker, part in zip(workers, parts, strict=True)
    }
