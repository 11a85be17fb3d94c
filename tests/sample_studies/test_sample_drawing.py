"""The drawing code, which tests and benchmarks use as well."""

import doctest
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.uid import HTJ2KLossless, JPEGBaseline8Bit

import draw_sample_studies
from dermcheck.lesions import CLASSES
from sample_drawing import (
    SAMPLE_PHOTOGRAPHS,
    Encoding,
    Lesion,
    Patient,
    PhotographDetails,
    Scene,
    Visit,
    dicom_photograph,
    draw_lesion_photograph,
    draw_sample,
    random_scene,
    scene,
)
from sample_drawing.encoding import EncoderMissingError


def test_the_documented_example_runs() -> None:
    assert doctest.testmod(scene).failed == 0
    assert doctest.testmod(scene).attempted > 0


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_looks_unlike_the_skin_around_it(name: str) -> None:
    pixels, mask = draw_lesion_photograph(Scene(96, 128, (Lesion(name, 0.6),), fitzpatrick=2, seed=1))
    assert 0.15 < mask.mean() < 0.5
    assert np.abs(pixels[mask].mean(axis=0) - pixels[~mask].mean(axis=0)).max() > 15


def test_no_two_classes_look_alike() -> None:
    pictures = [
        draw_lesion_photograph(Scene(96, 128, (Lesion(name, 0.6),), seed=1)).pixels.astype(float)
        for name in CLASSES
    ]
    for index, first in enumerate(pictures):
        for second in pictures[:index]:
            assert np.abs(first - second).mean() > 3


def test_the_same_scene_gives_the_same_pixels_and_another_seed_others() -> None:
    first, again = (draw_lesion_photograph(random_scene(5, 96, 128)) for _ in range(2))
    other = draw_lesion_photograph(random_scene(6, 96, 128))
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.pixels, other.pixels)


def test_a_darker_skin_type_is_darker() -> None:
    scenes = [Scene(48, 64, fitzpatrick=kind) for kind in range(1, 7)]
    brightness = [draw_lesion_photograph(scene).pixels.mean() for scene in scenes]
    assert brightness == sorted(brightness, reverse=True)
    assert brightness[0] > 1.8 * brightness[-1]


def test_a_lesion_keeps_its_shape_as_it_grows() -> None:
    small = draw_lesion_photograph(Scene(100, 100, (Lesion("mel", 0.3, seed=3),))).mask
    large = draw_lesion_photograph(Scene(100, 100, (Lesion("mel", 0.6, seed=3),))).mask
    doubled = small[25:75, 25:75].repeat(2, axis=0).repeat(2, axis=1)
    assert (doubled & large).sum() / (doubled | large).sum() > 0.9


def test_a_lesion_outside_the_picture_leaves_no_mask() -> None:
    assert not draw_lesion_photograph(Scene(48, 64, (Lesion("nv", 0.3, (5.0, 5.0)),))).mask.any()


@pytest.mark.parametrize("bad", [Scene(48, 64, (Lesion("wart", 0.3),)), Scene(50, 64, enlarged=4)])
def test_an_impossible_scene_is_refused(bad: Scene) -> None:
    with pytest.raises(ValueError, match=r"wart|multiple"):
        draw_lesion_photograph(bad)


def test_another_key_makes_another_photograph_of_the_same_visit() -> None:
    pixels = draw_lesion_photograph(Scene(48, 64)).pixels
    visit = Visit(Patient(patient_id="SYN-9"))
    first, again, second = (dicom_photograph(pixels, PhotographDetails(key, visit)) for key in "aab")
    assert first.SOPInstanceUID == again.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    assert first.StudyInstanceUID == second.StudyInstanceUID


def test_a_thousand_small_photographs_take_seconds() -> None:
    # The datastore's benchmark draws ten times as many.
    pixels = draw_lesion_photograph(Scene(72, 96)).pixels
    details = PhotographDetails("many", encoding=Encoding(JPEGBaseline8Bit, "YBR_FULL_422"))
    start = time.process_time()
    uids = {dicom_photograph(pixels, replace(details, key=str(n))).SOPInstanceUID for n in range(1000)}
    assert len(uids) == 1000
    assert time.process_time() - start < 20


def test_htj2k_without_its_encoder_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    details = PhotographDetails("a", encoding=Encoding(HTJ2KLossless, "YBR_RCT"))
    with pytest.raises(EncoderMissingError, match="apt install openjph-tools"):
        dicom_photograph(draw_lesion_photograph(Scene(48, 64)).pixels, details)


def test_the_script_draws_the_rest_without_the_htj2k_encoder_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "")
    few = tuple(s for s in SAMPLE_PHOTOGRAPHS if s.path.stem[:2] in ("07", "20"))
    monkeypatch.setattr(draw_sample_studies, "SAMPLE_PHOTOGRAPHS", few)
    assert draw_sample_studies.main(["--output", str(tmp_path)]) == 1
    assert [path.stem[:2] for path in tmp_path.rglob("*.dcm")] == ["20"]
    assert "07-keratosis-portrait.dcm was not drawn: HTJ2K needs" in capsys.readouterr().err


def test_masks_are_written_as_isic_names_them_and_as_large_as_the_photograph(tmp_path: Path) -> None:
    for sample in (s for s in SAMPLE_PHOTOGRAPHS if s.path.stem[:2] in ("06", "21")):
        draw_sample_studies.write_masks(sample, draw_sample(sample), tmp_path)
    names = [f"21-keratosis-three-frames_frame{n}_segmentation.png" for n in (1, 2, 3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["06-clean-skin_segmentation.png", *names]
    mask = np.asarray(Image.open(tmp_path / names[1]))
    assert mask.shape == (384, 512)
    assert set(np.unique(mask)) == {0, 255}


def test_a_written_sample_is_a_dicom_file(tmp_path: Path) -> None:
    sample = next(s for s in SAMPLE_PHOTOGRAPHS if s.path.stem[:2] == "20")
    path = draw_sample_studies.write_sample(sample, draw_sample(sample), tmp_path)
    assert path == tmp_path / sample.path
    assert dcmread(path).PatientName == "SYNTHETIC^FÜNF"
