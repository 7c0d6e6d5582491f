"""`--as measured=simulated`: what was measured, or run, under one name and is simulated under another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sim.analysis.published import Observation, renamed
from sim.errors import Fault, InputError, nearest

NAMED = ("machine", "system", "workload")
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
    there = list(dict.fromkeys(known))
    faults = [
        Fault(f"nothing is called {old}", f"--as {old}={new}", allowed=", ".join(there),
              suggestion=nearest(old, there))
        for old, new in names.items()
        if old not in there
    ]  # fmt: skip
    if faults:
        raise InputError(faults)


def rename(observations: Sequence[Observation], names: Mapping[str, str]) -> list[Observation]:
    """*observations* with new names. Raises `InputError` for a name that none of them has."""
    refuse_unknown(names, (getattr(row, column) for row in observations for column in NAMED))
    return [
        renamed(
            row,
            names.get(row.machine, row.machine),
            names.get(row.system, row.system),
            names.get(row.workload, row.workload),
            row.placement,
        )
        for row in observations
    ]
