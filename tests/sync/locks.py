"""The locks of `sim.verify`, and schedules on them as hypothesis draws them."""

from __future__ import annotations

from hypothesis import strategies as st

from sim.hardware import Machine
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
    rwsem,
    sharded_rwsem,
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
    "sharded_rwsem",
    "ticket",
]


def schedules(cpus: int = 6, turns: int = 4) -> st.SearchStrategy[list[list[Turn]]]:
    turn = st.builds(Turn, st.sampled_from(DELAYS), st.booleans(), st.sampled_from(DELAYS))
    return st.lists(st.lists(turn, max_size=turns), min_size=2, max_size=cpus)


def random_schedule(machine: Machine, cpus: int, turns: int, write_share: float) -> list[list[Turn]]:
    draw = machine.engine.stream("schedule")
    busy = draw.choice([1, 3, len(DELAYS)])  # how many of the delays occur: crowded or not
    return [
        [
            Turn(draw.choice(DELAYS[:busy]), draw.random() < write_share, draw.choice(DELAYS[:busy]))
            for _ in range(draw.randint(1, turns))
        ]
        for _ in range(cpus)
    ]
