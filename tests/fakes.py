"""A small model to run experiments with: its specs, its files, and simulations that take no time.

Worker processes import this module by name, so the tasks are plain functions that read the point.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from sim.errors import BudgetExceeded, InputError
from sim.experiment import Outcome, Point
from sim.experiment.results import measured, raised
from sim.quantities import Duration, Size


class Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Machine(Spec):
    name: str
    title: str = ""
    cpus: Annotated[int, Field(ge=1)]
    latency: Mapping[str, Duration]


class Design(Spec):
    name: str
    title: str = ""
    family: str
    syscall: Duration
    mode: Literal["eager", "lazy"] = "eager"
    swap_pages: ClassVar[int] = 0

    def refuses(self, machine: Machine) -> str | None:
        return None


class Touch(Spec):
    do: Literal["touch"]
    size: Size


class Think(Spec):
    do: Literal["think"]
    time: Duration


class Workload(Spec):
    name: str
    title: str = ""
    placements: Mapping[str, Mapping[str, int]] = {}
    steps: list[Annotated[Touch | Think, Field(discriminator="do")]] = []

    @property
    def placement_names(self) -> tuple[str, ...]:
        return tuple(self.placements)

    def window_of(self, placement: str) -> None:
        return None

    def shares_cpus(self, placement: str) -> bool:
        return False

    def amount(self, placement: str, threads: int) -> int:
        return threads


@dataclass(frozen=True)
class Measurement:
    operations: int
    throughput_ops_per_us: float
    throughput_from_latency_ops_per_us: float
    latency_mean_ns: float
    latency_p50_ns: float
    latency_p95_ns: float
    latency_p99_ns: float
    simulated_ns: float
    events: int
    idle_share: float | None
    interrupts_per_flush: float | None
    context_switches_per_op: float
    breakdown_ns_per_op: dict[str, float]
    memory: None = None
    status: None = None
    parts_ns: dict[str, float] = field(default_factory=dict)


FILES = {
    "configs/machines/small.yaml": """\
name: small
cpus: 8
latency:
  near: {value: 40 ns, quality: measured, source: LAB, range: [30 ns, 50 ns]}
  far: 100 ns
sources:
  LAB: our own bench
""",
    "configs/machines/large.yaml": "name: large\ninherits: small\ncpus: {value: 64, quality: published}\n",
    "configs/designs/calm.yaml": "name: calm\nfamily: fake\nsyscall: 100 ns\n",
    "configs/designs/busy.yaml": "name: busy\nfamily: fake\nsyscall: 70 ns\nmode: lazy\n",
    "workloads/walk.yaml": (
        "name: walk\nplacements: {low: {}, high: {}}\nsteps:\n  - {do: touch, size: 4 KiB}\n"
    ),
    "workloads/rest.yaml": "name: rest\nsteps:\n  - {do: think, time: 1 us}\n",
    "configs/experiments/pair.yaml": """\
name: pair
machine: small
designs: [calm, busy]
workloads: [walk]
threads: [1, 2, 4, 8]
seed: 7
""",
}


def write_house(root: Path) -> None:
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def spec_type(kind: str, family: str | None = None) -> type[BaseModel]:
    from sim.files import ExperimentSpec

    return {"machine": Machine, "design": Design, "workload": Workload, "experiment": ExperimentSpec}[kind]


def measure(point: Point) -> Outcome:
    """A measurement made of the point's own seed."""
    x = point.seed / 2**48
    return measured(
        point,
        Measurement(
            operations=point.threads * 16,
            throughput_ops_per_us=x,
            throughput_from_latency_ops_per_us=2 * x,
            latency_mean_ns=1 / (x + 1),
            latency_p50_ns=x / 3,
            latency_p95_ns=x / 7,
            latency_p99_ns=x,
            simulated_ns=1e6 * x,
            events=10,
            idle_share=x,
            interrupts_per_flush=None,
            context_switches_per_op=x / 2,
            breakdown_ns_per_op={"user": x, "idle": 0.1},
        ),
    )


def fail_at_four(point: Point) -> Outcome:
    if point.threads == 4:
        return raised(point, BudgetExceeded("more than 10\nevents"))
    return measure(point)


def fail_at_eight(point: Point) -> Outcome:
    return raised(point, BudgetExceeded("enough")) if point.threads == 8 else measure(point)


def die_at_four(point: Point) -> Outcome:
    """Takes its worker down, and with it whatever else is in flight."""
    if point.threads == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return measure(point)


def die_once(point: Point) -> Outcome:
    """One point dies, the first time only; the folder for its mark comes from the environment."""
    mark = Path(os.environ["CORTENSIM_TEST_MARK"]) / "died"
    if (point.design, point.placement, point.threads) == ("calm", "low", 4) and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return measure(point)


def faults_of(action: object, *arguments: object) -> list[str]:
    """The messages of the `InputError` that a call raises."""
    with pytest.raises(InputError) as caught:
        action(*arguments)  # type: ignore[operator]
    return [str(fault) for fault in caught.value.faults]
