"""Pictures and masks as 3D Slicer and other viewers exchange them."""

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the field's own name
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dermcheck.dicom.viewer_masks import read_label_map, read_named_masks, write_companion, write_label_map
from dermcheck.errors import MaskError, StorageError

ROWS, COLUMNS = 23, 31
SPACING = (0.05, 0.04)  # mm between rows, between columns

KINDS = "domain domain domain"


@pytest.fixture
def mask(l_shape: Callable[[int, int], np.ndarray]) -> np.ndarray:
    return l_shape(ROWS, COLUMNS).astype(np.uint8)


def write_seg_nrrd(
    path: Path,
    layers: np.ndarray,
    segments: list[dict[str, object]],
    *,
    offset: tuple[int, int] = (0, 0),
    whole: tuple[int, int] | None = None,
    extra: str = "",
) -> None:
    """Write (layers, rows, columns) as Slicer does: one layer in three dimensions, several in four.

    `offset` is the row and column of the photograph where the cropped grid begins, `whole` the size
    of the photograph in the conversion parameters.
    """
    count, rows, columns = layers.shape
    several = count > 1
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "# http://teem.sourceforge.net/nrrd/format.html",
        "type: unsigned char",
        f"dimension: {4 if several else 3}",
        "space: left-posterior-superior",
        f"sizes: {f'{count} ' if several else ''}{columns} {rows} 1",
        f"space directions: {'none ' if several else ''}({SPACING[1]},0,0) (0,{SPACING[0]},0) (0,0,1)",
        f"kinds: {'list ' if several else ''}{KINDS}",
        "encoding: gzip",
        f"space origin: ({offset[1] * SPACING[1]},{offset[0] * SPACING[0]},0)",
    ]
    for number, fields in enumerate(segments):
        lines += [f"Segment{number}_{key}:={value}" for key, value in fields.items()]
    if whole:
        matrix = f"{SPACING[1]};0;0;0;0;{SPACING[0]};0;0;0;0;1;0;0;0;0;1;"
        geometry = f"{matrix}0;{whole[1] - 1};0;{whole[0] - 1};0;0;"
        lines.append(
            f"Segmentation_ConversionParameters:=Reference image geometry|{geometry}|Image geometry.&"
        )
    lines += [
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|",
        f"Segmentation_ReferenceImageExtentOffset:={offset[1]} {offset[0]} 0",
    ]
    if extra:
        lines.append(extra)
    stored = np.ascontiguousarray(np.moveaxis(layers, 0, -1), dtype=np.uint8)
    path.write_bytes(("\n".join(lines) + "\n\n").encode() + gzip.compress(stored.tobytes()))


# Companions


def test_a_companion_is_the_photograph_in_slicers_geometry(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, COLUMNS, 3), np.uint8)
    write_companion(pixels, SPACING, tmp_path / "a photograph.nrrd")
    image = sitk.ReadImage(str(tmp_path / "a photograph.nrrd"))
    assert np.array_equal(sitk.GetArrayFromImage(image)[0], pixels)
    assert (image.GetSize(), image.GetNumberOfComponentsPerPixel()) == ((COLUMNS, ROWS, 1), 3)
    assert image.GetPixelIDTypeAsString() == "vector of 8-bit unsigned integer"
    assert image.GetSpacing() == (0.04, 0.05, 1.0)
    assert image.GetOrigin() == (0, 0, 0)
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)


def test_a_companion_without_spacing_gets_1(tmp_path: Path) -> None:
    write_companion(np.zeros((2, 3, 3), np.uint8), None, tmp_path / "photograph.nrrd")
    assert sitk.ReadImage(str(tmp_path / "photograph.nrrd")).GetSpacing() == (1, 1, 1)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".nii"])
