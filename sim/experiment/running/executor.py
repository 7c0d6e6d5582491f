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
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import takewhile

from sim.errors import Fault, InputError
from sim.experiment.plan import Point
from sim.experiment.results import Outcome, killed, raised
from sim.experiment.running.interrupts import Stop, hidden_from_children, never
from sim.experiment.running.simulation import run_point
from sim.experiment.running.waiting import waiting_for

Task = Callable[[Point], Outcome]


def execute(
    points: Sequence[Point],
    workers: int = 1,
    task: Task = run_point,
    stop: Stop = never,
    timed: Iterable[tuple[Point, float]] = (),
) -> Generator[Outcome]:
    """The outcomes of *points* as they finish, in any order.

    With one worker the points run in this process, in order; with more, those first that will take longest
    (`Waiting`), so that no long point is left to run alone at the end; *timed* are others that are known to
    have taken so many seconds. *task* must be importable by worker processes.

    Once *stop* says so no further point is started; those that run are finished and yielded. Closing
    the iterator (or `KeyboardInterrupt`) stops the workers at once; what was yielded stays valid.
    """
    if workers == 1 or len(points) <= 1:
        yield from map(task, takewhile(lambda _: not stop(), points))
        return
    pool = _Pool(min(workers, len(points)), task)
    try:
        pool.prove()
        waiting = waiting_for(points, timed)
        while pool.flying or (waiting and not stop()):
            while waiting and not stop() and len(pool.flying) < pool.workers:
                pool.submit(waiting.take())
            finished, suspects = pool.collect()
            for point, outcome in finished:
                if not outcome.failed:
                    waiting.learn(point, outcome.seconds)
                yield outcome
            for point in suspects:
                yield _alone(point, task)
    finally:
        pool.stop()


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

    def collect(self) -> tuple[list[tuple[Point, Outcome]], list[Point]]:
        """Wait for something to finish: points with outcomes, and those in flight when the pool broke."""
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
                finished.append((point, raised(point, error)))
            else:
                finished.append((point, future.result()))
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
        return finished[0][1] if finished else killed(point)
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
