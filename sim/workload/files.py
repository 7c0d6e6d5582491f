"""The files of a workload: who makes which, and which one a thread means by a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.mm import CreateFile, File
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs import Kernel
    from sim.workload.plan import FileSpec
    from sim.workload.thread import Worker


class Files:
    """What of *specs* exists, by name and the number of the process or thread whose it is."""

    __slots__ = ("_files", "_kernel", "_specs")

    def __init__(self, kernel: Kernel, specs: dict[str, FileSpec]) -> None:
        self._kernel = kernel
        self._specs = specs
        self._files: dict[tuple[str, int], File] = {}

    def make(self, worker: Worker, each: str) -> Steps[None]:
        """*worker* makes the files of its own, of its process, or of the run, as *each* says."""
        for name, spec in self._specs.items():
            if spec.each == each:
                asked = CreateFile(name, spec.size // PAGE_BYTES, spec.resident)
                made = yield from self._kernel.perform(worker.cpu, asked)
                self._files[name, self._owner(spec, worker)] = made

    def of(self, worker: Worker, name: str) -> File:
        """The file that *worker* means by *name*."""
        return self._files[name, self._owner(self._specs[name], worker)]

    @staticmethod
    def _owner(spec: FileSpec, worker: Worker) -> int:
        return {"run": 0, "process": worker.process, "thread": worker.number}[spec.each]
