"""Memory-management designs, one package each."""

from sim.designs.base import Family, GracePeriods, Kernel
from sim.designs.base_spec import DesignSpec, OneOf
from sim.designs.registry import (
    build,
    families,
    operations_of,
    parts_of,
    places_memory,
    refusal,
    spec_model,
)
from sim.designs.rules import Rules

__all__ = [
    "DesignSpec",
    "Family",
    "GracePeriods",
    "Kernel",
    "OneOf",
    "Rules",
    "build",
    "families",
    "operations_of",
    "parts_of",
    "places_memory",
    "refusal",
    "spec_model",
]
