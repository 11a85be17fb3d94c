"""Damaged and hostile files: each is one clear sentence, and none costs memory or pretends to be read."""

import io
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile
from pydicom import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import compress
from pydicom.uid import (
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from dermcheck.dicom import limits
from dermcheck.dicom.photograph import read_dataset, read_photograph, read_picture
from dermcheck.dicom.pixels import read_rgb
from dermcheck.errors import (
    DermCheckError,
    NotAPhotographError,
    NotFoundError,
    StorageError,
    UnreadableImageError,
)

READERS = pytest.mark.parametrize("read", [read_dataset, read_photograph, read_picture])


@READERS
class TestFiles:
    """What the file system can hand us in place of a photograph."""

    def test_an_empty_file(self, read, tmp_path):
        (tmp_path / "empty.dcm").touch()
        with pytest.raises(UnreadableImageError, match=r"empty\.dcm: the file is empty \(0 bytes\)"):
            read(tmp_path / "empty.dcm")

    def test_a_file_that_is_not_there(self, read, tmp_path):
        with pytest.raises(NotFoundError, match=r"gone\.dcm: there is no such file"):
            read(tmp_path / "gone.dcm")

    def test_a_folder(self, read, tmp_path):
        with pytest.raises(UnreadableImageError, match="this is a folder, expected a file"):
            read(tmp_path)

    def test_a_pipe_is_refused_without_waiting_for_it(self, read, tmp_path):
        os.mkfifo(tmp_path / "pipe.dcm")
        with pytest.raises(UnreadableImageError, match="this is a pipe, socket or device"):
            read(tmp_path / "pipe.dcm")

    def test_a_loop_of_symbolic_links(self, read, tmp_path):
        (tmp_path / "a.dcm").symlink_to(tmp_path / "b.dcm")
        (tmp_path / "b.dcm").symlink_to(tmp_path / "a.dcm")
        with pytest.raises(StorageError, match=r"the file cannot be read .*symbolic links"):
            read(tmp_path / "a.dcm")

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read every file")
    def test_a_file_that_we_may_not_read(self, read, tmp_path):
        (tmp_path / "secret.dcm").write_bytes(b"x")
        (tmp_path / "secret.dcm").chmod(0)
        with pytest.raises(StorageError, match=r"the file cannot be read .*[Pp]ermission"):
            read(tmp_path / "secret.dcm")

    def test_a_name_with_a_zero_byte(self, read):
        with pytest.raises(StorageError, match=r"the file cannot be read .*null byte"):
            read(Path("a\0b.dcm"))

    def test_a_file_larger_than_the_limit(self, read, tmp_path, monkeypatch):
        monkeypatch.setattr(limits, "MAX_FILE_BYTES", 100)
        (tmp_path / "large.dcm").write_bytes(bytes(101))
        with pytest.raises(UnreadableImageError, match="the file holds 101 bytes, expected at most 100"):
            read(tmp_path / "large.dcm")

    def test_a_name_that_is_no_text_can_be_printed(self, read, tmp_path):
        with pytest.raises(NotFoundError) as refusal:
            read(Path(f"{tmp_path}/caf\udce9.dcm"))
        assert "caf" in str(refusal.value).encode("utf-8").decode()


def test_a_file_is_refused_where_opening_it_fails_as_permission_does(tmp_path, monkeypatch):
    # What root, who may read everything, can't try: the system's own answer, at the system's call.
    (tmp_path / "secret.dcm").write_bytes(b"x")

    def refuse(*_arguments, **_keywords):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StorageError, match=r"the file cannot be read \(Permission denied\)"):
        read_dataset(tmp_path / "secret.dcm")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"Patient is well.\n" * 20, "looks like text"),
        ("Das Muttermal ist größer.".encode(), "looks like text"),
        (b"%PDF-1.7\n%....", "looks like a PDF document"),
        (b"\x89PNG\r\n\x1a\n....", "looks like a PNG picture"),
        (b"\xff\xd8\xff\xe0....", "looks like a JPEG photo"),
        (b"PK\x03\x04....", "looks like a ZIP archive"),
        (b"\x93\x00\xa7\x01" * 90, "is of an unknown kind"),
        (b"x", "looks like text"),
    ],
)
def test_a_file_that_only_calls_itself_dicom_is_told_what_it_looks_like(content, kind, tmp_path):
    (tmp_path / "notes.dcm").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=f"not a DICOM file, it {kind}"):
        read_dataset(tmp_path / "notes.dcm")


