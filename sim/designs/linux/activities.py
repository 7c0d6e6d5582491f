"""What several parts of Linux charge their time to."""

VMA_WORK = "vma"
LOCK_VMA = "lock: vma"
LOCK_SIGNALS = "lock: signals"
