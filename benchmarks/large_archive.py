"""Counts what is asked of an archive of 100,000 photographs until work can begin, and afterwards.

Starts an archive in a process of its own that answers DICOMweb searches a page at a time, as archives do
(made-up photographs, and outlines of some of them), opens it as `dermcheck serve` does, and prints a table:

    python benchmarks/large_archive.py
    python benchmarks/large_archive.py --photographs 20000 --outlines 500 --page 100

The archive answers at once; a real one takes longer for each request, so the requests count.
"""

import argparse
import io
import json
import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import psutil
import requests
from PIL import Image
from pydicom import Dataset, dcmread, dcmwrite

from dermcheck.datastore import StudyStore
from dermcheck.datastore.archive_access import MODALITIES, ArchiveAccess
from dermcheck.dicom.author import Clinician
from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
from dermcheck.dicom.segmentation import LesionSegment, write_segmentation
from dermcheck.dicomweb.proxy import ArchiveProxy
from dermcheck.dicomweb.study_list import list_studies

DERMOSCOPIC, OUTLINE = "1.2.840.10008.5.1.4.1.1.77.1.7", "1.2.840.10008.5.1.4.1.1.66.4"


def main() -> None:
    """Serve, open and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photographs", type=int, default=100_000, help="how many (default 100,000)")
    parser.add_argument("--outlines", type=int, default=2_000, help="how many have one (default 2,000)")
    parser.add_argument("--page", type=int, default=1000, help="most rows of one answer (default 1,000)")
    arguments = parser.parse_args()
    with (
        serve(arguments.photographs, arguments.outlines, arguments.page) as address,
        tempfile.TemporaryDirectory(prefix="dermcheck-benchmark-") as cache,
    ):
        print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
        print(f"{arguments.photographs:,} photographs, {arguments.outlines:,} outlines\n")
        print(f"{'':44}{'seconds':>9}{'requests':>10}{'rows':>10}{'photographs':>13}{'outlines':>10}")
        measure("first start", address, Path(cache), arguments)
        measure("later start", address, Path(cache), arguments)
        measure_list(address)
        print(f"\nmemory of this process: {psutil.Process().memory_info().rss / 2**20:.0f} MiB")


def measure(name: str, address: str, cache: Path, arguments: argparse.Namespace) -> None:
    """Open the archive; say what was asked until it returned, and until all was known."""
    asked(address)
    started = time.perf_counter()
    with StudyStore.open(address, cache) as store:
        line(f"{name}, until work can begin", started, asked(address), store)
        while not is_known(store, arguments):
            time.sleep(0.05)
        line(f"{name}, from then until all is known", started, asked(address), store)


def is_known(store: StudyStore, arguments: argparse.Namespace) -> bool:
    """Tell whether everything is in the catalogue."""
    is_listed = len(store.image_ids()) == arguments.photographs
    return is_listed and len(store.finished_ids()) == arguments.outlines


def measure_list(address: str) -> None:
    """Ask for the first page of the viewer's list of studies."""
    proxy = ArchiveProxy(ArchiveAccess(address))
    asked(address)
    started = time.perf_counter()
    rows = list_studies(lambda keys: proxy.search("/studies", keys, ""), [("limit", "101")], MODALITIES)
    line(f"the viewer's list of studies, first {len(rows)}", started, asked(address), None)


def line(name: str, started: float, count: dict[str, int], store: StudyStore | None) -> None:
    """Print one line of the table."""
    known = (f"{len(store.image_ids()):>13,}", f"{len(store.finished_ids()):>10,}") if store else ("", "")
    seconds = time.perf_counter() - started
    print(f"{name:44}{seconds:>9.2f}{count['requests']:>10,}{count['rows']:>10,}{known[0]}{known[1]}")


# ---- the archive ----


def asked(address: str) -> dict[str, int]:
    """Return requests and rows since the last time this was asked."""
    found: dict[str, int] = requests.get(f"{address}/count", timeout=30).json()
    return found


@contextmanager
def serve(photographs: int, outlines: int, page: int) -> Iterator[str]:
    """Serve in another process, so that both sides have a processor; give the address."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve_forever, args=(there, photographs, outlines, page), daemon=True)
    process.start()
    yield f"http://127.0.0.1:{here.recv()}/dicom-web"
    process.terminate()
    process.join()


def serve_forever(pipe: Connection, photographs: int, outlines: int, page: int) -> None:
    """Answer searches for instances and studies by modality, and the metadata of outlines."""
    template = outline_json()
    count = {"requests": 0, "rows": 0}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if address.path.endswith("/count"):
                self.answer(dict(count))
                count.update(requests=0, rows=0)
                return
            count["requests"] += 1
            parts = address.path.removeprefix("/dicom-web/").split("/")
            if parts[-1] == "metadata":
                self.answer([outline(template, int(parts[-2].rpartition(".")[2]))])
                return
            query = {name: values[0] for name, values in parse_qs(address.query).items()}
            rows = self.rows(parts[-1], query)
            count["rows"] += len(rows)
            self.answer(rows)

        def rows(self, level: str, query: dict[str, str]) -> list[Any]:
            modality = query.get("Modality") or query.get("ModalitiesInStudy") or query["00080060"]
            total = {"DMS": photographs, "SEG": outlines}.get(modality, 0)
            offset = int(query.get("offset", 0))
            until = min(total, offset + min(page, int(query.get("limit", page))))
            make = study if level == "studies" else instance
            return [make(number, modality) for number in range(offset, until)]

        def answer(self, value: Any) -> None:
            content = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pipe.send(server.server_port)
    server.serve_forever()


def instance(number: int, modality: str) -> dict[str, Any]:
    """Return a search result."""
    kind = 2 if modality == "SEG" else 1
    return {
        "00080016": {"vr": "UI", "Value": [OUTLINE if modality == "SEG" else DERMOSCOPIC]},
        "00080018": {"vr": "UI", "Value": [f"1.2.3.{kind}.{number}"]},
        "00080060": {"vr": "CS", "Value": [modality]},
        "0020000D": {"vr": "UI", "Value": [f"1.2.3.8.{number}"]},
        "0020000E": {"vr": "UI", "Value": [f"1.2.3.9.{kind}.{number}"]},
    }


def study(number: int, modality: str) -> dict[str, Any]:
    """Return a search result of the study level."""
    return {
        "00080061": {"vr": "CS", "Value": [modality]},
        "00100020": {"vr": "LO", "Value": [f"P-{number}"]},
        "0020000D": {"vr": "UI", "Value": [f"1.2.3.8.{number}"]},
    }


def outline_json() -> str:
    """Return a Segmentation's metadata; its photograph has the UID that `outline` replaces."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "photo.png")
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(path)
        photograph: Dataset = photo_to_dicom(path, PhotoDetails(patient_id="P"))
    photograph.SOPInstanceUID = photograph.file_meta.MediaStorageSOPInstanceUID = "1.2.3.1.999999999"
    label = write_segmentation(
        photograph, [LesionSegment(np.eye(48, 64, dtype=bool), None)], Clinician("A^B")
    )
    label.SOPInstanceUID, label.SeriesInstanceUID = "1.2.3.2.999999999", "1.2.3.9.2.999999999"
    label.StudyInstanceUID = "1.2.3.8.999999999"
    del label.PixelData
    content = io.BytesIO()
    dcmwrite(content, label, enforce_file_format=True)
    content.seek(0)
    return dcmread(content).to_json()


@lru_cache(1)
def outline(template: str, number: int) -> Any:
    """Return the metadata of one Segmentation."""
    return json.loads(template.replace("999999999", str(number)))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
