"""Where mappings may lie (arch/x86/mm/mmap.c and include/asm/processor.h, 6.13)."""

from __future__ import annotations

from typing import Final

HIGHEST_PAGE: Final = (1 << 35) - 256
"""First page above the mmap area of a 47-bit address space: the search for gaps goes down from here."""
FIRST_PAGE: Final = 16
"""The lowest page that may be mapped without asking for it (64 KiB, mmap_min_addr)."""
LEGACY_BASE: Final = (1 << 35) // 3
"""TASK_UNMAPPED_BASE: the search goes up from here in the legacy layout."""
