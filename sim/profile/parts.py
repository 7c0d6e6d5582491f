"""What a thread does while it holds a lock, as parts of the hold.

Each charge of the holder is one part; what it waits for another lock is one as a whole, whatever it does
meanwhile. What is charged to nobody, because the cpu runs another thread, is the sleep's.

    part              what of the holder's time
    work              its own instructions, hits in its caches included
    transfer          waiting for a cache line and fetching it
    lock wait         from wanting another lock until it is there
    flush             sending IPIs and flushing the own TLB, with the lines of both
    flush wait        waiting for the acks of others
    zeroing           zeroing and copying pages
    asleep            blocked, or another thread has the cpu
    scheduling        switching, and waking others
    interrupt         handlers on its cpu
    other             waiting for anything else, such as a grace period of RCU
"""

from __future__ import annotations

from typing import Final

from sim.hardware.cpu import INJECTED_DELAY, INTERRUPT, TLB_FLUSH
from sim.hardware.interrupts import IPI_SEND, IPI_WAIT
from sim.hardware.memory import COPY, ZERO
from sim.sync.run_queue import SCHED

WORK: Final = "work"
TRANSFER: Final = "transfer"
LOCK_WAIT: Final = "lock wait"
FLUSH: Final = "flush"
FLUSH_WAIT: Final = "flush wait"
ZEROING: Final = "zeroing"
ASLEEP: Final = "asleep"
SCHEDULING: Final = "scheduling"
INTERRUPTED: Final = "interrupt"
OTHER: Final = "other"

PARTS: Final = (
    WORK,
    TRANSFER,
    LOCK_WAIT,
    FLUSH,
    FLUSH_WAIT,
    ZEROING,
    ASLEEP,
    SCHEDULING,
    INTERRUPTED,
    OTHER,
)

HAND_OVER: Final = "hand-over"
"""What the time of a waiter is in which nobody is in its way: the lock's lines travel, or it wakes up."""

_BY_ACTIVITY: Final = {
    IPI_SEND.name: FLUSH,
    TLB_FLUSH.name: FLUSH,
    IPI_WAIT.name: FLUSH_WAIT,
    ZERO.name: ZEROING,
    COPY.name: ZEROING,
    INTERRUPT.name: INTERRUPTED,
    INJECTED_DELAY.name: OTHER,
}


def part_of(activity: str, *, on_line: bool, waited: bool, idle: bool) -> str:
    """The part that a charge to *activity* is: made *on* a *line*, at the end of a wait, by an idle cpu."""
    if (part := _BY_ACTIVITY.get(activity)) is not None:
        return part
    if waited and idle:
        return ASLEEP
    if activity == SCHED.name:
        return SCHEDULING
    if on_line:
        return TRANSFER
    return OTHER if waited else WORK
