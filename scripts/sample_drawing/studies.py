"""The sample studies: which photographs there are, and what each one proves."""

from dataclasses import replace

from pydicom.sr.codedict import codes
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    VLEndoscopicImageStorage,
    VLMicroscopicImageStorage,
    VLPhotographicImageStorage,
)

from sample_drawing.encoding import Encoding
from sample_drawing.instances import Patient, PhotographDetails, Visit
from sample_drawing.sample import SamplePhotograph
from sample_drawing.scene import Lesion, Scene

__all__ = ["SAMPLE_PHOTOGRAPHS"]


_ONE = Patient("SYNTHETIC^ONE", "SYN-001", "19580214", "F")
_TWO = Patient("SYNTHETIC^TWO", "SYN-002", "19791130", "M")
_THREE = Patient("SYNTHETIC^Zoë Łucja=合成^三", "SYN-003", "19460608", "F", "ISO_IR 192")
_FOUR = Patient("SYNTHETIC^FOUR", "SYN-004", "19900321", "O")
_FIVE = Patient("SYNTHETIC^FÜNF", "SYN-005", character_set="ISO_IR 100")

_ONE_FIRST = Visit(_ONE, 1, "20240205", "091500", "Skin check")
_ONE_SECOND = Visit(_ONE, 2, "20240812", "103000", "Follow-up, 6 months")
_ONE_THIRD = Visit(_ONE, 3, "20250210", "084500", "Follow-up, 12 months")
_TWO_FIRST = Visit(_TWO, 1, "20240919", "141000", "Skin check")
_TWO_SECOND = Visit(_TWO, 2, "20250115", "110500", "Non-healing spot on the nose")
_THREE_FIRST = Visit(_THREE, 1, "20241104", "082000", "Kontrola / Kontrolle / 検査")
_THREE_SECOND = Visit(_THREE, 2, "20250320", "091000", "Kontrola 2")
_FOUR_FIRST = Visit(_FOUR, 1, "20250226", "152500", "Several findings")
_FIVE_FIRST = Visit(_FIVE, 1, "20250401", "")

_SITES = codes.cid4029
_JPEG = Encoding(JPEGBaseline8Bit, "YBR_FULL_422")


_DERMOSCOPY_OF_ONE = Scene(480, 640, fitzpatrick=2, ruler=True, mm_per_unit=6.0)
_LIMB = Scene(450, 600, view="limb", feature=0.45, mm_per_unit=45.0)


def _tracked(radius: float) -> tuple[Lesion]:
    """Give lesion 1 its size at a visit; its seed keeps its shape and pattern."""
    return (Lesion("mel", radius, (0.04, -0.08), 1.15, 0.3, seed=3),)


_OVERVIEW = replace(
    _LIMB,
    rows=4000,
    columns=6000,
    lesions=(
        Lesion("mel", 0.048, (-0.62, -0.22), 1.15, 0.3, seed=3),
        Lesion("nv", 0.045, (0.18, 0.25), 1.1, 0.8, seed=21),
        Lesion("nv", 0.030, (0.75, -0.30), 1.1, 2.0, seed=22),
        Lesion("bkl", 0.075, (0.98, 0.22), 1.2, 1.2, seed=23),
        Lesion("vasc", 0.022, (-0.15, -0.38), 1.0, 0.0, seed=24),
    ),
    fitzpatrick=2,
    enlarged=4,
    seed=102,
)
_SEVERAL = (
    Lesion("nv", 0.30, (-0.72, -0.35), 1.1, 0.5, seed=31),
    Lesion("nv", 0.22, (0.05, 0.52), 1.05, 1.4, seed=32),
    Lesion("bkl", 0.34, (0.66, -0.18), 1.15, 0.9, seed=33),
)
_FRAMES = (
    replace(
        _LIMB,
        rows=384,
        columns=512,
        lesions=(Lesion("bkl", 0.10, (0.1, 0.05), seed=61),),
        fitzpatrick=1,
        seed=121,
    ),
    Scene(384, 512, (Lesion("bkl", 0.55, seed=61),), 1, seed=122),
    Scene(384, 512, (Lesion("bkl", 0.55, seed=61),), 1, seed=123, bubbles=14, view="dark corners"),
)

