"""Makes DICOM photographs of JPEG, PNG and TIFF photos."""

import hashlib
import re
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final, Literal

from PIL import ExifTags
from pydicom import Dataset
from pydicom.config import IGNORE
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sr.coding import Code
from pydicom.uid import (
    UID,
    DermoscopicPhotographyImageStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    VLPhotographicImageStorage,
    generate_uid,
)

from dermcheck.dicom.anatomy import find_site
from dermcheck.dicom.codes import coding_schemes
from dermcheck.dicom.codestream import Codestream
from dermcheck.dicom.jpeg import stored_colour
from dermcheck.dicom.pictures import Picture, decode_picture, open_picture
from dermcheck.dicom.pixels import RGBImage
from dermcheck.errors import ArgumentError
from dermcheck.lesions import CODING_SCHEME

__all__ = ["PhotoDetails", "photo_to_dicom", "picture_to_dicom"]

_UNKNOWN: Final = "Unknown"  # for type 1 attributes that a photo does not tell
_SIDES: Final = {"R": ("24028007", "Right"), "L": ("7771000", "Left"), "B": ("51440002", "Right and left")}
_LOSSY_METHOD: Final = "ISO_10918_1"
_TEXT_LENGTHS: Final = {
    "patient_id": 64,
    "issuer_of_patient_id": 64,
    "study_description": 64,
    "tracking_id": 64,
}
"""Longest value of a DICOM LO (PS3.5 6.2); kept for the tracking id too, which viewers show in a line."""


@dataclass(frozen=True, slots=True)
class PhotoDetails:
    """What a photo's file does not say. Everything may be left out; what is given is checked at once.

    Raises
    ------
    ArgumentError
        If a value cannot be written to DICOM; the message names the detail, never the patient.
    """

    patient_id: str | None = None
    """The clinic's number of the patient. Without it, each photo is a patient and study of its own."""
    issuer_of_patient_id: str | None = None
    """Who gave the number, where several clinics' numbers may meet."""
    patient_name: str | None = None
    """A DICOM person name (``Family^Given``), or simply as typed."""
    birth_date: date | None = None
    sex: Literal["M", "F", "O"] | None = None
    body_site: str | None = None
    """Words for the place on the skin; see `anatomy.find_site`."""
    laterality: Literal["R", "L", "B", "U"] | None = None
    """Right, left, both or unpaired; may also be part of `body_site` (``left cheek``)."""
    acquired: datetime | None = None
    """Local date and time of the photograph; by default what the camera wrote into the file (EXIF)."""
    tracking_id: str | None = None
    """Name of the lesion that is followed, e.g. ``back 3``; needs a `patient_id` or `tracking_uid`."""
    tracking_uid: str | None = None
    """Its UID; by default derived from patient and `tracking_id`, so that visits share it."""
    study_description: str | None = None
    pixel_spacing_mm: float | None = None
    """Distance of pixel centres on the skin, only where it has been measured."""
    dermoscopic: bool = True
    """Taken through a dermatoscope (Dermoscopic Photography), else a plain photograph (VL Photographic)."""

    def __post_init__(self) -> None:  # noqa: D105
        for name, longest in _TEXT_LENGTHS.items():
            _check_text(name, getattr(self, name), longest)
        for component in (self.patient_name or "").split("="):
            _check_text("patient_name", component or None, 64)
        _check_choice("sex", self.sex, ("M", "F", "O"))
        _check_choice("laterality", self.laterality, ("R", "L", "B", "U"))
        if self.tracking_uid is not None and not UID(self.tracking_uid, validation_mode=IGNORE).is_valid:
            raise ArgumentError(
                f"tracking_uid is {self.tracking_uid!r}, expected a DICOM UID (digits and dots)."
            )
        if self.tracking_id and not (self.patient_id or self.tracking_uid):
            raise ArgumentError(
                "tracking_id is given without patient_id: lesions of different patients could be mixed up. "
                "Give the patient_id too."
            )
        if self.pixel_spacing_mm is not None and not 0 < self.pixel_spacing_mm < 10:
            raise ArgumentError(
                f"pixel_spacing_mm is {self.pixel_spacing_mm}, expected millimetres between 0 and 10."
            )
        self.site()

    def site(self) -> tuple[Code | None, str | None]:
        """Return the code of the body site and the side (R, L, B, U), where they are known.

        Raises
        ------
        ArgumentError
            If the site is unknown, or its words name another side than `laterality`.
        """
        code, side = find_site(self.body_site or "")
        if side and self.laterality and side != self.laterality:
            raise ArgumentError(
                f"body_site {self.body_site!r} and laterality {self.laterality} name different sides. "
                "Correct one of them."
            )
        return code, self.laterality or side


def _check_text(name: str, value: str | None, longest: int) -> None:
    if value is not None and (len(value) > longest or re.search(r"[\\\x00-\x1f\x7f]", value)):
        raise ArgumentError(
            f"{name} has {len(value)} characters, expected at most {longest}, no backslash and no line break."
        )


