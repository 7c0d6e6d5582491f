"""What several parts of Linux charge their time to."""

from typing import Final

from sim.engine import Activity

VMA_WORK: Final = Activity("vma")
LOCK_VMA: Final = Activity("lock: vma")
LOCK_SIGNALS: Final = Activity("lock: signals")
