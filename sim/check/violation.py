"""What a check raises, with all that one needs to find the fault and to see it again."""

from __future__ import annotations

from sim.errors import Deadlock
from sim.mm.invariants import BrokenInvariant


class Violation(BrokenInvariant):
    """A run has broken *invariant*; the message says what was done, by whom, where and when, and what came
    just before."""


class Stuck(Deadlock):
    """Threads wait for each other, or wait or try again without end; the message names the circle."""
