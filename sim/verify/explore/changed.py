"""What races change in the model.

Lines of page-table entries are in every cache at once, and still tell `sim.check` of each access. Each access
to a line is a step of its own, also where no time has passed since the one before. And a thread may fault
again and again while the one that it waits for is late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Fabric
from sim.hardware.line import LINE
from sim.hardware.line_kinds import LineHere
from sim.mm import AddressSpace, page_table

FAULTS = 1_000
"""On one page in a row: a thread rests before that (`order.PATIENCE`)."""


class EntriesHere(LineHere):
    """Entries of *table*, from *slot* on."""

    def __init__(self, fabric: Fabric, name: str, home: int, owner: int, table: object, slot: int) -> None:
        super().__init__(fabric, name, home, owner=owner)
        self.table = table
        self.slot = slot

    def write(self, cpu: Cpu, activity: Activity = LINE, *, again: int = 0) -> Steps[None]:
        cpu.probe.entry_access(self.table, self.slot, cpu, True)
        return super().write(cpu, activity, again=again)

    def store(self, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        cpu.probe.entry_access(self.table, self.slot, cpu, True)
        return super().store(cpu, activity)

    def read(self, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        yield from super().read(cpu, activity)
        if activity.name != "user":
            cpu.probe.entry_access(self.table, self.slot, cpu, False)


def _step_of_its_own(access: Callable[..., Steps[None]]) -> Callable[..., Steps[None]]:
    def method(self: LineHere, cpu: Cpu, activity: Activity = LINE, **named: Any) -> Steps[None]:
        if not cpu.pending:
            cpu.work(1, activity)
        yield cpu.take_pending()
        yield from access(self, cpu, activity, **named)

    return method


_ACCESSES: Sequence[tuple[Any, str, Any]] = [
    (LineHere, name, _step_of_its_own(LineHere.__dict__[name])) for name in ("write", "store", "read")
]


@contextmanager
def in_race(*, traced: bool) -> Iterator[None]:
    """The model is changed so. Where it is *traced*, accesses have been made steps of their own by that."""
    changes: Sequence[tuple[Any, str, Any]] = (
        (page_table, "EntryLine", EntriesHere),
        (AddressSpace, "walk_retries", FAULTS),
        *(() if traced else _ACCESSES),
    )
    before = [getattr(where, name) for where, name, _ in changes]
    for where, name, value in changes:
        setattr(where, name, value)
    try:
        yield
    finally:
        for (where, name, _), value in zip(changes, before, strict=True):
            setattr(where, name, value)
