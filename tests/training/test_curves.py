import numpy as np
from PIL import Image

from dermcheck.training.curves import draw_curves


def test_curves_are_a_picture_of_the_figures(tmp_path):
    history = [{"epoch": i + 1.0, "loss": 1 / (i + 1), "jaccard": i / 10} for i in range(5)]
    draw_curves(history, tmp_path / "curves.png", best_epoch=5)
    with Image.open(tmp_path / "curves.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[1] >= 800
    assert (pixels == (0, 114, 178)).all(2).sum() > 100  # the loss in its colour
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_one_epoch_without_figures_can_be_drawn(tmp_path):
    draw_curves([{"epoch": 1.0, "loss": float("nan")}], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
