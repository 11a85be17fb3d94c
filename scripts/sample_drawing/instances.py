"""DICOM instances around drawn pixels: headers complete for each SOP class, UIDs that never change."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from PIL import ImageCms
from pydicom import DataElement, Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DermoscopicPhotographyImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    VLEndoscopicImageStorage,
    VLMicroscopicImageStorage,
    VLPhotographicImageStorage,
    generate_uid,
)

from sample_drawing.encoding import UNCOMPRESSED, Encoding, store_pixels

__all__ = ["Patient", "PhotographDetails", "Visit", "dicom_photograph", "stable_uid"]

_ENTROPY = "DermCheck sample_studies"
_MODALITIES: Mapping[UID, str] = MappingProxyType(
    {
        DermoscopicPhotographyImageStorage: "DMS",
        VLPhotographicImageStorage: "XC",
        VLEndoscopicImageStorage: "ES",
        VLMicroscopicImageStorage: "GM",
        SecondaryCaptureImageStorage: "OT",
        MultiFrameTrueColorSecondaryCaptureImageStorage: "OT",
    }
)


@dataclass(frozen=True, slots=True)
class Patient:
    """A made-up person; an empty date or sex is stored as an empty element."""

    name: str = "SYNTHETIC^NOBODY"
    patient_id: str = "SYN-000"
    birth_date: str = ""
    sex: str = ""
    character_set: str | None = None
    """Specific Character Set (0008,0005); None for ASCII."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One study: the photographs of one visit."""

    patient: Patient = Patient()
    number: int = 1
    date: str = "20250101"
    time: str = "100000"
    description: str | None = None


@dataclass(frozen=True, slots=True)
class PhotographDetails:
    """All of one instance but its pixels."""

    key: str
    """Name from which series and instance UID are made: another key, another photograph."""
    visit: Visit = Visit()
    sop_class: UID = DermoscopicPhotographyImageStorage
    encoding: Encoding = UNCOMPRESSED
    series_number: int = 1
    description: str | None = None
    body_site: Code | None = None
    """Anatomic region of CID 4029."""
    laterality: str | None = None
    """``R`` or ``L``; None where the site is unpaired, or unknown because `body_site` is."""
    tracking_id: str | None = None
    """The lesion's name; with the patient it decides the tracking UID."""
    pixel_spacing_mm: float | None = None
    frame_labels: tuple[str, ...] = ()
    """One for each frame of a multi-frame instance."""
    icc_profile: bool = False
    """Include an sRGB profile (PS3.3 C.11.15)."""


def stable_uid(*names: object) -> UID:
    """Make a UID from names: the same names give the same UID, under pydicom's root for generated UIDs."""
    return generate_uid(entropy_srcs=[_ENTROPY, *map(str, names)])


def dicom_photograph(pixels: npt.NDArray[np.uint8], details: PhotographDetails) -> Dataset:
    """Put a photograph into a complete instance of its SOP class.

    Parameters
    ----------
    pixels : npt.NDArray[np.uint8]
        (rows, columns, 3) or, for Multi-frame True Color Secondary Capture, (frames, rows, columns, 3).
    details : PhotographDetails
        What goes into the header.

    Returns
    -------
    Dataset
        With file meta information, ready for ``save_as(path, enforce_file_format=True)``.

    Raises
    ------
    EncoderMissingError
        If the transfer syntax needs a program that is not installed.
    KeyError
        If the SOP class is none of those the samples show.
    """
    dataset = Dataset()
    dataset.file_meta = _file_meta(details)
    _add_patient(dataset, details.visit.patient)
    _add_study_and_series(dataset, details)
    _add_equipment(dataset)
    _add_image(dataset, details)
    store_pixels(dataset, pixels if pixels.ndim == 4 else pixels[np.newaxis], details.encoding)
    _SPECIAL_MODULES[details.sop_class](dataset, details)
    if details.icc_profile:
        dataset.ICCProfile = _srgb_profile()
        dataset.ColorSpace = "SRGB"
    return dataset


def _file_meta(details: PhotographDetails) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = details.sop_class
    meta.MediaStorageSOPInstanceUID = stable_uid("instance", details.key)
    # Our own names: pydicom's default would change with its version.
    meta.ImplementationClassUID = stable_uid("implementation")
    meta.ImplementationVersionName = "DERMCHECK_DRAW"
    return meta


def _add_patient(dataset: Dataset, patient: Patient) -> None:
    if patient.character_set is not None:
        dataset.SpecificCharacterSet = patient.character_set
    dataset.PatientName = patient.name
    dataset.PatientID = patient.patient_id
    dataset.PatientBirthDate = patient.birth_date
    dataset.PatientSex = patient.sex


