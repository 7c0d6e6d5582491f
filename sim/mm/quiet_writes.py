"""Many writes to one table's entries in a step, where nobody can tell it from one after the other.

One after the other, each write is an event: others could come between.

    write, work | write, work | write, work | ...        one event each
    ^ now                                      ^ t: somebody else goes on (`Engine.quiet_until`)

Until *t* nothing else happens and no interrupt arrives. So it is known beforehand what each write that begins
before *t* costs, and when it begins. They are done at once and their time is added up: whoever looks from *t*
on finds them done, and nobody looks before. The lines are asked in the same order, so they draw the same
random numbers.

Entries that are *unseen* belong to no mapping any more, and their table is locked: other threads go on
meanwhile and cannot notice. Then *t* is when something else happens, such as a timer or the end of a window,
and only lines that the cpu has to itself are written. An interrupt that others send delays the sum as it
would delay the parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.mm.page_table import PageTablePage

if TYPE_CHECKING:
    from sim.hardware import Cpu


def write_quietly(
    table: PageTablePage, cpu: Cpu, slot: int, stop: int, work: int, *, unseen: bool = False
) -> tuple[int, int]:
    """Write the entries from *slot* on, with *work* ps after each; *cpu* has nothing pending.

    Ends at *stop*, at a line that is not to be had at once, and where somebody else goes on. Value: the first
    slot that is not written, and how long the writes take, without the work. The caller charges both.
    """
    engine, fabric = cpu.engine, table.fabric
    quiet, begin, writing = engine.quiet_until - engine._now, 0, 0
    private = engine.calls_from - engine._now if unseen and cpu.steady else quiet
    if fabric.heard_entries:
        cpu.probe.entry_access(table, slot, cpu, True)
    while slot < stop and begin < private:
        alone = table.written_alone(slot, stop, cpu)
        if alone > slot:
            writes = min(alone - slot, -((begin - private) // (fabric.rmw + work)))
            if fabric.heard:  # of each
                for each in range(slot, slot + writes):
                    table.line(each)._take(cpu.id)
            slot += writes
            took = writes * fabric.rmw
            begin += took + writes * work
        else:
            cost = table.line(slot).take_at_once(cpu, engine._now + begin) if begin < quiet else None
            if cost is None:
                break
            slot += 1
            took = cost
            begin += cost + work
        writing += took
    return slot, writing


def writable_quietly(cpu: Cpu, each: int, *, unseen: bool = False) -> int:
    """How many writes that take *each* ps at least `write_quietly` can do now, at most."""
    engine = cpu.engine
    until = engine.calls_from if unseen and cpu.steady else engine.quiet_until
    return -((engine._now - until) // each)
