"""One shootdown as a small timeline in text, for a terminal.

cpu 11    sssssssssssssssssssfwwwwr     the sender: sends, flushes its own TLB, waits, reads the answers
cpu 2       ....-####                   a target: nothing yet, the interrupt is there, its handler
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sim.hardware import INTERRUPT, TLB_FLUSH
from sim.hardware.interrupts import IPI_SEND, IPI_WAIT
from sim.quantities import format_duration

if TYPE_CHECKING:
    from sim.timeline import Part, Shootdown

WIDTH: Final = 48
"""Of the drawing, in characters."""
MOST: Final = 8
"""Targets that have a line; of the others there is the sum."""
LEGEND: Final = (
    "s queues the call and sends, f flushes its own TLB and the rest, w waits for answers, r reads them; "
    ". not reached, - interrupt is there, # its handler"
)


def shootdown_lines(found: Shootdown, zero: int, which: str, most: int = MOST) -> list[str]:
    """*found*, whose times count from *zero* (ps); *which* of how many it is, in words."""
    parts = sorted(found.parts.values(), key=lambda part: (part.begins or 0, part.cpu.id))
    named, others = (parts, []) if len(parts) <= most + 1 else (parts[:most], parts[most:])
    begin, end = found.began - zero, found.ended - zero
    where = f", holding {', '.join(found.locks)}" if found.locks else ""
    lines = [
        f"{which}: {found.sender} in {found.operation}{where}, "
        f"{format_duration(begin)} to {format_duration(end)}",
        f"  it {_what(found.pages)} {len(parts)} other cpu{'s' * (len(parts) > 1)}; "
        f"all is over after {format_duration(found.length)}",
    ]
    side = max(len(str(part.cpu)) for part in parts)
    side = max(side, len(str(found.sender)), len(f"{len(others)} more"))
    head = f"  {'':{side}}  {'arrives':>8}  {'begins':>8}  {'done':>8}  "
    length = format_duration(found.length)
    lines.append(f"{head}0{length:>{WIDTH - 1}}  what it interrupts")
    lines.append(
        f"  {found.sender!s:{side}}  {'':8}  {'':8}  {format_duration(found.length):>8}  {_sender(found)}"
    )
    for part in named:
        arrives = "" if part.arrived is None else format_duration(part.arrived - found.began)
        if not part.own:
            arrives = "joins"
        lines.append(
            f"  {part.cpu!s:{side}}  {arrives:>8}  {_since(found, part.begins):>8}  "
            f"{_since(found, part.ends):>8}  {_target(found, part)}  {part.was_at}"
        )
    if others:
        begins = [part.begins for part in others if part.begins is not None]
        ends = [part.ends for part in others if part.ends is not None]
        lines.append(
            f"  {f'{len(others)} more':{side}}  {'':8}  {_since(found, min(begins)):>8}  "
            f"{_since(found, max(ends)):>8}  the first of them begins, the last is done"
        )
    lines.append(f"  {LEGEND}")
    if any(not part.own for part in parts):
        joined = sum(not part.own for part in parts)
        lines.append(f"  joins: {joined} of them had an interrupt coming and do this call with it")
    return [*lines, f"  {_sum(found)}"]


def _what(pages: int | None) -> str:
    if pages is None:
        return "calls a function on"
    if not pages:
        return "has the TLB drop all of an address space on"
    return f"has the TLB drop {pages} page{'s' * (pages > 1)} on"


def _since(found: Shootdown, time: int | None) -> str:
    return "" if time is None else format_duration(time - found.began)


def _sum(found: Shootdown) -> str:
    """Where the sender's time went."""
    spent = dict(found.spent)
    names = {
        IPI_SEND.name: "sending",
        TLB_FLUSH.name: "its own TLB",
        INTERRUPT.name: "interrupts of others",
        IPI_WAIT.name: "",
    }
    told = [
        f"{format_duration(spent.get(activity, 0))} {name}"
        for activity, name in names.items()
        if name and spent.get(activity)
    ]
    told += [f"{format_duration(ps)} {name}" for name, ps in spent.items() if name not in names and ps]
    last = f"{found.last.cpu} answers last" if len(found.parts) > 1 else "its answer"
    told.append(f"{format_duration(found.waited)} waiting ({last})")
    if rest := spent.get(IPI_WAIT.name, 0) - found.waited:
        told.append(f"{format_duration(rest)} reading the answers")
    rest = found.length - sum(spent.values())
    if rest:
        told.append(f"{format_duration(rest)} not charged to it")
    return f"{found.sender}: {', '.join(told)}"


def _column(found: Shootdown, time: int) -> int:
    return max(0, min(WIDTH, round(WIDTH * (time - found.began) / found.length)))


def _sender(found: Shootdown) -> str:
    sent = _column(found, found.sent)
    waits, reads = WIDTH, WIDTH
    if found.waits is not None:
        waits, reads = (_column(found, time) for time in found.waits)
    return _drawn([("s", 0, sent), ("f", sent, WIDTH), ("w", waits, reads), ("r", reads, WIDTH)])


def _target(found: Shootdown, part: Part) -> str:
    begins = found.began if part.begins is None else part.begins
    ends = found.ended if part.ends is None else part.ends
    arrived = begins if part.arrived is None else part.arrived
    first, last = _column(found, begins), _column(found, ends)
    first = min(first, WIDTH - 1)
    return _drawn(
        [(".", 0, WIDTH), ("-", _column(found, arrived), first), ("#", first, max(last, first + 1)),
         (" ", max(last, first + 1), WIDTH)]
    )  # fmt: skip


def _drawn(pieces: Sequence[tuple[str, int, int]]) -> str:
    """Each piece over those before it."""
    cells = [" "] * WIDTH
    for sign, first, last in pieces:
        cells[first:last] = sign * max(0, last - first)
    return "".join(cells)