def _check_choice(name: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise ArgumentError(f"{name} is {value!r}, expected {', '.join(choices)} or nothing.")


def photo_to_dicom(path: Path, details: PhotoDetails) -> Dataset:
    """Make a complete, valid DICOM instance of one photo, file meta information included.

    - A baseline or extended 8-bit JPEG, upright, grey or YBR as cameras write it, is *wrapped*: its
      stream becomes the pixel data byte for byte, up to its end marker (EXIF data inside the
      stream, which may tell a place or an owner, stay in it). LossyImageCompression is 01 with
      the ratio and method ISO_10918_1.
    - Everything else is decoded, turned upright by its EXIF orientation (a JPEG stream cannot be
      turned unchanged) and stored uncompressed as RGB, which every viewer and archive reads:
      PNG, TIFF, and JPEG that is rotated, progressive, RGB or CMYK. ImageComments says so, and
      LossyImageCompression still tells that a JPEG once was lossy. 16-bit samples become 8 bits.
    - The whole photo is decoded once in any case, so that no damaged photo enters the archive.
    - An RGB ICC profile of the photo is copied into ICCProfile (PS3.3 C.11.15), not applied.
    - UIDs derive from the file's content, the patient and the day: the same photo imported twice
      is the same instance. One photo is one series; all of a patient's photos of one day share a
      study. Without patient id every photo is a study of its own.
    - The moment is `PhotoDetails.acquired`, else EXIF DateTimeOriginal, else empty: never the
      file's own date, which copying changes.

    Returns
    -------
    Dataset
        ``dataset.save_as(path, enforce_file_format=True)`` writes a file.

    Raises
    ------
    NotFoundError, StorageError, UnreadableImageError
        If the photo cannot be read; see `pictures.read_picture`.

    Notes
    -----
    Dermoscopic Photography: PS3.3 A.32.11 and C.8.12.13. RecognizableVisualFeatures is YES, as a
    program cannot rule out a face or tattoo. An unknown side is an empty Laterality (type 2C).
    """
    with open_picture(path) as picture:
        return picture_to_dicom(picture, details, decode_picture(picture))


def picture_to_dicom(picture: Picture, details: PhotoDetails, pixels: RGBImage) -> Dataset:
    """Make the same of a photo that is open and has been decoded.

    Parameters
    ----------
    pixels
        What `pictures.decode_picture` gave; that it could proves the photo whole. Where its reduced form
        cannot be stored instead of the photo, the photo is decoded again.
    """
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    acquired = details.acquired or _exif_moment(picture)
    _add_identity(dataset, picture, details, acquired)
    _add_patient(dataset, details)
    _add_study_and_series(dataset, details, acquired)
    _add_equipment(dataset, picture)
    _add_image(dataset, picture, details)
    _add_pixels(dataset, picture, pixels)
    return dataset


def _add_identity(
    dataset: Dataset, picture: Picture, details: PhotoDetails, acquired: datetime | None
) -> None:
    """Derive all UIDs (PS3.5 section 9); equal inputs give equal UIDs."""
    content = hashlib.sha256(picture.content).hexdigest()
    day = acquired.date().isoformat() if acquired else ""
    patient = [details.issuer_of_patient_id or "", details.patient_id or f"photo {content}"]
    dataset.SOPClassUID = (
        DermoscopicPhotographyImageStorage if details.dermoscopic else VLPhotographicImageStorage
    )
    dataset.SOPInstanceUID = _derived_uid("instance", *patient, day, content)
    dataset.SeriesInstanceUID = _derived_uid("series", *patient, day, content)
    dataset.StudyInstanceUID = _derived_uid("study", *patient, day)
    if details.dermoscopic:
        # Type 1 by one reading of the IOD's table, user optional by another: present satisfies both.
        dataset.FrameOfReferenceUID = _derived_uid("frame of reference", *patient, day, content)
        dataset.PositionReferenceIndicator = None
    if details.tracking_id or details.tracking_uid:
        dataset.TrackingUID = details.tracking_uid or _derived_uid(
            "lesion", *patient, details.tracking_id or ""
        )
        dataset.TrackingID = details.tracking_id or dataset.TrackingUID
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID


def _derived_uid(*sources: str) -> UID:
    # The lengths keep ("ab", "c") and ("a", "bc") apart: pydicom joins the sources.
    return generate_uid(entropy_srcs=["dermcheck import", *(f"{len(source)}:{source}" for source in sources)])


def _add_patient(dataset: Dataset, details: PhotoDetails) -> None:
    dataset.PatientID = details.patient_id
    if details.issuer_of_patient_id:
        dataset.IssuerOfPatientID = details.issuer_of_patient_id
    dataset.PatientName = details.patient_name
    dataset.PatientBirthDate = details.birth_date.strftime("%Y%m%d") if details.birth_date else None
    dataset.PatientSex = details.sex


def _add_study_and_series(dataset: Dataset, details: PhotoDetails, acquired: datetime | None) -> None:
    """Fill General Study and Series with what all photos of a visit have in common."""
    day = acquired.strftime("%Y%m%d") if acquired else None
    dataset.StudyDate = dataset.StudyID = day
    dataset.StudyTime = None  # not this photo's: the study has others
    dataset.AccessionNumber = dataset.ReferringPhysicianName = None
    if details.study_description:
        dataset.StudyDescription = details.study_description
    dataset.Modality = "DMS" if details.dermoscopic else "XC"
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    if acquired:
        dataset.ContentDate = day
        dataset.ContentTime = acquired.strftime("%H%M%S.%f")
        dataset.AcquisitionDateTime = acquired.strftime("%Y%m%d%H%M%S.%f")


def _add_equipment(dataset: Dataset, picture: Picture) -> None:
    """Name the camera as the photo's EXIF data do (Enhanced General Equipment, all type 1)."""
    exif = picture.exif
    for keyword, tag in (
        ("Manufacturer", ExifTags.Base.Make),
        ("ManufacturerModelName", ExifTags.Base.Model),
        ("DeviceSerialNumber", ExifTags.Base.BodySerialNumber),
        ("SoftwareVersions", ExifTags.Base.Software),
    ):
        text = re.sub(r"[\\\x00-\x1f\x7f]+", " ", str(exif.get(tag, ""))).strip()
        setattr(dataset, keyword, text[:64] or _UNKNOWN)


def _add_image(dataset: Dataset, picture: Picture, details: PhotoDetails) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.PatientOrientation = None
    dataset.AcquisitionContextSequence = []
    if details.pixel_spacing_mm is not None:
        dataset.PixelSpacing = [details.pixel_spacing_mm, details.pixel_spacing_mm]
    if details.dermoscopic:
        dataset.RecognizableVisualFeatures = "YES"
        for keyword in (
            "LightSourcePolarization",
            "EmitterColorTemperature",
            "ContactMethod",
            "OpticalMagnificationFactor",
        ):
            setattr(dataset, keyword, None)
    profile = picture.icc_profile
    if profile and profile[16:20] == b"RGB ":  # the profile's data colour space (ISO 15076-1 7.2.8)
        dataset.ICCProfile = profile
    _add_anatomy(dataset, details)


def _add_anatomy(dataset: Dataset, details: PhotoDetails) -> None:
    site, side = details.site()
    if side:
        dataset.ImageLaterality = side
    else:
        dataset.Laterality = None
    if site is None:
        return
    region = _code_item(site.value, site.scheme_designator, site.meaning)
    if side in _SIDES:
        value, meaning = _SIDES[side]
        region.AnatomicRegionModifierSequence = [_code_item(value, "SCT", meaning)]
    dataset.AnatomicRegionSequence = [region]
    if site.scheme_designator == CODING_SCHEME:
        dataset.CodingSchemeIdentificationSequence = coding_schemes(dataset)


def _code_item(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _add_pixels(dataset: Dataset, picture: Picture, pixels: RGBImage) -> None:
    stream = picture.stream
    if stream is not None:
        dataset.LossyImageCompression = "01"  # once lossy, always lossy (PS3.3 C.7.6.1.1.5)
        raw_bytes = stream.rows * stream.columns * stream.components
        dataset.LossyImageCompressionRatio = f"{raw_bytes / len(picture.content):.4g}"
        dataset.LossyImageCompressionMethod = _LOSSY_METHOD
    else:
        dataset.LossyImageCompression = "00"
    if stream is not None and _can_be_wrapped(picture):
        _wrap(dataset, picture.content, stream)
        return
    if pixels.shape[:2] != picture.size:
        pixels = decode_picture(picture)
    dataset.set_pixel_data(pixels, "RGB", 8, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.ImageComments = f"Decoded from {picture.description} and stored uncompressed"


def _can_be_wrapped(picture: Picture) -> bool:
    """Tell whether the stream is one that VL objects may hold in JPEG Baseline or Extended."""
    stream = picture.stream
    if stream is None or picture.orientation != 1:
        return False
    is_sequential = stream.process in (0xC0, 0xC1) and stream.precision == 8
    is_ybr = stream.components == 3 and stored_colour(stream, None) == "YBR"  # RGB is not allowed there
    return is_sequential and (stream.components == 1 or is_ybr)


def _wrap(dataset: Dataset, content: bytes, stream: Codestream) -> None:
    """Store a JPEG stream unchanged (PS3.5 A.4.1)."""
    dataset.Rows, dataset.Columns = stream.rows, stream.columns
    dataset.SamplesPerPixel = stream.components
    if stream.components == 1:
        dataset.PhotometricInterpretation = "MONOCHROME2"
    else:
        dataset.PlanarConfiguration = 0
        # Whatever the subsampling: the VL Image module allows no YBR_FULL (PS3.3 C.8.12.1.1.1), and
        # decoders take the subsampling from the stream.
        dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = encapsulate([content[: stream.length]])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if stream.process == 0xC0 else JPEGExtended12Bit


def _exif_moment(picture: Picture) -> datetime | None:
    """Return when the camera took the photo; None where it does not say, or has no clock set."""
    exif = picture.exif
    text = str(exif.get(ExifTags.Base.DateTimeOriginal, "")).strip("\0 ")
    try:
        return datetime.strptime(text, "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
