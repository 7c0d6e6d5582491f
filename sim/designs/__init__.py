"""Memory-management designs, one package each."""

from sim.designs.base import DesignSpec, Family, Kernel
from sim.designs.registry import (
    build,
    families,
    operations_of,
    places_memory,
    plugin_of,
    refusal,
    spec_model,
)

__all__ = [
    "DesignSpec",
    "Family",
    "Kernel",
    "build",
    "families",
    "operations_of",
    "places_memory",
    "plugin_of",
    "refusal",
    "spec_model",
]
