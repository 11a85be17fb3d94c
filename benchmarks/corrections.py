"""How long a training from corrections takes: made of a data set's own photographs, masks and diagnoses.

    python benchmarks/corrections.py DATA_SET [--count 50] [--reference-data DIR]

Prints, for each task: seconds on the clock and on the processor, and what came of it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dermcheck.dicom.author import Clinician
from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
from dermcheck.dicom.segmentation import LesionSegment, write_segmentation
from dermcheck.lesions import LESION_CLASSES
from dermcheck.training.data import open_data_set
from dermcheck.training.data.data_set import LabelledPhotograph, PictureFile


def main() -> None:
    """Make the corrections and train both models from them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data_set", type=Path)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--reference-data", type=Path)
    parser.add_argument(
        "--keep", type=Path, help="folder for studies, registry and cache (default: temporary)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        studies = folder / "studies"
        if not studies.exists():
            make_corrections(arguments.data_set, arguments.count, studies)
        for task in ("classification", "segmentation"):
            measure(task, studies, folder, arguments.reference_data)


def make_corrections(data_set: Path, count: int, studies: Path) -> None:
    """Store photographs that have both a mask and a diagnosis, spread over the data set, one patient each."""
    studies.mkdir(parents=True)
    complete = [
        each for each in open_data_set(data_set).photographs if each.mask and each.diagnosis is not None
    ]
    for number, photograph in enumerate(complete[:: len(complete) // count][:count]):
        store_correction(photograph, number, studies)


def store_correction(photograph: LabelledPhotograph, number: int, studies: Path) -> None:
    """Write a photograph and a clinician's label of it."""
    picture, mask, diagnosis = photograph.picture, photograph.mask, photograph.diagnosis
    if not isinstance(picture, PictureFile) or mask is None or diagnosis is None:
        raise TypeError("the photograph is no file, or lacks mask or diagnosis")
    dataset = photo_to_dicom(picture.path, PhotoDetails(patient_id=f"CORRECTION-{number}"))
    dataset.save_as(studies / f"{number:04}.dcm", enforce_file_format=True)
    segment = LesionSegment(mask.read(), LESION_CLASSES[diagnosis])
    label = write_segmentation(dataset, [segment], Clinician("Benchmark"))
    label.save_as(studies / f"{number:04}.seg.dcm", enforce_file_format=True)


def measure(task: str, studies: Path, folder: Path, reference: Path | None) -> None:
    """Train one model in a process of its own and print how long it took."""
    command = [sys.executable, "-m", "dermcheck", "train", task, "--from-corrections", "--json"]
    command += ["--studies", str(studies), "--registry", str(folder / "registry")]
    command += ["--reference-data", str(reference)] if reference else []
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(  # noqa: S603  # its own command
        command,
        env=os.environ | {"DERMCHECK_CACHE": str(folder / "cache")},
        stdout=subprocess.PIPE,
        check=True,
    )
    seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    memory = after.ru_maxrss / 2**20
    print(f"{task}: {seconds:.0f} s, {processor:.0f} s of the processor, largest memory {memory:.2f} GiB")
    print(f"  {json.loads(done.stdout)['answer']}")


if __name__ == "__main__":
    main()
