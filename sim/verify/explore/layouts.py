"""The races that each design is asked."""

from __future__ import annotations

from collections.abc import Mapping

from sim.verify.explore.layout import Layout
from sim.verify.explore.races_of_locks import OF_LOCKS
from sim.verify.explore.races_of_pages import OF_PAGES
from sim.verify.explore.races_of_processes import OF_FILES, OF_PROCESSES

LAYOUTS: Mapping[str, Layout] = {each.name: each for each in (*OF_PAGES, *OF_PROCESSES, *OF_FILES, *OF_LOCKS)}
"""All races by name."""


def layouts_of(design: str) -> list[Layout]:
    """The races that *design* can be asked."""
    return [each for each in LAYOUTS.values() if each.suits(design)]
