"""Is the model held against published rows fairly: right points, right verdicts, honest reasons?"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
from rich.console import Console

import sim.analysis.validation as validation
from sim.analysis import ValidationResult, validate, write_report
from sim.analysis.metrics import CellName
from sim.analysis.published import COLUMNS, read_published
from sim.analysis.validation_report import NOT_EXPLAINED, markdown, render, write_csv
from sim.errors import InputError
from sim.files import Kind
from sim.workload import Reported

HEADER = ",".join(COLUMNS)


@dataclass(frozen=True)
class Box:
    cpus: int = 16
    clock: int = 2_000_000_000


class Toys:
    """A catalogue of one machine, two designs and three workloads."""

    known: ClassVar = {
        "machine": ("box",),
        "design": ("linux-6.13", "cortenmm-adv"),
        "workload": ("pf", "unmap", "mmap", "metis", "pairs"),
    }

    def beside(self, folder: Path) -> Toys:
        return self

    def name(self, kind: Kind, reference: str) -> str | None:
        return reference if reference in self.known[kind] else None

    def machine(self, name: str) -> Box:
        return Box()

    def placements(self, workload: str) -> Sequence[str]:
        known = {"pf": ("low", "high", "low-3-apart"), "unmap": ("low", "high"), "mmap": ("low",)}
        return known.get(workload, ())

    def shares_cpus(self, workload: str, placement: str) -> bool:
        return False

    def parts(self, workload: str, placement: str) -> bool:
        return workload == "pf"

    def job(self, workload: str) -> int | None:
        return 1000 if workload == "pf" else None

    def threads(self, workload: str, tasks: int) -> int:
        return 2 * tasks if workload == "pairs" else tasks

    def reported(self, workload: str, placement: str) -> Reported:
        return "from-latency" if workload == "mmap" else "over-time"

    def refusal(self, place: CellName) -> str | None:
        return "unmap cannot run with 3 threads" if (place.workload, place.threads) == ("unmap", 3) else None


def toy_throughput(place: CellName) -> float:
    """Linux stays at 1; adv is linear, in `high` only up to 4 threads; pf is twice as fast as unmap."""
    if place.design == "linux-6.13":
        return 1.0
    scale = min(place.threads, 4) if place.placement == "high" else place.threads
    return scale * (2.0 if place.workload == "pf" else 1.0)


def toy_frame(places: Sequence[CellName]) -> pd.DataFrame:
    rows = [
        {
            **{
                name: getattr(place, name)
                for name in ("design", "machine", "workload", "placement", "threads")
            },
            "seed": 1,
            "replicate": 0,
            "throughput_ops_per_us": toy_throughput(place),
            "throughput_from_latency_ops_per_us": 3 * toy_throughput(place),
            "latency_mean_ns": 1000 * place.threads / toy_throughput(place),
            "idle_share": 0.4,
            "interrupts_per_flush": math.nan,
            "latency_munmap_ns": 100.0 * place.threads if place.workload == "pf" else math.nan,
            "status": "ok",
            "error": "",
        }
        for place in places
    ]
    frame = pd.DataFrame(rows)
    split = [{"activity": "user", "ns_per_op": 250.0}, {"activity": "lock: mmap_lock", "ns_per_op": 750.0}]
    keys = ("design", "machine", "workload", "placement", "threads", "seed", "replicate")
    frame.attrs["breakdown"] = pd.DataFrame(
        [{**{k: r[k] for k in keys}, **part} for r in rows for part in split]
    )
    return frame


def test_is_a_part_that_did_not_happen_a_miss_that_says_so(
    held_against: Callable[..., ValidationResult],
) -> None:
    (judgement,) = held_against("linux-6.13,pf,low,1,latency_shootdown,1,ns").judgements
    assert judgement.verdict == "miss"
    assert "no shootdown in it, but munmap" in judgement.note


@pytest.fixture
def held_against(tmp_path: Path) -> Callable[..., ValidationResult]:
    """Validates the toy model against rows written as `system,workload,placement,tasks,metric,value,unit`."""

    def hold(*rows: str, run: validation.Runner | None = None, **options: object) -> ValidationResult:
        path = tmp_path / "rows.csv"
        full = [row if row.count(",") == 12 else f"toys,box,{row},exact,0.1,check,me" for row in rows]
        path.write_text("\n".join([HEADER, *full, ""]), encoding="utf-8")
        runner = run or (lambda places, workers, progress: toy_frame(places))
        return validate([path], catalogue=Toys(), run=runner, **options)  # type: ignore[arg-type]

    return hold


@pytest.mark.parametrize(
    ("row", "simulated"),
    [
        ("cortenmm-adv,pf,low,8,throughput,16,ops/us", 16.0),
        ("cortenmm-adv,pf,low,8,throughput,16e6,faults/s", 16e6),
        ("cortenmm-adv,pf,low,8,throughput,57.6e6,jobs/h", 57.6e6),
        ("cortenmm-adv,pf,low,8,latency_munmap,0.8,us", 0.8),
        ("cortenmm-adv,pf,low,8,latency_munmap,1600,cycles", 1600.0),
        ("cortenmm-adv,mmap,low,8,throughput,24,ops/us", 24.0),  # its benchmark divides by latency
        ("cortenmm-adv,pf,low,8,throughput_over_linux-6.13,16,ratio", 16.0),
        ("cortenmm-adv,pf,low,8,throughput_over_one_task,8,ratio", 8.0),
        ("cortenmm-adv,pf,low,8,idle_share,40,percent", 40.0),
        ("cortenmm-adv,pf,low,8,latency,500,ns", 500.0),
        ("cortenmm-adv,pf,low,8,latency,1000,cycles", 1000.0),
        ("cortenmm-adv,pf,low,8,scaling_over_one_thread_per_thread,1,ratio", 1.0),
        ("cortenmm-adv,pf,high,8,knee_threads,4,threads", 4.0),
        ("linux-6.13,metis,,8,throughput,1,ops/us", 1.0),
        ("cortenmm-adv,pairs,,4,throughput,8,ops/us", 8.0),  # a task is two threads
    ],
)
def test_is_each_kind_of_row_computed_in_its_own_unit(held_against, row: str, simulated: float) -> None:
    (judgement,) = held_against(row).judgements
    assert judgement.simulated == pytest.approx(simulated)
    assert (judgement.verdict, judgement.relative_error) == ("ok", pytest.approx(0))


@pytest.mark.parametrize(
    ("group", "metric", "simulated"),
    [
        ("(smallest of two)", "throughput_over_linux-6.13", 4.0),
        ("(largest of two)", "throughput_over_linux-6.13", 8.0),
        ("(all two)", "scaling_over_one_thread_per_thread", 0.25),
        ("(all two)", "knee_threads", 4.0),
    ],
)
def test_does_a_group_stand_for_the_workloads_of_its_dataset(
    held_against, group: str, metric: str, simulated: float
) -> None:
    unit = "threads" if metric == "knee_threads" else "ratio"
    result = held_against(
        "cortenmm-adv,pf,high,1,throughput,2,ops/us",
        "cortenmm-adv,unmap,high,1,throughput,1,ops/us",
        f"cortenmm-adv,{group},high,16,{metric},{simulated},{unit}",
    )
    assert result.judgements[2].simulated == simulated
    assert {place.workload for place in result.judgements[2].points} == {"pf", "unmap"}
    assert result.judgements[2].note.startswith("pf ")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("toys,moon,linux-6.13,pf,low,1,throughput,1,ops/us,exact,0.1,check,me", "no machine named moon"),
        ("linux-2.4,pf,low,1,throughput,1,ops/us", "no design named linux-2.4"),
        ("linux-6.13,doom,low,1,throughput,1,ops/us", "no workload named doom"),
        ("linux-6.13,pf,sideways,1,throughput,1,ops/us", "pf has no placement sideways"),
        ("linux-6.13,pf,,1,throughput,1,ops/us", "no placement given, and pf has low, high"),
        ("linux-6.13,pf,low,17,throughput,1,ops/us", "17 threads on a machine of 16 cpus"),
        ("linux-6.13,pairs,,9,throughput,1,ops/us", "18 threads on a machine of 16 cpus"),
        ("linux-6.13,pf,low,1,frames_per_fault,1,count", "the model computes no frames_per_fault"),
        ("linux-6.13,unmap,low,1,throughput,1,jobs/h", "unmap does not say how many operations a job has"),
        ("linux-6.13,unmap,low,1,latency_munmap,1,ns", "unmap does not report what its parts take"),
        ("linux-6.13,pf,low,1,throughput,1,furlongs", "throughput cannot be told in furlongs"),
        ("linux-6.13,pf,low,1,throughput_over_beos,1,ratio", "no design named beos"),
        ("linux-6.13,unmap,low,3,throughput,1,ops/us", "unmap cannot run with 3 threads"),
        ("linux-6.13,(best of two),low,1,throughput,1,ops/us", "the group (best of two) is not understood"),
        ("linux-6.13,(all five),low,1,throughput,1,ops/us", "(all five), but the dataset names 0 workloads"),
    ],
)
def test_is_what_the_model_cannot_do_not_covered_with_the_reason(held_against, row: str, reason: str) -> None:
    result = held_against(row)
    (judgement,) = result.judgements
    assert judgement.verdict == "not covered"
    assert judgement.note.startswith(reason)
    assert math.isnan(judgement.simulated)
    assert result.ok
    assert not result.complete


def test_may_the_end_of_a_placement_stand_behind_the_workload(held_against) -> None:
    """`pf-3-apart` in `low` is pf in `low-3-apart`; there is no such `high`."""
    result = held_against(
        "linux-6.13,pf-3-apart,low,1,throughput,1,ops/us", "linux-6.13,pf-3-apart,high,1,throughput,1,ops/us"
    )
    one, other = result.judgements
    assert [(place.workload, place.placement) for place in one.points] == [("pf", "low-3-apart")]
    assert other.note == "no workload named pf-3-apart, neither beside the data nor among the presets"


def test_is_each_point_simulated_once(held_against) -> None:
    asked: list[Sequence[CellName]] = []

    def run(places: Sequence[CellName], workers: int, progress: object) -> pd.DataFrame:
        asked.append(places)
        return toy_frame(places)

    ratio = "cortenmm-adv,pf,low,8,throughput_over_linux-6.13,16,ratio"
    held_against(ratio, ratio, "linux-6.13,pf,low,8,throughput,1,ops/us", run=run)
    assert [len(places) for places in asked] == [2]


def test_is_nothing_simulated_when_nothing_is_covered(held_against) -> None:
    def run(*_: object) -> pd.DataFrame:
        raise AssertionError

    assert held_against("linux-2.4,pf,low,1,throughput,1,ops/us", run=run).ok


@pytest.mark.parametrize(
    ("value", "verdict"), [(16 / 1.1, "ok"), (14.5, "miss"), (16 / 0.9, "ok"), (18, "miss")]
)
def test_is_the_verdict_the_tolerance_s(held_against, value: float, verdict: str) -> None:
    (judgement,) = held_against(f"cortenmm-adv,pf,low,8,throughput,{value},ops/us").judgements
    assert judgement.verdict == verdict
    assert judgement.relative_error == pytest.approx(16 / value - 1)


def test_is_a_row_under_suspicion_shown_and_not_judged(held_against) -> None:
    row = "toys,box,cortenmm-adv,pf,low,8,throughput,1000,ops/us,exact,0.1,shown,me"
    result = held_against(row, "cortenmm-adv,pf,low,8,throughput,16,ops/us")
    shown, judged = result.judgements
    assert (shown.verdict, shown.simulated, judged.verdict) == ("shown", pytest.approx(16.0), "ok")
    assert result.ok
    assert result.misses == []


def test_is_a_failed_point_a_miss_that_says_why(held_against) -> None:
    def run(places: Sequence[CellName], workers: int, progress: object) -> pd.DataFrame:
        return toy_frame(places).assign(
            status="failed", error="BudgetExceeded: events", throughput_ops_per_us=math.nan
        )

    result = held_against("cortenmm-adv,pf,low,8,throughput,16,ops/us", run=run)
    assert not result.ok
    assert "BudgetExceeded: events" in result.judgements[0].note


def test_are_calibrated_and_predicted_rows_summed_up_apart(held_against) -> None:
    rows = [
        f"toys,box,cortenmm-adv,pf,low,8,throughput,{value},ops/us,exact,0.1,{use},me"
        for value, use in ((16, "calibrate"), (15, "check"), (10, "check"), (17, "check"))
    ]
    summary = held_against(*rows, "linux-2.4,pf,low,1,throughput,1,ops/us").summary.set_index("use")
    assert summary.loc["calibrate", ["rows", "ok", "miss", "not_covered"]].tolist() == [1, 1, 0, 0]
    assert summary.loc["check", ["rows", "ok", "miss", "not_covered"]].tolist() == [4, 2, 1, 1]
    assert summary.loc["check", "worst_error"] == pytest.approx(0.6)
    assert summary.loc["check", "median_error"] == pytest.approx(1 / 15)


def test_does_the_csv_repeat_its_input_and_add_three_columns(held_against, tmp_path: Path) -> None:
    result = held_against("cortenmm-adv,pf,low,8,throughput,1.60e1,ops/us", "linux-2.4,pf,low,1,latency,1,ns")
    path = write_csv(result, tmp_path)
    with path.open(newline="", encoding="utf-8") as stream:
        header, covered, strange = csv.reader(stream)
    assert header == [*COLUMNS, "simulated", "relative_error", "verdict"]
    assert covered[7] == "1.60e1"
    assert covered[-3:] == ["16.0", "0.0", "ok"]
    assert strange[-3:] == ["", "", "not covered"]
    assert path.name == "validation.csv"


def test_is_every_covered_row_on_the_terminal_with_its_verdict(held_against) -> None:
    screen = io.StringIO()
    result = held_against(
        "cortenmm-adv,pf,low,8,throughput,16,ops/us",
        "cortenmm-adv,pf,low,8,throughput,99,ops/us",
        "linux-2.4,pf,low,1,latency,1,ns",
    )
    render(result, Console(file=screen, width=200))
    for words in ("-83.8%", "miss", "±10%", "no design named linux-2.4", "median error"):
        assert words in screen.getvalue()


def test_does_the_report_explain_each_miss_or_admit_that_nobody_has(held_against, tmp_path: Path) -> None:
    result = held_against(
        "cortenmm-adv,pf,low,8,throughput,99,ops/us", "cortenmm-adv,pf,high,8,throughput,99,ops/us"
    )
    explained = "toys/cortenmm-adv/pf/low/8/throughput: The toy is too simple.\n"
    (tmp_path / "misses.yaml").write_text(explained, encoding="utf-8")
    page = write_report(result, tmp_path / "validation.md").read_text(encoding="utf-8")
    assert page.count("### cortenmm-adv: pf") == 2
    assert "The toy is too simple." in page
    assert page.count(NOT_EXPLAINED) == 1
    assert "| cortenmm-adv | pf high | 8 | 1 µs | 250 | 750 |" in page


def test_stand_both_throughputs_side_by_side_where_a_benchmark_divides_by_latency(held_against) -> None:
    result = held_against(
        "cortenmm-adv,mmap,low,8,throughput,24,ops/us",
        "cortenmm-adv,mmap,low,4,throughput,12,ops/us",
        "cortenmm-adv,pf,low,8,throughput,16,ops/us",
    )
    page = markdown(result, {})
    section = page.split("## Two throughputs")[1].split("## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| box")]
    assert rows == ["| box | cortenmm-adv | mmap | low | 8 | 8 | 24 | 3.00 |"]


def test_is_an_explanation_that_no_miss_needs_pointed_out(held_against) -> None:
    result = held_against("cortenmm-adv,pf,low,8,throughput,16,ops/us")
    key = result.judgements[0].observation.key
    assert f"- `{key}`" in markdown(result, {key: "It was wrong once.", "other/row": "of other data"})
    assert "other/row" not in markdown(result, {"other/row": "of other data"})


def test_is_a_bad_file_of_explanations_refused(held_against, tmp_path: Path) -> None:
    (tmp_path / "misses.yaml").write_text("a/b: 5\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"misses\.yaml: a/b: an explanation is text"):
        write_report(held_against("linux-6.13,pf,low,1,latency,1,ns"), tmp_path / "validation.md")


def test_is_a_place_that_cannot_be_written_one_fault(held_against, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_csv(held_against("linux-6.13,pf,low,1,latency,1,ns"), tmp_path / "file")


def test_may_the_page_be_read_as_columns_of_one_width(held_against) -> None:
    page = markdown(held_against("cortenmm-adv,pf,low,8,throughput,99,ops/us"), {})
    blocks = [block.splitlines() for block in page.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 3
    assert all(len({line.count("|") for line in block}) == 1 for block in blocks)


def test_does_each_miss_on_file_name_a_published_row() -> None:
    from sim.analysis.published import default_files
    from sim.analysis.validation_report import read_explanations

    keys = {row.key for row in read_published(default_files())}
    assert set(read_explanations(Path(__file__).parents[2] / "docs" / "misses.yaml")) <= keys


def test_is_the_share_of_mmap_lock_that_of_the_breakdown_and_its_error_a_difference(held_against) -> None:
    row = "linux-6.13,pf,low,8,share_mmap_lock_wait,0.8,ratio"
    judgement = held_against(row).judgements[0]
    assert judgement.simulated == pytest.approx(0.75)
    assert judgement.relative_error == pytest.approx(-0.05)

    def without(places: Sequence[CellName], workers: int, progress: object) -> pd.DataFrame:
        frame = toy_frame(places)
        frame.attrs.clear()
        return frame

    judgement = held_against(row, run=without).judgements[0]
    assert judgement.verdict == "miss"
    assert "no breakdown" in judgement.note


def test_is_an_idle_share_off_by_points_and_no_part_of_the_median(held_against) -> None:
    """Simulated 40 %: 45 and 55 % are off by 5 and 15 points of which 10 are allowed, and 0 is a share."""
    rows = [f"linux-6.13,pf,low,8,idle_share,{value},%" for value in (45, 55, 0)]
    result = held_against(
        *rows,
        "linux-6.13,pf,low,8,throughput,2.0,ops/us",
        run=lambda places, workers, progress: toy_frame(places).assign(idle_share=0.4),
    )
    errors = [judgement.relative_error for judgement in result.judgements]
    assert errors == pytest.approx([-0.05, -0.15, 0.4, -0.5])
    assert [judgement.simulated for judgement in result.judgements] == pytest.approx([40, 40, 40, 1])
    assert [judgement.verdict for judgement in result.judgements] == ["ok", "miss", "miss", "miss"]
    assert result.summary["median_error"].tolist() == [0.5]
