"""What a run did, and on which locks it waited: listeners to the probe. The model never imports them."""

from sim.profile.counters import COUNTERS, IDLE, TRANSFERS, Counters
from sim.profile.locks import SHOWN, Locks, Usage
from sim.profile.pages import Paged

__all__ = ["COUNTERS", "IDLE", "SHOWN", "TRANSFERS", "Counters", "Locks", "Paged", "Usage"]
