"""Ten thousand damaged files: is the answer always exit code 0 or 2, soon, and never a traceback?"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from answers import EXPERIMENT, Command

from sim.files import presets

RICH = (
    EXPERIMENT
    + """\
seed: 7
replicates: 2
parameters: {workload.requests: 40}
overrides: {linux-6.13: {design.limits.pcp_batch: 31}}
sweep: {machine.coherence.cross_socket: [240 ns, 290 ns], workload.layout.stride: [2 MiB]}
zip: {machine.tlb.entries: 100..101, workload.pooled_threads: [1, 2]}
only: [{threads: "<= 2"}, {design: [linux-6.13]}]
exclude: [{placement: low, replicate: 1}]
quick: {threads: 1..2}
budget: {events: 50000, simulated_time: 1 s, wall: 10 min, memory: 1 GiB}
"""
)
PIECES = (
    "", "0", "-1", "1e300", "1e999", "[]", "{}", "[[1]]", "{value: 1}", "null", "true", "no", "x", "'", '"',
    "*a", "&a b", "-5 ns", "9 parsec", "é", "\u2028", "\x00", ": ", "name", "9" * 30, "!t", "!!int",
    "\n", "  ", "\t", "---\n", "1..8 x2", "8..1", "1..9999999", "1..8 x1", ">= x", "../../x", "/", ".",
    "machine", "machine.", "design.name", "[" * 30, "<<", "%", "010", "1:30", "2024-01-01", "inherits: e",
    "include: e.yaml", "1e6", "0x10", ".inf", "~",
)  # fmt: skip


def damaged(text: str, draw: random.Random) -> bytes:
    """*text* with one to four small damages: words replaced, lines moved or lost, bytes flipped."""
    for _ in range(draw.randint(1, 4)):
        kind = draw.random()
        if kind < 0.5:
            words = text.split(" ")
            words[draw.randrange(len(words))] = draw.choice(PIECES)
            text = " ".join(words)
        elif kind < 0.7:
            lines = text.splitlines(keepends=True) or [""]
            line = lines.pop(draw.randrange(len(lines)))
            lines.insert(draw.randint(0, len(lines)), line * draw.randint(0, 2))
            text = "".join(lines)
        elif kind < 0.9:
            at = draw.randint(0, len(text))
            text = text[:at] + draw.choice(PIECES) + text[at + draw.randint(0, 3) :]
        else:
            data = bytearray(text.encode())
            if data:
                data[draw.randrange(len(data))] = draw.randrange(256)
            return bytes(data)
    return text.encode("utf-8", "replace")


@pytest.mark.parametrize(
    "files", [pytest.param(20, marks=pytest.mark.ci), pytest.param(10_000, marks=pytest.mark.slow)]
)
def test_is_any_damaged_experiment_answered(command: Command, folder: Path, files: int) -> None:
    path = folder / "e.yaml"
    shipped = [
        path.read_text().replace(f"name: {path.stem}", "name: e")
        for path in sorted(presets.folder("experiment").rglob("*.yaml"))
    ]
    path.write_text(RICH)  # test_is_every_preset_sound looks at the others
    assert command("check", "./e.yaml").code == 0
    draw = random.Random(files)
    slowest, codes = 0.0, {0: 0, 2: 0}
    for number in range(files):
        content = damaged(draw.choice([RICH, RICH, EXPERIMENT, *shipped]), draw)
        path.write_bytes(content)
        started = time.process_time()
        try:
            answer = command("check", "./e.yaml")
        except Exception as error:
            pytest.fail(f"file {number}: {error!r} for {content!r}")
        slowest = max(slowest, time.process_time() - started)
        assert answer.code in codes, content
        assert (answer.code == 0) == (answer.err == ""), content
        codes[answer.code] += 1
    assert slowest < 10
    assert min(codes.values()) > files / 100
