"""What tests of the command line ask with and get back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

EXPERIMENT = """\
name: e
machine: epyc-9965-guest
designs: [linux-6.13, cortenmm-adv]
workloads: [pf]
placements: [low]
threads: [1, 2]
"""


@dataclass(frozen=True)
class Answer:
    """What a command said and returned."""

    code: int
    out: str
    err: str


Command = Callable[..., Answer]
