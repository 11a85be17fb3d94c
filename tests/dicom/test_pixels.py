"""Every way of storing a photograph gives its colours back."""

from pathlib import Path

import gdcm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import compress, convert_color_space
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
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

from dermcheck.dicom.photograph import read_photograph
from dermcheck.dicom.pixels import read_rgb
from dermcheck.errors import ArgumentError, UnreadableImageError

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)


def with_syntax(dataset: Dataset, syntax: UID) -> Dataset:
    """Relabel an uncompressed dataset; big endian swaps the bytes of 16-bit words."""
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian and dataset.BitsAllocated == 16:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
    return dataset


def as_ybr_422(rgb: np.ndarray) -> bytes:
    """Interleave two luminances with the chroma of the first pixel (PS3.3 C.7.6.3.1.2)."""
    ybr = convert_color_space(rgb, "RGB", "YBR_FULL").reshape(-1, 2, 3)
    return np.stack([ybr[:, 0, 0], ybr[:, 1, 0], ybr[:, 0, 1], ybr[:, 0, 2]], axis=1).tobytes()


def add_palette(dataset: Dataset, colours: np.ndarray, bits: int, first: int = 0) -> None:
    """Add a palette of (entries, 3) colours, as 8-bit or, times 257, as 16-bit entries."""
    entries = colours.astype(np.uint8) if bits == 8 else colours.astype("<u2") * 257
    if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian:
        words = entries if bits == 16 else None
        entries = words.byteswap() if words is not None else entries
    for index, name in enumerate(("Red", "Green", "Blue")):
        data = np.ascontiguousarray(entries[:, index]).tobytes()
        if bits == 8 and dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian:
            data = np.frombuffer(data, "<u2").byteswap().tobytes()
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [len(colours), first, bits])
        setattr(dataset, f"{name}PaletteColorLookupTableData", data)


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda syntax: syntax.keyword)
class TestUncompressed:
    """Each photometric interpretation in each uncompressed transfer syntax, through a file."""

    @pytest.mark.parametrize("planar", [0, 1])
    def test_rgb(self, syntax, planar, fields, make_photograph, save):
        dataset = make_photograph(fields)
        dataset.PlanarConfiguration = planar
        if planar:
            dataset.PixelData = np.ascontiguousarray(fields.transpose(2, 0, 1)).tobytes()
        np.testing.assert_array_equal(read_photograph(save(with_syntax(dataset, syntax))).pixels, fields)

    @pytest.mark.parametrize("bits", [10, 12, 16])
    def test_rgb_of_more_bits_is_scaled_by_bits_stored(self, syntax, bits, fields, make_photograph, save):
        deep = np.rint(fields * ((2**bits - 1) / 255)).astype(np.uint16)
        dataset = with_syntax(make_photograph(deep, "RGB", bits), syntax)
        np.testing.assert_array_equal(read_photograph(save(dataset)).pixels, fields)

    @pytest.mark.parametrize("planar", [0, 1])
    def test_ybr_full(self, syntax, planar, fields, make_photograph, save):
        ybr = convert_color_space(fields, "RGB", "YBR_FULL")
        dataset = make_photograph(ybr, "YBR_FULL")
        dataset.PlanarConfiguration = planar
        if planar:
            dataset.PixelData = np.ascontiguousarray(ybr.transpose(2, 0, 1)).tobytes()
        pixels = read_photograph(save(with_syntax(dataset, syntax))).pixels
        np.testing.assert_allclose(pixels, fields, rtol=0, atol=2)

    def test_ybr_full_422(self, syntax, fields, make_photograph, save):
        dataset = make_photograph(fields)
        dataset.PhotometricInterpretation = "YBR_FULL_422"
        dataset.PixelData = as_ybr_422(fields)
        pixels = read_photograph(save(with_syntax(dataset, syntax))).pixels
        np.testing.assert_allclose(pixels, fields, rtol=0, atol=2)

    @pytest.mark.parametrize("entry_bits", [8, 16])
    @pytest.mark.parametrize("index_bits", [8, 16])
    def test_palette_colour(self, syntax, entry_bits, index_bits, fields, make_photograph, save):
        colours = np.array([*np.unique(fields.reshape(-1, 3), axis=0)])
        indices = (fields[:, :, None] == colours).all(-1).argmax(-1).astype(f"u{index_bits // 8}")
        dataset = with_syntax(make_photograph(indices, "PALETTE COLOR"), syntax)
        add_palette(dataset, colours, entry_bits)
        np.testing.assert_array_equal(read_photograph(save(dataset)).pixels, fields)

    @pytest.mark.parametrize("bits", [8, 12, 16])
    @pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
    def test_monochrome(self, syntax, photometric, bits, fields, make_photograph, save):
        grey = fields[..., 0]
        shown = 255 - grey if photometric == "MONOCHROME1" else grey
        stored = np.rint(shown * ((2**bits - 1) / 255)).astype(np.uint8 if bits == 8 else np.uint16)
        pixels = read_photograph(save(with_syntax(make_photograph(stored, photometric, bits), syntax))).pixels
        np.testing.assert_array_equal(pixels, np.repeat(grey[..., None], 3, axis=2))