def test_a_label_map_has_the_geometry_of_the_companion(suffix: str, mask: np.ndarray, tmp_path: Path) -> None:
    write_companion(np.zeros((ROWS, COLUMNS, 3), np.uint8), SPACING, tmp_path / "photograph.nrrd")
    write_label_map(mask, SPACING, tmp_path / f"mask{suffix}")
    companion = sitk.ReadImage(str(tmp_path / "photograph.nrrd"))
    label_map = sitk.ReadImage(str(tmp_path / f"mask{suffix}"))
    assert label_map.GetSize() == companion.GetSize()
    for get in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(label_map, get)(), getattr(companion, get)(), atol=1e-7)


def test_a_folder_that_is_missing_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        StorageError, match=r"missing/photograph\.nrrd: the image for the viewer cannot be written"
    ):
        write_companion(np.zeros((2, 3, 3), np.uint8), None, tmp_path / "missing" / "photograph.nrrd")


# Label maps that come back


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".nii", ".seg.nrrd"])
@pytest.mark.parametrize("spacing", [SPACING, None])
def test_an_l_comes_back_unturned(
    suffix: str, spacing: tuple[float, float] | None, mask: np.ndarray, tmp_path: Path
) -> None:
    write_label_map(5 * mask, spacing, tmp_path / f"mask{suffix}")
    label_map, names = read_label_map(tmp_path / f"mask{suffix}", (ROWS, COLUMNS))
    assert label_map.dtype == np.uint8
    assert np.array_equal(label_map, 5 * mask)
    assert names == {}


@settings(max_examples=60)
@given(
    label_map=arrays(
        np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 255)
    ),
    spacing=st.none() | st.tuples(st.floats(0.001, 2), st.floats(0.001, 2)),
    suffix=st.sampled_from([".nii.gz", ".nrrd", ".seg.nrrd"]),
)
def test_any_label_map_comes_back_identical(
    label_map: np.ndarray, spacing: tuple[float, float] | None, suffix: str
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"mask{suffix}"
        write_label_map(label_map, spacing, path)
        assert np.array_equal(read_label_map(path, label_map.shape)[0], label_map)


@settings(max_examples=60)
@given(data=st.data(), rows=st.integers(1, 12), columns=st.integers(1, 12), count=st.integers(1, 3))
def test_any_cropped_segmentation_of_slicer_comes_back_identical(
    data: st.DataObject, rows: int, columns: int, count: int
) -> None:
    """Masks of one layer each, cropped to a grid that holds all of them, as Slicer saves."""
    top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    bottom, right = data.draw(st.integers(top + 1, rows)), data.draw(st.integers(left + 1, columns))
    layers = data.draw(arrays(np.bool_, (count, bottom - top, right - left)))
    segments = [{"ID": f"S{n}", "Name": f"Name {n}", "LabelValue": 1, "Layer": n} for n in range(count)]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "s.seg.nrrd"
        write_seg_nrrd(path, layers, segments, offset=(top, left), whole=(rows, columns))
        found = read_named_masks(path, (rows, columns))
    expected = np.zeros((count, rows, columns), np.bool_)
    expected[:, top:bottom, left:right] = layers
    assert np.array_equal([one.mask for one in found], expected)
    assert [one.name for one in found] == [f"Name {n}" for n in range(count)]


@pytest.mark.parametrize("codes", [*map("".join, itertools.product("RL", "AP", "SI")), "PLS", "SRA", "IPL"])
def test_other_axes_are_turned_back(codes: str, mask: np.ndarray, tmp_path: Path) -> None:
    write_label_map(mask, SPACING, tmp_path / "mask.nii.gz")
    turned = sitk.DICOMOrient(sitk.ReadImage(str(tmp_path / "mask.nii.gz")), codes)
    sitk.WriteImage(turned, str(tmp_path / "turned.nii.gz"))
    assert np.array_equal(read_label_map(tmp_path / "turned.nii.gz", (ROWS, COLUMNS))[0], mask)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint32, np.int64])
def test_whole_numbers_of_any_type_are_read(dtype: type, mask: np.ndarray, tmp_path: Path) -> None:
    image = sitk.GetImageFromArray((3 * mask).astype(dtype)[None])
    sitk.WriteImage(image, str(tmp_path / "mask.nrrd"))
    assert np.array_equal(read_label_map(tmp_path / "mask.nrrd", (ROWS, COLUMNS))[0], 3 * mask)


