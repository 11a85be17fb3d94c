"""Versions of the models, which of them is in use, and the gate that a new one must pass.

The gate is imported by its own name, `dermcheck.registry.gate`: serving does without it and without what
it measures with.
"""

from dermcheck.registry.accounts import current_account
from dermcheck.registry.events import Event, EventKind
from dermcheck.registry.location import REGISTRY_VARIABLE, registry_root
from dermcheck.registry.registry import Registry
from dermcheck.registry.versions import REFERENCE, ModelVersion

__all__ = [
    "REFERENCE",
    "REGISTRY_VARIABLE",
    "Event",
    "EventKind",
    "ModelVersion",
    "Registry",
    "current_account",
    "registry_root",
]
