"""What a file says of a block device, whoever uses it."""

from __future__ import annotations

from sim.quantities import Bandwidth, Cost, Duration, Spec


class BlockDevice(Spec):
    """A device that works on its own and interrupts when it is done (an NVMe drive)."""

    submit: Cost
    """What a request costs who makes it: the bio, the queue, the doorbell."""
    complete: Cost
    """What the interrupt costs that says it is done."""
    read_latency: Duration
    """From the request until a page is read, on a device with nothing else to do."""
    write_latency: Duration
    """Until it is written."""
    read_bandwidth: Bandwidth
    """Of all reads together."""
    write_bandwidth: Bandwidth
    """Of all writes together."""
