"""Occupancy and published against simulated: is each cell and each mark where arithmetic has it?"""

from __future__ import annotations

from math import isnan
from pathlib import Path

import pytest
from legible import stumbles

from sim.analysis.occupancy import dominant, occupancy_figure
from sim.analysis.published_figure import BAND_LABEL, OTHERS, Pair, published_figure, read_pairs
from sim.errors import InputError
from sim.timeline import Frame, Leaf, Shown, Track
from sim.timeline.spans import Event

US = 1_000_000
DOCS = Path(__file__).parents[2] / "docs"


def leaf(activity: str) -> Leaf:
    return Leaf(activity, "", {}, ())


def track(number: int) -> Track:
    """User until 6 us, with a handler from 2 to 4; then a lock until 10."""
    events = [
        Event(0, Frame("munmap", "operation")), Event(0, leaf("user")), Event(2 * US, leaf("interrupt")),
        Event(4 * US, None), Event(6 * US, None), Event(6 * US, leaf("lock: mmap_lock")),
        Event(10 * US, None), Event(10 * US, None),
    ]  # fmt: skip
    return Track(f"cpu {number}", events, number, number // 2, number // 4)


def test_has_each_column_what_took_most_of_it() -> None:
    groups, cells = dominant([track(0)], 0, 12 * US, 6)
    named = [groups[cell] if cell < len(groups) else "" for cell in cells[0]]
    work, flush = "user and kernel entry", "TLB flush and IPIs"
    assert named == [work, flush, work, "mmap_lock", "mmap_lock", ""]
    groups, cells = dominant([track(0)], 3 * US, 10 * US, 1)  # 1 us of the handler, 2 of work, 4 of waiting
    assert [groups[cell] for cell in cells[0]] == ["mmap_lock"]


@pytest.mark.ci
def test_are_cpus_grouped_and_does_the_picture_say_what_it_leaves_out() -> None:
    shown = Shown([track(number) for number in (5, 0, 1, 4)], begin=0, end=10 * US, cpus=8, cut=True)
    figure = occupancy_figure(shown, "a point", columns=10)
    assert figure is not None
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["cpu 0", "cpu 1", "cpu 4", "cpu 5"]
    assert "4 of 8 cpus" in figure.get_suptitle()
    assert "cut" in figure.get_suptitle()
    assert stumbles(figure) == []
    many = occupancy_figure(
        Shown([track(n) for n in range(40)], begin=0, end=90_000 * US, cpus=40), "a point"
    )
    assert many is not None
    assert [text.get_text() for text in many.axes[0].get_yticklabels()][:2] == ["cluster 0", "cluster 1"]
    assert many.axes[0].get_xlim()[1] == 90  # ms
    assert stumbles(many) == []
    assert occupancy_figure(Shown()) is None


def pairs() -> list[Pair]:
    one = [Pair("locks", "check", 10.0**n, 1.1 * 10.0**n, 0.5 * 10.0**n, 2 * 10.0**n) for n in range(4)]
    few = [Pair("rare", "calibrate", 3.0, 3.0), Pair("other", "shown", 5.0, 9.0)]
    return [*one, *few, Pair("locks", "check", 0.0, 1.0)]


def test_stands_each_row_at_its_two_values_with_its_band() -> None:
    figure = published_figure(pairs())
    assert figure is not None
    assert [ax.get_title() for ax in figure.axes] == ["locks", OTHERS]
    ax = figure.axes[0]
    lines = {line.get_label(): line for line in ax.lines}
    marks = lines["check: a prediction"]
    assert list(marks.get_xdata()) == [1, 10, 100, 1000]
    assert list(marks.get_ydata()) == pytest.approx([1.1, 11, 110, 1100])
    (bands,) = [one for one in ax.collections if one.get_label() == BAND_LABEL]
    assert bands.get_segments()[1].tolist() == [[10, 5], [10, 20]]  # type: ignore[attr-defined]
    low, high = lines["factor 2"].get_xdata()[0], lines["factor 2"].get_ydata()[0]
    assert high == pytest.approx(2 * low)
    assert "not drawn: 1 with a zero" in figure.get_suptitle()
    assert stumbles(figure) == []
    assert published_figure([]) is None


@pytest.mark.ci
def test_is_the_page_of_the_documentation_read_whole_and_legible() -> None:
    """As many rows as its summary counts: those that are ok, a miss, or shown."""
    text = (DOCS / "validation.md").read_text(encoding="utf-8")
    found = read_pairs(DOCS / "validation.md")
    rows = [line for line in text.splitlines() if line.startswith("| ") and line.count("±") == 1]
    unanswered = [line for line in rows if line.split(" | ")[9] == "-"]
    assert len(found) == len(rows) - len(unanswered) > 400
    assert sum(not isnan(pair.low) for pair in found) > 150
    figure = published_figure(found)
    assert figure is not None
    assert stumbles(figure) == []


def test_is_what_is_no_validation_refused(tmp_path: Path) -> None:
    for name, text in (("a.csv", "x,y\n1,2\n"), ("b.md", "# nothing\n"), ("c.txt", "")):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError):
            read_pairs(tmp_path / name)


def test_are_the_numbers_of_a_table_and_its_bands_read(tmp_path: Path) -> None:
    header = "machine,dataset,system,workload,placement,tasks,metric,use,value,simulated"
    rows = ["m,locks,linux,pf,,4,throughput,check,2.5,3.25", "m,locks,linux,pf,,8,throughput,check,2.5,"]
    (tmp_path / "validation.csv").write_text("\n".join([header, *rows]) + "\n")
    (tmp_path / "bands.csv").write_text("row,low,high,samples\nm/locks/linux/pf/-/4/throughput,3,4,8\n")
    assert read_pairs(tmp_path / "validation.csv") == [Pair("locks", "check", 2.5, 3.25, 3.0, 4.0)]
