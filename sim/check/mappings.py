"""Who may change the index of VMAs: the writer of mmap_lock, who has marked the VMAs that it changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sim.engine import Probe

if TYPE_CHECKING:
    from sim.check.scene import Scene
    from sim.engine import Engine
    from sim.engine.probe import CpuView

WRITER: Final = "the tree of VMAs changes under mmap_lock for writing"
MARKED: Final = "a VMA changes only while its lock is held for writing"
DISJOINT: Final = "VMAs are well-formed and disjoint"


class Mappings(Probe):
    """What is about to be stored is held against the locks at once, and the neighbours when the operation
    ends."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._begin()

    def attach(self, engine: Engine) -> None:
        self._begin()

    def _begin(self) -> None:
        self._spaces: dict[object, Any] = {}
        self._changed: dict[object, list[tuple[Any, Any]]] = {}

    def mappings_change(self, index: Any, cpu: CpuView, mappings: Sequence[Any]) -> None:
        space, task = self._space_of(index), cpu.current
        if space is None:
            return
        for vma in mappings:
            for lock in space.locks.stored_under(task, vma):
                if self._scene.locks.mode(lock, task) != "write":
                    who = self._scene.locks.who(lock)
                    self._scene.fail(WRITER, f"{task} stores {vma} without {lock.name}: {who}", cpu)
            if not vma.lock.is_write_locked:
                self._scene.fail(MARKED, f"{task} stores {vma}, which it has not marked", cpu)
        self._changed.setdefault(task, []).extend((index, vma) for vma in mappings)

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

    def _space_of(self, index: object) -> Any:
        space = self._spaces.get(index)
        if space is None:
            for each in self._scene.spaces:
                if getattr(each, "tree", None) is index:
                    space = self._spaces[index] = each
                    break
        return space
