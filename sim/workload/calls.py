"""What steps do that are plain system calls: one maker a kind, as in `actions`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.mm import (
    Close,
    Fstat,
    Kill,
    Open,
    Operation,
    ReadByte,
    Sigaction,
    Signal,
    Stat,
    Unlink,
    WriteByte,
)
from sim.workload.placed import Action

if TYPE_CHECKING:
    from sim.workload import step_spec as spec
    from sim.workload.thread import Worker

Maker = Callable[[object, "spec.Step"], Action]
"""As in `actions`; none of these needs the stage."""


def kill(step: spec.KillStep, handler: Callable[[Worker], Steps[object]]) -> Action:
    """kill, and what comes of it."""

    def ask(worker: Worker) -> Steps[object]:
        return worker.perform(Kill(deliver=False))

    def send(worker: Worker) -> Steps[None]:
        yield from worker.perform(Kill())
        yield from worker.perform(Signal(sent=True))
        yield from handler(worker)
        yield from worker.perform(Signal(returns=True))

    return send if step.deliver else ask


def _sigaction(stage: object, step: spec.Step) -> Action:
    return lambda worker: worker.perform(Sigaction())


def _open(stage: object, step: spec.Step) -> Action:
    what = step.open
    assert what is not None

    def run(worker: Worker) -> Steps[None]:
        worker.descriptors.append((yield from worker.perform(Open(what.of(worker.number), what.create))))

    return run


def _close(stage: object, step: spec.Step) -> Action:
    return lambda worker: worker.perform(Close(worker.descriptors.pop()))


def _unlink(stage: object, step: spec.Step) -> Action:
    what = step.unlink
    assert what is not None
    return lambda worker: worker.perform(Unlink(what.of(worker.number)))


def _stat(stage: object, step: spec.Step) -> Action:
    what = step.stat
    assert what is not None
    return lambda worker: worker.perform(Stat(what.of(worker.number)))


def _on_last(operation: Callable[[int], Operation]) -> Maker:
    """A maker of steps that ask *operation* of the file that was opened last."""

    def make(stage: object, step: spec.Step) -> Action:
        return lambda worker: worker.perform(operation(worker.descriptors[-1]))

    return make


CALLS: Mapping[str, Maker] = {
    "sigaction": _sigaction,
    "open": _open,
    "close": _close,
    "unlink": _unlink,
    "stat": _stat,
    "fstat": _on_last(Fstat),
    "read": _on_last(ReadByte),
    "write": _on_last(WriteByte),
}
