"""Are bands as wide as the quality of the costs allows, and no wider?"""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.analysis.bands import Band, bands, drawn_files, read_bands, write_bands
from sim.analysis.coverage import FileCatalogue
from sim.analysis.published import COLUMNS
from sim.analysis.uncertainty import Uncertain, drawn, uncertain
from sim.analysis.wording import plain_number
from sim.cli import main
from sim.errors import InputError
from sim.files import dotted, load_spec


def of(kind: str, name: str) -> dict[str, Uncertain]:
    return {dotted(cost.path): cost for cost in uncertain(load_spec(kind, name))}  # type: ignore[arg-type]


def test_a_cost_may_be_off_by_what_its_quality_says() -> None:
    costs = of("machine", "epyc-9965")
    send, icr = costs["interrupts.send"], costs["interrupts.icr_write"]
    assert (send.at(0), send.at(1)) == ("153.846 ns", "260 ns")  # 200 ns, estimated: a factor of 1.3
    assert (icr.at(0), icr.at(1)) == ("40 ns", "120 ns")  # 70 ns with a range
    assert send.at(send.neutral) == "200 ns"
    assert icr.at(icr.neutral) == "70 ns"


def test_counts_and_switches_are_what_they_are() -> None:
    assert "interrupts.targets_per_icr" not in of("machine", "guest-zen5-2")  # recalled, and a count
    assert "interrupts.mode" not in of("machine", "epyc-9965")
    assert not any(path.startswith(("switches", "limits")) for path in of("design", "linux-6.13"))


def test_a_number_without_a_unit_needs_a_range() -> None:
    costs = of("machine", "skylake-104")
    assert costs["topology.smt_slowdown"].at(0) == pytest.approx(1.4)
    assert "interrupts.ack_overlap" not in costs


def test_both_parts_of_a_cost_are_scaled() -> None:
    assert Uncertain(("a",), "110 cycles + 98 ns", 0.5, 2.0, "a").at(1) == "220 cycles + 196 ns"


def test_samples_are_spread_over_each_interval() -> None:
    costs = of("machine", "epyc-9965")
    send = costs["interrupts.send"]
    values = []
    for sample in range(8):
        changes = {
            change.written: change.value for change in drawn(costs.values(), "machine", sample, 8, 1, {})
        }
        values.append(float(str(changes["machine.interrupts.send"]).split()[0]))
    bounds = [float(str(send.at(part / 8)).split()[0]) for part in range(9)]
    for value, low, high in zip(sorted(values), bounds, bounds[1:], strict=False):
        assert low <= value <= high
    assert values != sorted(values)


def test_what_is_inherited_is_one_cost() -> None:
    def value(design: str) -> object:
        changes = drawn(of("design", design).values(), "design", 0, 4, 1, {})
        return next(change.value for change in changes if change.written == "design.costs.lru_add")

    assert value("linux-6.13") == value("linux-6.1")


def test_no_reach_is_the_file_itself() -> None:
    send = of("machine", "epyc-9965")["interrupts.send"]
    assert drawn([send], "machine", 0, 4, 1, {"interrupts": 0})[0].value == "200 ns"


def test_costs_of_a_section_that_are_written_alike_are_one() -> None:
    costs = [
        c
        for path, c in of("machine", "xeon-5320").items()
        if path.endswith(("same_cluster", "cross_cluster"))
    ]
    assert len(costs) == 2
    first, second = drawn(costs, "machine", 0, 4, 1, {})
    assert first.value == second.value


@pytest.mark.parametrize("machine", ["xeon-5320", "desktop-8", "epyc-9965-nps4", "sapphire-rapids-224"])
def test_distances_keep_their_order(machine: str) -> None:
    files = FileCatalogue()
    assert files.name("machine", machine) == machine
    spec = drawn_files(files, 0, 4, 1)("machine", machine).spec
    assert spec != files.load("machine", machine).spec


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(3.0, 5.0, "predicted"), (2.0, 4.0, "predicted"), (1.9, 4.0, "cannot tell"), (4.1, 5.0, "outside")],
)
def test_verdict(low: float, high: float, verdict: str) -> None:
    assert Band(low, high, 8).verdict(4.0) == verdict


def rows(folder: Path, *lines: str) -> Path:
    path = folder / "rows.csv"
    path.write_text("\n".join([",".join(COLUMNS), *lines, ""]), encoding="utf-8")
    return path


CALL = "calls,guest-1,linux-6.13,null-syscall,,1,latency,100,ns,exact,0.5,{use},me"


def test_a_band_is_the_interval_of_the_costs_behind_it(tmp_path: Path) -> None:
    """A system call is a cost of the machine and some code of the design, and off by no more than these."""
    found = bands([rows(tmp_path, CALL.format(use="check"))], samples=6)
    (key, band), *others = found.items()
    assert (key, others) == ("guest-1/calls/linux-6.13/null-syscall/-/1/latency", [])
    call = of("machine", "guest-1")["kernel.syscall"]
    assert band.samples == 6
    assert 1.0 < band.high / band.low < call.high / call.low * 1.3**2


def test_only_predictions_have_bands(tmp_path: Path) -> None:
    assert bands([rows(tmp_path, CALL.format(use="calibrate"))], samples=1) == {}


def test_rows_that_take_many_events_have_no_band(tmp_path: Path) -> None:
    path = rows(tmp_path, CALL.format(use="check"))
    (key,) = bands([path], samples=1)
    assert list(bands([path], samples=1, events=10_000)) == [key]
    assert bands([path], samples=1, events=1) == {}


def test_a_band_needs_samples(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 or more"):
        bands([rows(tmp_path, CALL.format(use="check"))], samples=0)


def test_bands_of_other_rows_stay(tmp_path: Path) -> None:
    path = tmp_path / "bands.csv"
    write_bands(path, {"b": Band(1, 2, 8), "c": Band(5, 6, 8)})
    write_bands(path, {"a": Band(3, 4, 2), "c": Band(7, 8, 2)})
    assert read_bands(path) == {"a": Band(3, 4, 2), "b": Band(1, 2, 8), "c": Band(7, 8, 2)}


@pytest.mark.parametrize("text", ["a,b\n", "row,low,high,samples\nx,1,zwei,3\n"])
def test_no_table_of_bands(tmp_path: Path, text: str) -> None:
    (tmp_path / "bands.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"bands\.csv"):
        read_bands(tmp_path / "bands.csv")


def test_the_command_writes_them_and_the_page_shows_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, page = str(rows(tmp_path, CALL.format(use="check"))), tmp_path / "page.md"
    main(["validate", "--data", data, "--bands", "2", "--report", str(page), "--workers", "1"])
    band = read_bands(tmp_path / "bands.csv").popitem()[1]
    text = page.read_text(encoding="utf-8")
    assert f"| {plain_number(band.low)} to {plain_number(band.high)} |" in text
    assert "| dataset | predicted | cannot tell | outside |" in text


def test_bands_must_go_somewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(rows(tmp_path, CALL.format(use="check")))
    assert main(["validate", "--data", data, "--bands"]) == 2
    assert "with --report or --out" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-1"])
def test_no_bands_are_no_answer(tmp_path: Path, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(rows(tmp_path, CALL.format(use="check")))
    assert main(["validate", "--data", data, "--bands", number, "--out", str(tmp_path)]) == 2
    assert "a band needs samples" in capsys.readouterr().err
