"""Time, processes, randomness, accounting. Knows nothing of memory.

Everything runs on `Engine`, a SimPy environment whose clock is an integer number of picoseconds.
"""

from sim.engine.core import PARKED, Engine, Steps, Thread, ThreadBody, TieRule, Yielded

__all__ = ["PARKED", "Engine", "Steps", "Thread", "ThreadBody", "TieRule", "Yielded"]
