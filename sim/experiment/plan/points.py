"""One point of an experiment: a design on a machine under a workload, with a seed of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sim.engine import Decisions, Replayer
from sim.files import FIFO, BudgetSpec, ScheduleSpec

if TYPE_CHECKING:
    from sim.designs import DesignSpec
    from sim.hardware import MachineSpec
    from sim.sync import Without
    from sim.workload import WorkloadSpec


Swept = tuple[tuple[str, Any], ...]
"""Path -> value, in the order of the file: what sets a point apart from its neighbours in a sweep."""


@dataclass(frozen=True)
class StoredSchedule:
    """Decisions that were stored in a file whose sha256 is *digest*."""

    digest: str
    runs: Sequence[Decisions] = field(repr=False, hash=False)

    @property
    def identity(self) -> dict[str, Any]:
        return {"kind": "replay", "sha256": self.digest}

    def rule(self) -> Replayer:
        """The schedule for the engine, which must be asked for its ends when the point is done."""
        return Replayer(self.runs)


@dataclass(frozen=True)
class Point:
    """All that one simulation depends on; workers get nothing else. Equal ids mean equal results."""

    design: str
    machine: str
    workload: str
    placement: str
    threads: int
    seed: int
    replicate: int
    budget: BudgetSpec
    swept: Swept
    content: str = field(repr=False)
    """sha256 of what the machine's, the design's and the workload's files say."""
    code: str = field(repr=False)
    """Fingerprint of the model, and of the plug-ins that the design or a part of it comes from."""
    machine_spec: MachineSpec = field(repr=False, compare=False)
    design_spec: DesignSpec = field(repr=False, compare=False)
    workload_spec: WorkloadSpec = field(repr=False, compare=False)
    schedule: ScheduleSpec | StoredSchedule = FIFO
    profile: bool = False
    """With a run report: counters and locks beside the row, which is the same."""
    check: bool = False
    """Held against all invariants while it runs; what it gives is the same."""
    without: Without | None = None
    """Locks and lines that the run is without, for the question what would be gained (`whatif`)."""

    @cached_property
    def id(self) -> str:
        """sha256 over specs, seed, budget and the code's version: the key under which a result is kept.

        What a point may take of the machine that simulates it (wall time, memory) is no part of it.
        """
        identity: dict[str, object] = {
            "content": self.content,
            "placement": self.placement,
            "threads": self.threads,
            "seed": self.seed,
            "budget": self.budget.model_dump(mode="json", include={"events", "simulated_time"}),
            "replicate": self.replicate,
            "model": self.code,
        }
        if self.profile:
            identity["profile"] = True
        if self.check:
            identity["check"] = True
        if self.without is not None:
            identity["without"] = asdict(self.without)
        if self.swept:
            identity["swept"] = self.swept
        if (schedule := self.schedule.identity) is not None:
            identity["schedule"] = schedule
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    @property
    def again(self) -> str:
        """How to run it again, and nothing else, in words."""
        rule = "" if (its := self.schedule.identity) is None else f", schedule {json.dumps(its)}"
        options = f"--check --machine {self.machine} --designs {self.design} --threads {self.threads}"
        its_seed = f"seed {self.seed}, replicate {self.replicate}{rule}"
        return f"cortensim run EXPERIMENT {options} ({self.label}, {its_seed})"

    @property
    def label(self) -> str:
        """The point in words, for progress and messages."""
        placement = f" {self.placement}" if self.placement else ""
        swept = "".join(f", {path.rpartition('.')[2]} {value}" for path, value in self.swept)
        return f"{self.design} {self.workload}{placement} x{self.threads} on {self.machine}{swept}"


def derive_seed(base: int, workload: str, placement: str, threads: int, replicate: int) -> int:
    """The seed of a point, below 2**48.

    It does not depend on the design (nor on the machine): all designs face the same random layout, so
    their ratio is not the luck of the draw. Nor does it depend on what else the experiment holds.
    """
    words = json.dumps([base, workload, placement, threads, replicate])
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:6], "big")
