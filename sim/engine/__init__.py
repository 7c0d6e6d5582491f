"""Time, processes, randomness, accounting. Knows nothing of memory.

Everything runs on `Engine`, a SimPy environment whose clock is an integer number of picoseconds.
"""

from sim.engine.core import PARKED, Engine, Steps, Thread, ThreadBody, TieRule, Yielded
from sim.engine.probe import QUIET, Probe, listen

__all__ = [
    "PARKED",
    "QUIET",
    "Engine",
    "Probe",
    "Steps",
    "Thread",
    "ThreadBody",
    "TieRule",
    "Yielded",
    "listen",
]
