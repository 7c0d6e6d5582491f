"""Invariants held against a run while it happens, by listeners on its probe (`cortensim run --check`).

    checks = Checks(repeat="how to run it again")
    try: a run that tells *checks.listeners*
    except Exception as error: raise checks.explain(error)

Listeners see and never act, so a run that is checked gives what one that is not gives. docs/verification.md
says what is checked, when, and what is not.
"""

from __future__ import annotations

from sim.check.circle import explained
from sim.check.contents import Contents
from sim.check.entries import Entries
from sim.check.locks import Bounds, Locks
from sim.check.mappings import Mappings
from sim.check.periods import Periods
from sim.check.sampled import Sampled
from sim.check.scene import Scene
from sim.check.translations import Translations
from sim.check.violation import Stuck, Violation
from sim.check.watch import Watch
from sim.engine import Probe

__all__ = ["Bounds", "Checks", "Stuck", "Violation", "Watch"]


class Checks:
    """The checks of one run: *listeners* are to be told of it, in their order."""

    def __init__(self, repeat: str = "", bounds: Bounds | None = None) -> None:
        self.scene = Scene(repeat)
        self.locks = Locks(self.scene, bounds)
        self.periods = Periods(self.scene)
        self.entries = Entries(self.scene, self.periods)
        self.mappings = Mappings(self.scene, self.entries)
        self.translations = Translations(self.scene)
        self.contents = Contents(self.scene)
        self.sampled = Sampled(self.scene)
        ends_of_operations = (self.contents, self.translations, self.mappings, self.sampled)
        self.listeners: tuple[Probe, ...] = (
            *ends_of_operations,  # before the scene, which forgets an operation that ends
            self.scene,
            self.locks,
            self.periods,
            self.entries,
        )

    def explain(self, error: Exception) -> Exception:
        """*error*, or where it says that nothing goes on, one that says why."""
        return explained(error, self.scene, self.locks)
