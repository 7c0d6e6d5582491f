"""What is in the frames and the swap slots of a simulated machine: a version each, kept by listening."""

from __future__ import annotations

from sim.engine import Probe
from sim.engine.probe import CpuView
from sim.mm import ZERO_FRAME
from sim.verify.model import Frame


class Contents(Probe):
    """The version in each frame that the kernel has zeroed, copied into or let user code write.

    A frame that is given away or back holds nothing that may be read.
    """

    def __init__(self) -> None:
        self._versions: dict[int, int] = {}
        self._slots: dict[int, int] = {}
        self._believed: dict[int, Frame] = {}

    def read(self, frame: int) -> int:
        """What user code finds in *frame*."""
        if frame == ZERO_FRAME:
            return 0
        assert frame in self._versions, f"frame {frame} is read and was neither zeroed nor written"
        return self._versions[frame]

    def write(self, frame: int, version: int) -> None:
        """User code writes to *frame*."""
        assert frame != ZERO_FRAME, "the page of zeros is written to"
        assert frame in self._versions, f"frame {frame} is written to and was not zeroed"
        self._versions[frame] = version

    def believe(self, frame: int, its: Frame) -> None:
        """*frame* is *its* in the model. Where the kernel does not tell what it fills, and this is new, it
        holds what it should."""
        if self._believed.get(frame) is not its:
            self._believed[frame], self._versions[frame] = its, its.version

    def frame_allocated(self, cpu: CpuView, frame: int, order: int) -> None:
        self._forget(frame, order)

    def frame_freed(self, cpu: CpuView, frame: int, order: int) -> None:
        self._forget(frame, order)

    def frame_filled(self, cpu: CpuView, frame: int, source: int | None) -> None:
        self._versions[frame] = 0 if source is None else self.read(source)

    def page_out(self, cpu: CpuView, frame: int, slot: int) -> None:
        self._slots[slot] = self.read(frame)

    def page_in(self, cpu: CpuView, frame: int, slot: int) -> None:
        self._versions[frame] = self._slots[slot]

    def swapped(self, slot: int, cached: int | None) -> int:
        """What is in a swap slot, or newer in the frame that is *cached* for it, once that has been read."""
        return self._slots[slot] if cached not in self._versions else self.read(cached)

    def _forget(self, frame: int, order: int) -> None:
        for each in range(frame, frame + (1 << order)):
            self._versions.pop(each, None)
