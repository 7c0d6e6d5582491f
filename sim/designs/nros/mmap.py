"""mmap, eagerly: frames are allocated, zeroed and mapped before the call returns (syscall.rs, map_generic).

    |- enter | refill the core's cache | take frames, zero each | log: a map for each frame -|

A frame is 2 MiB where so much is asked for at an address that fits, else 4 KiB. The kernel maps large frames
first and then small ones, so a library has to cut a range at the borders of 2 MiB. It also chooses addresses:
each core's thread has a part of the address space of its own, and goes through it once. Nothing is mapped
over what is mapped: that is refused (`EEXIST`), whether or not the caller says that it may go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim.designs.nros.btree import Mapping
from sim.designs.nros.frames import LARGE
from sim.designs.nros.munmap import unmap_all
from sim.designs.nros.operations import MapFrame
from sim.designs.nros.process import NrosProcess
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import HUGE_ORDER, SYSCALL, Errno, Mmap, OutOfMemory, beyond_user_memory

if TYPE_CHECKING:
    from sim.designs.nros.spec import CacheSpec

_MOST: Final = 256
"""4 KiB frames that a library asks for in one call, if a core's cache holds as many."""
_MOST_LARGE: Final = 64
"""The same of 2 MiB."""


def mmap(mm: NrosProcess, cpu: Cpu, asked: Mmap) -> Steps[int | Errno]:
    """mmap(2), by a library. All of it is populated, whatever is asked for."""
    if asked.pages <= 0:
        return Errno.EINVAL
    if asked.at is not None and beyond_user_memory(asked.at, asked.pages):
        return Errno.ENOMEM
    start = _place(mm, cpu, asked.pages) if asked.at is None else asked.at
    end = start + asked.pages
    if asked.at is not None and mm.mapped(start, end):
        return Errno.EEXIST
    for at, pages, order in pieces(start, end, mm.kernel.spec.caches):
        refused = yield from _map(mm, cpu, range(at, at + pages, 1 << order), order, asked)
        if refused is not None:
            yield from unmap_all(mm, cpu, start, at)
            return refused
    return start


def pieces(start: int, end: int, caches: CacheSpec) -> Iterator[tuple[int, int, int]]:
    """[*start*, *end*) as calls of the kernel: first page, pages, order of the frames."""
    first = min(end, -(-start // LARGE) * LARGE)
    last = max(first, end // LARGE * LARGE)
    most, most_large = min(_MOST, caches.base_pages), min(_MOST_LARGE, caches.large_pages) * LARGE
    for low, high, order, step in (
        (start, first, 0, most),
        (first, last, HUGE_ORDER, most_large),
        (last, end, 0, most),
    ):
        for at in range(low, high, step):
            yield at, min(high - at, step), order


def _place(mm: NrosProcess, cpu: Cpu, pages: int) -> int:
    """Where nothing is mapped: the next room in the part of the address space that is this core's."""
    at = mm.hints.get(cpu, mm.kernel.first_page(cpu))
    if pages >= LARGE:
        at = -(-at // LARGE) * LARGE
    while taken := mm.mapped(at, at + pages):
        at = taken[-1][0] + taken[-1][1].pages
        if pages >= LARGE:
            at = -(-at // LARGE) * LARGE
    mm.hints[cpu] = at + pages
    return at


def _map(mm: NrosProcess, cpu: Cpu, at: range, order: int, asked: Mmap) -> Steps[Errno | None]:
    """One system call. Value: why nothing of it has been mapped, if so."""
    caches, runner = mm.kernel.caches, mm.kernel.thread_runner(cpu)
    yield from mm.enter(cpu)
    cpu.work(mm.cost.call, SYSCALL)
    try:
        more = mm.kernel.spec.caches.refill_call
        yield from caches.refill(runner, more + (0 if order else len(at)), len(at) if order else 0)
    except OutOfMemory:
        pass  # what the core has may still be enough
    taken: list[int] = []
    for _ in at:
        frame = caches.take(runner, order)
        if frame is None:
            break
        taken.append(frame)
        yield from caches.zero(cpu, frame, order)
    refused = Errno.ENOMEM if len(taken) < len(at) else None
    done = 0
    while refused is None and done < len(at):
        operation = MapFrame(at[done], Mapping(taken[done], order, asked.rights))
        refused = (yield from mm.replica_of(cpu).execute(cpu, operation)).refused
        done += refused is None
    for frame in taken[done:]:
        yield from caches.put(runner, frame, order)
    mm.leave(cpu)
    if refused is not None and done:
        yield from unmap_all(mm, cpu, at.start, at[done])
    return refused
