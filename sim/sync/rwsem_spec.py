"""Constants of Linux's reader-writer semaphore, as files give them (kernel/locking/rwsem.c)."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from sim.quantities import Duration, Spec


class RwSemTuning(Spec):
    """Constants of rwsem.c, as files give them."""

    spin_on_readers: Duration
    """How long a writer spins on readers, *spin_per_reader* each on top (rwsem_rspin_threshold)."""
    spin_per_reader: Duration
    """What each reader that holds the lock adds to that time."""
    spin_readers_max: NonNegativeInt
    """More readers count as so many."""
    handoff_after: Duration
    """The first sleeper may ask for the lock after so long (RWSEM_WAIT_TIMEOUT)."""
    batch: PositiveInt
    """Readers that one release lets in (MAX_READERS_WAKEUP)."""
    read_trylock: Literal["load", "cmpxchg"] = "load"
    """What down_read_trylock begins with: a `load` of the count (since 5.16), or a `cmpxchg` that bets on a
    free lock (5.2 to 5.15)."""
    wait_list: Literal["line", "locked"] = "locked"
    """What guards the queue of sleepers: a spin lock (wait_lock) that is held while the count is changed, and
    while those who are let in are marked, each on its own stack; or, so that its part can be seen, only one
    access to its `line` each time."""
