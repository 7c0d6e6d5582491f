"""What a run did, and on which locks it waited: listeners to the probe. The model never imports them."""

from sim.profile.counters import COUNTERS, IDLE, TRANSFERS, Counters
from sim.profile.locks import COLUMNS, SHOWN, Locks, Usage
from sim.profile.report import RunReport

__all__ = [
    "COLUMNS",
    "COUNTERS",
    "IDLE",
    "SHOWN",
    "TRANSFERS",
    "Counters",
    "Locks",
    "RunReport",
    "Usage",
]
