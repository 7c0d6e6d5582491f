"""Lines of page-table entries that are in every cache at once, and tell `sim.check` of each access."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Fabric
from sim.hardware.line import LINE
from sim.hardware.line_kinds import LineHere
from sim.mm import page_table


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
    """Tables get such lines, where somebody listens to them."""
    before = getattr(page_table, "EntryLine")  # noqa: B009
    setattr(page_table, "EntryLine", EntriesHere)  # noqa: B010 - a class in place of another
    try:
        yield
    finally:
        setattr(page_table, "EntryLine", before)  # noqa: B010
