"""Is a mutant caught, by which check, after how many programs?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from time import monotonic

from sim.compiled import words
from sim.errors import Fault, InputError, nearest
from sim.verify.drawing import draw_program, with_delays
from sim.verify.mutants import MUTANTS, Mutant
from sim.verify.outcomes import Budget, Scenario, Violation, violation
from sim.verify.programs import Program
from sim.verify.scenarios import SCENARIOS
from sim.verify.shrinking import failure
from sim.verify.unchecked import run_unchecked


@dataclass(frozen=True)
class Hunt:
    """What has come of it: *caught*, or it survived so many *programs*."""

    mutant: Mutant
    programs: int
    seconds: float
    caught: Violation | None


def hunt(mutant: Mutant, budget: Budget, seed: int, *, shrinking: float = 10.0, checked: bool = True) -> Hunt:
    """Run programs on the model with *mutant* in it, until one fails or *budget* is spent.

    *shrinking* seconds at most are then spent on making it small. Not *checked*: nobody looks.
    """
    began = monotonic()
    with mutant.applied():
        for number in count():
            if not budget.take():
                return Hunt(mutant, number, monotonic() - began, None)
            drawn_from = f"{seed} {mutant.name} {number}"
            scenario, program = _program(mutant, number, drawn_from)
            look = scenario.check if checked else run_unchecked
            if failure(program, look) is not None:
                seconds = monotonic() - began
                caught = violation(scenario, program, drawn_from, shrinking, look)
                return Hunt(mutant, number + 1, seconds, caught)
    raise AssertionError("a budget ends")


def hunt_all(mutants: Sequence[Mutant], seconds: float, seed: int, *, checked: bool = True) -> Iterator[Hunt]:
    """Hunt each of *mutants*, as each is done; what is left of *seconds* is shared by those to come."""
    left = seconds
    for number, mutant in enumerate(mutants):
        done = hunt(mutant, Budget(left / (len(mutants) - number)), seed, checked=checked)
        left = max(0.0, left - done.seconds)
        yield done


def found_mutants(names: Sequence[str]) -> list[Mutant]:
    """The mutants of these *names*, all if there are none. Raises `InputError`, also where the model that
    runs cannot be edited."""
    for name in names:
        if name not in MUTANTS:
            known = "a name that cortensim verify --mutants list prints"
            raise InputError(
                Fault(
                    "no mutant of this name",
                    "--mutants",
                    value=name,
                    allowed=known,
                    suggestion=nearest(name, MUTANTS),
                )
            )
    if words() == "compiled model":
        raise InputError(
            Fault("mutants change the model as it is written: set CORTENSIM_COMPILED=0", "--mutants")
        )
    return [MUTANTS[name] for name in dict.fromkeys(names)] or list(MUTANTS.values())


def _program(mutant: Mutant, number: int, drawn_from: str) -> tuple[Scenario, Program]:
    if number < len(mutant.programs):
        program = mutant.programs[number]
        return SCENARIOS[program.mode], program
    number -= len(mutant.programs)
    random = Random(drawn_from)
    if not mutant.scenarios:
        program = draw_program(random.choice, mutant.designs, huge=mutant.huge)
        return SCENARIOS[program.mode], with_delays(random.choice, program)
    suiting = [
        (SCENARIOS[name], design)
        for name in mutant.scenarios
        for design in mutant.designs
        if SCENARIOS[name].suits(design)
    ]
    scenario, design = suiting[number % len(suiting)]
    return scenario, with_delays(random.choice, scenario.draw(design, random))
