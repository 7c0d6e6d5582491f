"""`--as measured=simulated`: what was measured, or run, under one name and is simulated under another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from sim.analysis.published import Observation, renamed
from sim.errors import Fault, InputError, nearest

if TYPE_CHECKING:
    from pandas import DataFrame

NAMED = ("machine", "system", "workload", "placement")
"""The columns whose names may be replaced."""


def parse_names(texts: Sequence[str]) -> dict[str, str]:
    """Old name -> new name of each of *texts*. Raises `InputError`."""
    names: dict[str, str] = {}
    faults = []
    for text in texts:
        old, equals, new = (part.strip() for part in text.partition("="))
        if not (old and equals and new):
            faults.append(Fault("not understood", f"--as {text}", allowed="NAME=OTHER"))
        elif names.setdefault(old, new) != new:
            faults.append(Fault(f"contradicts --as {old}={names[old]}", f"--as {text}"))
    if faults:
        raise InputError(faults)
    return names


def refuse_unknown(names: Mapping[str, str], known: Iterable[str]) -> None:
    """Raise `InputError` for each of *names* that is not among the *known* ones, which could be replaced."""
    there = [name for name in dict.fromkeys(known) if name]
    faults = [
        Fault(f"nothing is called {old}", f"--as {old}={new}", allowed=", ".join(there),
              suggestion=nearest(old, there))
        for old, new in names.items()
        if old not in there
    ]  # fmt: skip
    if faults:
        raise InputError(faults)


def refuse_strangers(names: Mapping[str, str], run: Iterable[str]) -> None:
    """Raise `InputError` for each new name of *names* that the *run* does not have."""
    there = list(dict.fromkeys(run))
    faults = [
        Fault(f"the run has no {new}", f"--as {old}={new}", allowed=", ".join(there),
              suggestion=nearest(new, there))
        for old, new in names.items()
        if new not in there
    ]  # fmt: skip
    if faults:
        raise InputError(faults)


def names_in(points: DataFrame) -> list[str]:
    """The names of machines, designs, workloads and placements of a run's points."""
    columns = ("machine", "design", "workload", "placement")
    return [str(name) for column in columns for name in points[column].unique() if name]


def rename(observations: Sequence[Observation], names: Mapping[str, str]) -> list[Observation]:
    """*observations* with new names. Raises `InputError` for a name that none of them has."""
    refuse_unknown(names, (getattr(row, column) for row in observations for column in NAMED))
    return [
        renamed(
            row,
            names.get(row.machine, row.machine),
            names.get(row.system, row.system),
            names.get(row.workload, row.workload),
            names.get(row.placement, row.placement),
        )
        for row in observations
    ]
