"""Fixtures of the experiment floor: a house of small preset files over a fake model."""

from __future__ import annotations

from pathlib import Path

import fakes
import pytest

from sim.experiment import floors, presets
from sim.experiment.plan import Experiment, load


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of presets, which is also the current directory."""
    fakes.write_house(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(presets, "root", lambda: tmp_path)
    monkeypatch.setattr(floors, "model", fakes.model)
    monkeypatch.setattr(floors, "foresee", lambda *_: None)
    monkeypatch.setattr(floors, "lacking", lambda *_: None)
    monkeypatch.setattr(floors, "families", lambda: ["fake"])
    monkeypatch.setattr(floors, "model_version", lambda: "fake model 1")
    return tmp_path


@pytest.fixture
def pair(house: Path) -> Experiment:
    """Two designs, two placements, four thread counts."""
    return load("pair")
