"""Locks as protocols on cache lines and waiting."""

from sim.sync.bravo import BravoLock, VisibleReaders
from sim.sync.cna import CnaLock
from sim.sync.exclusive import ExclusiveRw
from sim.sync.lock import Lock, downgrades, releases, takes, tries
from sim.sync.mutex import Mutex
from sim.sync.nodes import QueueNodes
from sim.sync.osq import SpinnerQueue
from sim.sync.percpu_rwsem import PercpuRwSem
from sim.sync.phase_fair import PhaseFairLock
from sim.sync.pipe import Pipe
from sim.sync.protocols import EXCLUSIVE, READER_WRITER, SEQUENCE, Exclusive, ReaderWriter, Sequence, Writer
from sim.sync.pthread_barrier import PthreadBarrier
from sim.sync.pthread_mutex import PthreadMutex
from sim.sync.range_lock import HeldRange, RangeLock
from sim.sync.rcu import RCU, Rcu
from sim.sync.rcu_sync import RcuSync
from sim.sync.run_queue import SCHED, RunQueues, SwitchCosts, SwitchSpace
from sim.sync.rwsem import RwSem
from sim.sync.rwsem_granting import GrantingRwSem
from sim.sync.rwsem_spec import RwSemTuning
from sim.sync.rwsem_spinning_readers import SpinningReadersRwSem
from sim.sync.rwsem_xadd import XaddRwSem
from sim.sync.semaphore import Channel, Semaphore
from sim.sync.seqlock import SeqLock
from sim.sync.sharded_rwsem import ShardedRwSem
from sim.sync.sleep import Scheduler
from sim.sync.sleeper import Sleeper
from sim.sync.spin import McsLock, QueuedSpinLock
from sim.sync.spin_locks import NumaAwareNodes, spin_lock
from sim.sync.stream_socket import StreamSocket
from sim.sync.without import NOTHING, LocksWithout, Without
from sim.sync.word import TasLock, TicketLock
from sim.sync.word_rw import WordRwLock
from sim.sync.word_rwmutex import WordRwMutex

__all__ = [
    "EXCLUSIVE",
    "NOTHING",
    "RCU",
    "READER_WRITER",
    "SCHED",
    "SEQUENCE",
    "BravoLock",
    "Channel",
    "CnaLock",
    "Exclusive",
    "ExclusiveRw",
    "GrantingRwSem",
    "HeldRange",
    "Lock",
    "LocksWithout",
    "McsLock",
    "Mutex",
    "NumaAwareNodes",
    "PercpuRwSem",
    "PhaseFairLock",
    "Pipe",
    "PthreadBarrier",
    "PthreadMutex",
    "QueueNodes",
    "QueuedSpinLock",
    "RangeLock",
    "Rcu",
    "RcuSync",
    "ReaderWriter",
    "RunQueues",
    "RwSem",
    "RwSemTuning",
    "Scheduler",
    "Semaphore",
    "SeqLock",
    "Sequence",
    "ShardedRwSem",
    "Sleeper",
    "SpinnerQueue",
    "SpinningReadersRwSem",
    "StreamSocket",
    "SwitchCosts",
    "SwitchSpace",
    "TasLock",
    "TicketLock",
    "VisibleReaders",
    "Without",
    "WordRwLock",
    "WordRwMutex",
    "Writer",
    "XaddRwSem",
    "downgrades",
    "releases",
    "spin_lock",
    "takes",
    "tries",
]