def test_a_preamble_alone(tmp_path):
    (tmp_path / "cut.dcm").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(UnreadableImageError, match=r"cut\.dcm: .*(cut off|missing)"):
        read_photograph(tmp_path / "cut.dcm")


@pytest.mark.filterwarnings("ignore")  # pydicom's, about the cut
@pytest.mark.parametrize("syntax", ["native", "JPEG", "deflated"])
def test_a_dicom_file_cut_anywhere_is_refused(syntax, fields, make_photograph, encapsulated, to_jpeg, save):
    dataset = encapsulated(to_jpeg(fields)) if syntax == "JPEG" else make_photograph(fields)
    if syntax == "deflated":
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = save(dataset).read_bytes()
    # The last bytes are padding, and of a JPEG file a delimiter too: without them it is still whole.
    end = len(content) - {"native": 1, "deflated": 2, "JPEG": 12}[syntax]
    for length in [*range(1, end, 61), end]:
        with pytest.raises(UnreadableImageError):
            read_photograph(content[:length])


def test_pixel_data_that_are_missing(fields, make_photograph):
    dataset = make_photograph(fields)
    del dataset.PixelData
    with pytest.raises(UnreadableImageError, match="PixelData is missing, expected 32 × 48 pixels"):
        read_rgb(dataset)


def test_pixel_data_shorter_than_rows_and_columns(fields, make_photograph):
    dataset = make_photograph(fields)
    dataset.PixelData = dataset.PixelData[:-2]
    message = (
        r"PixelData holds 4,606 bytes, expected 4,608 for Rows 32, Columns 48, 1 frame\(s\). It is cut off"
    )
    with pytest.raises(UnreadableImageError, match=message):
        read_rgb(dataset)


def test_compressed_pixels_with_an_uncompressed_label(fields, make_photograph, to_jpeg):
    dataset = make_photograph(fields)
    dataset.PixelData = encapsulate([to_jpeg(fields)])
    with pytest.raises(UnreadableImageError, match="They are compressed, but TransferSyntaxUID says not"):
        read_rgb(dataset)


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (65535, 65535)])
def test_a_header_of_absurd_size(rows, columns, fields, make_photograph, save):
    dataset = make_photograph(fields, Rows=rows, Columns=columns)
    with pytest.raises(UnreadableImageError, match=f"the size is {rows} × {columns} pixels"):
        read_photograph(save(dataset))


JPEG_FAMILY = ("JPEG", "JPEG 2000", "JPEG-LS")


def enlarged(stream: bytes, family: str, rows: int, columns: int) -> bytes:
    """Change the size that a compressed stream states of itself, and nothing else."""
    if family == "JPEG 2000":
        at = stream.index(b"\xff\x51") + 6
        return stream[:at] + struct.pack(">II", columns, rows) + stream[at + 8 :]
    at = stream.index(b"\xff\xf7" if family == "JPEG-LS" else b"\xff\xc0") + 5
    return stream[:at] + struct.pack(">HH", rows, columns) + stream[at + 4 :]


@pytest.fixture
def stream_of(fields, make_photograph, encapsulated, to_jpeg):
    """Return a photograph of each family of compression, and its stream."""

    def make(family: str) -> tuple[Dataset, bytes]:
        if family == "JPEG":
            stream = to_jpeg(fields)
            return encapsulated(stream), stream
        dataset = make_photograph(fields)
        if family == "JPEG 2000":
            dataset.PhotometricInterpretation = "YBR_RCT"
        compress(dataset, JPEGLSLossless if family == "JPEG-LS" else JPEG2000Lossless, fields)
        return dataset, get_frame(dataset.PixelData, 0, number_of_frames=1)

    return make


