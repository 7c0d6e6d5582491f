"""Runs points, here or in worker processes, and survives the death of a worker.

A point that raises becomes a failed row. A worker that dies (killed by the system for want of memory, say)
breaks the whole pool and with it every point in flight, of which only one may be to blame:

    in flight:  A B C      pool breaks      A alone: ok     B alone: breaks -> failed row     C alone: ok
                  ^ kills its worker        `-- retried one by one in a pool of their own --'

To keep that list short no more points are handed out than there are workers.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from sim.engine import Recorder, Replayer
from sim.errors import Fault, InputError
from sim.experiment import floors, schedule_file
from sim.experiment.interrupts import Stop, hidden_from_children, never
from sim.experiment.outcome import Outcome, killed, measured, raised
from sim.experiment.points import Point
from sim.experiment.watch import watched

if TYPE_CHECKING:
    from sim.engine import Probe

Task = Callable[[Point], Outcome]


def run_point(point: Point, record: Path | None = None, listeners: Sequence[Probe] = ()) -> Outcome:
    """Simulate one point; whatever the simulation raises, or one of *listeners*, becomes a failed outcome.

    Its schedule's decisions go to a file in the folder *record*, those of a failed point as well.
    """
    started = time.perf_counter()
    rule = point.schedule.rule()
    recorder = Recorder(rule)
    try:
        if floors.code_version(floors.parts_of(point.design_spec)) != point.code:
            raise InputError(
                Fault("the code of the model or of a plug-in changed after the experiment was read")
            )
        with watched(point.limits):
            used = rule if record is None else recorder
            if point.profile:
                report = floors.run_report()
                measurement = floors.simulate(point, used, *listeners, *report.listeners)
                outcome = replace(measured(point, measurement), counters=report.counters, locks=report.locks)
            else:
                outcome = measured(point, floors.simulate(point, used, *listeners))
        if isinstance(rule, Replayer):
            rule.check_ends()
    except Exception as error:
        outcome = raised(point, error)
    if record is not None:
        schedule_file.write(record, point, recorder.decisions())
    return replace(outcome, seconds=time.perf_counter() - started)


def execute(
    points: Sequence[Point], workers: int = 1, task: Task = run_point, stop: Stop = never
) -> Generator[Outcome]:
    """The outcomes of *points* as they finish, in any order.

    With one worker the points run in this process, in order; with more, those with most threads first, so
    that no long point is left to run alone at the end. *task* must be importable by worker processes.

    Once *stop* says so no further point is started; those that run are finished and yielded. Closing
    the iterator (or `KeyboardInterrupt`) stops the workers at once; what was yielded stays valid.
    """
    if workers == 1 or len(points) <= 1:
        yield from map(task, takewhile(lambda _: not stop(), points))
        return
    waiting = deque(longest_first(points))
    pool = _Pool(min(workers, len(points)), task)
    try:
        pool.prove()
        while pool.flying or (waiting and not stop()):
            while waiting and not stop() and len(pool.flying) < pool.workers:
                pool.submit(waiting.popleft())
            finished, suspects = pool.collect()
            yield from finished
            for point in suspects:
                yield _alone(point, task)
    finally:
        pool.stop()


def longest_first(points: Sequence[Point]) -> list[Point]:
    """The points with most threads first: they take longest."""
    return sorted(points, key=lambda point: -point.threads)


def available_cpus() -> int:
    """The cpus this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Pool:
    """A process pool that knows which points are in flight and is built anew when it breaks."""

    def __init__(self, workers: int, task: Task) -> None:
        self.workers = workers
        self.task = task
        self.flying: dict[Future[Outcome], Point] = {}
        self._executor = self._build()

    def prove(self) -> None:
        """Raise `InputError` if workers cannot even start."""
        try:
            with hidden_from_children():
                future = self._executor.submit(os.getpid)
            future.result()
        except BrokenProcessPool as error:
            message = (
                "worker processes cannot start: in a script, put what runs experiments under "
                "`if __name__ == '__main__':`"
            )
            raise InputError(Fault(message, allowed="or use one worker")) from error

    def submit(self, point: Point) -> None:
        try:
            with hidden_from_children():
                future = self._executor.submit(self.task, point)
        except BrokenProcessPool:
            future = Future()
            future.set_exception(BrokenProcessPool())
        self.flying[future] = point

    def collect(self) -> tuple[list[Outcome], list[Point]]:
        """Wait for something to finish: outcomes, and the points that were in flight when the pool broke."""
        done, _ = wait(self.flying, return_when=FIRST_COMPLETED)
        if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
            done, _ = wait(self.flying)  # a broken pool fails them all
        finished, suspects = [], []
        for future in [future for future in self.flying if future in done]:
            point = self.flying.pop(future)
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                suspects.append(point)
            elif isinstance(error, Exception):
                finished.append(raised(point, error))
            else:
                finished.append(future.result())
        if suspects:
            self.stop()
            self._executor = self._build()
        return finished, suspects

    def stop(self) -> None:
        """End the workers without waiting for their points."""
        processes = list((self._executor._processes or {}).values())
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()

    def _build(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self.workers, multiprocessing.get_context("spawn"), _start_worker)


def _alone(point: Point, task: Task) -> Outcome:
    """Run a suspect in a pool of its own."""
    pool = _Pool(1, task)
    try:
        pool.submit(point)
        finished, _ = pool.collect()
        return finished[0] if finished else killed(point)
    finally:
        pool.stop()


def _start_worker() -> None:
    """Ctrl-C is the parent's business; and a worker must not outlive a parent that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
