"""Is what a kernel does right: random programs, run on it beside a plain dictionary of pages.

    model       a process as a dictionary: rights, frames, versions for contents, dirty bits, tables
    effects     what each operation does to it and answers, one function each
    races       what threads may see that work on the same pages
    contents    what is in the simulated frames, by listening
    programs    programs as data; drawing: how they are drawn
    kernels     designs with round costs and near limits, on the small machine of `machines`
    variants    the kernels that take part
    process     processes of a simulated kernel, and threads to run in them; `sim.check` watches
    checking    runs one and compares
    shrinking   makes one that fails small
    histories   a few operations, each with begin, end and answer; linearizability: is there an order of them
    outcomes    budgets, what was done and what was found
    scenarios   ways to look for a violation, by name; session: each on each design, for a share of the time
    explore     races: a few operations, whose orders are gone through one by one
    replays     files that run a program again; written: operations as they stand there
    trail       what happened last before a run went wrong; named: which check has found it
    locks       random schedules on the locks of sim/sync
    mutants     bugs by name; hunting: is each found; unchecked: what is left to see if nobody looks

A program that fails is printed so that it can be pasted and run:

    python -c 'from sim.mm import *; from sim.verify import *; check(Program(...))'
"""

from sim.verify.checking import Counts, check
from sim.verify.drawing import draw_program
from sim.verify.explore import RACES
from sim.verify.explore.chances import Chances, chances
from sim.verify.explore.hunting import RaceHunt, hunt_races, mutants_in_races
from sim.verify.hunting import Hunt, found_mutants, hunt, hunt_all
from sim.verify.mutants import Mutant
from sim.verify.outcomes import Budget, Outcome, Scenario, Violation, violation
from sim.verify.programs import InHeap, InLast, OnFile, Onto, Program, Reclaim
from sim.verify.replays import Replay, read, schema, text, write
from sim.verify.scenarios import DEFAULT, SCENARIOS
from sim.verify.session import Row, block, default_designs, found_designs, found_scenarios, keep, run_session
from sim.verify.shrinking import failure, shrunk
from sim.verify.variants import shipped

__all__ = [
    "DEFAULT",
    "RACES",
    "SCENARIOS",
    "Budget",
    "Chances",
    "Counts",
    "Hunt",
    "InHeap",
    "InLast",
    "Mutant",
    "OnFile",
    "Onto",
    "Outcome",
    "Program",
    "RaceHunt",
    "Reclaim",
    "Replay",
    "Row",
    "Scenario",
    "Violation",
    "block",
    "chances",
    "check",
    "default_designs",
    "draw_program",
    "failure",
    "found_designs",
    "found_mutants",
    "found_scenarios",
    "hunt",
    "hunt_all",
    "hunt_races",
    "keep",
    "mutants_in_races",
    "read",
    "run_session",
    "schema",
    "shipped",
    "shrunk",
    "text",
    "violation",
    "write",
]
