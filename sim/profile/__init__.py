"""What a run did, and on which locks it waited: listeners to the probe. The model never imports them."""

from sim.profile.counters import COUNTERS, IDLE, TRANSFERS, Counters
from sim.profile.locks import COLUMNS, SHOWN, Locks, Usage
from sim.profile.object_tables import ALL, HOLD_COLUMNS, tables
from sim.profile.object_tables import COLUMNS as OBJECT_COLUMNS
from sim.profile.objects import NO_OPERATION, Objects
from sim.profile.parts import HAND_OVER, LOCK_WAIT, OTHER, PARTS, TRANSFER, WORK
from sim.profile.report import RunReport

__all__ = [
    "ALL",
    "COLUMNS",
    "COUNTERS",
    "HAND_OVER",
    "HOLD_COLUMNS",
    "IDLE",
    "LOCK_WAIT",
    "NO_OPERATION",
    "OBJECT_COLUMNS",
    "OTHER",
    "PARTS",
    "SHOWN",
    "TRANSFER",
    "TRANSFERS",
    "WORK",
    "Counters",
    "Locks",
    "Objects",
    "RunReport",
    "Usage",
    "tables",
]
