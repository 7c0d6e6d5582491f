"""Frames, page tables, the address-space interface and TLB flushing: what every design shares."""

from sim.mm.address_space import (
    FAULT_ENTRY,
    LOCK_PAGE_TABLE,
    PAGE_TABLE,
    SYSCALL,
    USER,
    AddressSpace,
    SegmentationFault,
)
from sim.mm.contexts import Contexts
from sim.mm.flush import BroadcastFlush, FlushSpec, LazyFlush, SynchronousFlush, TrackedFlush, make_flush
from sim.mm.frames import MAX_ORDER, Buddy, FrameMap, OutOfMemory
from sim.mm.page_table import (
    LEVELS,
    PAGES_PER_ENTRY,
    PTES_PER_LINE,
    SLOTS,
    Mapping,
    Mark,
    PageTablePage,
    slot_of,
)

__all__ = [
    "FAULT_ENTRY",
    "LEVELS",
    "LOCK_PAGE_TABLE",
    "MAX_ORDER",
    "PAGES_PER_ENTRY",
    "PAGE_TABLE",
    "PTES_PER_LINE",
    "SLOTS",
    "SYSCALL",
    "USER",
    "AddressSpace",
    "BroadcastFlush",
    "Buddy",
    "Contexts",
    "FlushSpec",
    "FrameMap",
    "LazyFlush",
    "Mapping",
    "Mark",
    "OutOfMemory",
    "PageTablePage",
    "SegmentationFault",
    "SynchronousFlush",
    "TrackedFlush",
    "make_flush",
    "slot_of",
]
