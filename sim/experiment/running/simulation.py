"""One point, simulated in this process: what the simulation raises becomes a failed outcome."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sim.engine import Recorder, Replayer, listen
from sim.errors import Fault, InputError
from sim.experiment import model
from sim.experiment.plan import Point
from sim.experiment.results import Outcome, measured, raised, with_report
from sim.experiment.running import schedule_file
from sim.experiment.running.watch import watched

if TYPE_CHECKING:
    from sim.check import Checks
    from sim.engine import Probe, Schedule
    from sim.workload import Measurement


def run_point(point: Point, record: Path | None = None, listeners: Sequence[Probe] = ()) -> Outcome:
    """Simulate one point; whatever the simulation raises, or one of *listeners*, becomes a failed outcome.

    Its schedule's decisions go to a file in the folder *record*, those of a failed point as well.
    """
    started = time.perf_counter()
    rule = point.schedule.rule()
    recorder = Recorder(rule)
    try:
        if model.code_version(model.parts_of(point.design_spec)) != point.code:
            raise InputError(
                Fault("the code of the model or of a plug-in changed after the experiment was read")
            )
        from sim.profile import RunReport

        checks = _checks(point)
        listeners = (*listeners, *checks.listeners) if checks else listeners
        with watched(point.budget), _explaining(checks):
            used = rule if record is None else recorder
            if point.profile:
                report = RunReport()
                outcome = measured(point, simulate(point, used, *listeners, *report.listeners))
                outcome = with_report(outcome, report.counters, report.rows)
            else:
                outcome = measured(point, simulate(point, used, *listeners))
        if isinstance(rule, Replayer):
            rule.check_ends()
    except Exception as error:
        outcome = raised(point, error)
    if record is not None:
        schedule_file.write(record, point, recorder.decisions())
    return replace(outcome, seconds=time.perf_counter() - started)


def _checks(point: Point) -> Checks | None:
    """The checks of a run of *point*, if it is to be checked."""
    if not point.check:
        return None
    from sim.check import Checks

    return Checks(point.again)


@contextmanager
def _explaining(checks: Checks | None) -> Iterator[None]:
    """What is raised inside because nothing goes on says why, where *checks* know."""
    try:
        yield
    except Exception as error:
        if checks is None or (better := checks.explain(error)) is error:
            raise
        raise better from error


def simulate(point: Point, schedule: Schedule, *listeners: Probe) -> Measurement:
    """Simulate one point under *schedule*, the rule of its own or what records that, and tell *listeners*."""
    from sim import workload
    from sim.sync import NOTHING

    return workload.simulate(
        point.machine_spec,
        point.design_spec,
        point.workload_spec,
        placement=point.placement,
        threads=point.threads,
        seed=point.seed,
        schedule=schedule,
        budget=workload.Budget(events=point.budget.events, simulated_ps=point.budget.simulated_time),
        probe=listen(*listeners),
        without=point.without or NOTHING,
    )
