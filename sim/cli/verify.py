"""Is what a design does right: `verify` runs random programs on it, beside a plain model of memory."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from sim.cli.arguments import DONE, FAILED, complain, make_folder
from sim.errors import Fault, InputError
from sim.plaintext import say

if TYPE_CHECKING:
    from sim.cli.arguments import Commands
    from sim.terminal import TextTable
    from sim.verify import Mutant, Outcome, Row

MANY = 40
"""Rows of a table; if there are more, it has one for each design and one for each scenario."""


WIDTH = 36
"""Of a scenario's name."""


def add(commands: Commands) -> None:
    """Add the commands of this group."""
    verify = commands.add_parser(
        "verify",
        help="run random programs on designs and check all that can be seen of them",
        description="Runs random programs on each design, beside a plain model of memory, and compares "
        "answers, contents, rights, entries, frames and tables. What fails is made small and kept as a file "
        "that runs again. Exit code 1: something was found.",
    )
    verify.set_defaults(command=_verify)
    verify.add_argument(
        "--design", metavar="D", action="append", default=[],
        help="this design only: a name, a path, or one of verify's own with its switches thrown at random: "
        "linux, rw, adv (default: these and all that are whole kernels)",
    )  # fmt: skip
    verify.add_argument(
        "--scenario", metavar="S", action="append", default=[], help="this scenario only (default: all)"
    )
    verify.add_argument("--scenarios", action="store_true", help="list the scenarios")
    verify.add_argument(
        "--budget", metavar="TIME", type=_seconds, default=60.0,
        help="how long, such as 60s or 5min, shared by all (default: 60s)",
    )  # fmt: skip
    verify.add_argument("--seed", metavar="N", type=_seed, default=0, help="of the programs (default: 0)")
    verify.add_argument(
        "--replay", metavar="FILE", type=Path, help="run the program of this file and nothing else"
    )
    verify.add_argument(
        "--mutants", metavar="NAME,...", nargs="?", const="",
        help="put these bugs into the model, one at a time, and see whether each is found (default: all; "
        "`list` lists them)",
    )  # fmt: skip
    verify.add_argument(
        "--unchecked", action="store_true", help="with --mutants: look at nothing, and see how many survive"
    )
    verify.add_argument(
        "--sure", metavar="SEEDS", nargs="?", type=_seed, const=30,
        help="with --mutants: do races find each with a probability of 0.99, if each has the whole budget? "
        "Where a systematic search does not come to it, so many seeds draw orders (default: 30)",
    )  # fmt: skip
    verify.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("results/verify"),
        help="where files that replay are kept (default: results/verify)",
    )  # fmt: skip


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?) ?(s|min|h)", text)
    if found is None or float(found[1]) <= 0:
        raise argparse.ArgumentTypeError(f"not a time such as 60s, 5min or 1h: {text!r}")
    return float(found[1]) * {"s": 1, "min": 60, "h": 3600}[found[2]]


def _seed(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"not a seed, a whole number from 0 on: {text!r}")
    return int(text)


def _verify(options: argparse.Namespace) -> int:
    from sim.verify import SCENARIOS, block, found_designs, found_scenarios, keep, run_session

    if options.scenarios:
        for scenario in SCENARIOS.values():
            say(f"{scenario.name:<{WIDTH}} {scenario.title}")
        return DONE
    if options.replay is not None:
        return _replay(options)
    if options.mutants is not None:
        return _mutants(options)
    for name in ("unchecked", "sure"):
        if getattr(options, name):
            raise InputError(Fault("is for mutants: add --mutants", f"--{name}"))
    scenarios = found_scenarios(options.scenario)
    designs = found_designs(options.design)
    make_folder(options.out)
    rows = []
    for row in run_session(designs, scenarios, options.budget, options.seed):
        rows.append(row)
        for violation in row.outcome.violations:
            block(violation, keep(violation, options.out), say)
    if not rows:
        raise InputError(
            Fault("none of these scenarios suits the design", "--scenario", value=", ".join(options.scenario))
        )
    _print(rows)
    found = sum(len(row.outcome.violations) for row in rows)
    if found:
        each = "1 violation; it" if found == 1 else f"{found} violations; each"
        complain(f"{each} is kept in {options.out}")
    return FAILED if found else DONE


