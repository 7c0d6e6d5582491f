"""Blocks of pages that all threads have taken, dealt out among them anew."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.workload.thread import Worker


class Deal:
    """Who has taken blocks, and in which request of whom they were dealt last."""

    __slots__ = ("_dealt", "_random", "_workers")

    def __init__(self, random: Random) -> None:
        self._random = random
        self._workers: dict[Worker, None] = {}
        self._dealt: dict[Worker, int] = {}

    def joined(self, worker: Worker) -> None:
        """*worker* takes blocks."""
        self._workers[worker] = None

    def shuffle(self, worker: Worker) -> None:
        """The blocks of all are dealt out, to each as many as it has; once for a request of each."""
        if self._dealt.get(worker) == worker.request:
            return
        blocks = [block for each in self._workers for block in each.blocks]
        self._random.shuffle(blocks)
        for each in self._workers:
            held = len(each.blocks)
            each.blocks[:] = blocks[:held]
            del blocks[:held]
            self._dealt[each] = each.request
