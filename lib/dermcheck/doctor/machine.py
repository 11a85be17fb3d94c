"""Memory, disks, folders and the port."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Final

import psutil
import requests
from dicomweb_client import DICOMwebClient

from dermcheck.datastore.locations import without_password
from dermcheck.doctor.finding import Finding

__all__ = ["check_archive", "check_disk", "check_folder", "check_memory", "check_port"]

_GIB: Final = 1024**3
_MEMORY_NEEDED: Final = 2 * _GIB
"""The server with both models and MONAI Label, one 24-megapixel photograph at work."""
_DISK_NEEDED: Final = 2 * _GIB
"""Viewers' copies of photographs are large: about 75 MB at 24 megapixels."""


def check_memory() -> Finding:
    """Whether the server fits into the memory that is free."""
    memory = psutil.virtual_memory()
    found = f"{memory.available / _GIB:.1f} GiB of {memory.total / _GIB:.1f} GiB available"
    if memory.available >= _MEMORY_NEEDED:
        return Finding("Memory", found)
    return Finding(
        "Memory",
        f"{found}, expected at least {_MEMORY_NEEDED // _GIB} GiB",
        "End other programs or add memory.",
    )


def check_disk(name: str, folder: Path) -> Finding:
    """Whether there is room for new masks or viewers' copies."""
    existing = _nearest_existing(folder)
    try:
        free = shutil.disk_usage(existing).free
    except OSError as error:
        return Finding(
            name, f"{existing} cannot be asked ({error.strerror})", "Check that the disk is connected."
        )
    if free >= _DISK_NEEDED:
        return Finding(name, f"{free / _GIB:.0f} GiB free")
    return Finding(
        name, f"{free / _GIB:.1f} GiB free, expected at least {_DISK_NEEDED // _GIB} GiB", "Free some space."
    )


def check_folder(name: str, folder: Path, *, made_on_demand: bool = False) -> Finding:
    """Whether files can be read from and written into a folder, tried with a file that is removed again.

    Parameters
    ----------
    name
        What the folder is called in the answer.
    folder
        Absolute or relative to the working folder.
    made_on_demand
        Whether DermCheck makes the folder itself, so that its absence is no problem.
    """
    place = _nearest_existing(folder) if made_on_demand else folder
    if not place.is_dir():
        found = "is a file" if place.exists() else "does not exist"
        return Finding(name, f"{folder} {found}, expected a folder", "Make the folder or name another one.")
    try:
        next(os.scandir(place), None)
        with tempfile.TemporaryFile(prefix=".dermcheck-doctor-", dir=place):
            pass
    except OSError as error:
        return Finding(
            name,
            f"{place} cannot be read and written ({error.strerror})",
            "Give the account that runs DermCheck the right to write there.",
        )
    return Finding(name, f"{folder} can be read and written")


def check_archive(url: str) -> Finding:
    """Whether a DICOMweb archive answers a search for one study."""
    shown = without_password(url)
    try:
        client = DICOMwebClient(url)
        client.set_http_retry_params(retry=False)  # by default it tries for half a minute
        client.search_for_studies(limit=1)
    except (requests.RequestException, ValueError) as error:
        return Finding(
            "Studies",
            f"{shown} does not answer a DICOMweb search ({type(error).__name__})",
            "Check the address, and that the archive runs and lets this computer in.",
        )
    return Finding("Studies", f"{shown} answers")


def check_port(host: str, port: int) -> Finding:
    """Whether the server can listen, or DermCheck listens already."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":  # elsewhere it would let two programs share the port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if _is_dermcheck(host, port):
            return Finding("Port", f"{host}:{port} is DermCheck's, which is running")
        return Finding(
            "Port",
            f"{host}:{port} cannot be used ({error.strerror})",
            "End the program that uses it, or take another one with --port.",
        )
    return Finding("Port", f"{host}:{port} is free")


def _is_dermcheck(host: str, port: int) -> bool:
    """Ask whoever listens there for MONAI Label's description of itself."""
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        connection = http.client.HTTPConnection(host, port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", "/info/")
            answer = json.loads(connection.getresponse().read(1 << 20))
            return isinstance(answer, dict) and answer.get("name") == "DermCheck"
    return False


def _nearest_existing(folder: Path) -> Path:
    absolute = folder.absolute()
    return next((each for each in (absolute, *absolute.parents) if each.exists()), absolute)
