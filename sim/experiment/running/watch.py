"""What a point may take of the machine that simulates it: wall time and memory.

A thread looks at the clock and at the resident memory of the process every few milliseconds, and when the
point is over its limit raises in the thread that simulates it. That works in any worker, processes and
cluster alike, and leaves the worker alive for the next point. Memory is what the point adds to its worker.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sim.errors import Exhausted
from sim.files import BudgetSpec

_SECONDS_BETWEEN_LOOKS = 0.02


class _GivenUpError(BaseException):
    """Raised inside the simulation, past whatever handles exceptions there."""


@contextmanager
def watched(budget: BudgetSpec) -> Iterator[None]:
    """Raise `Exhausted` in the body when it takes more than *budget* of wall time or memory allow."""
    if budget.wall is None and budget.memory is None:
        yield
        return
    watch = _Watch(budget)
    try:
        try:
            yield
        finally:
            watch.disarm()
    except _GivenUpError:
        raise Exhausted(watch.reason) from None


class _Watch:
    """One point under watch. Invariant: nothing is raised in its thread once `disarm` has returned."""

    def __init__(self, budget: BudgetSpec) -> None:
        self.reason = ""
        self._budget = budget
        self._target = threading.get_ident()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._deadline = None if budget.wall is None else time.monotonic() + budget.wall
        self._base_bytes = 0 if budget.memory is None else _resident_bytes()
        threading.Thread(target=self._look, daemon=True).start()

    def disarm(self) -> None:
        with self._lock:
            self._over.set()
            _raise_in(self._target, None)

    def _look(self) -> None:
        while not self._over.wait(_SECONDS_BETWEEN_LOOKS):
            reason = self._exceeded()
            with self._lock:
                if reason and not self._over.is_set():
                    self.reason = reason
                    self._over.set()
                    _raise_in(self._target, _GivenUpError)

    def _exceeded(self) -> str:
        if self._deadline is not None and time.monotonic() > self._deadline:
            return f"more than {self._budget.wall:g} s of wall time"
        memory = self._budget.memory
        if memory is not None and _resident_bytes() - self._base_bytes > memory:
            return f"more than {memory / (1 << 20):g} MiB of memory"
        return ""


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Raise *error* in a thread at its next instruction; None takes back what it has not met yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(error) if error is not None else None
    )


def _resident_bytes() -> int:
    """Memory of this process now."""
    import psutil

    return int(psutil.Process().memory_info().rss)