def _replay(options: argparse.Namespace) -> int:
    from sim.verify import (
        SCENARIOS,
        block,
        failure,
        found_designs,
        found_mutants,
        found_scenarios,
        read,
        violation,
    )

    if options.design or options.scenario or options.mutants is not None:
        raise InputError(Fault("says all itself: leave --design, --scenario and --mutants out", "--replay"))
    replay = read(options.replay)
    found_designs([replay.program.kind])
    found_scenarios([replay.scenario])
    scenario = SCENARIOS[replay.scenario]
    mutants = [] if replay.mutant is None else found_mutants([replay.mutant])
    with ExitStack() as stack:
        for mutant in mutants:
            say(f"with the mutant {mutant.name}: {mutant.breaks}")
            stack.enter_context(mutant.applied())
        if failure(replay.program, scenario.check) is None:
            was = f"; it was: {replay.found}" if replay.found else ""
            say(f"runs to its end, and nothing is wrong{was}")
            return DONE
        block(violation(scenario, replay.program, str(options.replay), shrinking=0), None, say)
    return FAILED


def _mutants(options: argparse.Namespace) -> int:
    from sim.terminal import TextTable, console
    from sim.verify import found_mutants, hunt_all, keep

    if options.design:
        raise InputError(Fault("says itself where: leave --design out", "--mutants"))
    if options.mutants == "list":
        for mutant in found_mutants([]):
            say(f"{mutant.name}: {mutant.breaks}")
            if mutant.resembles is not None:
                say(f"    like {mutant.resembles}")
        return DONE
    mutants = found_mutants([name for name in options.mutants.split(",") if name])
    if options.sure is not None:
        return _chances(options, mutants)
    make_folder(options.out)
    if options.scenario:
        return _mutants_in_races(options, mutants)
    table = TextTable("mutant", "caught by", "scenario", "design")
    table.add_column("programs", justify="right")
    survived = []
    for hunt in hunt_all(mutants, options.budget, options.seed, checked=not options.unchecked):
        caught, name = hunt.caught, hunt.mutant.name
        if caught is None:
            survived.append(hunt.mutant)
            why = "" if hunt.mutant.equivalent is None else f": {hunt.mutant.equivalent}"
            table.add_row(name, f"survived{why}", "", "", f"{hunt.programs:,}")
            continue
        table.add_row(name, caught.check, caught.scenario, caught.program.kind, f"{hunt.programs:,}")
        if not options.unchecked:
            keep(caught, options.out, name)
    console(sys.stdout).print(table)
    same = sum(mutant.equivalent is not None for mutant in survived)
    of_these = f", {same} of them only slower" if same else ""
    say(
        f"{len(mutants) - len(survived)} of {len(mutants)} mutants caught, {len(survived)} survived{of_these}"
    )
    return FAILED if survived else DONE


def _mutants_in_races(options: argparse.Namespace, mutants: Sequence[Mutant]) -> int:
    """Each of *mutants* in races, gone through as each scenario goes: after how many orders is it caught?"""
    from sim.terminal import TextTable, console
    from sim.verify import RACES, Budget, hunt_races, keep, mutants_in_races

    ways = {each.name: each.way for each in RACES if "/" not in each.name}
    for name in options.scenario:
        if name not in ways:
            known = ", ".join(ways)
            raise InputError(Fault("does not take mutants", "--scenario", value=name, allowed=known))
    if options.unchecked:
        raise InputError(Fault("is for mutants in random programs: leave --scenario out", "--unchecked"))
    racing, survived = mutants_in_races(mutants), 0
    asked = list(dict.fromkeys(options.scenario))
    table = TextTable("mutant", "scenario", "caught by", "race", "design")
    for head in ("orders", "chance of an order (PCT)"):
        table.add_column(head, justify="right")
    for mutant in racing:
        budget = Budget(options.budget / len(racing))
        done = hunt_races(mutant, budget.take, [ways[name] for name in asked], options.seed)
        if done.caught is None:
            survived += 1
            table.add_row(mutant.name, ", ".join(asked), "survived", "", "", f"{done.orders:,}", "")
            continue
        where = done.caught.check, done.layout, done.design
        chance = f"{done.chance:.1e}" if done.way == "priority" else ""
        table.add_row(mutant.name, done.caught.scenario, *where, f"{done.orders:,}", chance)
        keep(done.caught, options.out, mutant.name)
    console(sys.stdout).print(table)
    _say_how_many_race(racing, mutants)
    say(f"{len(racing) - survived} of {len(racing)} mutants caught, {survived} survived")
    return FAILED if survived else DONE


