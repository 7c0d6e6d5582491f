"""Grids in which each design has panels of its own: a row a machine, placement and design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from sim.analysis.layout import Panel, panel_rows, place_title
from sim.analysis.panels import line_label

MOST_ROWS = 6
"""Rows that a figure has; a note says how many there would be."""


@dataclass(frozen=True)
class DesignPanel:
    """The points of one design, at one set of swept values, in a panel."""

    panel: Panel
    design: str
    variant: str

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of *frame* (`parted`) that belong here."""
        here = self.panel.of(frame)
        return here.loc[(here["design"] == self.design) & (here["variant"] == self.variant)]


@dataclass(frozen=True)
class DesignGrid:
    """Rows of panels with a heading each, and a *note* on rows that are left out, if any are."""

    rows: list[list[DesignPanel]]
    headings: list[str]
    note: str


def design_grid(frame: pd.DataFrame, most: int = MOST_ROWS) -> DesignGrid:
    """The grid of a *parted* frame; a row has only panels that have points."""
    several = frame["machine"].nunique() > 1
    looks = frame[["design", "variant"]].drop_duplicates().itertuples(index=False, name=None)
    known = list(looks)
    rows, headings = [], []
    for row in panel_rows(frame):
        for design, variant in known:
            places = [DesignPanel(panel, design, variant) for panel in row]
            if kept := [place for place in places if not place.of(frame).empty]:
                rows.append(kept)
                place = place_title(row[0], several)
                headings.append(", ".join(filter(None, (place, line_label(design, variant)))))
    note = f"{most} of {len(rows)} rows are shown" if len(rows) > most else ""
    return DesignGrid(rows[:most], headings[:most], note)


def titles(rows: Sequence[Sequence[DesignPanel]]) -> list[list[str]]:
    """The workload above each panel."""
    return [[place.panel.workload for place in row] for row in rows]
