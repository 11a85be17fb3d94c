"""Draw the sample studies: made-up photographs in every SOP class and transfer syntax that we read.

Example::

    python scripts/draw_sample_studies.py --output sample_studies --masks /tmp/masks
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from sample_drawing.encoding import encoder_missing
from sample_drawing.readme import readme_text
from sample_drawing.sample import SamplePhotograph, draw_sample, sample_dataset
from sample_drawing.scene import DrawnPhotograph
from sample_drawing.studies import SAMPLE_PHOTOGRAPHS

_FOLDER = Path(__file__).resolve().parent.parent / "sample_studies"


def write_sample(sample: SamplePhotograph, frames: list[DrawnPhotograph], folder: Path) -> Path:
    """Write one drawn sample as a DICOM file below `folder`, and give its path."""
    path = folder / sample.path
    path.parent.mkdir(parents=True, exist_ok=True)
    sample_dataset(sample, frames).save_as(path, enforce_file_format=True)
    return path


def write_masks(sample: SamplePhotograph, frames: list[DrawnPhotograph], folder: Path) -> None:
    """Write the true outlines, 0 and 255, named as ISIC names them: ``<stem>_segmentation.png``.

    The masks of several frames are ``<stem>_frame1_segmentation.png`` and so on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames, start=1):
        which = f"_frame{number}" if len(frames) > 1 else ""
        picture = Image.fromarray(frame.mask.astype(np.uint8) * 255)
        picture.save(folder / f"{sample.path.stem}{which}_segmentation.png")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw all samples; status 1 if some could not be encoded on this machine."""
    options = _parse(arguments)
    missing = []
    for sample in tqdm(SAMPLE_PHOTOGRAPHS, unit="photograph"):
        frames = draw_sample(sample)
        if options.masks is not None:
            write_masks(sample, frames, options.masks)
        if problem := encoder_missing(sample.details.encoding.transfer_syntax):
            missing.append(f"{sample.path} was not drawn: {problem}")
        else:
            write_sample(sample, frames, options.output)
    for sentence in missing:
        print(sentence, file=sys.stderr)
    if all((options.output / sample.path).exists() for sample in SAMPLE_PHOTOGRAPHS):
        (options.output / "README.md").write_text(readme_text(options.output), encoding="utf-8")
    return 1 if missing else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n", maxsplit=1)[0],
        epilog="example: python scripts/draw_sample_studies.py --output sample_studies --masks /tmp/masks",
    )
    parser.add_argument("--output", type=Path, default=_FOLDER, help="folder to write (default: %(default)s)")
    parser.add_argument("--masks", type=Path, help="write the true outlines as PNG into this folder")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
