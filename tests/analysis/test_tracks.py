"""Is each slice of a short timeline in its place on paper?"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from traces import Read, listened, point

from sim.analysis.svg import MARGIN, WIDTH
from sim.analysis.tracks import MOST_SLICES, fits, tracks_picture
from sim.timeline import Asked, Shown, Timeline, encode

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    return listened(point(tmp_path_factory.mktemp("eight"), "linux-6.13", 8))[0]


def test_is_each_slice_drawn_where_the_trace_file_has_it(eight: Timeline) -> None:
    root = ElementTree.fromstring(tracks_picture(eight.shown, "eight"))
    hovers = [str(title.text) for title in root.iter(f"{SVG}title")]
    slices = [each for each in Read(encode(eight.shown, "eight")).slices() if (each.end or 0) > each.begin]
    drawn = {hover.rsplit(": ", 1)[0] for hover in hovers}
    wide = {each.name for each in slices if each.category != "moment" and (each.end or 0) - each.begin > 20}
    assert wide <= drawn
    tracks = [str(text.text) for text in root.iter(f"{SVG}text") if str(text.text).startswith("cpu ")]
    assert tracks == [track.name for track in eight.shown.tracks]
    for group in root.iter(f"{SVG}g"):
        box = group.find(f"{SVG}rect")
        assert box is not None
        left, width = float(box.attrib["x"]), float(box.attrib["width"])
        assert MARGIN <= left <= left + width <= WIDTH - MARGIN + 0.01


def test_has_each_arrow_two_ends(eight: Timeline) -> None:
    root = ElementTree.fromstring(tracks_picture(eight.shown, "eight"))
    flows = [flow for each in Read(encode(eight.shown, "eight")).slices() for flow in each.flows]
    assert len(list(root.iter(f"{SVG}circle"))) == len(set(flows)) == len(flows) / 2 > 20


def test_is_only_drawn_what_can_be_seen(eight: Timeline, tmp_path: Path) -> None:
    assert fits(eight.shown)
    assert not fits(Shown())
    assert not fits(Shown(eight.shown.tracks, end=1, slices=MOST_SLICES + 1))
    nothing, _ = listened(point(tmp_path, "linux-6.13", 1), Asked(10**12, 2 * 10**12))
    assert fits(nothing.shown)
    assert ElementTree.fromstring(tracks_picture(nothing.shown, "nothing")).find(f"{SVG}g") is None