def compress_lossless(dataset: Dataset, syntax: UID, samples: np.ndarray | None = None) -> None:
    """Compress in place; RLE by pydicom, since GDCM's encoder ends the process on some small pictures."""
    plugin = "pydicom" if syntax == RLELossless else ""
    compress(dataset, syntax, samples, encoding_plugin=plugin, generate_instance_uid=False)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless], ids=lambda syntax: syntax.keyword)
class TestLosslessBySampleStorage:
    """RLE and JPEG-LS keep samples as they are, so every photometric interpretation can occur."""

    def test_rgb(self, syntax, fields, make_photograph, save):
        dataset = make_photograph(fields)
        compress_lossless(dataset, syntax)
        np.testing.assert_array_equal(read_photograph(save(dataset)).pixels, fields)

    def test_rgb_of_sixteen_bits(self, syntax, fields, make_photograph, save):
        dataset = make_photograph(fields.astype(np.uint16) * 257)
        compress_lossless(dataset, syntax)
        np.testing.assert_array_equal(read_photograph(save(dataset)).pixels, fields)

    def test_ybr_full(self, syntax, fields, make_photograph, save):
        dataset = make_photograph(convert_color_space(fields, "RGB", "YBR_FULL"), "YBR_FULL")
        compress_lossless(dataset, syntax)
        np.testing.assert_allclose(read_photograph(save(dataset)).pixels, fields, rtol=0, atol=2)

    def test_palette_colour(self, syntax, fields, make_photograph, save):
        colours = np.unique(fields.reshape(-1, 3), axis=0)
        indices = (fields[:, :, None] == colours).all(-1).argmax(-1).astype(np.uint8)
        dataset = make_photograph(indices, "PALETTE COLOR")
        compress_lossless(dataset, syntax)
        add_palette(dataset, colours, 8)
        np.testing.assert_array_equal(read_photograph(save(dataset)).pixels, fields)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_monochrome(self, syntax, dtype, fields, make_photograph, save):
        full = np.iinfo(dtype).max // 255
        dataset = make_photograph((fields[..., 0] * np.uint16(full)).astype(dtype), "MONOCHROME2")
        compress_lossless(dataset, syntax)
        pixels = read_photograph(save(dataset)).pixels
        np.testing.assert_array_equal(pixels, np.repeat(fields[..., :1], 3, axis=2))


def test_jpeg_ls_near_lossless_stays_within_its_error(fields, make_photograph, save):
    dataset = make_photograph(fields)
    compress(dataset, JPEGLSNearLossless, jls_error=3, generate_instance_uid=False)
    np.testing.assert_allclose(read_photograph(save(dataset)).pixels, fields, rtol=0, atol=3)


@pytest.mark.parametrize(
    ("syntax", "photometric", "keywords", "tolerance"),
    [
        (JPEG2000Lossless, "YBR_RCT", {}, 0),
        (JPEG2000Lossless, "RGB", {"use_mct": False}, 0),
        (JPEG2000, "YBR_ICT", {"j2k_cr": [4]}, 4),
        (JPEG2000, "RGB", {"j2k_cr": [4], "use_mct": False}, 4),
    ],
    ids=lambda value: getattr(value, "keyword", None),
)
def test_jpeg_2000_colour(syntax, photometric, keywords, tolerance, fields, make_photograph, save):
    dataset = make_photograph(fields)
    dataset.PhotometricInterpretation = photometric
    compress(dataset, syntax, fields, generate_instance_uid=False, **keywords)
    np.testing.assert_allclose(read_photograph(save(dataset)).pixels, fields, rtol=0, atol=tolerance)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_2000_grey(bits, fields, make_photograph, save):
    stored = np.rint(fields[..., 0] * ((2**bits - 1) / 255)).astype(np.uint8 if bits == 8 else np.uint16)
    dataset = make_photograph(stored, "MONOCHROME2", bits)
    compress(dataset, JPEG2000Lossless, generate_instance_uid=False)
    pixels = read_photograph(save(dataset)).pixels
    np.testing.assert_array_equal(pixels, np.repeat(fields[..., :1], 3, axis=2))


