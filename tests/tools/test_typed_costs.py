"""Does mypy know what a resolved spec has?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MODULE = """\
from sim.engine.costs import at_clock
from sim.designs.linux.spec import Costs, LinuxSpec
from sim.hardware.spec import TlbSpec


def use(costs: Costs, tlb: TlbSpec) -> None:
    cost, entries = at_clock(costs, 1), at_clock(tlb, 1)
    reveal_type({})
"""


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("cost.vma_alloc", 'Revealed type is "int"'),
        ("entries.entries", 'Revealed type is "int"'),
        ("entries.switch", 'Revealed type is "int | None"'),
        ("entries.pcid", 'Revealed type is "bool"'),
        ("cost.vma_aloc", '"Costs" has no cost "vma_aloc"'),
    ],
)
def test_what_is_a_key_of_a_resolved_spec(tmp_path: Path, expression: str, said: str) -> None:
    module = tmp_path / "module.py"
    module.write_text(MODULE.format(expression))
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", module],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert said in checked.stdout
