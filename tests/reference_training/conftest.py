"""Makes the scripts' package importable, and draws a small HAM10000 and Task 1 of one colour a class."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from dermcheck.lesions import CLASSES

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))


def draw_set(folder: Path, folds: range, classes: tuple[str, ...], side: int, with_diagnosis: bool) -> None:
    generator = np.random.default_rng(len(classes))
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows = []
    for fold in folds:
        for number, dx in enumerate(classes):
            image_id = f"{folder.name}_{fold}_{dx}"
            skin = Image.new("RGB", (side, side), (220, 180, 160))
            mask = Image.new("1", (side, side))
            radius = side // 5 + int(generator.integers(side // 8))
            box = (side // 2 - radius, side // 2 - radius, side // 2 + radius, side // 2 + radius)
            ImageDraw.Draw(skin).ellipse(box, fill=(40 + 25 * number, 120 - 15 * number, 30 + 20 * number))
            ImageDraw.Draw(mask).ellipse(box, fill=1)
            skin.save(folder / "images" / f"{image_id}.jpg", quality=95)
            mask.save(folder / "masks" / f"{image_id}_segmentation.png")
            rows.append(
                {"image_id": image_id, "fold": fold}
                | ({"dx": dx, "lesion_id": image_id} if with_diagnosis else {})
            )
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folds 0, 8 and 9 of both sets, packed."""
    from reference_training.pictures import pack

    root = tmp_path_factory.mktemp("reference")
    draw_set(root / "ham", range(0, 10), CLASSES, 256, with_diagnosis=True)
    draw_set(root / "task1", range(7, 10), ("mel", "nv", "bkl"), 300, with_diagnosis=False)
    rows = [f"task1_{fold}_{dx},{dx},{fold}" for fold in range(7, 10) for dx in ("mel", "nv")]
    diagnoses = root / "diagnoses.csv"
    diagnoses.write_text("\n".join(["image_id,dx,fold", *rows]) + "\n")
    pack(root / "ham", root / "task1", diagnoses, root / "pictures.pack")
    return root / "pictures.pack"
