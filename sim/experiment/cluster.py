"""Runs points on a dask.distributed cluster: other machines, the same outcomes.

The cluster is somebody else's to start (see docs/cluster.md); its workers need this package in the same
version. Points are handed out a few at a time, so that a stop does not leave a queue behind. A worker that
dies costs nothing: the scheduler gives its points to others, and gives a point up when it has taken several
workers down.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from sim.errors import Fault, InputError
from sim.experiment import floors
from sim.experiment.executor import Task, longest_first, run_point
from sim.experiment.interrupts import Stop, never
from sim.experiment.outcome import Outcome, killed, raised
from sim.experiment.points import Point

if TYPE_CHECKING:
    from distributed import Client

_SECONDS_TO_CONNECT = 30
_POINTS_A_THREAD = 2


def execute(
    points: Sequence[Point], scheduler: str, task: Task = run_point, stop: Stop = never
) -> Generator[Outcome]:
    """The outcomes of *points* as they finish, in any order.

    *scheduler* is the address of a dask scheduler, such as `tcp://10.0.0.1:8786`. Raises `InputError` if
    there is none, or if its workers run another version of the model.
    """
    with _connect(scheduler) as client:
        yield from _drain(client, points, task, stop)


def _drain(client: Client, points: Sequence[Point], task: Task, stop: Stop) -> Generator[Outcome]:
    from distributed import as_completed

    waiting = deque(longest_first(points))
    flying: dict[Any, Point] = {}
    queue = as_completed(loop=client.loop)

    def submit() -> None:
        room = max(1, sum(client.nthreads().values())) * _POINTS_A_THREAD
        while waiting and len(flying) < room and not stop():
            point = waiting.popleft()
            packed = pickle.dumps(point)  # neither the scheduler nor a worker with other code opens it
            family = point.design_spec.family
            key = f"point-{point.id}"
            future = client.submit(_on_worker, packed, task, point.code, family, key=key, pure=False)
            flying[future.key] = point
            queue.add(future)

    try:
        submit()
        while flying:
            future = next(queue)
            yield _outcome(future, flying.pop(future.key))
            future.release()
            submit()
    finally:
        client.cancel(list(queue.futures), force=True)


def _on_worker(packed: bytes, task: Callable[[Point], Outcome], version: str, family: str) -> Outcome:
    """Run by the workers. *version* is that of the code of the design *family* where the point was made."""
    if floors.code_version(family) != version:
        message = (
            "the workers of the cluster run another version of the model, or lack or differ in a plug-in"
        )
        raise InputError(Fault(message, key="family", value=family))
    point: Point = pickle.loads(packed)
    return task(point)


def _outcome(future: Any, point: Point) -> Outcome:
    from distributed import KilledWorker

    error = future.exception()
    if error is None:
        outcome: Outcome = future.result()
        return outcome
    if isinstance(error, InputError):
        raise error
    return killed(point) if isinstance(error, KilledWorker) else raised(point, error)


def _connect(scheduler: str) -> Client:
    try:
        from distributed import Client
    except ImportError:
        message = "a cluster needs dask.distributed: pip install 'cortensim[cluster]'"
        raise InputError(Fault(message)) from None
    try:
        return Client(scheduler, timeout=_SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split()) or "no answer"
        message = f"cannot reach the scheduler: {reason}"
        raise InputError(
            Fault(message, value=scheduler, allowed="an address such as tcp://HOST:8786")
        ) from error