@pytest.mark.parametrize("family", JPEG_FAMILY)
def test_a_stream_that_is_larger_than_its_header_says_is_refused_undecoded(family, stream_of):
    dataset, stream = stream_of(family)
    dataset.PixelData = encapsulate([enlarged(stream, family, 60_000, 60_000)])
    with pytest.raises(UnreadableImageError, match="stream inside: the size is 60000 × 60000 pixels"):
        read_rgb(dataset)


@pytest.mark.parametrize("family", JPEG_FAMILY)
def test_a_stream_of_another_size_than_its_header_is_refused(family, stream_of):
    dataset, stream = stream_of(family)
    dataset.PixelData = encapsulate([enlarged(stream, family, 32, 64)])
    with pytest.raises(UnreadableImageError, match="has 64 Columns, expected 48 as the header says"):
        read_rgb(dataset)


@pytest.mark.parametrize("family", JPEG_FAMILY)
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("is_closed", [False, True])
def test_a_cut_stream_is_refused_even_if_an_end_marker_was_added(
    family, share, is_closed, make_photograph, to_jpeg
):
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 255, (24, 24, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    dataset = make_photograph(picture)
    if family == "JPEG":
        stream = to_jpeg(picture)
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.PhotometricInterpretation = "YBR_FULL_422"
    else:
        if family == "JPEG 2000":
            dataset.PhotometricInterpretation = "YBR_RCT"
        compress(dataset, JPEGLSLossless if family == "JPEG-LS" else JPEG2000Lossless, picture)
        stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    cut = stream[: int(len(stream) * share)]
    dataset.PixelData = encapsulate([cut + (b"\xff\xd9" if is_closed else b"")])
    with pytest.raises(UnreadableImageError, match=r"cut off|cannot be decoded"):
        read_rgb(dataset)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("is_closed", [False, True])
def test_a_cut_jpeg_photo_is_refused(share, is_closed, to_jpeg, tmp_path):
    rng = np.random.default_rng(2)
    stream = to_jpeg(rng.integers(0, 255, (200, 200, 3), np.uint8))
    cut = stream[: int(len(stream) * share)]
    (tmp_path / "photo.jpg").write_bytes(cut + (b"\xff\xd9" if is_closed else b""))
    with pytest.raises(UnreadableImageError, match=r"photo\.jpg: .*(damaged or cut off|not a readable)"):
        read_picture(tmp_path / "photo.jpg")


def test_a_cut_photo_is_refused_though_another_program_told_pillow_to_accept_it(
    to_jpeg, tmp_path, monkeypatch
):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    stream = to_jpeg(np.random.default_rng(2).integers(0, 255, (200, 200, 3), np.uint8))
    (tmp_path / "photo.jpg").write_bytes(stream[: len(stream) // 2])
    with pytest.raises(UnreadableImageError, match="cut off"):
        read_picture(tmp_path / "photo.jpg")


def test_the_end_marker_of_a_thumbnail_does_not_count(fields, to_jpeg, tmp_path):
    thumbnail = to_jpeg(np.ascontiguousarray(fields[::4, ::4]))
    stream = to_jpeg(np.random.default_rng(3).integers(0, 255, (200, 200, 3), np.uint8))
    segment = b"\xff\xe5" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = stream[:2] + segment + stream[2:]
    (tmp_path / "whole.jpg").write_bytes(whole)
    assert read_picture(tmp_path / "whole.jpg").shape == (200, 200, 3)
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableImageError, match="its end marker is missing"):
        read_picture(tmp_path / "cut.jpg")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_cut_lossless_photo_is_refused(suffix, tmp_path):
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(np.random.default_rng(4).integers(0, 255, (99, 99, 3), np.uint8)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        UnreadableImageError, match=r"photo\.(png|tif): .*(damaged or cut off|not a readable)"
    ):
        read_picture(path)


def test_a_photo_with_a_decompression_bomb_as_header_is_refused(tmp_path):
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(UnreadableImageError, match=r"bomb\.png: .*exceeds limit"):
        read_picture(tmp_path / "bomb.png")


def test_a_photo_above_our_limit_and_below_pillows_is_refused(tmp_path, to_jpeg, fields):
    stream = enlarged(to_jpeg(fields), "JPEG", 12_600, 12_600)
    (tmp_path / "large.jpg").write_bytes(stream)
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(UnreadableImageError, match=r"the size is 12600 × 12600 .* at most 150,000,000"),
    ):
        read_picture(tmp_path / "large.jpg")


def test_a_deflated_file_that_inflates_beyond_the_limit_is_refused(
    fields, make_photograph, save, monkeypatch
):
    dataset = make_photograph(fields)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = save(dataset)
    monkeypatch.setattr("dermcheck.dicom.photograph.MAX_FILE_BYTES", 3000)
    monkeypatch.setattr(limits, "MAX_FILE_BYTES", 3000)
    assert path.stat().st_size < 3000
    with pytest.raises(
        UnreadableImageError, match=r"inflated: the file holds [\d,]+ bytes, expected at most"
    ):
        read_dataset(path)


def test_rle_that_unpacks_without_end_stops_at_the_size_of_the_picture(make_photograph):
    picture = np.zeros((2, 2), np.uint8)
    dataset = make_photograph(picture, "MONOCHROME2")
    segment = b"\x81\x07" * 500_000  # 1 MB that stands for 64 MB
    frame = struct.pack("<16L", 1, 64, *[0] * 14) + segment
    dataset.PixelData = encapsulate([frame])
    dataset.file_meta.TransferSyntaxUID = RLELossless
    tracemalloc.start()
    try:
        assert (read_rgb(dataset) == 7).all()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ((0, 64), "tells of 0 segments, expected 1"),
        ((16, 64), "tells of 16 segments, expected 1"),
        ((1, 5), "places a segment outside of the frame"),
        ((1, 10_000), "places a segment outside of the frame"),
    ],
)
def test_a_damaged_rle_header_is_refused(header, reason, make_photograph):
    dataset = make_photograph(np.zeros((2, 2), np.uint8), "MONOCHROME2")
    dataset.PixelData = encapsulate([struct.pack("<16L", *header, *[0] * 14) + b"\x03abcd\0"])
    dataset.file_meta.TransferSyntaxUID = RLELossless
    with pytest.raises(UnreadableImageError, match=reason):
        read_rgb(dataset)


