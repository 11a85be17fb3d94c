"""The whole examination, in the order in which problems are best solved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dermcheck.datastore.locations import cache_root, is_url
from dermcheck.doctor.finding import Finding
from dermcheck.doctor.installation import check_packages, check_python
from dermcheck.doctor.machine import check_archive, check_disk, check_folder, check_memory, check_port
from dermcheck.doctor.parts import (
    Probe,
    check_backend,
    check_models,
    check_processor,
    check_server,
    start_probe,
)

__all__ = ["Subject", "examine"]


@dataclass(frozen=True)
class Subject:
    """What is examined besides the installation itself."""

    studies: str | None
    """Folder or DICOMweb URL; None where there is none to look at."""
    models: Path | None
    """Folder with ``classifier/`` and ``outliner/``; None where the registry's are to be used."""
    host: str
    """Where the server is to listen."""
    port: int
    """TCP port of the server."""
    registry: Path | None = None
    """Folder of the registry of models; None for the default one."""


def examine(subject: Subject) -> Iterator[Finding]:
    """Look at everything; each finding comes as soon as it is known.

    Nothing is changed, except that a file is written and removed in the studies and cache folders, and that
    the networks are exported into the cache where a prediction would do that first.
    torch and MONAI Label are imported in child processes, which run while the rest is looked at: a
    broken installation may crash them, but not the doctor.
    """
    processor, server = start_probe("processor"), start_probe("server")
    models, backend = _start_models_probe(subject), _start_models_probe(subject, "backend")
    yield check_python()
    yield check_packages()
    yield check_memory()
    if subject.studies is None:
        pass
    elif is_url(subject.studies):
        yield check_archive(subject.studies)
    else:
        yield check_folder("Studies", Path(subject.studies))
        yield check_disk("Disk of the studies", Path(subject.studies))
    yield check_folder("Cache", cache_root(), made_on_demand=True)
    yield check_disk("Disk of the cache", cache_root())
    yield check_port(subject.host, subject.port)
    yield check_processor(processor)
    yield from check_models(models)
    yield check_backend(backend)
    yield check_server(server)


def _start_models_probe(subject: Subject, *about: str) -> Probe:
    if subject.models is not None:
        return start_probe(*about, "models", str(subject.models))
    return start_probe(*about, "registry", *([str(subject.registry)] if subject.registry else []))
