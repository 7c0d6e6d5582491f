"""Which part of a run a listener counts: what the accounts of the cpus count.

    set-up | threads start | warm-up | measured window | the rest      a run with a window
    dropped                | page 0  | page 1          | page 2        page 1 counts
    dropped                | page 0 ............................       a run without: all of it

A point may be several runs; what counts of each is added up.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from sim.engine.probe import Probe

if TYPE_CHECKING:
    from sim.engine.core import Engine
    from sim.engine.probe import CpuView

Page = TypeVar("Page")


class Paged(Probe, Generic[Page]):
    """A listener that counts on *page*, a new one for each part of a run.

    *began* is when the page began (ps). What began on one page and ends on another is counted where it ends.
    """

    page: Page

    def __init__(self) -> None:
        self.began = 0
        self.cpus: Sequence[CpuView] = ()
        self._pages: list[Page] = []
        self.page = self.blank()

    @abstractmethod
    def blank(self) -> Page:
        """A new page."""

    @abstractmethod
    def count(self, page: Page, cpus: int) -> None:
        """Add a run's *page* that counts to the total; *cpus* of the machine were online."""

    def close_page(self) -> None:
        """The page ends now: the last moment to write on it."""

    def attach(self, engine: Engine) -> None:
        self._engine = engine
        self._open_page()

    def run_begins(self, cpus: Sequence[CpuView]) -> None:
        self.cpus = cpus
        self._pages = []
        self._open_page()

    def turn_page(self) -> None:
        self.close_page()
        self._pages.append(self.page)
        self._open_page()

    def run_ends(self) -> None:
        self.turn_page()
        counts = 1 if len(self._pages) > 2 else 0
        self.count(self._pages[counts], len(self.cpus))

    def _open_page(self) -> None:
        self.began = self.now
        self.page = self.blank()

    @property
    def now(self) -> int:
        """The simulated time (ps)."""
        return self._engine._now
