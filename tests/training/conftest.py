import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermcheck.lesions import CLASSES
from dermcheck.training.photographs import Photographs, open_photographs


def draw_data_set(folder: Path, count: int, labelled: bool) -> None:
    """Write drawn discs in the reference data's layout: the class decides the disc's colour."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    chance = np.random.default_rng(count)
    rows, columns = np.mgrid[:64, :64]
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "lesion_id", "dx", "fold"] if labelled else ["image_id", "fold"])
        for i in range(count):
            name, label = f"{folder.name}_{i:03}", i % 7
            centre, radius = chance.uniform(24, 40, 2), chance.uniform(10, 20)
            inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
            picture = np.full((64, 64, 3), (224, 172, 148), np.uint8)
            picture[inside] = (label * 30, 120 - label * 15, label * 20)
            Image.fromarray(picture).save(folder / "images" / f"{name}.jpg", quality=95)
            Image.fromarray(inside.astype(np.uint8) * 255).save(folder / "masks" / f"{name}_segmentation.png")
            fold = i // 7 % 10
            known = [name, f"lesion_{name}", CLASSES[label], fold] if labelled else [name, fold]
            writer.writerow(known)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> Photographs:
    folder = tmp_path_factory.mktemp("reference")
    draw_data_set(folder / "ham", 210, labelled=True)
    draw_data_set(folder / "task", 20, labelled=False)
    diagnoses = folder / "diagnoses.csv"
    diagnoses.write_text("image_id,dx,fold\n" + "".join(f"task_{i:03},nv,{i // 7}\n" for i in range(15)))
    return open_photographs(folder / "ham", folder / "task", diagnoses, folder / "cache")
