"""What races change in the model: lines of page-table entries are in every cache at once, and still tell
`sim.check` of each access; and a thread may fault again and again while the one that it waits for is late."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


@contextmanager
def entries_here() -> Iterator[None]:
    """Tables get such lines, where somebody listens to them, and faults their patience."""
    changes: Sequence[tuple[Any, str, Any]] = (
        (page_table, "EntryLine", EntriesHere),
        (AddressSpace, "walk_retries", FAULTS),
    )
    before = [getattr(where, name) for where, name, _ in changes]
    for where, name, value in changes:
        setattr(where, name, value)
    try:
        yield
    finally:
        for (where, name, _), value in zip(changes, before, strict=True):
            setattr(where, name, value)
