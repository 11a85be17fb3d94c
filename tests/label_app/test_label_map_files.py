import numpy as np
import pytest
import SimpleITK

from dermcheck.dicom.viewer_masks import read_label_map, write_companion
from dermcheck.label_app.infer_tasks import DIAGNOSES
from dermcheck.label_app.label_map_files import LABEL_MAP_SUFFIXES, encode_answer
from dermcheck.label_app.source_image import SourceImage, read_upload


@pytest.fixture
def label_map() -> np.ndarray:
    corner = np.zeros((30, 40), np.uint8)
    corner[3:9, 2:30] = 5
    corner[3:25, 2:6] = 5
    return corner


@pytest.mark.parametrize("suffix", LABEL_MAP_SUFFIXES)
@pytest.mark.parametrize("spacing_mm", [None, (0.05, 0.1)])
def test_answer_has_the_companions_geometry(suffix, spacing_mm, label_map, pixels, tmp_path):
    write_companion(pixels(), spacing_mm, tmp_path / "companion.nrrd")
    source = SourceImage("1.2.3", pixels(), spacing_mm)
    (tmp_path / f"answer{suffix}").write_bytes(encode_answer(label_map, DIAGNOSES, source, suffix))
    companion = SimpleITK.ReadImage(str(tmp_path / "companion.nrrd"))
    answer = SimpleITK.ReadImage(str(tmp_path / f"answer{suffix}"))
    assert answer.GetSize() == companion.GetSize()
    assert answer.GetSpacing() == pytest.approx(companion.GetSpacing())
    assert answer.GetOrigin() == pytest.approx(companion.GetOrigin())
    assert answer.GetDirection() == pytest.approx(companion.GetDirection())
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(answer)[0], label_map)


def test_seg_nrrd_names_every_diagnosis(label_map, pixels, tmp_path):
    source = SourceImage("1.2.3", pixels())
    (tmp_path / "answer.seg.nrrd").write_bytes(encode_answer(label_map, DIAGNOSES, source, ".seg.nrrd"))
    read, names = read_label_map(tmp_path / "answer.seg.nrrd", (30, 40))
    np.testing.assert_array_equal(read, label_map)
    assert names == {value: name for name, value in DIAGNOSES.items()}


@pytest.mark.parametrize("suffix", LABEL_MAP_SUFFIXES)
def test_answer_takes_the_place_of_an_uploaded_volume(suffix, label_map, pixels, tmp_path):
    volume = SimpleITK.GetImageFromArray(pixels()[None], isVector=True)
    volume.SetSpacing((0.5, 0.25, 2))
    volume.SetOrigin((-3, 7, 11))
    volume.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    SimpleITK.WriteImage(volume, str(tmp_path / "volume.nrrd"))
    source = read_upload(tmp_path / "volume.nrrd")
    (tmp_path / f"answer{suffix}").write_bytes(encode_answer(label_map, DIAGNOSES, source, suffix))
    answer = SimpleITK.ReadImage(str(tmp_path / f"answer{suffix}"))
    assert answer.GetSpacing() == pytest.approx(volume.GetSpacing())
    assert answer.GetOrigin() == pytest.approx(volume.GetOrigin())
    assert answer.GetDirection() == pytest.approx(volume.GetDirection())
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(answer)[0], label_map)
