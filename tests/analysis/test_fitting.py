"""Fitting: are only calibration rows used, and is the closest candidate first?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from test_validation import HEADER, Toys, toy_frame

import sim.analysis.fitting as fitting
from sim.analysis.coverage import FileCatalogue
from sim.analysis.metrics import CellName
from sim.errors import InputError
from sim.files import Override, parse_choices

ROWS = (
    "toys,box,linux-6.13,pf,low,1,throughput,3,ops/us,exact,0.1,calibrate,me",
    "toys,box,linux-6.13,pf,low,8,throughput,9,ops/us,exact,0.1,check,me",
    "toys,other,linux-6.13,pf,low,2,throughput,5,ops/us,exact,0.1,calibrate,me",
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join([HEADER, *ROWS, ""]), encoding="utf-8")
    return path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[CellName]:
    """The cells that were simulated, by a toy whose throughput is the override's value."""
    cells: list[CellName] = []

    def points(
        _: object, wanted: Sequence[CellName], choice: Sequence[Override]
    ) -> list[tuple[CellName, float]]:
        cells.extend(wanted)
        return [(cell, float(choice[0].value)) for cell in wanted]

    def run(chosen: Sequence[tuple[CellName, float]], *_: object, **__: object) -> pd.DataFrame:
        frame = toy_frame([cell for cell, _ in chosen])
        frame["throughput_ops_per_us"] = [value for _, value in chosen]
        frame["throughput_from_latency_ops_per_us"] = frame["throughput_ops_per_us"]
        return frame

    monkeypatch.setattr(FileCatalogue, "points", points)
    monkeypatch.setattr(fitting, "run_points", run)
    return cells


def fit(data: Path, tries: str, machine: str = "box") -> fitting.Fit:
    return fitting.fit([parse_choices(tries, "--try")], machine, [data], catalogue=Toys())


def test_are_rows_that_are_predictions_left_alone(data: Path, asked: list[CellName]) -> None:
    fit(data, "machine.speed=[1, 2]")
    assert {(cell.machine, cell.threads) for cell in asked} == {("box", 1)}


def test_is_the_closest_first_and_is_half_as_far_as_double(data: Path, asked: list[CellName]) -> None:
    result = fit(data, "machine.speed=[1.5, 6, 2.9, 12]")
    assert result.candidates[0].values["machine.speed"] == 2.9
    scores = {candidate.values["machine.speed"]: candidate.score for candidate in result.candidates}
    assert scores[1.5] == pytest.approx(scores[6])
    assert scores[12] > scores[6]
    assert list(result.table.columns) == ["machine.speed", "score", "worst_error"]
    console = Console(width=120, record=True)
    result.render(console)
    assert "2.9" in console.export_text()


def test_is_a_machine_without_rows_refused(data: Path, asked: list[CellName]) -> None:
    with pytest.raises(InputError) as caught:
        fit(data, "machine.speed=[1]", machine="bix")
    assert "box, other" in str(caught.value)


@pytest.mark.parametrize("text", ["machine.speed=3", "machine.speed=[]", "seed=[1, 2]", "nonsense"])
def test_is_anything_but_a_list_of_values_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_choices(text, "--try")
    assert len(caught.value.faults) == 1
