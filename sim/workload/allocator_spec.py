"""The allocators of user space that a workload file can name, each with the options it takes.

What they do is in `sim/workload/allocators`. `asks` of each are the operations that it performs.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveInt

from sim.mm import Brk, Madvise, Mmap, Mprotect, Munmap, Operation, Touch
from sim.quantities import Duration, Size, Spec


class Ptmalloc(Spec):
    """glibc's malloc. The defaults are those of 2.35 on 64 bits."""

    asks: ClassVar[frozenset[type[Operation]]] = frozenset({Brk, Madvise, Mmap, Mprotect, Munmap, Touch})

    kind: Literal["ptmalloc"]
    """Which allocator it is."""
    heap: Size = 64 << 20
    """Length of a heap of an arena: twice the greatest threshold for mappings (HEAP_MAX_SIZE)."""
    top_pad: Size = 128 << 10
    """M_TOP_PAD: what a new heap has beyond what is asked for, and what stays when it is trimmed."""
    trim_threshold: Size = 128 << 10
    """M_TRIM_THRESHOLD: from this length on the top is trimmed."""
    mmap_threshold: Size = 128 << 10
    """M_MMAP_THRESHOLD: from this size on a request gets a mapping of its own."""
    most_threshold: Size = 32 << 20
    """DEFAULT_MMAP_THRESHOLD_MAX: larger mappings do not raise the threshold when they are freed."""
    dynamic: bool = True
    """Whether freed mappings raise the thresholds; setting either of them by hand ends that."""
    main_arena: bool = False
    """Whether the first thread is the main one, whose arena grows by brk. Else all threads have been
    created by one that does not allocate."""


class Tcmalloc(Spec):
    """gperftools' malloc."""

    asks: ClassVar[frozenset[type[Operation]]] = frozenset({Brk, Madvise, Touch})

    kind: Literal["tcmalloc"]
    """Which allocator it is."""
    grow: Size = 1 << 20
    """The page heap grows by so much at least (kMinSystemAlloc)."""
    cache: Size = 512 << 10
    """What a thread caches at most (kMinThreadCacheSize)."""
    release_rate: NonNegativeFloat = 1
    """TCMALLOC_RELEASE_RATE: pages given back for each thousand freed, once many have been."""


class Jemalloc(Spec):
    """jemalloc."""

    asks: ClassVar[frozenset[type[Operation]]] = frozenset({Madvise, Mmap, Touch})

    kind: Literal["jemalloc"]
    """Which allocator it is."""
    arenas_per_cpu: PositiveInt = 4
    """opt.narenas: so many arenas for each cpu."""
    grow: Size = 2 << 20
    """Length of an arena's first mapping; the next ones are longer."""
    dirty_decay: Duration = 10 * 10**12
    """opt.dirty_decay_ms: what has been free for so long is given back."""


class Units(Spec):
    """Metis' own allocator."""

    asks: ClassVar[frozenset[type[Operation]]] = frozenset({Mmap, Touch})

    kind: Literal["units"]
    """Which allocator it is."""
    size: Size = 8 << 20
    """How much is mapped at once (`-a`)."""
    used: float = Field(default=1, gt=0, le=1)
    """The share of a unit that is used before the thread maps another one. Below 1 it stands for the unit of
    each size of block that is used last, where a workload asks for one size only."""
    staggered: bool = False
    """Whether each thread finds its first unit used up to a random point, so that a window sees threads map
    at different times."""


def _named(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


_Options = Annotated[Ptmalloc | Tcmalloc | Jemalloc | Units, Field(discriminator="kind")]

AllocatorSpec = Annotated[
    _Options,
    BeforeValidator(
        _named, json_schema_input_type=Literal["ptmalloc", "tcmalloc", "jemalloc", "units"] | _Options
    ),
]
"""`ptmalloc`, or with options: `{kind: ptmalloc, trim_threshold: 256 KiB}`."""
