"""The individual typology angle of drawn skin."""

import numpy as np
import pytest

from dermcheck.training.evaluation.skin_tone import SKIN_TONES, lab_of, skin_tone, typology_angle

SKINS = {  # sRGB, and the group of Chardon 1991 that its L* and b* give
    "very light (over 55°)": (244, 208, 196),
    "light (41 to 55°)": (215, 168, 134),
    "intermediate (28 to 41°)": (198, 150, 118),
    "tan (10 to 28°)": (178, 130, 100),
    "brown (-30 to 10°)": (124, 80, 58),
    "dark (under -30°)": (62, 40, 26),
}


def photograph(skin: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[:120, :160]
    mask = (rows - 60) ** 2 + (columns - 80) ** 2 < 30**2
    pixels = np.full((120, 160, 3), skin, np.uint8)
    pixels[mask] = (70, 40, 30)
    return pixels, mask


@pytest.mark.parametrize("name", SKINS)
def test_each_tone_gets_its_group(name):
    angle = typology_angle(*photograph(SKINS[name]))
    assert skin_tone(np.array([angle])).tolist() == [name]


def test_the_angle_is_that_of_its_definition():
    pixels, mask = photograph((226, 184, 162))
    lightness, _, yellow = lab_of(pixels[0, 0])
    assert typology_angle(pixels, mask) == pytest.approx(np.degrees(np.arctan((lightness - 50) / yellow)))


def test_lesion_hair_and_dark_corners_do_not_count():
    pixels, mask = photograph((226, 184, 162))
    clean = typology_angle(pixels, mask)
    marked = pixels.copy()
    marked[:, ::9] = (40, 28, 24)
    marked[:30, :30] = marked[-30:, -30:] = (6, 5, 6)
    assert typology_angle(marked, mask) == pytest.approx(clean, abs=1.5)


def test_without_skin_around_the_lesion_nothing_is_said():
    pixels, mask = photograph((226, 184, 162))
    assert np.isnan(typology_angle(pixels, np.ones_like(mask)))
    assert skin_tone(np.array([np.nan])).tolist() == [""]


def test_the_groups_meet_at_chardons_limits():
    limits = np.array([low for _, low in SKIN_TONES[:-1]])
    assert skin_tone(limits + 0.01).tolist() == [name for name, _ in SKIN_TONES[:-1]]
    assert skin_tone(limits).tolist() == [name for name, _ in SKIN_TONES[1:]]
