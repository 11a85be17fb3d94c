"""Retrieval (WADO-RS) from a folder."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import UID, RLELossless

from dermcheck.datastore import StudyStore
from dermcheck.dicom.pixels import read_rgb
from dermcheck.dicomweb.accept import parse_accept
from dermcheck.dicomweb.frames import frame_bytes, frame_numbers
from dermcheck.dicomweb.metadata import metadata_json
from dermcheck.dicomweb.origin import FolderOrigin
from dermcheck.dicomweb.rendering import Rendering, parse_rendering
from dermcheck.dicomweb.statuses import NotAcceptableError
from dermcheck.errors import ArgumentError, NotFoundError, UnreadableImageError

ROOT = "http://127.0.0.1/dicom-web"
NATIVE = "1.2.840.10008.1.2.1"
AS_STORED = parse_accept("multipart/related; type=application/octet-stream; transfer-syntax=*")
UNCOMPRESSED = parse_accept("multipart/related; type=application/octet-stream")


@pytest.fixture(scope="module")
def samples(sample_studies, tmp_path_factory) -> StudyStore:
    return StudyStore.open(sample_studies, tmp_path_factory.mktemp("cache"), watch=False)


@pytest.fixture(scope="module")
def origin(samples) -> FolderOrigin:
    return FolderOrigin(samples.archive, samples.catalogue)


def picture(metadata: dict, content: bytes) -> np.ndarray:
    """The samples of an uncompressed frame as its metadata describe them; a client has nothing else."""
    rows, columns, samples = (metadata[tag]["Value"][0] for tag in ("00280010", "00280011", "00280002"))
    kind = np.dtype("<u2" if metadata["00280100"]["Value"][0] == 16 else "u1")
    planar = metadata.get("00280006", {}).get("Value", [0])[0]
    shape = (samples, rows, columns) if planar else (rows, columns, samples)
    pixels = np.frombuffer(content, kind, rows * columns * samples).reshape(shape)
    return np.moveaxis(pixels, 0, -1) if planar else pixels


def test_every_sample_study_can_be_drawn_from_metadata_and_an_uncompressed_frame(origin, samples):
    drawn = set()
    for instance in samples.catalogue.instances():
        (metadata,) = json.loads(origin.metadata([instance], ROOT))
        dataset = origin.read(instance)
        kind, (content,) = origin.frames(instance, [1], UNCOMPRESSED)
        assert kind.transfer_syntax == NATIVE
        is_decoded = dataset.file_meta.TransferSyntaxUID.is_encapsulated
        if metadata["00280101"]["Value"] == [8] and (is_decoded or metadata["00280004"]["Value"] == ["RGB"]):
            assert np.array_equal(picture(metadata, content), read_rgb(dataset, 1)), instance.key
            drawn.add(dataset.file_meta.TransferSyntaxUID)
    assert len(drawn) > 10


def test_frames_as_stored_are_the_streams_of_the_files(origin, samples):
    for instance in samples.catalogue.instances():
        dataset = origin.read(instance)
        kind, (content,) = origin.frames(instance, [1], AS_STORED)
        if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
            assert kind.transfer_syntax == dataset.file_meta.TransferSyntaxUID
            assert content in dataset.PixelData
        else:
            assert kind.transfer_syntax == NATIVE, instance.key


def test_a_palette_is_applied_before_a_browser_sees_the_picture(origin, samples):
    (instance,) = [
        found
        for found in samples.catalogue.instances()
        if origin.read(found, header_only=True).PhotometricInterpretation == "PALETTE COLOR"
    ]
    (metadata,) = json.loads(origin.metadata([instance], ROOT))
    assert metadata["00280004"]["Value"] == ["RGB"]
    assert not [tag for tag in metadata if tag.startswith(("002811", "002812"))]
    _, (content,) = origin.frames(instance, [1], AS_STORED)
    assert np.array_equal(picture(metadata, content), read_rgb(origin.read(instance)))
    assert origin.bulk_data(instance, "7FE00010") == content


def test_instances_are_also_sent_uncompressed(origin, samples):
    accepted = parse_accept(f'multipart/related; type="application/dicom"; transfer-syntax="{NATIVE}"')
    for instance in samples.catalogue.instances():
        ((kind, content),) = origin.instances([instance], accepted)
        sent, stored = dcmread(io.BytesIO(content)), origin.read(instance)
        assert kind == f"application/dicom; transfer-syntax={NATIVE}"
        assert sent.file_meta.TransferSyntaxUID == NATIVE
        assert sent.SOPInstanceUID == stored.SOPInstanceUID
        for frame in range(1, instance.header.number_of_frames + 1):
            assert np.array_equal(read_rgb(sent, frame), read_rgb(stored, frame)), instance.key


def test_instances_as_stored_are_the_files_themselves(store, studies):
    origin = FolderOrigin(store.archive, store.catalogue)
    (first, *_) = store.catalogue.instances()
    ((_, content),) = origin.instances([first], parse_accept("*/*"))
    assert content == (studies / first.key).read_bytes()


def test_a_file_removed_meanwhile_is_not_found(store, studies, photographs):
    origin = FolderOrigin(store.archive, store.catalogue)
    (instance,) = origin.select(
        photographs[0].StudyInstanceUID, photographs[0].SeriesInstanceUID, photographs[0].SOPInstanceUID
    )
    (studies / "0.dcm").unlink()
    with pytest.raises(NotFoundError):
        origin.frames(instance, [1], AS_STORED)
    photographs[2].save_as(studies / "0.dcm", enforce_file_format=True)
    with pytest.raises(NotFoundError, match="replaced"):
        origin.metadata([instance], ROOT)


def test_frames_of_packed_bits_are_cut_at_the_bit():
    masks = np.random.default_rng(0).integers(0, 2, (3, 3, 5), dtype=np.uint8)
    dataset = Dataset()
    dataset.file_meta = Dataset()
    dataset.file_meta.TransferSyntaxUID = UID(NATIVE)
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 3, 5, 3
    dataset.SamplesPerPixel, dataset.BitsAllocated = 1, 1
    dataset.PixelData = np.packbits(masks.ravel(), bitorder="little").tobytes()
    for number, content in enumerate(frame_bytes(dataset, [1, 2, 3], NATIVE)):
        bits = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")[:15]
        assert np.array_equal(bits.reshape(3, 5), masks[number])


def test_frames_that_do_not_exist_or_are_cut_off_are_sentences(photographs):
    with pytest.raises(NotFoundError, match="no frame 2, expected 1 to 1"):
        frame_bytes(photographs[1], [2], NATIVE)
    photographs[1].PixelData = photographs[1].PixelData[:100]
    with pytest.raises(UnreadableImageError, match="cut off"):
        frame_bytes(photographs[1], [1], NATIVE)


@pytest.mark.parametrize("text", ["", "0x1", "1,,2", "-1", "1.5", "١", "1" * 12, ",".join(["1"] * 2000)])
def test_a_wild_list_of_frames_is_refused(text):
    with pytest.raises(ArgumentError, match="expected numbers"):
        frame_numbers(text)


def test_damaged_attributes_do_not_hide_the_others(photographs):
    photograph = photographs[0]
    photograph.RecommendedDisplayFrameRateInFloat = float("nan")
    photograph.add_new(0x00091001, "OB", bytes(3000))
    photograph.add_new(0x00091002, "OB", b"\1\2")
    found = metadata_json(photograph, f"{ROOT}/x")
    assert json.dumps(found, allow_nan=False)
    assert found["00091001"] == {"vr": "OB", "BulkDataURI": f"{ROOT}/x/bulkdata/00091001"}
    assert found["00091002"] == {"vr": "OB", "InlineBinary": "AQI="}
    assert found["00100020"]["Value"] == ["A-1"]


def test_pictures_are_fitted_into_the_viewport(origin, samples):
    (instance, *_) = samples.catalogue.instances()
    columns, rows = instance.header.columns, instance.header.rows
    kind, content = origin.picture([instance], parse_accept("image/*"), Rendering((100, 50)))
    drawn = Image.open(io.BytesIO(content))
    assert kind == "image/jpeg"
    assert drawn.size == (round(columns * 50 / rows), 50)
    kind, content = origin.picture([instance], parse_accept("image/png"), Rendering())
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), read_rgb(origin.read(instance)))


@pytest.mark.parametrize(
    "parameters",
    [
        {"viewport": "0,1"},
        {"viewport": "1"},
        {"viewport": "1,2,3,4"},
        {"viewport": "99999,99999"},
        {"viewport": "a,b"},
        {"quality": "0"},
        {"quality": "high"},
        {"window": "1,2,linear"},
        {"annotation": "patient"},
    ],
)
def test_wild_parameters_of_pictures_are_refused(parameters):
    with pytest.raises(ArgumentError):
        parse_rendering(parameters, Rendering())


def test_an_outline_cannot_be_drawn_but_retrieved(store, photographs, outline):
    label = outline(photographs[0])
    store.store(label)
    origin = FolderOrigin(store.archive, store.catalogue)
    chosen = origin.select(label.StudyInstanceUID, label.SeriesInstanceUID)
    with pytest.raises(NotAcceptableError, match="no photograph"):
        origin.picture(chosen, parse_accept(None), Rendering())
    _, (content,) = origin.frames(chosen[0], [1], AS_STORED)
    assert content == label.PixelData[: len(content)]
    compressed = origin.read(chosen[0])
    compressed.file_meta.TransferSyntaxUID = RLELossless
    with pytest.raises(NotAcceptableError, match="only as it is stored"):
        frame_bytes(compressed, [1], NATIVE)
