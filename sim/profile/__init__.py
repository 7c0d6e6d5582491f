"""What a run did, and on which locks it waited: listeners to the probe. The model never imports them."""

from sim.profile.counters import COUNTERS, TRANSFERS, Counters
from sim.profile.idle import IDLE, IdleTime
from sim.profile.locks import COLUMNS, SHOWN, Locks, Usage
from sim.profile.pages import Paged
from sim.profile.report import RunReport

__all__ = [
    "COLUMNS",
    "COUNTERS",
    "IDLE",
    "SHOWN",
    "TRANSFERS",
    "Counters",
    "IdleTime",
    "Locks",
    "Paged",
    "RunReport",
    "Usage",
]
