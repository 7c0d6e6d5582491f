"""Does `cortensim verify` find what is wrong, say it in one clear block, and see it again?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sim.cli import main
from sim.engine import Steps
from sim.mm import SynchronousFlush
from sim.verify import SCENARIOS


def nothing(*_: object, **__: object) -> Steps[None]:
    return
    yield


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def verify(*arguments: str) -> int:
    return main(["verify", *arguments])


def test_does_a_right_design_pass_and_is_what_was_run_counted(capsys: pytest.CaptureFixture[str]) -> None:
    budget = "--budget", "0.1s"
    assert verify("--design", "adv", "--scenario", "alone", "--scenario", "short histories", *budget) == 0
    rows = {row[1]: row for row in map(_cells, capsys.readouterr().out.splitlines()) if len(row) > 6}
    for name in ("alone", "short histories"):
        design, _, executions, operations, events, states, violations = rows[name]
        assert (design, violations) == ("adv", "0")
        assert int(events) > int(operations) > int(executions) > 0
        assert (states != "-") == (name == "short histories")


def _cells(line: str) -> list[str]:
    return [cell.strip().replace(",", "") for cell in re.split("[│┃]", line)[1:-1]]


def test_is_what_is_wrong_told_and_kept_and_found_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as mutant:
        mutant.setattr(SynchronousFlush, "flush", nothing)
        assert verify("--design", "linux", "--scenario", "shared", "--budget", "1s") == 1
        told = capsys.readouterr()
        assert "1 violation; it is kept in results/verify" in told.err
        kept = re.search(r"again: cortensim verify --replay (\S+)", told.out)
        assert kept is not None
        assert verify("--replay", kept[1]) == 1
        again = capsys.readouterr().out
    first, second = (
        re.sub(r"(seed|again): .*", "", each).split("┏")[0].strip() for each in (told.out, again)
    )
    assert first == second
    for said in ("linux, shared: ", "cpu 0", "address 0x", "what happened last:", "munmap"):
        assert said in first
    assert verify("--replay", kept[1]) == 0
    assert "nothing is wrong; it was: " in capsys.readouterr().out


def test_are_the_scenarios_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify("--scenarios") == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"^{name} +\w", out, re.MULTILINE) for name in SCENARIOS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--design", "linux-6.31"], "no design of this name.*did you mean"),
        (["--design", "hardware"], "offers no mmap"),
        (["--scenario", "sharde"], "no scenario of this name.*did you mean 'shared'"),
        (["--replay", "nowhere.yaml"], "nowhere.yaml: cannot read"),
        (["--replay", "nowhere.yaml", "--design", "adv"], "leave --design and --scenario out"),
        (["--out", "/dev/null/x", "--design", "adv"], "cannot write here"),
    ],
)
def test_is_bad_input_one_message(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(*arguments) == 2
    told = capsys.readouterr()
    assert re.search(says, told.err)
    assert told.out == ""
    assert told.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--budget", "5 parsecs"], ["--budget", "0s"], ["--seed", "-1"]])
def test_is_a_bad_number_one_message(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        verify(*arguments)
    assert "not a " in capsys.readouterr().err
