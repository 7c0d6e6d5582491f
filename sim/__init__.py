"""cortensim: how a memory-management design scales on a machine, and where the time goes.

    import sim

    experiment = sim.load("quickstart")
    points = sim.run(experiment, workers=2)      # a tidy DataFrame, one row a point
    sim.plot.scalability(points)                 # a matplotlib Axes
    sim.trace("quickstart", "threads=64", out="trace")    # timelines and flame graphs of some points
    sim.profile_of(experiment).locks             # a frame: who waits for which lock, and why

Nothing is loaded before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.analysis.object_profile import profile_of
    from sim.analysis.tracing import trace
    from sim.experiment import load, run

    from . import plot

from sim.compiled import use as _use_compiled

_use_compiled()

__all__ = ["load", "plot", "profile_of", "run", "trace"]


def __getattr__(name: str) -> Any:
    if name == "plot":
        return import_module("sim.plot")
    if name == "profile_of":
        return import_module("sim.analysis.object_profile").profile_of
    if name in ("load", "run"):
        return getattr(import_module("sim.experiment"), name)
    if name == "trace":
        return import_module("sim.analysis.tracing").trace
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
