"""Linux with swap on a machine that is too small, and what is in its frames and slots."""

from __future__ import annotations

from typing import Any

from contents import Files
from kernels import BASE

from sim.designs.cortenmm.spec import SwapCosts
from sim.designs.linux.swap.spec import ReclaimCosts
from sim.mm import Status

TINY: dict[str, Any] = {
    "topology": {"sockets": 1, "numa_nodes": 1},
    "memory": {"size_per_socket": "8 MiB"},
}
"""2048 pages on one node, 8 cpus."""

ZRAM: dict[str, Any] = {"compressed": {"compress": "3 us", "decompress": "1 us"}}
DRIVE: dict[str, Any] = {
    "block": {
        "submit": "500 ns",
        "complete": "500 ns",
        "read_latency": "60 us",
        "write_latency": "15 us",
        "read_bandwidth": "4.096 GB/s",  # 1 us a page
        "write_bandwidth": "2.048 GB/s",
    }
}
DEVICES = {"zram": ZRAM, "drive": DRIVE}


def swap(device: dict[str, Any], size: str = "32 MiB", **reclaim: Any) -> dict[str, Any]:
    """What a design file says of swap to *device*."""
    return {
        "swap": {
            "size": size,
            **device,
            "slots": {"cache": 8, "cluster": 64, "cache_space": 256},
            "reclaim": {
                "min_free": "256 KiB",
                "watermark_scale_factor": 10,
                "batch": 32,
                "priorities": 12,
                "retries": 16,
                "throttle": "1 ms",
                **reclaim,
            },
            "costs": dict.fromkeys(ReclaimCosts.model_fields, "10 cycles"),
        }
    }


def corten_swap(size: str = "32 MiB", **changes: Any) -> dict[str, Any]:
    """The same for CortenMM."""
    return {
        "swap": {
            "size": size,
            **ZRAM,
            "slots": {"cache": 8, "cluster": 64, "cache_space": 256},
            "batch": 32,
            "costs": dict.fromkeys(SwapCosts.model_fields, "10 cycles"),
            **changes,
        }
    }


class Swapping(Files):
    """`Files` on a machine of 8 MiB with swap."""

    def __init__(self, device: str = "zram", cpus: int = 2, size: str = "32 MiB", **options: Any) -> None:
        changes = {**swap(DEVICES[device], size), **options.pop("changes", {})}
        super().__init__(
            cpus=cpus, changes=changes, machine={**TINY, **options.pop("machine", {})}, **options
        )

    def swapped(self, pages: int) -> list[int]:
        """Which of the first *pages* pages from `BASE` on are swapped out."""
        found = []
        for page in range(BASE, BASE + pages):
            table = self.space.leaf_table(page)
            if table is not None and isinstance(table.get(page % 512), Status):
                found.append(page - BASE)
        return found
