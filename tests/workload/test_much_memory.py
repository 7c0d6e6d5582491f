"""Does a process with much memory fit into a small computer?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXPERIMENT = """
name: much-memory
machine: epyc-9965-guest
designs: [{design}]
workloads: [munmap-populated]
threads: [1]
sweep: {{workload.parameters.size: [32 GiB]}}
"""
PROGRAM = """
import resource, sys
from sim.experiment import load, run_point

(point,) = load(sys.argv[1]).points
outcome = run_point(point)
assert not outcome.failed, outcome.row.error
usage = resource.getrusage(resource.RUSAGE_SELF)
print(usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime)
"""


@pytest.mark.slow
@pytest.mark.parametrize("design", ["linux-6.13", "linux-6.13-llfree", "cortenmm-adv", "asterinas-0.18"])
def test_is_a_process_of_32_gib_set_up_in_less_than_2_gib_and_two_minutes(
    design: str, tmp_path: Path
) -> None:
    """All pages are written before anything is measured, and unmapped. The time is that of the cpu."""
    file = tmp_path / "much-memory.yaml"
    file.write_text(EXPERIMENT.format(design=design))
    program = [sys.executable, "-c", PROGRAM, str(file)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    memory, seconds = map(float, done.stdout.split())
    print(f"{design}: {memory / (1 << 20):.0f} MiB, {seconds:.0f} s")
    assert memory < 2 << 30
    assert seconds < 120
