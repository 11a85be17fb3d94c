"""Drawn skin: made-up photographs of skin lesions, and the DICOM instances that hold them.

Nothing here comes from a patient or from a data set: every pixel is computed. Tests and benchmarks
take photographs from here as well::

    scene = random_scene(seed=7, rows=96, columns=128)
    pixels, mask = draw_lesion_photograph(scene)
    instance = dicom_photograph(pixels, PhotographDetails(key="test/7"))
    instance.save_as(path, enforce_file_format=True)

The same arguments give the same bytes: random numbers come from seeded numpy generators, UIDs from
names, dates are fixed, and arithmetic is double precision, where the last-digit differences between
processors are far below a grey level. Compressed bytes depend on the encoder's version besides.
"""

from sample_drawing.encoding import Encoding
from sample_drawing.instances import (
    Patient,
    PhotographDetails,
    Visit,
    dicom_photograph,
    stable_uid,
)
from sample_drawing.sample import SamplePhotograph, draw_sample, sample_dataset
from sample_drawing.scene import DrawnPhotograph, Lesion, Scene, draw_lesion_photograph, random_scene
from sample_drawing.studies import SAMPLE_PHOTOGRAPHS

__all__ = [
    "SAMPLE_PHOTOGRAPHS",
    "DrawnPhotograph",
    "Encoding",
    "Lesion",
    "Patient",
    "PhotographDetails",
    "SamplePhotograph",
    "Scene",
    "Visit",
    "dicom_photograph",
    "draw_lesion_photograph",
    "draw_sample",
    "random_scene",
    "sample_dataset",
    "stable_uid",
]
