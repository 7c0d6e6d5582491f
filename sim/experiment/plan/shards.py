"""A sweep in several parts, each run wherever there is room, and made one again.

cortensim run paper-micro --shard 1/4 --out part1       # on one machine
cortensim run paper-micro --shard 2/4 --out part2       # on another ...
cortensim merge part1 part2 part3 part4 --out whole     # the same bytes as from one machine
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sim.experiment.plan.points import Point

_SHARD = re.compile(r"([1-9]\d{0,5})/([1-9]\d{0,5})\Z")


@dataclass(frozen=True)
class Shard:
    """Part *index* (from 1) of *count*."""

    index: int
    count: int

    def of(self, points: Sequence[Point]) -> tuple[Point, ...]:
        """Its points, in order. Every shard gets its share of the long ones, those with many threads."""
        ranked = sorted(range(len(points)), key=lambda place: -points[place].threads)
        mine = sorted(ranked[self.index - 1 :: self.count])
        return tuple(points[place] for place in mine)


def parse_shard(text: str) -> Shard:
    """`'2/4'` -> the second of four. Raises `ValueError`."""
    match = _SHARD.match(text)
    if match is None or int(match[1]) > int(match[2]):
        raise ValueError(f"not a shard, such as 2/4: {text!r}")
    return Shard(int(match[1]), int(match[2]))