def _say_how_many_race(racing: Sequence[Mutant], mutants: Sequence[Mutant]) -> None:
    if len(racing) < len(mutants):
        say(f"{len(mutants) - len(racing)} of {len(mutants)} mutants are of no design that has races")


def _chances(options: argparse.Namespace, mutants: Sequence[Mutant]) -> int:
    """Is each of *mutants* found with a probability of 0.99 by the whole budget?"""
    from sim.terminal import TextTable, console
    from sim.verify import chances, mutants_in_races

    if options.scenario or options.unchecked:
        raise InputError(Fault("takes all races: leave --scenario and --unchecked out", "--sure"))
    racing, short = mutants_in_races([each for each in mutants if each.equivalent is None]), 0
    table = TextTable("mutant", "race", "design")
    heads = ("depth", "orders until found", "finds", "p", "N", "budget", "enough")
    for head in heads:
        table.add_column(head, justify="right")
    for mutant in racing:
        its = chances(mutant, options.budget, options.sure, options.seed)
        short += not its.enough
        verdict = "sure" if its.certain else "yes" if its.enough else "no"
        if its.certain:
            drawn = f"{its.hunt.orders:,}", "each time", "", ""
        else:
            bound = f"> {its.at_least:.0e}" if its.found else ""
            needed = f"{its.needed:,.0f}" if its.at_least else "-"
            drawn = f"{its.orders:,}", f"{its.found} of {its.seeds}", bound, needed
        where = its.hunt.layout, its.hunt.design, str(its.hunt.depth or "-")
        table.add_row(mutant.name, *where, *drawn, f"{its.affords:,}", verdict)
    console(sys.stdout).print(table)
    _say_how_many_race(racing, mutants)
    say(f"{len(racing) - short} of {len(racing)} mutants are found with a probability of 0.99 or more")
    return FAILED if short else DONE


def _print(rows: Sequence[Row]) -> None:
    from sim.terminal import console

    output = console(sys.stdout)
    if len(rows) <= MANY:
        output.print(_table(rows, "design", "scenario"))
    else:
        output.print(_table(rows, "design"))
        output.print(_table(rows, "scenario"))


def _table(rows: Sequence[Row], *keys: str) -> TextTable:
    """The sums of all rows that have the same *keys*, and of all."""
    from sim.terminal import TextTable

    table = TextTable(*keys)
    for head in ("executions", "operations", "events", "states", "violations"):
        table.add_column(head, justify="right")
    if any(row.outcome.races for row in rows):
        table.add_column("orders a second", justify="right")
        table.add_column("races")
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, key) for key in keys), []).append(row)
    for names, its in groups.items():
        table.add_row(*names, *_sums(its))
    if len(groups) > 1:
        table.add_section()
        table.add_row("all", *[""] * (len(keys) - 1), *_sums(rows))
    return table


def _sums(rows: Sequence[Row]) -> list[str]:
    each = [row.outcome for row in rows]
    states = sum(one.states for one in each)
    return [
        *(f"{sum(getattr(one, name) for one in each):,}" for name in ("executions", "operations", "events")),
        f"{states:,}" if states else "-",
        str(sum(len(one.violations) for one in each)),
        *_races([one for one in each if one.races]),
    ]


def _races(each: Sequence[Outcome]) -> list[str]:
    """How fast and how far those have come that go through orders."""
    if not each:
        return []
    if len(each) == 1 and each[0].races == 1:
        said = each[0].explored
    else:
        races, whole, within_one = (
            sum(getattr(one, name) for one in each) for name in ("races", "whole", "within_one")
        )
        said = f"{whole} of {races} whole, {within_one} with 1 preemption"
    speed = sum(one.executions for one in each) / sum(one.seconds for one in each)
    return [f"{speed:,.0f}", said]