@pytest.mark.parametrize("value", [0.5, -1, 256, 1000])
def test_other_values_are_refused(value: float, mask: np.ndarray, tmp_path: Path) -> None:
    image = sitk.GetImageFromArray((value * mask).astype(np.float32)[None])
    sitk.WriteImage(image, str(tmp_path / "mask.nrrd"))
    with pytest.raises(MaskError, match="expected whole numbers from 0 to 255"):
        read_label_map(tmp_path / "mask.nrrd", (ROWS, COLUMNS))


def test_two_dimensions_are_read(mask: np.ndarray, tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(mask), str(tmp_path / "mask.nrrd"))
    assert np.array_equal(read_label_map(tmp_path / "mask.nrrd", (ROWS, COLUMNS))[0], mask)


def test_an_empty_label_map_is_an_answer(mask: np.ndarray, tmp_path: Path) -> None:
    write_label_map(0 * mask, None, tmp_path / "mask.nii.gz")
    assert not read_label_map(tmp_path / "mask.nii.gz", (ROWS, COLUMNS))[0].any()


# Slicer's segmentations


def test_names_and_values_of_slicers_segments_are_read(mask: np.ndarray, tmp_path: Path) -> None:
    segments = [
        {"ID": "Segment_1", "Name": "Melanoma", "LabelValue": 5, "Layer": 0},
        {"ID": "Segment_2", "Name": "Muttermal, geprüft", "LabelValue": 2, "Layer": 0},
    ]
    layer = 5 * mask
    layer[0, 0] = 2
    write_seg_nrrd(tmp_path / "s.seg.nrrd", layer[None], segments)
    label_map, names = read_label_map(tmp_path / "s.seg.nrrd", (ROWS, COLUMNS))
    assert np.array_equal(label_map, layer)
    assert names == {5: "Melanoma", 2: "Muttermal, geprüft"}


def test_a_described_segment_without_pixels_is_kept(mask: np.ndarray, tmp_path: Path) -> None:
    segments = [
        {"ID": "a", "Name": "Melanoma", "LabelValue": 1},
        {"ID": "b", "Name": "Naevus", "LabelValue": 2},
    ]
    write_seg_nrrd(tmp_path / "s.seg.nrrd", mask[None], segments)
    found = read_named_masks(tmp_path / "s.seg.nrrd", (ROWS, COLUMNS))
    assert [(one.value, one.name, int(one.mask.sum())) for one in found] == [
        (1, "Melanoma", int(mask.sum())),
        (2, "Naevus", 0),
    ]


def test_values_without_a_segment_are_kept_without_a_name(mask: np.ndarray, tmp_path: Path) -> None:
    layer = mask.copy()
    layer[0, 0] = 9
    write_seg_nrrd(tmp_path / "s.seg.nrrd", layer[None], [{"ID": "a", "Name": "Melanoma", "LabelValue": 1}])
    label_map, names = read_label_map(tmp_path / "s.seg.nrrd", (ROWS, COLUMNS))
    assert np.array_equal(label_map, layer)
    assert names == {1: "Melanoma"}


def test_overlapping_segments_in_layers_are_kept_apart(mask: np.ndarray, tmp_path: Path) -> None:
    whole = np.ones_like(mask)
    segments = [
        {"ID": "a", "Name": "Melanoma", "LabelValue": 1, "Layer": 0},
        {"ID": "b", "Name": "Naevus", "LabelValue": 1, "Layer": 1},
    ]
    write_seg_nrrd(tmp_path / "s.seg.nrrd", np.stack([whole, mask]), segments)
    first, second = read_named_masks(tmp_path / "s.seg.nrrd", (ROWS, COLUMNS))
    assert np.array_equal(first.mask, whole)
    assert np.array_equal(second.mask, mask)
    label_map, names = read_label_map(tmp_path / "s.seg.nrrd", (ROWS, COLUMNS))
    assert names == {1: "Melanoma", 2: "Naevus"}
    assert np.array_equal(label_map, whole + mask)  # the later one covers the earlier


