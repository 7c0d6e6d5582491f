"""What a run did, and on which locks it waited: listeners to the probe. The model never imports them."""

from sim.profile.counters import COUNTERS, IDLE, TRANSFERS, Counters
from sim.profile.locks import COLUMNS, SHOWN, Locks, Usage
from sim.profile.object_tables import ALL, HOLD_COLUMNS, tables
from sim.profile.object_tables import COLUMNS as OBJECT_COLUMNS
from sim.profile.objects import NO_OPERATION, Objects
from sim.profile.parts import HAND_OVER, LOCK_WAIT, OTHER, PARTS, TRANSFER, WORK
from sim.profile.report import RunReport
from sim.profile.requests import CPU_COLUMNS, LATENCY_COLUMNS, Requests, quantiles
from sim.profile.transfers import COLUMNS as TRANSFER_COLUMNS
from sim.profile.transfers import MEMORY, Transfers

TABLES = {
    "locks": COLUMNS,
    "cpus": CPU_COLUMNS,
    "latencies": LATENCY_COLUMNS,
    "transfers": TRANSFER_COLUMNS,
}
"""Table of a run report, besides its counters -> its columns behind those that name a point."""

__all__ = [
    "ALL",
    "COLUMNS",
    "COUNTERS",
    "CPU_COLUMNS",
    "HAND_OVER",
    "HOLD_COLUMNS",
    "IDLE",
    "LATENCY_COLUMNS",
    "LOCK_WAIT",
    "MEMORY",
    "NO_OPERATION",
    "OBJECT_COLUMNS",
    "OTHER",
    "PARTS",
    "SHOWN",
    "TABLES",
    "TRANSFER",
    "TRANSFERS",
    "TRANSFER_COLUMNS",
    "WORK",
    "Counters",
    "Locks",
    "Objects",
    "Requests",
    "RunReport",
    "Transfers",
    "Usage",
    "quantiles",
    "tables",
]
