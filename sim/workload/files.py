"""The files and objects of a workload: who makes which, and which one a thread means by a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.errors import ModelError
from sim.mm import CreateFile, CreateObject, Errno, File
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs import Kernel
    from sim.workload.things_spec import FileSpec, ObjectSpec
    from sim.workload.thread import Worker


class Files:
    """What of *specs* and *objects* exists, by name and the number of the process or thread whose it is."""

    __slots__ = ("_files", "_kernel", "_objects", "_specs")

    def __init__(self, kernel: Kernel, specs: dict[str, FileSpec], objects: dict[str, ObjectSpec]) -> None:
        self._kernel = kernel
        self._specs = specs
        self._objects = objects
        self._files: dict[tuple[str, int], File] = {}

    def make(self, worker: Worker, each: str) -> Steps[None]:
        """*worker* makes the files and objects of its own, of its process, or of the run, as *each* says."""
        for name, spec in self._specs.items():
            if spec.each == each:
                asked = CreateFile(name, spec.size // PAGE_BYTES, spec.resident)
                made = yield from self._kernel.perform(worker.cpu, asked)
                self._files[name, self._owner(spec.each, worker)] = made
        for name, objects in self._objects.items():
            if objects.each == each:
                first = self._owner(each, worker) * objects.count
                for number in range(first, first + objects.count):
                    asked_for = CreateObject(f"{name} {number}", objects.size // PAGE_BYTES)
                    found = yield from self._kernel.perform(worker.cpu, asked_for)
                    if isinstance(found, Errno):
                        raise ModelError(f"{asked_for.name} is refused: {found}; it was {asked_for}")
                    self._files[name, number] = found

    def of(self, worker: Worker, name: str) -> File:
        """The file, or object, that *worker* means by *name*."""
        objects = self._objects.get(name)
        if objects is None:
            return self._files[name, self._owner(self._specs[name].each, worker)]
        number = self._owner(objects.each, worker) * objects.count + worker.request % objects.count
        return self._files[name, number]

    @staticmethod
    def _owner(each: str, worker: Worker) -> int:
        return {"run": 0, "process": worker.process, "thread": worker.number}[each]
