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
from sim.mm.frames import MAX_ORDER, Buddy, FrameMap, OutOfMemory, Room, out_of_memory, size_of
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
from sim.mm.policy import FIRST_TOUCH, FirstTouch, MemoryPolicy, NodePolicy, node_policy
from sim.mm.zonelists import distances, zonelists

__all__ = [
    "FAULT_ENTRY",
    "FIRST_TOUCH",
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
    "FirstTouch",
    "FlushSpec",
    "FrameMap",
    "LazyFlush",
    "Mapping",
    "Mark",
    "MemoryPolicy",
    "NodePolicy",
    "OutOfMemory",
    "PageTablePage",
    "Room",
    "SegmentationFault",
    "SynchronousFlush",
    "TrackedFlush",
    "distances",
    "make_flush",
    "node_policy",
    "out_of_memory",
    "size_of",
    "slot_of",
    "zonelists",
]
