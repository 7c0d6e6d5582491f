"""What does a notebook get from `import sim`?"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import fakes
import numpy as np
import pytest
from fakes import faults_of
from rich.console import Console

import sim
from sim.experiment import COLUMNS, KEY, Experiment, Point, meter


def test_is_importing_sim_cheap() -> None:
    code = (
        "import sys, sim; print(sorted({'pydantic', 'yaml', 'numpy', 'pandas', 'simpy'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=root).stdout == b"[]\n"


def test_is_a_wrong_name_an_ordinary_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        sim.laod  # noqa: B018


@pytest.mark.usefixtures("house")
def test_does_load_and_run_give_a_tidy_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    def simulate(point: Point, schedule: object) -> fakes.Measurement:
        return fakes.Measurement(1, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8, {"user": 9.0})

    monkeypatch.setattr("sim.experiment.running.simulation.simulate", simulate)
    experiment = sim.load("pair", {"threads": np.array([1, 2]), "design": "calm"})
    frame = sim.run(experiment)
    assert list(frame.columns) == list(COLUMNS)
    assert list(frame["threads"]) == [1, 2, 1, 2]
    assert list(frame.attrs["breakdown"].columns) == [*KEY, "activity", "ns_per_op"]


@pytest.mark.usefixtures("house")
def test_is_a_value_that_no_file_could_hold_refused() -> None:
    assert faults_of(sim.load, "pair", {"seed": object()}) == [
        "override 'seed': a object cannot stand in a file (allowed: numbers, text, lists and mappings)"
    ]


@pytest.mark.parametrize("arguments", [{"workers": 0}, {"resume": True}])
def test_which_ways_to_run_are_refused(pair: Experiment, arguments: dict[str, int]) -> None:
    assert len(faults_of(lambda: sim.run(pair, **arguments))) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("terminal", [True, False])
def test_does_the_meter_show_how_far_it_is(pair: Experiment, terminal: bool) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=120)
    with meter(console) as progress:
        sim.run(pair, progress=progress, task=fakes.fail_at_four)
    assert "16/16 points" in stream.getvalue()
    assert "4 failed" in stream.getvalue()