def test_a_stream_on_which_gdcm_ends_its_process_is_refused_and_ours_goes_on(shipped_with_pydicom):
    dataset = read_dataset(shipped_with_pydicom("SC_rgb_jpeg_gdcm.dcm"))
    stream = bytearray(get_frame(dataset.PixelData, 0, number_of_frames=1))
    assert stream[6:11] == b"Adobe"
    stream[17] = 2  # a colour transform that does not exist: an uncaught C++ exception in GDCM 3.2.6
    dataset.PixelData = encapsulate([bytes(stream)])
    with pytest.raises(UnreadableImageError, match=r"PixelData cannot be decoded as JPEG Lossless.*GDCM"):
        read_rgb(dataset)


def test_a_video_is_no_photograph(fields, encapsulated):
    dataset = encapsulated(b"\0\0\1\xba" * 8, MPEG4HP41)
    with pytest.raises(NotAPhotographError, match=r"TransferSyntaxUID is MPEG-4 .*, a video"):
        read_rgb(dataset)


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        (
            "PhotometricInterpretation",
            "YBR_PARTIAL_420",
            "PhotometricInterpretation is YBR_PARTIAL_420, expected RGB",
        ),
        (
            "PhotometricInterpretation",
            "MONOCHROME2",
            "PhotometricInterpretation is MONOCHROME2, expected RGB",
        ),
        ("PhotometricInterpretation", "YBR_RCT", "PhotometricInterpretation is YBR_RCT, expected RGB"),
        ("SamplesPerPixel", 4, "SamplesPerPixel is 4, expected 1 or 3"),
        ("BitsAllocated", 32, "BitsAllocated is 32, expected 8 or 16"),
        ("BitsAllocated", 1, "BitsAllocated is 1, expected 8 or 16"),
        ("BitsStored", 12, "BitsStored is 12, expected 1 to 8"),
        ("HighBit", 3, "HighBit is 3, expected 7"),
        ("PixelRepresentation", 1, r"PixelRepresentation is 1 \(signed\), expected 0"),
    ],
)
def test_pixels_stored_in_no_way_of_a_photograph(keyword, value, message, fields, make_photograph):
    dataset = make_photograph(fields)
    setattr(dataset, keyword, value)
    with pytest.raises(UnreadableImageError, match=f"instance {dataset.SOPInstanceUID}: {message}"):
        read_rgb(dataset)