def test_layers_of_before_slicer_4_11_are_read(mask: np.ndarray, tmp_path: Path) -> None:
    segments = [{"ID": "a", "Name": "Melanoma"}, {"ID": "b", "Name": "Naevus"}]
    write_seg_nrrd(tmp_path / "s.seg.nrrd", np.stack([1 - mask, mask]), segments)
    first, second = read_named_masks(tmp_path / "s.seg.nrrd", (ROWS, COLUMNS))
    assert (first.name, second.name) == ("Melanoma", "Naevus")
    assert np.array_equal(first.mask, mask == 0)
    assert np.array_equal(second.mask, mask == 1)


@pytest.mark.parametrize("whole", [None, (ROWS, COLUMNS)], ids=["whole unsaid", "whole said"])
def test_a_cropped_segmentation_is_placed(
    whole: tuple[int, int] | None, mask: np.ndarray, tmp_path: Path
) -> None:
    segments = [{"ID": "a", "Name": "Melanoma", "LabelValue": 1, "Layer": 0}]
    write_seg_nrrd(tmp_path / "s.seg.nrrd", mask[None, 3:22, 5:25], segments, offset=(3, 5), whole=whole)
    assert np.array_equal(read_label_map(tmp_path / "s.seg.nrrd", (ROWS, COLUMNS))[0], mask)


def test_a_segmentation_drawn_on_a_smaller_photograph_is_refused(mask: np.ndarray, tmp_path: Path) -> None:
    segments = [{"ID": "a", "Name": "Melanoma", "LabelValue": 1, "Layer": 0}]
    write_seg_nrrd(tmp_path / "s.seg.nrrd", mask[None], segments, whole=(ROWS, COLUMNS))
    with pytest.raises(MaskError, match=f"is {ROWS} × {COLUMNS} pixels .* the photograph 40 × 60"):
        read_label_map(tmp_path / "s.seg.nrrd", (40, 60))


@pytest.mark.parametrize(
    "fields",
    [
        {"LabelValue": 0, "Layer": 0},
        {"LabelValue": 256, "Layer": 0},
        {"LabelValue": "one", "Layer": 0},
        {"LabelValue": 1, "Layer": 1},
        {"LabelValue": 1, "Layer": -1},
    ],
    ids=str,
)
def test_a_segment_with_an_impossible_value_is_refused(
    fields: dict[str, object], mask: np.ndarray, tmp_path: Path
) -> None:
    write_seg_nrrd(tmp_path / "s.seg.nrrd", mask[None], [{"ID": "a", "Name": "x", **fields}])
    with pytest.raises(MaskError, match="segment 0 has the LabelValue"):
        read_label_map(tmp_path / "s.seg.nrrd", (ROWS, COLUMNS))


# Refusals


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".seg.nrrd"])
@pytest.mark.parametrize(
    "shape", [(COLUMNS, ROWS), (ROWS + 1, COLUMNS), (ROWS, COLUMNS - 1), (40, 60), (10, 10)]
)
def test_another_size_is_refused_with_both_sizes(
    shape: tuple[int, int], suffix: str, mask: np.ndarray, tmp_path: Path
) -> None:
    write_label_map(mask, SPACING, tmp_path / f"mask{suffix}")
    with pytest.raises(MaskError) as refusal:
        read_label_map(tmp_path / f"mask{suffix}", shape)
    sizes = str(refusal.value)
    assert f"{ROWS} × {COLUMNS}" in sizes or f"{COLUMNS} × {ROWS}" in sizes
    assert f"{shape[0]} × {shape[1]}" in sizes or f"{shape[1]} × {shape[0]}" in sizes


