"""`cortensim verify` on races: does it say how far it went, and repeat what it has found?"""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.cli import main


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def test_does_the_table_say_how_far_a_race_was_explored(capsys: pytest.CaptureFixture[str]) -> None:
    race = "--scenario", "exhaustive/munmap-access"
    assert main(["verify", "--design", "cortenmm-adv", *race, "--budget", "60s"]) == 0
    assert "explored all 20" in capsys.readouterr().out
    assert main(["verify", "--design", "linux-6.13", *race, "--budget", "0.001s"]) == 0
    assert "stopped at budget: 1 of" in capsys.readouterr().out


def test_is_a_mutant_caught_by_orders_and_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    ways = "--scenario", "exhaustive", "--scenario", "priorities"
    assert main(["verify", "--mutants", "mcs-does-not-wait", *ways, "--budget", "20s"]) == 0
    assert "1 of 1 mutants caught, 0 survived" in capsys.readouterr().out
    kept = "results/verify/mcs-does-not-wait.replay.yaml"
    assert '"next": "cpu 1"' in Path(kept).read_text()
    assert main(["verify", "--replay", kept]) == 1
    assert "a writer is inside alone" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--mutants", "mcs-does-not-wait", "--scenario", "alone"), "does not take mutants"),
        (("--scenario", "exhaustive/munmap-fautl"), "exhaustive/munmap-fault"),
        (("--scenario", "exhaustive/two-writers", "--design", "linux"), "none of these scenarios suits"),
    ],
)
def test_is_what_makes_no_sense_said(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", *arguments]) == 2
    assert said in capsys.readouterr().err
