"""Photographs that browsers show wrongly are offered as RGB, and all others as they are."""

import json

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEGBaseline8Bit

from dermcheck.dicom.pixels import read_rgb
from dermcheck.dicomweb.plain_rgb import (
    is_described_as_rgb,
    is_offered_as_rgb,
    rgb_frames,
    rgb_header,
    rgb_json,
)
from dermcheck.errors import NotFoundError

ADDRESS = "http://127.0.0.1/dicom-web/studies/1/series/2/instances/3"


@pytest.fixture
def make(photographs):
    """Store random samples as a photograph."""

    def make(photometric: str, bits: int, **attributes) -> Dataset:
        photograph = photographs[1]
        shape = (6, 8) if photometric.startswith("MONOCHROME") else (6, 8, 3)
        samples = np.random.default_rng(1).integers(0, 1 << bits, shape)
        samples = samples.astype(np.uint8 if bits <= 8 else np.uint16)
        photograph.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        stored_as = "YBR_FULL" if photometric == "YBR_FULL_422" else photometric
        photograph.set_pixel_data(samples, stored_as, bits, generate_instance_uid=False)
        photograph.PhotometricInterpretation = photometric
        for keyword, value in attributes.items():
            setattr(photograph, keyword, value)
        return photograph

    return make


@pytest.mark.parametrize(
    ("photometric", "bits", "attributes", "expected"),
    [
        ("RGB", 8, {}, False),
        ("YBR_FULL", 8, {}, False),
        ("MONOCHROME1", 8, {}, False),
        ("MONOCHROME2", 8, {"WindowCenter": "90", "WindowWidth": "40"}, False),
        ("RGB", 16, {}, True),
        ("RGB", 12, {}, True),
        ("YBR_FULL_422", 8, {}, True),
        ("MONOCHROME2", 12, {}, True),
        ("MONOCHROME1", 16, {}, True),
        ("MONOCHROME2", 8, {"RescaleSlope": "2", "RescaleIntercept": "0", "RescaleType": "US"}, True),
        ("RGB", 16, {"SOPClassUID": CTImageStorage}, False),
    ],
)
def test_what_browsers_show_wrongly_is_offered_as_rgb(make, photometric, bits, attributes, expected):
    photograph = make(photometric, bits, **attributes)
    assert is_offered_as_rgb(photograph) is expected
    del photograph.PixelData
    assert is_described_as_rgb(photograph.to_json_dict()) is expected  # an archive tells no transfer syntax


def test_a_jpeg_with_halved_colour_is_left_as_it_is(make):
    photograph = make("YBR_FULL_422", 8, LossyImageCompression="01")
    photograph.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    assert not is_offered_as_rgb(photograph)
    del photograph.PixelData
    described = photograph.to_json_dict()
    assert not is_described_as_rgb(described)
    described["00083002"] = {"vr": "UI", "Value": [str(ExplicitVRLittleEndian)]}
    assert is_described_as_rgb(described), "an archive that tells the syntax is believed"


@pytest.mark.parametrize(("photometric", "bits"), [("RGB", 12), ("MONOCHROME1", 16), ("MONOCHROME2", 12)])
def test_header_json_and_frame_describe_the_same_picture(make, photometric, bits):
    photograph = make(photometric, bits, SmallestImagePixelValue=0, WindowCenter="900", WindowWidth="400")
    header = rgb_header(photograph)
    (frame,) = rgb_frames(photograph)
    shown = Dataset()
    shown.update(header)
    shown.file_meta = header.file_meta
    shown.PixelData = frame
    shown["PixelData"].VR = "OB"
    assert np.array_equal(read_rgb(shown), read_rgb(photograph))
    del photograph.PixelData
    described = json.loads(json.dumps(rgb_json(json.loads(photograph.to_json()), ADDRESS)))
    assert described["7FE00010"] == {"vr": "OW", "BulkDataURI": f"{ADDRESS}/bulkdata/7FE00010"}
    del described["7FE00010"], described["00083002"]
    assert described == json.loads(header.to_json())


def test_a_frame_that_does_not_exist_is_not_found(make):
    with pytest.raises(NotFoundError, match="there is no frame 2, expected 1 to 1"):
        rgb_frames(make("RGB", 16), [2])


@pytest.mark.parametrize("described", [{}, {"00080016": 5}, {"00080016": {"vr": "UI", "Value": ["1.2"]}}])
def test_what_is_none_of_our_business_is_left_alone(described):
    assert not is_described_as_rgb(described)
