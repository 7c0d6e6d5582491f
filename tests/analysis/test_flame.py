"""Is a flame graph as wide as the time that it shows?"""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from sim.analysis.flame import Stacks, flame_graph, tree
from sim.analysis.svg import MARGIN, WIDTH

SVG = "{http://www.w3.org/2000/svg}"
ONE: Stacks = {
    (("munmap",), "syscall", ""): 100.0,
    (("munmap", "holding mmap_lock"), "vma", ""): 200.0,
    (("munmap", "holding mmap_lock"), "vma", "line from memory"): 100.0,
}
MANY: Stacks = {(("munmap",), "lock: mmap_lock", "spins"): 3600.0, **ONE}


def frames(svg: str) -> list[tuple[str, float, float]]:
    """What a hover says, left edge and width, of all frames in their order."""
    found = []
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        title, box = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        assert title is not None
        assert box is not None
        found.append((str(title.text), float(box.attrib["x"]), float(box.attrib["width"])))
    return found


def test_is_a_frame_as_wide_as_its_time() -> None:
    drawn = frames(flame_graph([("one", "linux", ONE)], "title"))
    inside = WIDTH - 2 * MARGIN
    assert [(text.split(":")[0], pytest.approx(width, abs=0.01)) for text, _, width in drawn] == [
        ("linux", inside),
        ("munmap", inside),
        ("holding mmap_lock", 0.75 * inside),
        ("vma", 0.75 * inside),
        ("[line from memory]", 0.25 * inside),
        ("syscall", 0.25 * inside),
    ]
    assert drawn[2][0] == "holding mmap_lock: 300 ns per operation, 75.0 %"


def test_have_two_panels_one_scale() -> None:
    """One thread beside many: the narrow one is drawn a second time, with a scale of its own."""
    drawn = frames(flame_graph([("1 thread", "one", ONE), ("64 threads", "many", MANY)], "title"))
    widths = {text.split(":")[0]: [] for text, _, _ in drawn}  # type: dict[str, list[float]]
    for text, _, width in drawn:
        widths[text.split(":")[0]].append(width)
    assert widths["one"][0] == pytest.approx(widths["many"][0] / 10, abs=0.01)
    assert widths["one"][1] > 5 * widths["one"][0]
    svg = flame_graph([("1 thread", "one", ONE), ("64 threads", "many", MANY)], "title")
    assert "times as wide" in svg


def test_does_nothing_leave_the_picture() -> None:
    svg = flame_graph([("1 thread", "one", ONE), ("64 threads", "many", MANY)], "title")
    root = ElementTree.fromstring(svg)
    height = float(root.attrib["height"])
    for _, left, width in frames(svg):
        assert MARGIN - 0.01 <= left <= left + width <= WIDTH - MARGIN + 0.01
    for text in root.iter(f"{SVG}text"):
        assert 0 < float(text.attrib["y"]) <= height


def test_is_it_the_same_whatever_the_order_of_the_stacks() -> None:
    assert flame_graph([("x", "x", ONE)], "t") == flame_graph([("x", "x", dict(reversed(ONE.items())))], "t")
    assert tree(MANY, "x").height == 5


def test_are_names_of_strangers_spelt_out() -> None:
    odd: Stacks = {(('<script>"&\x1b',), "user", ""): 1.0}
    svg = flame_graph([("a < b", "x", odd)], "t & u")
    ElementTree.fromstring(svg)
    assert "<script>" not in svg
    assert re.search(r"&lt;script&gt;\"&amp;\\x1b", svg)


def test_is_nothing_drawn_of_nothing() -> None:
    assert frames(flame_graph([("none", "x", {})], "t")) == []
