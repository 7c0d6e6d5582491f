"""Locks as protocols on cache lines and waiting."""

from sim.sync.bravo import BravoLock, VisibleReaders
from sim.sync.nodes import QueueNodes
from sim.sync.phase_fair import PhaseFairLock
from sim.sync.rcu import RCU, Rcu
from sim.sync.rwsem import RwSem, RwSemTuning
from sim.sync.rwsem_xadd import XaddRwSem
from sim.sync.sleep import SCHED, Scheduler, Sleeper
from sim.sync.spin import McsLock, QueuedSpinLock
from sim.sync.word import TasLock, TicketLock

__all__ = [
    "RCU",
    "SCHED",
    "BravoLock",
    "McsLock",
    "PhaseFairLock",
    "QueueNodes",
    "QueuedSpinLock",
    "Rcu",
    "RwSem",
    "RwSemTuning",
    "Scheduler",
    "Sleeper",
    "TasLock",
    "TicketLock",
    "VisibleReaders",
    "XaddRwSem",
]
