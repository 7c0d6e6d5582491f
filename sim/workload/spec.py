"""What a workload file says, typed: a plan (`plan`) and its placements.

A workload whose threads all do the same gives the steps of its one role as `thread`. Lists of steps and the
layout are read with each placement, which may overlay them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from sim.errors import RuleError
from sim.mm import FIRST_TOUCH, MemoryPolicy, Mmap, Munmap, Operation, SwitchMm, Touch
from sim.quantities import Spec
from sim.workload.allocator_spec import AllocatorSpec
from sim.workload.buffer_spec import BufferSpec
from sim.workload.lock_spec import LockSpec
from sim.workload.pinning import Pinning
from sim.workload.plan import WorkloadPlan
from sim.workload.things_spec import ChannelSpec, FileSpec, LineSpec, MeasuredRequests, RegionsSpec, Stack
from sim.workload.window import Reported, Window


class WorkloadSpec(Spec):
    """A workload and its placements. A placement overlays the common part, key by key."""

    name: str
    """The file's name without `.yaml`."""
    title: str
    """One line for lists and figures."""
    parameters: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Name -> a value, which stands for `$name` in steps, the set-up and the layout."""
    requests: PositiveInt | None = None
    """How many requests a thread does; with a window, before it refills and begins again."""
    measured: MeasuredRequests | None = None
    """Each thread does `requests` requests; the latency of these is measured. Absent: of all."""
    window: Window | None = None
    """Each thread repeats its requests until the window is over. It replaces an inherited `measured`."""
    pooled_threads: PositiveInt | None = None
    """Runs of a point are repeated, with other random draws, until so many threads have been measured."""
    stack: Stack | None = None
    """The stack of each thread, if they belong to a program whose main thread creates them."""
    processes: PositiveInt = 1
    """How many processes there are, those that threads have for their own aside."""
    layout: dict[str, Any] | None = None
    """Where the slots are."""
    lines: dict[str, LineSpec] = Field(default_factory=dict)
    """Name -> a cache line that steps work on."""
    locks: dict[str, LockSpec] = Field(default_factory=dict)
    """Name -> a lock that steps take."""
    files: dict[str, FileSpec] = Field(default_factory=dict)
    """Name -> a file that steps map, fill and cut off."""
    objects: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Name -> memory that is an object, which steps map."""
    channels: dict[str, ChannelSpec] = Field(default_factory=dict)
    """Name -> a channel that steps send into and receive from."""
    regions: RegionsSpec | None = None
    """What is in the index that `find_region` and `write_region` steps work on."""
    allocator: AllocatorSpec | None = None
    """Which allocator `malloc` steps use: `ptmalloc`, `tcmalloc`, `jemalloc` or `units`, by its name or with
    options. Each process has one."""
    buffer: BufferSpec | None = None
    """A buffer manager whose pages `look_up` steps go through. Each process has one."""
    program: tuple[dict[str, Any], ...] = ()
    """What the program has mapped when it begins, which each process is an instance of: done before
    `setup`."""
    forked: bool = False
    """The program runs once, and each process is forked from it, on the cpu of the thread that sets it up.
    Where the kernel cannot fork each process does `program` itself."""
    setup: tuple[dict[str, Any], ...] = ()
    """What the first thread of each process does before the others start."""
    thread: tuple[dict[str, Any], ...] | None = None
    """The steps of one request, where all threads do the same."""
    refill: tuple[dict[str, Any], ...] = ()
    """With a window: what a thread does after its last slot, before it begins at its first one again."""
    roles: tuple[dict[str, Any], ...] | None = None
    """What which threads do. A thread takes the first role that fits it."""
    throughput: Reported = "over-time"
    """How the benchmark that this workload replays computes its throughput; published rows are compared with
    that. Results have both."""
    job: PositiveInt | None = None
    """How many operations one whole run of the benchmark has, where published rows count runs (jobs/h)."""
    threads_per_task: PositiveInt = 1
    """What the benchmark calls a task is so many threads here. Published rows count tasks, experiments and
    results threads."""
    threads_beside: NonNegativeInt = 0
    """So many threads of a run belong to no task: they make load. Published rows do not count them."""
    pinning: Pinning = "cores-first"
    """On which cpus the threads run."""
    cpus: PositiveInt | Literal["all"] | None = None
    """Threads share so many cpus, or `all` of the machine, in turn. Absent: each has a cpu of its own."""
    memory: MemoryPolicy = FIRST_TOUCH
    """From which node pages come."""
    memory_size: str | None = None
    """The kernel has so much memory, evenly from all sockets, as if told at boot. Absent: the machine's."""
    part_latencies: bool | Literal["all"] = False
    """Whether results have the mean latency of each kind of operation, of page faults and of shootdowns;
    `all`: of threads that are not measured, too."""
    placements: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Name -> what is overlaid on the file, key by key. Absent: there is one way to run it, without a
    name."""

    @model_validator(mode="after")
    def _every_placement_is_a_plan(self) -> Self:
        for placement in self.placements or [""]:
            self.plan(placement)
        return self

    @property
    def placement_names(self) -> list[str]:
        return list(self.placements)

    @property
    def operations(self) -> set[type[Operation]]:
        """What a design must offer: for the steps, and for the stacks, which are mapped and used anyway."""
        asked: set[type[Operation]] = set()
        for plan in map(self.plan, self.placements or [""]):
            asked |= {Mmap, Munmap, Touch} if plan.stack else set()
            asked |= {SwitchMm} if plan.visits else set()
            for _, step in plan.all_steps():
                asked |= step.asks
                if step.malloc and plan.allocator is not None:
                    asked |= plan.allocator.asks
            asked |= set() if plan.buffer is None else plan.buffer.asks
        return asked

    def window_of(self, placement: str) -> Window | None:
        """The window in *placement*, if it has one."""
        return self.plan(placement).window

    def reported(self, placement: str) -> Reported:
        """How the benchmark computes its throughput in *placement*."""
        return self.plan(placement).throughput

    def shares_cpus(self, placement: str) -> bool:
        """Whether there may be more threads than cpus in *placement*; not in one that there is not."""
        return placement in (self.placements or ("",)) and self.plan(placement).cpus is not None

    def amount(self, placement: str, threads: int) -> int:
        """How much a point with so many *threads* has to do, for whoever wonders which will take longest."""
        return self.plan(placement).amount(threads)

    def plan(self, placement: str) -> WorkloadPlan:
        """The workload as it is in *placement*, "" if it has none. Raises `KeyError` for an unknown one."""
        plans = self._plans
        if placement not in plans:
            plans[placement] = self._plan(placement)
        return plans[placement]

    @cached_property
    def _plans(self) -> dict[str, WorkloadPlan]:
        """Placement -> what `plan` has found, which takes a millisecond and is asked for everywhere."""
        return {}

    def _plan(self, placement: str) -> WorkloadPlan:
        over = self.placements[placement] if placement or self.placements else {}
        common = {name: getattr(self, name) for name in WorkloadPlan.model_fields}
        for name, other in (("measured", "window"), ("window", "measured"), ("thread", "roles")):
            if name in over and other not in over:
                common[other] = None
        merged = _overlay({**common, "parameters": self.parameters}, over)
        parameters = merged.pop("parameters")
        if unknown := parameters.keys() - self.parameters.keys():
            names = ", ".join(self.parameters) or "none: there are no `parameters`"
            allowed = {f"placements.{placement}.parameters.{name}": names for name in sorted(unknown)}
            raise RuleError("there is no such parameter", allowed)
        filled = {key: _filled(merged[key], parameters, key) for key in _WITH_PARAMETERS if merged.get(key)}
        return WorkloadPlan.model_validate(merged | filled, strict=False)


_PARAMETER = re.compile(r"\$(\w+)")
_WITH_PARAMETERS = ("layout", "objects", "program", "setup", "thread", "refill", "roles")


def _filled(value: Any, parameters: Mapping[str, Any], place: str) -> Any:
    """*value*, which stands at *place*, with the value of `name` for each text `$name`."""
    if isinstance(value, dict):
        return {key: _filled(inner, parameters, f"{place}.{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(inner, parameters, f"{place}[{index}]") for index, inner in enumerate(value)]
    if not isinstance(value, str):
        return value
    for name in _PARAMETER.findall(value):
        if name not in parameters:
            names = ", ".join(f"${known}" for known in parameters) or "none: there are no `parameters`"
            raise RuleError(f"there is no parameter {name}", {place: names})
    whole = _PARAMETER.fullmatch(value)
    return parameters[whole[1]] if whole else _PARAMETER.sub(lambda name: str(parameters[name[1]]), value)


def _overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Spec):
            below = below.model_dump(exclude_unset=True)
        merged[key] = _overlay(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
