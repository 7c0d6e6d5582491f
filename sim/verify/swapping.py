"""What design files say of swap, with round costs."""

from __future__ import annotations

from typing import Any

from sim.designs.cortenmm.spec import SwapCosts
from sim.designs.linux.swap.spec import ReclaimCosts

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
