"""What `cortensim verify` does: each scenario on each design, for a fair share of the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from sim.compiled import words
from sim.errors import Fault, InputError, nearest
from sim.files import presets
from sim.hardware import MachineSpec
from sim.mm import Mmap, Munmap, Touch
from sim.verify.explore import Races
from sim.verify.kernels import KINDS, OTHERS, VARIANTS, design
from sim.verify.locks import LOCKS
from sim.verify.machines import merged, raw_spec
from sim.verify.outcomes import Budget, Outcome, Scenario, Violation
from sim.verify.replays import Replay, write
from sim.verify.scenarios import DEFAULT, SCENARIOS
from sim.verify.variants import needed, offered, shipped

OWN = (*KINDS, *VARIANTS, *OTHERS)
"""Designs that only verify has: round costs, near limits, and switches that are thrown at random."""


@dataclass(frozen=True)
class Row:
    """One scenario on one design."""

    design: str
    scenario: str
    outcome: Outcome


def default_designs() -> list[str]:
    """All design files on board or of plug-ins that describe whole kernels, and verify's own of each
    family, and the locks."""
    return [*KINDS, *shipped(), *LOCKS]


def found_designs(names: Sequence[str]) -> list[str]:
    """*names*, each of which can be verified. Raises `InputError`."""
    for name in names:
        if name not in OWN and name not in LOCKS:
            _look_at(name)
    return list(dict.fromkeys(names)) or default_designs()


def _look_at(name: str) -> None:
    if not presets.is_path(name) and name not in presets.names("design"):
        known = [*OWN, *LOCKS, *presets.names("design")]
        fault = Fault(
            "no design of this name",
            "--design",
            value=name,
            allowed=f"a name that cortensim list designs prints, {', '.join(OWN)}, or a path to a .yaml file",
            suggestion=nearest(name, known),
        )
        raise InputError(fault)
    spec = design(name)
    lacking = [each.name for each in (Mmap, Munmap, Touch) if each not in offered(name)]
    if lacking:
        fault = Fault(
            f"offers no {' and no '.join(lacking)}, so there is nothing to verify", "--design", value=name
        )
        raise InputError(fault)
    machine = MachineSpec.model_validate(merged(raw_spec(), needed(name)))
    if (refused := spec.refuses(machine)) is not None:
        raise InputError(Fault(f"cannot run on the machine of verify: {refused}", "--design", value=name))


def found_scenarios(names: Sequence[str]) -> list[Scenario]:
    """The scenarios of these *names*, all if there are none. Raises `InputError`."""
    for name in names:
        if name not in SCENARIOS:
            raise InputError(
                Fault(
                    "no scenario of this name",
                    "--scenario",
                    value=name,
                    allowed=", ".join(each.name for each in DEFAULT) + ", or a race that --scenarios lists",
                    suggestion=nearest(name, SCENARIOS),
                )
            )
        if isinstance(SCENARIOS[name], Races) and words() == "compiled model":
            fault = "needs the model as it is written, to see its steps: set CORTENSIM_COMPILED=0"
            raise InputError(Fault(fault, "--scenario", value=name))
    return [SCENARIOS[name] for name in dict.fromkeys(names)] or list(DEFAULT)


def run_session(
    designs: Sequence[str],
    scenarios: Sequence[Scenario],
    seconds: float,
    seed: int,
    executions: int | None = None,
) -> Iterator[Row]:
    """Each of *scenarios* on each of *designs* that it suits, as each is done.

    What is left of *seconds* is shared by those that have yet to run; each is executed at least once, and at
    most *executions* times if that is given. What makes a failing program small comes on top.
    """
    todo = [(kind, each) for kind in designs for each in scenarios if each.suits(kind)]
    left = seconds
    for done, (kind, scenario) in enumerate(todo):
        began = monotonic()
        outcome = scenario.run(kind, Budget(left / (len(todo) - done), executions), seed)
        if not outcome.violations:
            left = max(0.0, left - (monotonic() - began))
        else:
            left -= left / (len(todo) - done)
        yield Row(kind, scenario.name, outcome)


def keep(violation: Violation, folder: Path, mutant: str | None = None) -> Path:
    """Write the replay of *violation* to *folder*; its file."""
    name = f"{Path(violation.program.kind).name}-{violation.scenario}" if mutant is None else mutant
    path = folder / f"{'-'.join(name.replace('/', ' ').split())}.replay.yaml"
    write(Replay(violation.scenario, violation.program, violation.said, mutant), path)
    return path


def block(violation: Violation, file: Path | None, say: Callable[[str], object]) -> None:
    """*violation* for people: what, who, where, what happened last, and how to see it again."""
    first, *more = violation.said.splitlines()
    say(f"{violation.program.kind}, {violation.scenario}: {first}")
    for line in more:
        say(f"  {line}")
    for line in violation.doing:
        say(f"  under way on {line}")
    if violation.address is not None:
        say(f"  page {violation.address}, address {int(violation.address, 16) << 12:#x}")
    say(f"  seed: {violation.seed}")
    say("  what happened last:")
    for line in violation.events:
        say(f"    {line}")
    if file is not None:
        say(f"  again: cortensim verify --replay {file}")
