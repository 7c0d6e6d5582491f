"""Does `cortensim verify` find what is wrong, say it in one clear block, and see it again?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sim.cli import main
from sim.engine import Steps
from sim.mm import SynchronousFlush
from sim.verify import SCENARIOS, default_designs, run_session


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
        assert verify("--design", "linux", "--scenario", "shared", "--budget", "3s", "--seed", "5") == 1
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


@pytest.mark.ci
def test_does_every_design_and_lock_pass_a_look() -> None:
    """One scenario each; `cortensim verify` without arguments runs all of them, for a minute."""
    scenarios, designs = list(SCENARIOS.values()), default_designs()
    for number, design in enumerate(designs):
        suiting = [each for each in scenarios if each.suits(design)]
        (row,) = run_session([design], [suiting[number % len(suiting)]], 60, 5, executions=1)
        assert not row.outcome.violations, row
        assert row.outcome.events > 0
    assert len(designs) > 60


def test_are_mutants_hunted_and_kept_and_found_again(capsys: pytest.CaptureFixture[str]) -> None:
    names = "rwsem-writer-wakes-nobody,mcs-does-not-wait"
    assert verify("--mutants", names, "--budget", "10s") == 0
    assert "2 of 2 mutants caught, 0 survived" in capsys.readouterr().out
    kept = "results/verify/mcs-does-not-wait.replay.yaml"
    assert verify("--replay", kept) == 1
    told = capsys.readouterr().out
    assert "with the mutant mcs-does-not-wait: who finds a predecessor goes in beside it" in told
    assert "a writer is inside alone" in told
    content = Path(kept).read_text().replace("mutant: ", "# ")
    Path(kept).write_text(content)
    assert verify("--replay", kept) == 0


def test_do_mutants_survive_if_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify("--mutants", "mcs-does-not-wait", "--budget", "0.2s", "--unchecked") == 1
    assert "0 of 1 mutants caught, 1 survived" in capsys.readouterr().out


def test_are_mutants_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify("--mutants", "list") == 0
    out = capsys.readouterr().out
    assert "bravo-revocation-skips-a-slot: a writer that scans" in out
    assert "    like CVE-2018-18281" in out


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
        (["--scenario", "huge"], "allowed: alone, .*, priorities, or a race that --scenarios lists"),
        (["--replay", "nowhere.yaml"], "nowhere.yaml: cannot read"),
        (["--replay", "nowhere.yaml", "--design", "adv"], "leave --design, --scenario and --mutants out"),
        (["--out", "/dev/null/x", "--design", "adv"], "cannot write here"),
        (["--mutants", "no-flash"], "no mutant of this name.*did you mean 'no-flush'"),
        (["--mutants", "no-flush", "--design", "adv"], "leave --design out"),
        (["--unchecked"], "add --mutants"),
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
