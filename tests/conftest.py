"""A house of small preset files over a fake model.

Examples of hypothesis may take their time. They are the same in each run, so that a change which passes once
passes again; `--hypothesis-profile random` draws others.
"""

from __future__ import annotations

from pathlib import Path

import fakes
import pytest
from hypothesis import settings

from sim.experiment import Experiment, load, model
from sim.files import presets, spec_types

settings.register_profile("cortensim", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None)
settings.load_profile("cortensim")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of presets, which is also the current directory."""
    fakes.write_house(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(presets, "root", lambda: tmp_path)
    monkeypatch.setattr(spec_types, "of", fakes.spec_type)
    monkeypatch.setattr(spec_types, "families", lambda: ["fake"])
    monkeypatch.setattr(model, "foresee", lambda *_: None)
    monkeypatch.setattr(model, "lacking", lambda *_: [])
    monkeypatch.setattr(model, "model_version", lambda: "fake model 1")
    return tmp_path


@pytest.fixture
def pair(house: Path) -> Experiment:
    """Two designs, two placements, four thread counts."""
    return load("pair")
