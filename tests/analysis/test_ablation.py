"""Does switching a mechanism off change what it is for, and nothing else?"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sim.analysis.ablation import Ablation, Effect, Mechanism, ablate, read_mechanisms, report, said
from sim.analysis.published import COLUMNS
from sim.cli import main
from sim.errors import InputError
from sim.files import KeyPath, Kind, from_mapping, load_spec, presets

ROWS = (
    "lines,icelake-client-4,hardware,atomic-add,,1,throughput,164,Mops/s,exact,0.2,check,me",
    "lines,icelake-client-4,hardware,atomic-add,,2,throughput,61,Mops/s,exact,0.2,check,me",
    "lines,icelake-client-4,hardware,atomic-add,,2,throughput,61,Mops/s,exact,0.2,calibrate,me",
    "calls,guest-1,linux-6.13,null-syscall,,1,latency,100,ns,exact,0.5,check,me",
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join([",".join(COLUMNS), *ROWS, ""]), encoding="utf-8")
    return path


def mechanism(**off: object) -> dict[str, Mechanism]:
    values = {path.replace("__", "."): value for path, value in off.items()}
    return {"it": Mechanism("it", "a mechanism", tuple(from_mapping(values)))}


def test_without_its_burst_an_owner_loses_a_line_that_others_want(data: Path) -> None:
    (ablation,) = ablate(paths=[data], mechanisms=mechanism(machine__coherence__probe=0.0))
    (effect,) = ablation.effects.values()
    assert list(ablation.effects) == ["lines"]  # calls share no line
    assert (effect.rows, effect.moved) == (2, 1)  # of check rows, and of one thread nothing changes
    assert effect.before < 0.05 < effect.after
    assert effect.helps
    assert not ablation.questioned


def test_rows_that_take_many_events_are_left_out(data: Path) -> None:
    off = mechanism(machine__coherence__probe=0.0)
    assert ablate(paths=[data], mechanisms=off, events=1)[0].effects == {}
    (ablation,) = ablate(paths=[data], mechanisms=off, events=1_000_000)
    assert ablation.effects["lines"].rows == 2
    assert "of more than 1,000,000 events are left out" in report([ablation], events=1_000_000)


def test_what_no_file_has_changes_nothing(data: Path) -> None:
    (ablation,) = ablate(paths=[data], mechanisms=mechanism(machine__interrupts__no_such_key=1))
    assert ablation.effects == {}
    assert not ablation.questioned


def test_a_row_whose_workload_asks_for_the_mechanism_needs_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    row = "dram,xeon-6240x2,hardware,loaded-latency-2.19GBps,,36,latency,88,ns,exact,0.2,check,me"
    path.write_text("\n".join([",".join(COLUMNS), row, ""]), encoding="utf-8")
    (ablation,) = ablate(paths=[path], mechanisms=mechanism(machine__memory__dram=None))
    assert (ablation.effects["dram"].rows, ablation.effects["dram"].failed) == (1, 1)
    assert "| dram | 0 of 1, 1 need it |  |  | helps |" in report([ablation])


def test_what_helps_no_dataset_is_questioned() -> None:
    known = mechanism(machine__turbo=[])["it"]
    assert Ablation(known, {"a": Effect(3, 1, 0.1, 0.102), "b": Effect(3, 3, 0.2, 0.1)}).questioned
    page = report([Ablation(known, {"b": Effect(3, 3, 0.2, 0.1)})])
    assert "| `it` | a mechanism | b | 3 of 3 | 20.0% | 10.0% | hurts, questioned |" in page


def test_each_mechanism_on_board_switches_something_off() -> None:
    """A path that no file has any more would make its mechanism look useless."""
    kinds: tuple[Kind, ...] = ("machine", "design", "workload")
    trees = {
        kind: {
            name: yaml.load(path.read_text(), yaml.CSafeLoader)
            for name, file in presets.files_of(kind).items()
            for path in file
        }
        for kind in kinds
    }

    def written(tree: object, path: KeyPath) -> object:
        for part in path:
            tree = tree.get(part) if isinstance(tree, dict) else None
        return tree.get("value", tree) if isinstance(tree, dict) else tree

    for known in read_mechanisms().values():
        for change in known.off:
            values = {name: written(tree, change.inner) for name, tree in trees[change.target].items()}
            has = [name for name, value in values.items() if value not in (None, change.value)]
            sample = has[0] if has else next(iter(values))
            assert has or said(load_spec(change.target, sample), change.inner) not in (None, change.value)
            load_spec(change.target, sample, [change])  # and this is a value that it may have


@pytest.mark.parametrize("text", ["a: 1\n", "a: {title: x}\n", "a: {title: x, off: 3}\n"])
def test_no_mechanism(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="must have a title, and values under `off`"):
        read_mechanisms(tmp_path / "x.yaml")


@pytest.mark.parametrize("path", ["seed", "machnie.turbo", "threads"])
def test_only_values_of_files_are_switched_off(tmp_path: Path, path: str) -> None:
    (tmp_path / "x.yaml").write_text(f"a: {{title: x, off: {{{path}: 1}}}}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"x\.yaml:1:.*no value of a file.*machine\.<key>"):
        read_mechanisms(tmp_path / "x.yaml")


def test_the_command_writes_a_page(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "out" / "ablation.md"
    arguments = [
        "ablate",
        "owner-burst",
        "turbo",
        "--data",
        str(data),
        "--report",
        str(page),
        "--workers",
        "1",
    ]
    assert main(arguments) == 0
    text = page.read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    assert (
        "| `owner-burst` | an owner goes on with its line until a request arrives | lines | 1 of 2 |" in text
    )
    assert "| `turbo` |" in text


def test_what_is_kept_is_not_simulated_again(data: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    again = ["--data", str(data), "--workers", "1", "--keep", str(kept)]
    main(["ablate", "owner-burst", *again])
    journal = (kept / "journal.jsonl").read_bytes()
    assert journal.count(b"\n") == 5  # three points of check rows, two of them without the mechanism
    main(["ablate", "owner-burst", *again])
    main(["validate", *again])
    assert (kept / "journal.jsonl").read_bytes() == journal


def test_an_unknown_mechanism(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", "owner-brust", "--data", str(data)]) == 2
    assert "did you mean 'owner-burst'" in capsys.readouterr().err
