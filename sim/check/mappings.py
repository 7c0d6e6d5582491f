"""Who may change mappings, and who may be in one meanwhile.

change   under the locks that the design names (`AddressSpace.mappings_guards`), or in a range that the cpu
         has to itself where it names none; a mapping with a lock of its own only once that is write-locked
in it    by its own lock: nobody, from the moment that a writer has marked it until he gives it up; and what
         is found so is what the index has there
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sim.engine import Probe

if TYPE_CHECKING:
    from sim.check.entries import Entries
    from sim.check.scene import Scene
    from sim.engine import Engine
    from sim.engine.probe import CpuView

WRITER: Final = "mappings change under the lock that guards them"
MARKED: Final = "a VMA changes only while its lock is held for writing"
ALONE: Final = "nobody is in a VMA that a writer has marked"
FOUND: Final = "what a fault has locked is the VMA that is there"
DISJOINT: Final = "VMAs are well-formed and disjoint"


class Mappings(Probe):
    """What is about to be stored is held against the locks at once, and the neighbours when the operation
    ends.

    *inside* are the cpus in each mapping, by the mapping's lock; *marked* says in whose address space a
    writer has a mapping, until he gives up all that he has there.
    """

    def __init__(self, scene: Scene, entries: Entries) -> None:
        self._scene = scene
        self._ranges = entries
        self._begin()

    def attach(self, engine: Engine) -> None:
        self._begin()

    def _begin(self) -> None:
        self.inside: dict[object, list[tuple[object, CpuView]]] = {}
        self.marked: dict[object, tuple[object, CpuView, object]] = {}
        self._changed: dict[object, list[tuple[Any, Any]]] = {}

    # -- changes --------------------------------------------------------------------------------------------

    def mappings_change(self, space: Any, index: Any, cpu: CpuView, mappings: Sequence[Any]) -> None:
        task = cpu.current
        for mapping in mappings:
            guards = space.mappings_guards(task, mapping)
            if guards is None and not self._has_range(space, task, mapping):
                self._scene.fail(WRITER, f"{task} stores {mapping} and has no range there", cpu)
            for guard in guards or ():
                if self._scene.locks.mode(guard, task) != "write":
                    what = f"{task} stores {mapping}, and of {guard.name} "
                    self._scene.fail(WRITER, what + self._scene.locks.who(guard), cpu)
        for mapping in mappings:
            lock = getattr(mapping, "lock", None)
            if lock is None:
                continue
            if not lock.is_write_locked:
                self._scene.fail(MARKED, f"{task} stores {mapping}, which it has not marked", cpu)
            if lock in self.inside:
                self._meet(f"{task} stores {mapping}", lock, cpu)
        self._changed.setdefault(task, []).extend((index, mapping) for mapping in mappings)

    def _has_range(self, space: object, task: object, mapping: Any) -> bool:
        return any(
            where is space and low <= mapping.end and mapping.start <= high
            for where, _, low, high in self._ranges.ranges.get(task, ())
        )

    def operation_ends(self, cpu: CpuView, operation: object) -> None:
        for index, vma in self._changed.pop(cpu.current, ()):
            if index.peek(vma.start) is not vma:
                continue  # it has left
            before, after = index.around(vma.start)
            after = index.around(vma.start + 1)[1]
            if vma.end <= vma.start:
                self._scene.fail(DISJOINT, f"{vma} is empty", cpu)
            if (before is not None and before.end > vma.start) or (
                after is not None and after.start < vma.end
            ):
                self._scene.fail(DISJOINT, f"{vma} lies between {before} and {after}", cpu)

    # -- who is in one --------------------------------------------------------------------------------------

    def mapping_entered(self, lock: Any, cpu: CpuView) -> None:
        self.inside.setdefault(lock, []).append((cpu.current, cpu))
        writer = self.marked.get(lock)
        if writer is not None and writer[0] is lock.space:  # else of somebody who had its memory before
            what = f"{cpu.current} has entered {lock.name}, which {writer[1].current} has marked"
            self._scene.fail(ALONE, what, cpu, writer[1])

    def mapping_left(self, lock: object, cpu: CpuView) -> None:
        inside, me = self.inside.get(lock, []), (cpu.current, cpu)
        if me in inside:
            inside.remove(me)
        if not inside:
            self.inside.pop(lock, None)

    def mapping_found(self, space: object, index: Any, cpu: CpuView, mapping: object, page: int) -> None:
        if (there := index.peek(page)) is not mapping:
            what = f"{cpu.current} takes {mapping} for that of page {page:#x}, where the index has {there}"
            self._scene.fail(FOUND, what, cpu)

    def mapping_marked(self, space: object, lock: Any, cpu: CpuView) -> None:
        self.marked[lock] = space, cpu, cpu.current
        if lock in self.inside:
            self._meet(f"{cpu.current} has marked {lock.name}", lock, cpu)

    def mappings_unmarked(self, space: object, cpu: CpuView) -> None:
        task = cpu.current
        if self.marked:
            self.marked = {
                lock: writer
                for lock, writer in self.marked.items()
                if writer[0] is not space or writer[2] is not task
            }

    def _meet(self, what: str, lock: object, cpu: CpuView) -> None:
        task, other = self.inside[lock][0]
        self._scene.fail(ALONE, f"{what} while {task} is in it", cpu, other)
