"""Time, processes, randomness, accounting. Knows nothing of memory.

Everything runs on `Engine`, to SimPy an environment, whose clock is an integer number of picoseconds.
"""

from sim.engine.activity import Activity
from sim.engine.core import Engine
from sim.engine.probe import QUIET, Probe, listen
from sim.engine.queues import Background
from sim.engine.replay import Decisions, Recorder, Replayer
from sim.engine.schedule import Decider, Entry, InjectedDelays, Schedule, ScheduleName
from sim.engine.thread import PARKED, Call, Steps, Thread, Yielded

__all__ = [
    "PARKED",
    "QUIET",
    "Activity",
    "Background",
    "Call",
    "Decider",
    "Decisions",
    "Engine",
    "Entry",
    "InjectedDelays",
    "Probe",
    "Recorder",
    "Replayer",
    "Schedule",
    "ScheduleName",
    "Steps",
    "Thread",
    "Yielded",
    "listen",
]