def test_values_beyond_bits_stored_are_refused(fields, make_photograph):
    dataset = make_photograph(fields.astype(np.uint16) * 257)
    compress(dataset, JPEG2000Lossless, generate_instance_uid=False)
    dataset.BitsStored, dataset.HighBit = 12, 11
    with pytest.raises(UnreadableImageError, match=r"PixelData holds values from .* expected 0 to 4095"):
        read_rgb(dataset)


def test_a_palette_that_is_missing_is_refused(make_photograph):
    dataset = make_photograph(np.zeros((2, 2), np.uint8), "PALETTE COLOR")
    with pytest.raises(UnreadableImageError, match=r"the palette, window or lookup table .* is damaged"):
        read_rgb(dataset)


def test_a_transfer_syntax_without_decoder_is_refused_by_name(fields, encapsulated):
    dataset = encapsulated(b"\xff\x0a....", "1.2.840.10008.1.2.4.110")  # JPEG XL Lossless
    with pytest.raises(UnreadableImageError, match=r"PixelData cannot be decoded as .*4\.110"):
        read_rgb(dataset)


def test_a_transfer_syntax_that_is_missing_is_refused(fields, make_photograph):
    dataset = make_photograph(fields)
    del dataset.file_meta.TransferSyntaxUID
    with pytest.raises(UnreadableImageError, match="TransferSyntaxUID is missing"):
        read_rgb(dataset)


def test_transparent_photos_are_refused(fields, tmp_path):
    picture = Image.fromarray(fields).convert("RGBA")
    picture.putpixel((3, 3), (0, 0, 0, 128))
    picture.save(tmp_path / "cutout.png")
    with pytest.raises(UnreadableImageError, match=r"cutout\.png: parts of the photo are transparent"):
        read_picture(tmp_path / "cutout.png")


def test_photos_of_several_pages_are_refused(fields, tmp_path):
    picture = Image.fromarray(fields)
    picture.save(tmp_path / "scan.tif", save_all=True, append_images=[picture, picture])
    with pytest.raises(UnreadableImageError, match=r"scan\.tif: the file holds 3 pages, expected 1"):
        read_picture(tmp_path / "scan.tif")


@pytest.mark.parametrize("suffix", ["gif", "bmp", "webp"])
def test_pictures_of_other_kinds_are_refused_by_name(suffix, fields, tmp_path):
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(fields).save(path)
    with pytest.raises(
        UnreadableImageError, match="not a readable JPEG, PNG or TIFF photo, it looks like a "
    ):
        read_picture(path)


@pytest.mark.filterwarnings("ignore")  # pydicom's, about the damage
@given(data=st.data())
def test_no_damage_to_a_file_raises_anything_but_a_sentence(data, fields, make_photograph):
    dataset = make_photograph(
        fields[:4, :4],
        SOPClassUID=SecondaryCaptureImageStorage,
        SOPInstanceUID="1.2.3.4",
        SeriesInstanceUID="1.2.3.5",
        StudyInstanceUID="1.2.3.6",
    )
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        photograph = read_photograph(bytes(content))
    except DermCheckError as error:
        message = str(error)
    else:
        message = ""
        assert photograph.pixels.shape == (photograph.header.rows, photograph.header.columns, 3)
    assert "Synthetic" not in message


def test_a_refused_bomb_takes_no_memory(fields, make_photograph, save):
    path = save(make_photograph(fields, Rows=65535, Columns=65535))
    program = (
        "import pathlib, resource, sys\n"
        "from dermcheck.dicom import read_photograph\n"
        "from dermcheck.errors import UnreadableImageError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        "    read_photograph(pathlib.Path(sys.argv[1]))\n"
        "except UnreadableImageError:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    answer = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert int(answer.stdout) < 20_000  # KiB (bytes on macOS: then stricter)