SAMPLE_PHOTOGRAPHS: tuple[SamplePhotograph, ...] = (
    SamplePhotograph(
        (replace(_DERMOSCOPY_OF_ONE, lesions=_tracked(0.36), seed=101),),
        PhotographDetails(
            "synthetic-1/visit-1/01-melanoma",
            _ONE_FIRST,
            encoding=_JPEG,
            series_number=1,
            description="Dermoscopy of lesion 1",
            body_site=_SITES.SkinOfPosteriorSurfaceOfForearm,
            laterality="L",
            tracking_id="Lesion 1",
            pixel_spacing_mm=0.025,
        ),
        "Tracked lesion, first visit; PixelSpacing, ruler",
    ),
    SamplePhotograph(
        (_OVERVIEW,),
        PhotographDetails(
            "synthetic-1/visit-1/02-forearm-24-megapixels",
            _ONE_FIRST,
            VLPhotographicImageStorage,
            Encoding(JPEGBaseline8Bit, "YBR_FULL_422", quality=80),
            series_number=2,
            description="Overview of the forearm",
            body_site=_SITES.SkinOfPosteriorSurfaceOfForearm,
            laterality="L",
        ),
        "24 megapixels; five lesions, among them the tracked one",
    ),
    SamplePhotograph(
        (replace(_DERMOSCOPY_OF_ONE, lesions=_tracked(0.46), bubbles=5, seed=103),),
        PhotographDetails(
            "synthetic-1/visit-2/03-melanoma",
            _ONE_SECOND,
            encoding=Encoding(JPEG2000, "YBR_ICT"),
            description="Dermoscopy of lesion 1",
            body_site=_SITES.SkinOfPosteriorSurfaceOfForearm,
            laterality="L",
            tracking_id="Lesion 1",
            pixel_spacing_mm=0.025,
        ),
        "Tracked lesion, second visit: same TrackingUID, larger; lossy JPEG 2000",
    ),
    SamplePhotograph(
        (replace(_DERMOSCOPY_OF_ONE, lesions=_tracked(0.58), hairs=3, seed=104),),
        PhotographDetails(
            "synthetic-1/visit-3/04-melanoma",
            _ONE_THIRD,
            encoding=_JPEG,
            description="Dermoscopy of lesion 1",
            body_site=_SITES.SkinOfPosteriorSurfaceOfForearm,
            laterality="L",
            tracking_id="Lesion 1",
            pixel_spacing_mm=0.025,
            icc_profile=True,
        ),
        "Tracked lesion, third visit: larger again; ICC profile",
    ),
    SamplePhotograph(
        (Scene(450, 600, (Lesion("nv", 0.55, (0.05, 0.0), 1.1, 0.3, seed=41),), 3, hairs=30, seed=105),),
        PhotographDetails(
            "synthetic-2/visit-1/05-hairy-naevus",
            _TWO_FIRST,
            encoding=Encoding(JPEG2000Lossless, "YBR_RCT"),
            series_number=1,
            description="Dermoscopy",
            body_site=_SITES.SkinOfAnteriorSurfaceOfLowerLeg,
            laterality="R",
            tracking_id="Shin",
        ),
        "Hairs across the lesion; lossless JPEG 2000",
    ),
    SamplePhotograph(
        (replace(_LIMB, fitzpatrick=3, seed=106),),
        PhotographDetails(
            "synthetic-2/visit-1/06-clean-skin",
            _TWO_FIRST,
            VLPhotographicImageStorage,
            Encoding(JPEGLSLossless, "RGB"),
            series_number=2,
            description="Forearm, nothing found",
            body_site=_SITES.SkinOfAnteriorSurfaceOfForearm,
            laterality="R",
        ),
        "No lesion at all; lossless JPEG-LS",
    ),
    SamplePhotograph(
        (Scene(560, 420, (Lesion("bkl", 0.62, (0.0, 0.1), 1.2, 1.5, seed=42),), 3, hairs=2, seed=107),),
        PhotographDetails(
            "synthetic-2/visit-1/07-keratosis-portrait",
            _TWO_FIRST,
            encoding=Encoding(HTJ2KLossless, "YBR_RCT"),
            series_number=3,
            description="Dermoscopy",
            body_site=_SITES.SkinOfUpperAbdomen,
        ),
        "Portrait format; High-Throughput JPEG 2000",
    ),
    SamplePhotograph(
        (
            Scene(
                400,
                520,
                (Lesion("bcc", 0.55, (0.0, 0.02), 1.1, 0.3, seed=9),),
                3,
                bubbles=10,
                view="dark corners",
                seed=108,
            ),
        ),
        PhotographDetails(
            "synthetic-2/visit-2/08-basal-cell-carcinoma",
            _TWO_SECOND,
            encoding=Encoding(DeflatedExplicitVRLittleEndian, "RGB"),
            description="Dermoscopy",
            body_site=_SITES.SkinOfSideOfNose,
            laterality="R",
            tracking_id="Nose",
        ),
        "Dark corners, gel bubbles; deflated data set",
    ),
    SamplePhotograph(
        (
            Scene(
                400,
                500,
                (Lesion("akiec", 0.22, (-0.25, -0.1), 1.25, 0.4, seed=51),),
                4,
                seed=109,
                feature=0.45,
                mm_per_unit=20.0,
                ruler=True,
            ),
        ),
        PhotographDetails(
            "synthetic-3/visit-1/09-actinic-keratosis-distant",
            _THREE_FIRST,
            VLPhotographicImageStorage,
            Encoding(ImplicitVRLittleEndian, "RGB"),
            series_number=1,
            description="Czoło / Stirn / 額",
            body_site=_SITES.SkinOfForehead,
        ),
        "Name and descriptions in UTF-8 with an ideographic part; implicit VR",
    ),
    SamplePhotograph(
        (Scene(450, 600, (Lesion("akiec", 0.60, (0.0, 0.0), 1.25, 0.4, seed=51),), 4, seed=110),),
        PhotographDetails(
            "synthetic-3/visit-1/10-actinic-keratosis",
            _THREE_FIRST,
            encoding=Encoding(JPEGLSNearLossless, "RGB"),
            series_number=2,
            description="Dermoscopy",
            body_site=_SITES.SkinOfForehead,
            tracking_id="Forehead",
        ),
        "Near-lossless JPEG-LS (each sample within 2)",
    ),
    SamplePhotograph(
        (Scene(512, 384, (Lesion("df", 0.60, (0.0, -0.1), 1.1, 1.2, seed=52),), 4, seed=111, hairs=6),),
        PhotographDetails(
            "synthetic-3/visit-1/11-dermatofibroma-portrait",
            _THREE_FIRST,
            encoding=Encoding(JPEGLosslessSV1, "RGB"),
            series_number=3,
            description="Dermoscopy",
            body_site=_SITES.SkinOfAnteriorSurfaceOfThigh,
            laterality="L",
            tracking_id="Thigh",
        ),
        "Portrait format; lossless JPEG",
    ),
    SamplePhotograph(
        (Scene(360, 540, _SEVERAL, 4, seed=112),),
        PhotographDetails(
            "synthetic-3/visit-2/12-three-lesions",
            _THREE_SECOND,
            encoding=_JPEG,
            description="Dermoscopy",
            body_site=_SITES.SkinOfMidBack,
        ),
        "Three lesions in one field",
    ),
    SamplePhotograph(
        (Scene(450, 600, (Lesion("mel", 0.58, (0.0, 0.0), 1.15, 1.1, seed=7),), 6, seed=113),),
        PhotographDetails(
            "synthetic-4/visit-1/13-melanoma-dark-skin",
            _FOUR_FIRST,
            encoding=Encoding(JPEGExtended12Bit, "YBR_FULL_422"),
            series_number=1,
            description="Dermoscopy",
            body_site=_SITES.SkinOfMedialBorderOfSoleOfFoot,
            laterality="L",
            tracking_id="Sole",
        ),
        "Skin type VI; extended sequential JPEG (8 bits)",
    ),
    SamplePhotograph(
        (
            Scene(
                360,
                480,
                (Lesion("vasc", 0.40, (0.12, 0.02), 1.1, 0.3, seed=54),),
                3,
                view="endoscope",
                seed=114,
            ),
        ),
        PhotographDetails(
            "synthetic-4/visit-1/14-vascular-lesion-endoscope",
            _FOUR_FIRST,
            VLEndoscopicImageStorage,
            Encoding(RLELossless, "RGB"),
            series_number=2,
            description="Venous lake of the lip",
            body_site=_SITES.MucosaOfLowerLip,
        ),
        "VL Endoscopic, black surround; RLE",
    ),
    SamplePhotograph(
        (Scene(320, 400, (Lesion("nv", 1.3, (0.5, 0.3), 1.1, 0.3, seed=55),), 6, feature=2.2, seed=115),),
        PhotographDetails(
            "synthetic-4/visit-1/15-naevus-microscope",
            _FOUR_FIRST,
            VLMicroscopicImageStorage,
            Encoding(ExplicitVRLittleEndian, "RGB"),
            series_number=3,
            description="Videodermatoscope, 50x",
            body_site=_SITES.SkinOfLowerBack,
        ),
        "VL Microscopic; lesion larger than the picture; explicit VR little endian",
    ),
    SamplePhotograph(
        (
            Scene(
                450,
                600,
                (Lesion("df", 0.5, (-0.1, 0.0), 1.1, 0.3, seed=56),),
                6,
                seed=116,
                view="dark corners",
            ),
        ),
        PhotographDetails(
            "synthetic-4/visit-1/16-dermatofibroma-dark-skin",
            _FOUR_FIRST,
            encoding=Encoding(JPEGLSLossless, "RGB"),
            series_number=4,
            description="Dermoscopy",
            body_site=_SITES.SkinOfPosteriorSurfaceOfUpperArm,
            laterality="R",
        ),
        "Skin type VI, dark corners; lossless JPEG-LS",
    ),
    SamplePhotograph(
        (Scene(300, 400, (Lesion("vasc", 0.5, (0.0, 0.0), 1.15, 0.7, seed=57),), 1, seed=117),),
        PhotographDetails(
            "synthetic-5/visit-1/17-vascular-lesion-big-endian",
            _FIVE_FIRST,
            SecondaryCaptureImageStorage,
            Encoding(ExplicitVRBigEndian, "RGB", planar_configuration=1),
            series_number=1,
        ),
        "Explicit VR big endian; planar configuration 1; no site, side, birth date, sex, time of day",
    ),
    SamplePhotograph(
        (Scene(400, 400, (Lesion("nv", 0.5, (0.0, 0.0), 1.1, 0.7, seed=58),), 1, seed=118),),
        PhotographDetails(
            "synthetic-5/visit-1/18-naevus-palette",
            _FIVE_FIRST,
            SecondaryCaptureImageStorage,
            Encoding(ExplicitVRLittleEndian, "PALETTE COLOR"),
            series_number=2,
        ),
        "PALETTE COLOR: 256 colours, lookup tables of 16 bits; square",
    ),
    SamplePhotograph(
        (Scene(400, 500, (Lesion("mel", 0.5, (0.0, 0.0), 1.1, 0.2, seed=59),), 1, seed=119),),
        PhotographDetails(
            "synthetic-5/visit-1/19-melanoma-grey",
            _FIVE_FIRST,
            SecondaryCaptureImageStorage,
            Encoding(ExplicitVRLittleEndian, "MONOCHROME2"),
            series_number=3,
        ),
        "MONOCHROME2",
    ),
    SamplePhotograph(
        (Scene(300, 400, (Lesion("bcc", 0.5, (0.0, 0.0), 1.1, 0.2, seed=60),), 1, seed=120),),
        PhotographDetails(
            "synthetic-5/visit-1/20-basal-cell-carcinoma-ybr-full",
            _FIVE_FIRST,
            SecondaryCaptureImageStorage,
            Encoding(ExplicitVRLittleEndian, "YBR_FULL"),
            series_number=4,
        ),
        "YBR_FULL without compression",
    ),
    SamplePhotograph(
        _FRAMES,
        PhotographDetails(
            "synthetic-5/visit-1/21-keratosis-three-frames",
            _FIVE_FIRST,
            MultiFrameTrueColorSecondaryCaptureImageStorage,
            _JPEG,
            series_number=5,
            frame_labels=("Overview", "Dermoscopy", "Dermoscopy, gel"),
        ),
        "Multi-frame True Color Secondary Capture: three frames",
    ),
)
"""The sample photographs in the order of their numbers."""
