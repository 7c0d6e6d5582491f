"""Does `whatif` say what it will try, try it, and write what it prints?"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from answers import Command

from sim.analysis.whatif import COLUMNS

EXPERIMENT = """\
name: small
machine: epyc-9965-guest
designs: [cortenmm-adv]
workloads: [pf]
placements: [low]
threads: [1, 2]
"""


@pytest.fixture
def finished(command: Command, folder: Path) -> Path:
    (folder / "small.yaml").write_text(EXPERIMENT)
    assert command("run", "small.yaml", "--workers", "1", "--no-plots", "--quiet").code == 0
    return folder / "results/small"


@pytest.mark.ci
def test_does_it_print_and_write_what_is_gained(command: Command, finished: Path) -> None:
    asked = ("--without", "lock: page table", "--without", "zeroing", "--without", "line: *")
    options = (*asked, "--replicates", "2", "--workers", "1", "--keep", "kept")
    answer = command("whatif", "small", *options)
    assert answer.code == 0
    assert "pf low, 2 threads on epyc-9965-guest" in answer.out
    assert "exact: the lock does not exist" in answer.out
    table = pd.read_csv(finished / "whatif/whatif.csv", keep_default_na=False, na_values=[""])
    assert tuple(table.columns) == COLUMNS
    assert set(table["kind"].dropna()) >= {"exact", "cost", "line"}
    again = command(
        "whatif", "small", *asked, "--replicates", "2", "--workers", "1", "--keep", "kept", "--json"
    )
    assert json.loads(again.out) == json.loads((finished / "whatif/whatif.json").read_text())
    assert len(json.loads(again.out)) == len(table)


def test_does_a_dry_run_simulate_nothing(command: Command, finished: Path) -> None:
    answer = command("whatif", finished, "--point", "threads=1", "--without", "zeroing", "--dry-run")
    assert answer.code == 0
    assert "zeroing" in answer.out
    assert "points would be simulated" in answer.out
    assert not (finished / "whatif").exists()


BAD = {
    ("nowhere",): "no such run",
    ("small", "--without", "zeroin"): "did you mean",
    ("small", "--point", "threads=3"): "no point is like this",
    ("small", "--replicates", "0"): "not a number",
}


def test_is_bad_input_one_message(command: Command, finished: Path) -> None:
    for arguments, says in BAD.items():
        answer = command("whatif", *arguments)
        assert answer.code == 2
        assert says in answer.err
        assert "Traceback" not in answer.err
