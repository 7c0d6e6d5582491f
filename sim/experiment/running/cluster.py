"""Runs points on a dask.distributed cluster: other machines, the same outcomes.

The cluster is somebody else's to start (see docs/cluster.md); its workers need this package in the same
version. Points are handed out a few at a time, so that a stop does not leave a queue behind. A worker that
dies costs nothing: the scheduler gives its points to others, and gives a point up when it has taken several
workers down. A cluster without any worker is waited for, but not for ever; one whose scheduler is gone is
given up. What was finished is the caller's already.
"""

from __future__ import annotations

import logging
import pickle
import queue
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sim.errors import Fault, InputError
from sim.experiment import model
from sim.experiment.plan import Point
from sim.experiment.results import Outcome, killed
from sim.experiment.running.executor import Task
from sim.experiment.running.interrupts import Stop, never
from sim.experiment.running.simulation import run_point
from sim.experiment.running.waiting import Waiting, waiting_for

if TYPE_CHECKING:
    from distributed import Client

    from sim.plugins import Part

SECONDS_FOR_WORKERS = 300.0
"""How long a cluster may be without any worker, unless told otherwise."""
_SECONDS_TO_CONNECT = 30
_SECONDS_BETWEEN_LOOKS = 1.0
_POINTS_A_THREAD = 2


class ClusterLost(ConnectionError):
    """The scheduler is gone, or has had no worker for too long."""


def execute(
    points: Sequence[Point],
    scheduler: str,
    task: Task = run_point,
    stop: Stop = never,
    patience: float = SECONDS_FOR_WORKERS,
    timed: Iterable[tuple[Point, float]] = (),
) -> Generator[Outcome]:
    """The outcomes of *points* as they finish, in any order. *timed* are others that took so many seconds.

    *scheduler* is the address of a dask scheduler, such as `tcp://10.0.0.1:8786`. Raises `InputError` if
    there is none, or if its workers run another version of the model, and `ClusterLost` if it dies, or has no
    worker for *patience* seconds.
    """
    _need_dask()
    with _quiet(), _connect(scheduler) as client:
        waiting = waiting_for(points, timed)
        yield from _Sweep(client, scheduler, waiting, task, stop, patience).outcomes()


class _Sweep:
    """The points of one sweep on a cluster. Finished futures come in through a queue, whatever their fate."""

    def __init__(
        self, client: Client, scheduler: str, waiting: Waiting, task: Task, stop: Stop, patience: float
    ) -> None:
        self._client = client
        self._scheduler = scheduler
        self._waiting = waiting
        self._task = task
        self._stop = stop
        self._patience = patience
        self._flying: dict[Any, tuple[Any, Point]] = {}
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._last_worker = time.monotonic()

    def outcomes(self) -> Generator[Outcome]:
        try:
            self._submit()
            while self._flying or (self._waiting and not self._stop()):
                try:
                    future = self._done.get(timeout=_SECONDS_BETWEEN_LOOKS)
                except queue.Empty:
                    self._threads()
                else:
                    _, point = self._flying.pop(future.key)
                    outcome = self._outcome(future, point)
                    if not outcome.failed:
                        self._waiting.learn(point, outcome.seconds)
                    yield outcome
                    future.release()
                self._submit()
        finally:
            if self._client.status == "running":
                self._client.cancel([future for future, _ in self._flying.values()], force=True)

    def _submit(self) -> None:
        """Hand out points as long as workers have room for them."""
        if not self._waiting or self._stop():
            return
        room = self._threads() * _POINTS_A_THREAD
        while self._waiting and len(self._flying) < room:
            point = self._waiting.take()
            parts = model.parts_of(point.design_spec)
            packed = pickle.dumps(point)  # neither the scheduler nor a worker with other code opens it
            future = self._client.submit(
                _on_worker, packed, self._task, point.code, parts, key=f"point-{point.id}", pure=False
            )
            self._flying[future.key] = future, point
            future.add_done_callback(self._done.put)

    def _threads(self) -> int:
        """How many points the workers run at a time. Raises `ClusterLost` if none did for too long."""
        try:
            threads = int(sum(self._client.nthreads().values()))
        except Exception as error:  # whatever a connection that breaks raises in this version of dask
            raise self._lost() from error
        if threads:
            self._last_worker = time.monotonic()
        elif time.monotonic() - self._last_worker > self._patience:
            message = f"the scheduler at {self._scheduler} has had no worker for {self._patience:g} s"
            raise ClusterLost(message)
        return threads

    def _lost(self) -> ClusterLost:
        return ClusterLost(f"the scheduler at {self._scheduler} does not answer any more")

    def _outcome(self, future: Any, point: Point) -> Outcome:
        """What became of a point. Any error but its worker's death is the cluster's, not the point's."""
        from asyncio import CancelledError as Cancelled

        from distributed import KilledWorker

        try:
            error = future.exception()
            if error is None:
                outcome: Outcome = future.result()
                return outcome
        except (CancelledError, Cancelled, OSError) as lost:  # the scheduler is gone
            raise self._lost() from lost
        if isinstance(error, KilledWorker):
            return killed(point)
        if isinstance(error, InputError):
            raise error
        words = " ".join(f"{type(error).__name__}: {error}".split())
        message = f"a worker of the cluster cannot run points: {words}"
        remedy = "the same versions of cortensim, Python and their libraries here and on all workers"
        raise InputError(Fault(message, allowed=remedy)) from error


def _on_worker(
    packed: bytes, task: Callable[[Point], Outcome], version: str, parts: Sequence[Part]
) -> Outcome:
    """Run by the workers. *version* is of the code where the point was made, with that of its *parts*."""
    if model.code_version(parts) != version:
        message = (
            "the workers of the cluster run another version of the model, or lack or differ in a plug-in"
        )
        remedy = "the same version of cortensim and of its plug-ins here and on all workers"
        raise InputError(Fault(message, allowed=remedy))
    point: Point = pickle.loads(packed)
    return task(point)


@contextmanager
def _quiet() -> Iterator[None]:
    """Within the block dask logs no traceback of a connection that breaks: `ClusterLost` says it."""
    names = ["asyncio", *logging.root.manager.loggerDict]
    loggers = [
        logging.getLogger(name)
        for name in names
        if name.partition(".")[0] in ("asyncio", "distributed", "tornado")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _need_dask() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError:
        message = "a cluster needs dask.distributed: pip install distributed"
        raise InputError(Fault(message)) from None


def _connect(scheduler: str) -> Client:
    from distributed import Client

    try:
        return Client(scheduler, timeout=_SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split()) or "no answer"
        message = f"cannot reach the scheduler: {reason}"
        raise InputError(
            Fault(message, value=scheduler, allowed="an address such as tcp://HOST:8786")
        ) from error
