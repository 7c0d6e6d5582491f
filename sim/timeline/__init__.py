"""The timeline of a run: what each cpu did when. A listener to the probe; the model never imports it."""

from sim.timeline.folded import Folded, by_activity, lines, names_of
from sim.timeline.perfetto import encode
from sim.timeline.recorder import HOWS, Timeline
from sim.timeline.scope import Asked, parse_window
from sim.timeline.shootdown import Part, Shootdown, Shootdowns
from sim.timeline.shown import Shown, Sight, Track
from sim.timeline.spans import Frame, Leaf, Moment

__all__ = [
    "HOWS",
    "Asked",
    "Folded",
    "Frame",
    "Leaf",
    "Moment",
    "Part",
    "Shootdown",
    "Shootdowns",
    "Shown",
    "Sight",
    "Timeline",
    "Track",
    "by_activity",
    "encode",
    "lines",
    "names_of",
    "parse_window",
]
