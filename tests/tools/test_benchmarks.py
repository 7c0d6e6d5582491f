"""Do the benchmarks (docs/performance.md) compare what is the same, and does their check find what grew?"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy._core._multiarray_umath as compiled_module
import pytest

from benchmarks import __main__ as command
from benchmarks import delays, host, instructions, native, probes_off, shootdown, table
from benchmarks.checkout import ROOT, Worker
from benchmarks.instructions import Count
from benchmarks.operations import changes_of

PAGE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")


def test_take_lock_and_shootdown_equally_long_in_all_simulators() -> None:
    said = shootdown.simulated(20, 8)
    assert len(said) == 4
    (latencies,) = set(map(tuple, said.values()))
    one = 20 * shootdown.SEND + shootdown.DELIVER + shootdown.HANDLER
    assert latencies == tuple(one * min(number, 4) for number in range(1, 9))


def test_has_the_page_a_table_with_all_parts_of_one_host() -> None:
    read = table.read(PAGE)
    assert list(read.parts) == [part.TITLE for part in command.PARTS.values()]
    assert all(len(row) == 8 for rows in read.parts.values() for row in rows)
    assert table.merged(PAGE, read, list(read.parts)) == PAGE


def test_takes_the_command_what_the_page_says() -> None:
    said = re.findall(r"^python -m benchmarks (.*?)\s+#", PAGE, re.M)
    assert len(said) == 5
    for words in said:
        assert set(command.arguments().parse_args(words.split()).parts) <= set(command.PARTS)


def test_is_a_part_renewed_beside_those_of_the_same_host_only() -> None:
    order = ["first", "second"]
    page = f"before\n{table.BEGIN}\n{table.END}\nafter\n"
    old = table.Table("here")
    old.add("second", [table.Row("old", "times", {8: 1234.5}, 2.0, digits=1)])
    page = table.merged(page, old, order)
    assert "| old | times | 2.0 |  | 1,234.5 |  |  |  |" in page
    new = table.Table("here")
    new.add("first", [table.Row("new", "µs")])
    both = table.read(table.merged(page, new, order))
    assert list(both.parts) == order
    assert both.parts["second"] == old.parts["second"]
    assert table.merged(page, new, order).startswith("before\n")
    assert table.merged(page, new, order).endswith("\nafter\n")
    new.host = "elsewhere"
    with pytest.raises(ValueError, match=r"(?s)measured on: here.*this is: elsewhere.*too: second"):
        table.merged(page, new, order)


def test_are_more_instructions_found_and_other_work_not_compared() -> None:
    kept = {job: Count(100, 2.0) for job in ("same", "a little", "grown", "other work", "gone")}
    now = {
        "same": Count(100, 2.0),
        "a little": Count(100, 2.0 * (1 + instructions.MAY_GROW)),
        "grown": Count(100, 2.02 * (1 + instructions.MAY_GROW)),
        "other work": Count(101, 1.0),
        "new": Count(100, 2.0),
    }
    faults = instructions.grown(kept, now)
    assert [fault.split(":")[0] for fault in faults] == ["gone", "grown", "other work", "new"]
    assert instructions.grown(kept, dict(kept)) == []


def test_are_counts_kept_for_each_kind_of_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept.json"
    for kind, yardsticks in (("one", 1.0), ("other", 2.0)):
        monkeypatch.setattr(instructions, "kind", lambda kind=kind: kind)
        instructions.keep({"job": Count(3, yardsticks)}, path)
    assert instructions.read(path) == {"one": {"job": Count(3, 1.0)}, "other": {"job": Count(3, 2.0)}}


def test_is_compiled_code_told_from_interpreted() -> None:
    assert host.mode(compiled_module) == "compiled"
    assert host.mode(table) == "interpreted"


@pytest.mark.ci
def test_does_the_loop_in_cpp_end_when_the_engine_does(tmp_path: Path) -> None:
    loop = native.build("loop", tmp_path)
    if loop is None:
        pytest.skip("no C++ compiler")
    for processes in (1, 2, 7, 64):
        run = delays.on_the_engine(processes, 640)
        run()
        said = subprocess.run([loop, str(processes), "640"], capture_output=True, text=True, check=True)
        assert int(said.stderr) == run.__self__.now


@pytest.mark.ci
def test_simulates_a_worker_points_of_its_checkout() -> None:
    with Worker() as worker:
        first = worker.simulate(changes_of("cortenmm-adv", "pf", 2), times=2)
        again = worker.simulate(changes_of("cortenmm-adv", "pf", 2))
        with pytest.raises(RuntimeError, match="no answer"):
            worker.simulate(changes_of("cortenmm-adv", "pf", 2) | {"budget.events": 10})
    assert len(first.seconds) == 2
    assert (first.operations, first.events) == (again.operations, again.events)
    assert first.operations % 64 == 0
    assert 10_000_000 < first.before < first.peak <= again.before


@pytest.mark.ci
def test_executes_the_model_no_more_than_what_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """Noise does not change it: instructions, in units of a loop of plain Python."""
    code = command.main(["--check"])
    said = capsys.readouterr().out
    if said.startswith("skipped: "):
        pytest.skip(said)
    assert code == 0, said


@pytest.mark.slow
def test_does_a_model_without_probes_simulate_the_same(tmp_path: Path) -> None:
    assert probes_off.without_probes(tmp_path) > 100
    lock = (tmp_path / "sim/sync/spin.py").read_text()
    assert "takes(" not in lock
    assert "plain_locks" not in lock
    point = "linux-6.13", "unmap", "high", 2
    with_, without = (probes_off.simulate(package, point)[0] for package in (probes_off.ROOT, tmp_path))
    assert with_ == without > 0
