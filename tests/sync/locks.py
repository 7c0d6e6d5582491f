"""The locks of `sim.verify`, and schedules on them as hypothesis draws them."""

from __future__ import annotations

from hypothesis import strategies as st

from sim.sync import ReaderWriter
from sim.verify.locks import (
    DELAYS,
    EXCLUSIVE,
    LOCK,
    SHARED,
    Turn,
    bravo,
    cna,
    disturb,
    drowsy_mutex,
    follow,
    mcs,
    percpu_rwsem,
    phase_fair,
    queued_spin,
    random_schedule,
    rwsem,
    ticket,
)

__all__ = [
    "EXCLUSIVE",
    "LOCK",
    "SHARED",
    "ReaderWriter",
    "Turn",
    "bravo",
    "cna",
    "disturb",
    "drowsy_mutex",
    "follow",
    "mcs",
    "percpu_rwsem",
    "phase_fair",
    "queued_spin",
    "random_schedule",
    "rwsem",
    "schedules",
    "ticket",
]


def schedules(cpus: int = 6, turns: int = 4) -> st.SearchStrategy[list[list[Turn]]]:
    turn = st.builds(Turn, st.sampled_from(DELAYS), st.booleans(), st.sampled_from(DELAYS))
    return st.lists(st.lists(turn, max_size=turns), min_size=2, max_size=cpus)