HTJ2K_FIELDS = bytes.fromhex(  # the six colours in fields of 8 × 8, by OpenJPH 0.9, reversible
    "ff4fff51002f400000000018000000100000000000000000000000180000001000000000000000000003070101070101070101ff"
    "500008000200000004ff52000c00020001010204044001ff5c000a2058606060585860ff64001600014f70656e4a504820566572"
    "20302e392e302eff90000a0000000001f30001ff93c00b74e93ddeff5375c8aa32bb80713129b98cf27a74fb011d4b4106e411b9"
    "00c00b78d24afcd8d990e2a9eb814490208a5aea862442702afe0028c2c108b2b800c00ba152824d93af15a684ad0bb723d580d7"
    "840794821d851085cc000342181080b1b900c005a300168c0055009d228a5f2510f49e8e2cf292716a627800795d4ac6080251fe"
    "00dfb38031a4a759000c0afb02bf33b937d700c005b10016840056807a434343c30b073851c140d50482c00702806f08005a5900"
    "caea97cd4a288bc802d6210c72c75800ae9070fe0095f8d1d00437d900c005ad0016a40056805088a5d57b209afc0c180c80fc0c"
    "60a87c0100627900bef67439dc2719864661f816b382090000c75900dcebc109101968d1d82037d800c00b66005b300150998879"
    "a8edf115ef29149f05394e004724e4394e30b8c27f00f39caf48920b1b63fef7800000001ef384207bf60001ecb001baf8780001"
    "485700c00b6e005b1001542cfb7eb3f67b02eabd54b857fd9f29ca70a14a394e040b80827e0008947c183a3d8542f9f780000210"
    "1ef384207bcf499cbf0066fdf878000414005800c00b6e005b5001522a2ae3a86235ce07338a36a7ea9f14e53850a5394e020b81"
    "827e00a828143551ab158bbad6f7800000040f7688407bf62101ecb001aef878000014205800ffd9"
)


@pytest.mark.parametrize("syntax", [HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K], ids=lambda value: value.keyword)
def test_high_throughput_jpeg_2000(syntax, fields, encapsulated, save):
    dataset = encapsulated(HTJ2K_FIELDS, syntax, "YBR_RCT", (16, 24, 3))
    np.testing.assert_array_equal(read_photograph(save(dataset)).pixels, fields[::2, ::2])


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_FULL", "RGB"])
def test_jpeg_colours_are_those_of_the_stream_whatever_the_label(
    photometric, subsampling, fields, field_centres, to_jpeg, encapsulated, save
):
    stream = to_jpeg(fields, subsampling=subsampling)  # says YBR by its JFIF marker
    pixels = read_photograph(save(encapsulated(stream, JPEGBaseline8Bit, photometric))).pixels
    np.testing.assert_allclose(field_centres(pixels), field_centres(fields), rtol=0, atol=4)


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_FULL", "RGB"])
def test_jpeg_of_rgb_components_says_so_by_its_adobe_marker(
    photometric, fields, field_centres, to_jpeg, encapsulated, save
):
    stream = to_jpeg(fields, keep_rgb=True)
    assert b"Adobe" in stream
    pixels = read_photograph(save(encapsulated(stream, JPEGBaseline8Bit, photometric))).pixels
    np.testing.assert_allclose(field_centres(pixels), field_centres(fields), rtol=0, atol=4)


