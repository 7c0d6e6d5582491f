"""What files say of page allocators."""

from __future__ import annotations

from pydantic import PositiveInt

from sim.quantities import Cost, Spec


class LlfreeSpec(Spec):
    """LLFree: each cpu reserves a tree of pages and works there alone."""

    tree_pages: PositiveInt
    """Pages of a tree; when it is used up, the cpu takes another from the shared array."""
    get: Cost
    """Find and set a bit of the child's bit field and decrement its counter."""
    put: Cost
    """Clear a bit of the child's bit field and increment its counter."""
    huge_get: Cost
    """Flip the entry of a child of 512 pages."""
    huge_put: Cost
    """Flip the entry back."""
    reserve: Cost
    """Search for a tree and reserve it, without the shared line."""
