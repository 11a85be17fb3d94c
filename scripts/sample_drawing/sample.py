"""One file of the sample studies: how to draw it, and why it is there."""

from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from sample_drawing.instances import PhotographDetails, dicom_photograph
from sample_drawing.scene import DrawnPhotograph, Scene, draw_lesion_photograph

__all__ = ["SamplePhotograph", "draw_sample", "sample_dataset"]


@dataclass(frozen=True, slots=True)
class SamplePhotograph:
    """One file of the sample studies."""

    scenes: tuple[Scene, ...]
    """What is seen on each frame."""
    details: PhotographDetails
    proves: str
    """Why it is among the samples, for the table in README.md."""

    @property
    def path(self) -> PurePosixPath:
        """Place within the sample studies."""
        return PurePosixPath(f"{self.details.key}.dcm")


def draw_sample(sample: SamplePhotograph) -> list[DrawnPhotograph]:
    """Draw a sample's frames with their masks."""
    return [draw_lesion_photograph(scene) for scene in sample.scenes]


def sample_dataset(sample: SamplePhotograph, frames: list[DrawnPhotograph]) -> Dataset:
    """Put a sample's drawn frames into its DICOM instance."""
    pixels: npt.NDArray[np.uint8] = np.stack([frame.pixels for frame in frames])
    return dicom_photograph(pixels, sample.details)
