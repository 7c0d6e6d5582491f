"""Linux with swap on a machine that is too small, and what is in its frames and slots."""

from __future__ import annotations

from typing import Any

from contents import Files
from kernels import BASE

from sim.mm import Status
from sim.verify.swapping import DEVICES, DRIVE, ZRAM, corten_swap, swap

__all__ = ["DEVICES", "DRIVE", "TINY", "ZRAM", "Swapping", "corten_swap", "swap"]

TINY: dict[str, Any] = {
    "topology": {"sockets": 1, "numa_nodes": 1},
    "memory": {"size_per_socket": "8 MiB"},
}
"""2048 pages on one node, 8 cpus."""


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
