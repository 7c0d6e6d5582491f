"""What all checks of a run know: who runs which operation, where, and what happened last.

operations   of each thread: what it performs now, in which space, on which pages, since when
locks        who has which lock (`Locks` keeps that)
rings        the last things that were told of each cpu, for messages
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NoReturn

from sim.check.lock_table import LockTable
from sim.check.violation import Violation
from sim.engine import Probe
from sim.mm import Mremap, Touch
from sim.quantities import format_duration

if TYPE_CHECKING:
    from sim.engine import Engine
    from sim.engine.probe import CpuView

KEPT: Final = 8
"""Events of each cpu that are remembered."""


class Flight:
    """An operation under way: what *task* performs on *space* since tick *began* of the scene.

    *pages* are those that it is about, None where the record does not say; *fresh*: it maps some where none
    are. *taken* are the locks taken in it.
    """

    __slots__ = ("began", "fresh", "operation", "pages", "space", "taken", "task")

    def __init__(self, task: object, space: Any, operation: object, began: int) -> None:
        self.task = task
        self.space = space
        self.operation = operation
        self.began = began
        self.taken = 0
        self.pages = pages_of(operation)
        self.fresh = getattr(operation, "at", self) is None

    def meets(self, page: int) -> bool:
        """Whether it may be about *page*."""
        return page in self.pages if self.pages is not None else not self.fresh


class Scene(Probe):
    """Tells the checks of one run what is going on; *repeat* says how to see the run again.

    *tick* counts what happens to translations and operations: of two such things it says which came first.
    """

    def __init__(self, repeat: str = "") -> None:
        self.repeat = repeat
        self.engine: Engine | None = None
        self._begin()

    def _begin(self) -> None:
        """A point may have several runs: nothing has happened in this one."""
        self.locks = LockTable()
        self.spaces: list[Any] = []
        self.flights: dict[object, Flight] = {}
        self.rings: dict[CpuView, deque[tuple[int, str, object]]] = {}
        self.tick = 0
        self.ended = 0
        """Operations and requests that have ended."""

    # -- what is told ---------------------------------------------------------------------------------------

    def attach(self, engine: Engine) -> None:
        self._begin()
        self.engine = engine

    def space_made(self, space: object) -> None:
        self.spaces.append(space)

    def performs(self, performer: object, cpu: CpuView, operation: object) -> None:
        self.tick += 1
        task = cpu.current
        self.flights[task] = Flight(task, performer, operation, self.tick)
        self.note(cpu, "begins", operation)

    def operation_ends(self, cpu: CpuView, operation: object) -> None:
        self.ended += 1
        self.flights.pop(cpu.current, None)
        self.note(cpu, "has ended", operation)

    def request_ends(
        self, cpu: CpuView, role: str, operations: int, latency: int | None, counted: bool
    ) -> None:
        self.ended += 1

    def flush(self, cpu: CpuView, pages: int) -> None:
        self.note(cpu, "flushes", f"{pages} pages" if pages else "all")

    def range_locked(self, space: object, cpu: CpuView, start: int, end: int) -> None:
        self.note(cpu, "has locked", range(start, end))

    def range_unlocked(self, space: object, cpu: CpuView, start: int, end: int) -> None:
        self.note(cpu, "unlocks", range(start, end))

    def note(self, cpu: CpuView, verb: str, what: object) -> None:
        """Remember for a message that *cpu* has done this."""
        ring = self.rings.get(cpu)
        if ring is None:
            ring = self.rings[cpu] = deque(maxlen=KEPT)
        ring.append((cpu.now, verb, what))

    # -- what is asked --------------------------------------------------------------------------------------

    def others_at(self, page: int, task: object, but: tuple[type, ...] = ()) -> bool:
        """Whether another operation than that of *task* may be about *page* now, and is none of *but*."""
        return any(
            flight.task is not task and flight.meets(page) and not isinstance(flight.operation, but)
            for flight in self.flights.values()
        )

    @property
    def is_still(self) -> bool:
        """Whether nobody has done anything that is told for as long as all that went before took."""
        last = max((ring[-1][0] for ring in self.rings.values()), default=0)
        return self.engine is not None and self.engine.now > 2 * last

    # -- violations -----------------------------------------------------------------------------------------

    def fail(self, invariant: str, what: str, *cpus: CpuView) -> NoReturn:
        """Raises `Violation`: *what* breaks *invariant*; *cpus* have a part in it, the first did it."""
        raise Violation(invariant, what + "; " + "; ".join(self.circumstances(*dict.fromkeys(cpus))))

    def circumstances(self, *cpus: CpuView) -> Iterator[str]:
        """When it is, what *cpus* are at and did last, and how to see it again."""
        for cpu in cpus:
            flight = self.flights.get(cpu.current)
            what = "no operation" if flight is None else _words(flight.operation)
            yield f"{cpu} is at {what} at {format_duration(cpu.now)}"
        for cpu in cpus:
            if events := self.rings.get(cpu):
                told = ", ".join(
                    f"{verb} {_words(thing)} ({format_duration(at)})" for at, verb, thing in events
                )
                yield f"before, {cpu} {told}"
        if self.repeat:
            yield f"to repeat: {self.repeat}"


def pages_of(operation: object) -> range | None:
    """The pages that *operation* is about, None where its record does not say."""
    if isinstance(operation, Touch):
        touched = operation.pages
        return range(min(touched), max(touched) + 1) if len(touched) else range(0)
    at, pages = getattr(operation, "at", None), getattr(operation, "pages", None)
    if isinstance(operation, Mremap) or not isinstance(at, int) or not isinstance(pages, int):
        return None
    return range(at, at + pages)


def _words(thing: object) -> str:
    """*thing* in a message: without addresses in the memory of the simulator."""
    if isinstance(thing, range):
        return f"pages {thing.start:#x}-{thing.stop:#x}"
    if isinstance(name := getattr(thing, "name", None), str):
        pages = pages_of(thing)
        return name if pages is None else f"{name} of {_words(pages)}"
    return str(thing)