def _add_study_and_series(dataset: Dataset, details: PhotographDetails) -> None:
    visit = details.visit
    dataset.StudyInstanceUID = stable_uid("study", visit.patient.patient_id, visit.number)
    dataset.StudyDate, dataset.StudyTime = visit.date, visit.time
    dataset.StudyID = str(visit.number)
    dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    if visit.description is not None:
        dataset.StudyDescription = visit.description
    dataset.Modality = _MODALITIES[details.sop_class]
    dataset.SeriesInstanceUID = stable_uid("series", details.key)
    dataset.SeriesNumber = details.series_number
    if details.description is not None:
        dataset.SeriesDescription = details.description
    # Type 2C (PS3.3 C.7.3.1.1.2): absent for an unpaired site, empty if it is not known.
    if details.laterality is not None:
        dataset.Laterality = details.laterality
    elif details.body_site is None:
        dataset.Laterality = ""


def _add_equipment(dataset: Dataset) -> None:
    dataset.Manufacturer = "DermCheck"
    dataset.ManufacturerModelName = "Drawn photograph"
    dataset.DeviceSerialNumber = "0"
    dataset.SoftwareVersions = "1"


def _add_image(dataset: Dataset, details: PhotographDetails) -> None:
    """General Image and SOP Common modules, and the image's place on the body."""
    dataset.SOPClassUID = details.sop_class
    dataset.SOPInstanceUID = stable_uid("instance", details.key)
    dataset.InstanceNumber = 1
    dataset.PatientOrientation = ""
    dataset.ContentDate, dataset.ContentTime = details.visit.date, details.visit.time
    dataset.AcquisitionDateTime = details.visit.date + details.visit.time
    dataset.ImageComments = "Drawn by a program. No patient, no photograph."
    if details.body_site is not None:
        dataset.AnatomicRegionSequence = [_coded(details.body_site)]
        if details.laterality is None:
            dataset.ImageLaterality = "U"
    if details.pixel_spacing_mm is not None:
        dataset.PixelSpacing = [details.pixel_spacing_mm, details.pixel_spacing_mm]


def _coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def _visible_light(dataset: Dataset, details: PhotographDetails) -> None:
    """VL Image (PS3.3 C.8.12.1) and Acquisition Context modules."""
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.AcquisitionContextSequence = []
    dataset.BurnedInAnnotation = "NO"


def _dermoscopic(dataset: Dataset, details: PhotographDetails) -> None:
    """Dermoscopic Image module (PS3.3 C.8.12.13) on top of the visible-light ones."""
    _visible_light(dataset, details)
    # Whether the module is required has changed between editions; having it satisfies each.
    dataset.FrameOfReferenceUID = stable_uid("frame of reference", details.key)
    dataset.PositionReferenceIndicator = ""
    dataset.RecognizableVisualFeatures = "NO"
    dataset.LightSourcePolarization = "POLARIZED"
    dataset.EmitterColorTemperature = 5600.0
    dataset.ContactMethod = "CONTACT"
    dataset.ImmersionMedia = "ULTRASOUND_GEL"
    dataset.OpticalMagnificationFactor = 10.0
    if details.tracking_id is not None:
        dataset.TrackingID = details.tracking_id
        dataset.TrackingUID = stable_uid("tracking", details.visit.patient.patient_id, details.tracking_id)


def _secondary_capture(dataset: Dataset, details: PhotographDetails) -> None:
    """SC Equipment and SC Image modules (PS3.3 C.8.6.1 and C.8.6.2)."""
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.ConversionType = "DI"
    dataset.BurnedInAnnotation = "NO"


def _multi_frame_secondary_capture(dataset: Dataset, details: PhotographDetails) -> None:
    """SC Multi-frame Image and Vector modules (PS3.3 C.8.6.3 and C.8.6.4): each frame has a label."""
    _secondary_capture(dataset, details)
    dataset.NumberOfFrames = len(details.frame_labels)
    dataset.FrameLabelVector = list(details.frame_labels)
    dataset.add(DataElement("FrameIncrementPointer", "AT", Tag("FrameLabelVector")))


_SPECIAL_MODULES: Mapping[UID, Callable[[Dataset, PhotographDetails], None]] = MappingProxyType(
    {
        DermoscopicPhotographyImageStorage: _dermoscopic,
        VLPhotographicImageStorage: _visible_light,
        VLEndoscopicImageStorage: _visible_light,
        VLMicroscopicImageStorage: _visible_light,
        SecondaryCaptureImageStorage: _secondary_capture,
        MultiFrameTrueColorSecondaryCaptureImageStorage: _multi_frame_secondary_capture,
    }
)


@lru_cache(maxsize=1)
def _srgb_profile() -> bytes:
    """Make an sRGB input profile without the date of its making (ICC.1 7.2.8: bytes 24 to 35)."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes(12)
    profile[84:100] = bytes(16)  # profile ID: zero means not calculated
    return bytes(profile)
