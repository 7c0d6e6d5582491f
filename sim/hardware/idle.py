"""Idle states: how deep a cpu sleeps while nothing runs on it, and what it costs to come back.

    idle  |-- state chosen: the deepest that is worth it for the time expected --| exit |
                                      ^ at a tick the choice is made anew

The governor guesses the length of an idle period from the last ones: if these are alike it takes their mean,
without the longest quarter where that makes them alike (get_typical_interval), else the mean of all. It
chooses the deepest state whose *residency* is no longer than that. A guess that was too short is put right by
the next tick, which finds the cpu idle still.

A hypervisor guesses nothing: a cpu that has been idle for so long (`halt_after`) is taken away.

Source: Linux 6.12, drivers/cpuidle/governors/menu.c (menu_select, get_typical_interval). Left out: the time
to the next timer and its correction factor, entry latencies, wake-ups while a state is being entered, package
states, promotion and demotion by the hardware."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sim.hardware.spec import MachineSpec

INTERVALS: Final = 8
"""How many idle periods menu remembers (INTERVALS)."""
_LEFT: Final = 6
"""So many of them have to be left after the longest have been discarded."""
_ALIKE: Final = 20_000_000
"""Ps: intervals with this standard deviation are alike (20 us); so are those of a sixth of their mean."""


class IdleCpu:
    """What one cpu's governor remembers: its last idle periods (ps)."""

    __slots__ = ("_periods",)

    def __init__(self) -> None:
        self._periods: deque[int] = deque(maxlen=INTERVALS)

    def expected(self) -> int:
        """How long the idle period that begins now is expected to be; 0 where there has been none."""
        periods = sorted(self._periods)
        if not periods:
            return 0
        for count in range(len(periods), min(len(periods), _LEFT) - 1, -1):
            mean = sum(periods[:count]) // count
            variance = sum((period - mean) ** 2 for period in periods[:count]) // count
            if variance <= _ALIKE * _ALIKE or mean * mean > 36 * variance:
                return mean
        return sum(periods) // len(periods)

    def note(self, period: int) -> None:
        """An idle period of that length is over."""
        self._periods.append(period)


class IdleStates:
    """The states of one machine's cpus, and who sleeps how deep."""

    __slots__ = ("_cpus", "_halt_after", "_halted", "_states", "_tick")

    def __init__(self, spec: MachineSpec, cpus: int) -> None:
        kernel, clock = spec.kernel, spec.clock
        self._states = [(state.residency, state.exit.at(clock)) for state in kernel.idle_states]
        self._tick = kernel.tick
        self._halt_after = kernel.halt_after
        halted = kernel.wake_halted
        self._halted = max(0, halted.at(clock) - kernel.wake_idle.at(clock)) if halted is not None else 0
        self._cpus: Sequence[IdleCpu] = [IdleCpu() for _ in range(cpus)]

    def was_idle(self, cpu: int) -> None:
        """*cpu* has had nothing to do for a long time, again and again: it expects to sleep as deep as it
        can."""
        if self._states:
            for _ in range(INTERVALS):
                self._cpus[cpu].note(self._states[-1][0])

    def leave(self, cpu: int, idle: int) -> int:
        """*cpu* is woken after it has been *idle* for so long (ps). Value: what its state adds to that."""
        latency = 0
        if self._states:
            governor = self._cpus[cpu]
            expected = governor.expected()
            if self._tick is not None and idle >= self._tick:
                expected = max(expected, idle)
            for residency, exit_ in self._states:
                if residency > expected:
                    break
                latency = exit_
            governor.note(idle)
        if self._halt_after is not None and idle > self._halt_after:
            latency += self._halted
        return latency