def test_a_mask_that_says_it_lies_beside_the_photograph_is_refused(mask: np.ndarray, tmp_path: Path) -> None:
    # With an identity matrix NIfTI's axes point right and anterior: the grid lies at negative positions.
    nibabel.save(nibabel.Nifti1Image(mask.T[..., None], np.eye(4)), tmp_path / "mask.nii.gz")
    with pytest.raises(MaskError, match="from row -22, column -30 on, the photograph 23 × 31"):
        read_label_map(tmp_path / "mask.nii.gz", (ROWS, COLUMNS))


def test_a_rotated_mask_is_refused(mask: np.ndarray, tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(mask[None])
    image.SetDirection((0.96, -0.28, 0, 0.28, 0.96, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "mask.nrrd"))
    with pytest.raises(MaskError, match="rotated against the photograph"):
        read_label_map(tmp_path / "mask.nrrd", (ROWS, COLUMNS))


def test_several_slices_are_refused(mask: np.ndarray, tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.stack([mask, mask])), str(tmp_path / "mask.nrrd"))
    with pytest.raises(MaskError, match=r"31 × 23 × 2 pixels .*, the photograph 31 × 23 × 1"):
        read_label_map(tmp_path / "mask.nrrd", (ROWS, COLUMNS))


def test_a_picture_is_refused(tmp_path: Path) -> None:
    write_companion(np.zeros((ROWS, COLUMNS, 3), np.uint8), None, tmp_path / "photograph.nrrd")
    with pytest.raises(MaskError, match="it holds 3 values a pixel"):
        read_label_map(tmp_path / "photograph.nrrd", (ROWS, COLUMNS))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mask.nrrd", b""),
        ("mask.nrrd", b"NRRD0004\nnonsense\n\n"),
        ("mask.nii.gz", b"no gzip"),
        ("mask.nii.gz", gzip.compress(b"no nifti" * 100, mtime=0)),
        ("mask.nii", b"\0" * 400),
    ],
)
def test_a_damaged_file_is_refused_in_a_sentence(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MaskError, match=f"{name}: the label map cannot be read"):
        read_label_map(tmp_path / name, (ROWS, COLUMNS))


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".nii"])
def test_a_truncated_file_is_refused(suffix: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (ROWS, COLUMNS), np.uint8)
    path = tmp_path / f"mask{suffix}"
    write_label_map(noise, None, path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(MaskError, match="cannot be read"):
        read_label_map(path, (ROWS, COLUMNS))


def test_a_complete_gzip_stream_of_too_few_pixels_is_refused(mask: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "mask.nii.gz"
    write_label_map(mask, None, path)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))
    with pytest.raises(MaskError, match="it holds 1064 bytes, expected 1065"):
        read_label_map(path, (ROWS, COLUMNS))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for name in ("none.nrrd", "none.nii.gz"):
        with pytest.raises(MaskError, match=f"{name}: the label map cannot be read"):
            read_label_map(tmp_path / name, (ROWS, COLUMNS))


@pytest.mark.parametrize("name", ["mask.png", "mask.nhdr", "mask.mha", "mask"])
def test_other_kinds_of_files_are_refused(name: str, mask: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(MaskError, match="expected a label map in a file ending in"):
        read_label_map(tmp_path / name, (ROWS, COLUMNS))


def test_a_header_that_points_at_another_file_is_refused(mask: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "secret.raw").write_bytes(bytes(range(256)) * 10)
    header = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: {COLUMNS} {ROWS} 1\nencoding: raw\n"
    (tmp_path / "mask.nrrd").write_text(f"{header}data file: secret.raw\n")
    with pytest.raises(MaskError, match="its pixels are in another file"):
        read_label_map(tmp_path / "mask.nrrd", (ROWS, COLUMNS))


def test_a_header_that_promises_a_huge_grid_is_refused_before_it_is_read(tmp_path: Path) -> None:
    header = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2000000 2000000 1\nencoding: raw\n\n"
    (tmp_path / "mask.nrrd").write_text(header)
    with pytest.raises(MaskError, match="2000000 × 2000000 × 1 pixels"):
        read_label_map(tmp_path / "mask.nrrd", (ROWS, COLUMNS))