def without_markers(stream: bytes) -> bytes:
    """Cut the APPn segments out of a JPEG stream and number its components 1, 2, 3."""
    kept, position = bytearray(stream[:2]), 2
    while stream[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(stream[position + 2 : position + 4], "big")
        if not 0xE0 <= stream[position + 1] <= 0xEF:
            kept += stream[position:end]
        position = end
    renumbered = bytes(kept) + stream[position:]
    for number, letter in enumerate(b"RGB", 1):
        frame = renumbered.index(b"\xff\xc0") + 10 + 3 * (number - 1)
        scan = renumbered.index(b"\xff\xda") + 5 + 2 * (number - 1)
        if renumbered[frame] == letter:
            renumbered = renumbered[:frame] + bytes([number]) + renumbered[frame + 1 :]
            renumbered = renumbered[:scan] + bytes([number]) + renumbered[scan + 1 :]
    return renumbered


@pytest.mark.parametrize(("keep_rgb", "photometric"), [(True, "RGB"), (False, "YBR_FULL_422")])
def test_jpeg_without_any_marker_follows_the_label(
    keep_rgb, photometric, fields, field_centres, to_jpeg, encapsulated
):
    stream = without_markers(to_jpeg(fields, keep_rgb=keep_rgb))
    assert b"Adobe" not in stream
    assert b"JFIF" not in stream
    pixels = read_rgb(encapsulated(stream, JPEGBaseline8Bit, photometric))
    np.testing.assert_allclose(field_centres(pixels), field_centres(fields), rtol=0, atol=4)


def test_jpeg_extended_of_eight_bits(fields, field_centres, to_jpeg, encapsulated, save):
    stream = to_jpeg(fields).replace(b"\xff\xc0", b"\xff\xc1", 1)
    pixels = read_photograph(save(encapsulated(stream, JPEGExtended12Bit))).pixels
    np.testing.assert_allclose(field_centres(pixels), field_centres(fields), rtol=0, atol=4)


def test_jpeg_grey(fields, field_centres, to_jpeg, encapsulated, save):
    stream = to_jpeg(np.ascontiguousarray(fields[..., 0]))
    pixels = read_photograph(save(encapsulated(stream, JPEGBaseline8Bit, "MONOCHROME2", (32, 48)))).pixels
    expected = np.repeat(field_centres(fields)[:, :1], 3, axis=1)
    np.testing.assert_allclose(field_centres(pixels), expected, rtol=0, atol=2)


def test_jpeg_extended_of_twelve_bits(shipped_with_pydicom):
    pixels = read_photograph(shipped_with_pydicom("JPGExtended.dcm")).pixels
    # Samples 244 and 95 of 0 to 4095, as pydicom's own tests know them (pixels_reference.py).
    assert pixels[420, 140].tolist() == [round(244 * 255 / 4095)] * 3
    assert pixels[230, 120].tolist() == [round(95 * 255 / 4095)] * 3


def transcode(path: Path, syntax: UID, target: Path) -> Path:
    """Compress a file by GDCM, the only encoder at hand for lossless JPEG."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return target


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1], ids=lambda value: value.keyword)
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "MONOCHROME2"])
def test_lossless_jpeg(photometric, syntax, fields, make_photograph, save, tmp_path):
    samples = {
        "RGB": fields,
        "YBR_FULL": convert_color_space(fields, "RGB", "YBR_FULL"),
        "MONOCHROME2": fields[..., 0].astype(np.uint16) * 257,
    }[photometric]
    # GDCM writes only SOP classes that it knows, and Dermoscopic Photography is too young.
    plain = save(make_photograph(samples, photometric, SOPClassUID=VLPhotographicImageStorage))
    photograph = read_photograph(transcode(plain, syntax, tmp_path / "lossless.dcm"))
    assert photograph.dataset.file_meta.TransferSyntaxUID == syntax
    expected = np.repeat(fields[..., :1], 3, axis=2) if photometric == "MONOCHROME2" else fields
    tolerance = 2 if photometric == "YBR_FULL" else 0
    np.testing.assert_allclose(photograph.pixels, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "sop_class",
    [
        VLPhotographicImageStorage,
        VLEndoscopicImageStorage,
        VLMicroscopicImageStorage,
        SecondaryCaptureImageStorage,
    ],
    ids=lambda value: value.keyword,
)
def test_other_visible_light_objects_are_read_alike(sop_class, fields, make_photograph):
    np.testing.assert_array_equal(read_rgb(make_photograph(fields, SOPClassUID=sop_class)), fields)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless], ids=lambda value: value.keyword)
class TestSeveralFrames:
    """A multi-frame true colour Secondary Capture: the frame is chosen, never guessed."""

    @pytest.fixture
    def capture(self, syntax, fields, make_photograph) -> Dataset:
        frames = np.stack([fields, fields[::-1], fields[:, ::-1]])
        dataset = make_photograph(frames, SOPClassUID=MultiFrameTrueColorSecondaryCaptureImageStorage)
        if syntax == RLELossless:
            compress_lossless(dataset, syntax)
        return dataset

    def test_the_chosen_frame_is_read(self, capture, fields):
        np.testing.assert_array_equal(read_rgb(capture, frame=2), fields[::-1])
        np.testing.assert_array_equal(read_rgb(capture, frame=3), fields[:, ::-1])

    def test_without_a_choice_it_is_refused(self, capture):
        with pytest.raises(UnreadableImageError, match=r"NumberOfFrames is 3, expected 1\. Choose one frame"):
            read_rgb(capture)

    @pytest.mark.parametrize("frame", [0, 4, -1])
    def test_a_frame_that_is_not_there_is_refused(self, frame, capture):
        with pytest.raises(ArgumentError, match=f"there is no frame {frame}, expected 1 to 3"):
            read_rgb(capture, frame)


def test_frames_of_a_jpeg_capture_are_found_without_an_offset_table(fields, to_jpeg, encapsulated):
    streams = [to_jpeg(np.ascontiguousarray(picture)) for picture in (fields, fields[::-1])]
    capture = encapsulated(streams[0], SOPClassUID=MultiFrameTrueColorSecondaryCaptureImageStorage)
    capture.NumberOfFrames = 2
    capture.PixelData = encapsulate(streams, has_bot=False)
    np.testing.assert_allclose(read_rgb(capture, 2).mean((0, 1)), fields.mean((0, 1)), atol=3)
    assert read_rgb(capture, 2)[0, 0, 0] < 140 < read_rgb(capture, 1)[0, 0, 0]


def test_a_stream_in_several_fragments_is_joined(fields, field_centres, to_jpeg, encapsulated):
    dataset = encapsulated(to_jpeg(fields))
    dataset.PixelData = encapsulate([to_jpeg(fields)], fragments_per_frame=3)
    np.testing.assert_allclose(field_centres(read_rgb(dataset)), field_centres(fields), rtol=0, atol=4)


@given(
    samples=arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))),
    syntax=st.sampled_from([ExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless]),
)
def test_lossless_storage_returns_any_picture_unchanged(make_photograph, samples, syntax):
    # CharLS cannot encode what does not become smaller, OpenJPEG nothing tiny: give them blocks.
    if syntax in (JPEGLSLossless, JPEG2000Lossless):
        samples = samples.repeat(32, axis=0).repeat(32, axis=1)
    dataset = make_photograph(samples)
    if syntax != ExplicitVRLittleEndian:
        dataset.PhotometricInterpretation = "YBR_RCT" if syntax == JPEG2000Lossless else "RGB"
        compress_lossless(dataset, syntax, samples)
    np.testing.assert_array_equal(read_rgb(dataset), samples)


@given(samples=arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_ybr_full_returns_any_picture_within_rounding(make_photograph, samples):
    ybr = convert_color_space(samples, "RGB", "YBR_FULL")
    np.testing.assert_allclose(read_rgb(make_photograph(ybr, "YBR_FULL")), samples, rtol=0, atol=2)


@given(
    bits=st.integers(9, 16),
    samples=arrays(np.uint16, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3))),
)
def test_scaling_to_eight_bits_keeps_the_order_and_the_ends(make_photograph, bits, samples):
    samples = samples >> (16 - bits)
    pixels = read_rgb(make_photograph(samples, "RGB", bits)).astype(int)
    order = np.argsort(samples, axis=None, kind="stable")
    assert (np.diff(pixels.ravel()[order]) >= 0).all()
    assert (pixels[samples == 0] == 0).all()
    assert (pixels[samples == 2**bits - 1] == 255).all()


def test_signed_grey_survives_lossless_jpeg(make_photograph, save, tmp_path):
    samples = np.array([[-2048, 0], [1024, 2047]], np.int16).repeat(16, axis=0).repeat(16, axis=1)
    dataset = make_photograph(samples, "MONOCHROME2", 12, SOPClassUID=VLPhotographicImageStorage)
    pixels = read_photograph(transcode(save(dataset), JPEGLosslessSV1, tmp_path / "lossless.dcm")).pixels
    np.testing.assert_array_equal(pixels, read_rgb(dataset))


def test_signed_grey_runs_from_its_lowest_to_its_highest_value(make_photograph):
    samples = np.array([[-2048, 0, 2047]], np.int16)
    dataset = make_photograph(samples, "MONOCHROME2", 12)
    assert read_rgb(dataset)[0, :, 0].tolist() == [0, 128, 255]


def test_a_window_is_applied_to_grey(make_photograph):
    samples = np.array([[0, 1000, 1500, 2000, 4095]], np.uint16)
    dataset = make_photograph(samples, "MONOCHROME2", 12, WindowCenter="1500.5", WindowWidth="1001")
    assert read_rgb(dataset)[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_a_window_counts_in_rescaled_values(make_photograph):
    samples = np.array([[0, 100, 200]], np.uint8)
    dataset = make_photograph(
        samples,
        "MONOCHROME2",
        RescaleSlope="2",
        RescaleIntercept="1000",
        WindowCenter="1200.5",
        WindowWidth="401",
    )
    assert read_rgb(dataset)[0, :, 0].tolist() == [0, 128, 255]


def test_a_voi_table_is_applied_to_grey(make_photograph):
    table = Dataset()
    table.LUTDescriptor = [1024, 0, 8]  # 8-bit entries for more than 256 values
    table.LUTData = [value // 4 for value in range(1024)]
    samples = np.array([[0, 512, 1023, 4095]], np.uint16)
    dataset = make_photograph(samples, "MONOCHROME2", 12, VOILUTSequence=[table])
    assert read_rgb(dataset)[0, :, 0].tolist() == [0, 128, 255, 255]


def test_a_long_palette_of_eight_bit_entries_does_not_wrap_around(make_photograph):
    dataset = make_photograph(np.array([[0, 300, 1023]], np.uint16), "PALETTE COLOR", 12)
    add_palette(dataset, np.repeat(np.arange(1024)[:, None] // 4, 3, axis=1), 8)
    assert read_rgb(dataset)[0, :, 0].tolist() == [0, 75, 255]


def test_values_before_and_behind_a_palette_take_its_ends(make_photograph):
    dataset = make_photograph(np.array([[0, 11, 99]], np.uint8), "PALETTE COLOR")
    add_palette(dataset, np.array([[10, 20, 30], [40, 50, 60]]), 8, first=10)
    assert read_rgb(dataset)[0].tolist() == [[10, 20, 30], [40, 50, 60], [40, 50, 60]]


def test_a_segmented_palette_is_expanded(make_photograph):
    dataset = make_photograph(np.array([[0, 2, 4]], np.uint8), "PALETTE COLOR")
    for name in ("Red", "Green", "Blue"):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [5, 0, 8])
        # A discrete segment of one entry, 100, then a linear one of four up to 200 (PS3.3 C.7.9.2).
        setattr(dataset, f"Segmented{name}PaletteColorLookupTableData", bytes([0, 1, 100, 1, 4, 200]))
    assert read_rgb(dataset)[0, :, 0].tolist() == [100, 150, 200]


def test_the_icc_profile_is_kept_and_not_applied(fields, make_photograph, shipped_with_pydicom, save):
    profile = shipped_with_pydicom("crayons.icc").read_bytes()
    photograph = read_photograph(save(make_photograph(fields, ICCProfile=profile)))
    np.testing.assert_array_equal(photograph.pixels, fields)
    assert photograph.dataset.ICCProfile.rstrip(b"\0") == profile.rstrip(b"\0")


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("SC_rgb_dcmtk_+eb+cr.dcm", 1),  # RGB in JPEG
        ("SC_rgb_dcmtk_+eb+cy+n1.dcm", 6),  # 4:1:1
        ("SC_rgb_dcmtk_+eb+cy+s2.dcm", 6),
        ("SC_rgb_dcmtk_+eb+cy+s4.dcm", 6),
        ("SC_rgb_jpeg_gdcm.dcm", 0),  # lossless
        ("SC_rgb_jpeg_lossy_gdcm.dcm", 6),
        ("SC_rgb_gdcm_KY.dcm", 1),  # JPEG 2000
        ("SC_rgb_rle.dcm", 0),
        ("SC_rgb_rle_16bit.dcm", 0),
    ],
)
def test_files_of_other_toolkits_show_their_colour_bars(name, tolerance, shipped_with_pydicom):
    bars = [255, 0, 0], [255, 128, 128], [0, 255, 0], [128, 255, 128], [0, 0, 255], [128, 128, 255]
    pixels = read_photograph(shipped_with_pydicom(name)).pixels
    np.testing.assert_allclose(pixels[5:65:10, 50], bars, rtol=0, atol=tolerance)


def test_the_returned_array_belongs_to_the_caller(fields, make_photograph):
    dataset = make_photograph(fields)
    pixels = read_rgb(dataset)
    pixels[:] = 0
    np.testing.assert_array_equal(read_rgb(dataset), fields)
    assert pixels.flags.c_contiguous
