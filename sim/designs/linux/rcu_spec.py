"""What design files say of RCU."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from sim.quantities import Cost, Duration, Spec


class RcuSpec(Spec):
    """Grace periods and callbacks."""

    tick: Annotated[Duration, Field(gt=0)]
    """Time between two timer ticks (1 / HZ)."""
    least: Duration
    """A grace period lasts at least so long (jiffies_till_first_fqs)."""
    urgent: Duration
    """From this age on a tick forces a context switch (jiffies_to_sched_qs)."""
    preemptible: bool
    """Kernel code that has preemption enabled is no read section (CONFIG_PREEMPT_RCU). A machine whose kernel
    is known to be built otherwise says so (`kernel.preempt_rcu`)."""
    batch: PositiveInt
    """Callbacks that run before the softirq looks at what else there is to do (blimit)."""
    share: NonNegativeInt
    """If more than *batch* times 2**share wait, one of 2**share is a batch (rcu_divisor)."""
    restarts: PositiveInt
    """Batches that a softirq does before it leaves the rest to ksoftirqd (MAX_SOFTIRQ_RESTART)."""
    call: Cost
    """call_rcu."""
    callback: Cost
    """Invoke one callback, without what it does."""
