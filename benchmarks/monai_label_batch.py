"""MONAI Label's stock batch on DermCheck's networks: what `batch.py` is compared with."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from monai.inferers import SimpleInferer
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    EnsureChannelFirstd,
    LoadImaged,
    NormalizeIntensityd,
    Resized,
    SqueezeDimd,
)
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.tasks.batch_infer import BatchInferTask
from monailabel.interfaces.tasks.infer_v2 import InferType
from monailabel.tasks.infer.basic_infer import BasicInferTask
from torch import Tensor, nn

from dermcheck.inference.turning import reader_of
from dermcheck.lesions import CLASSES
from dermcheck.networks.checkpoint import REFERENCE_MODELS, load_model


class Diagnosing(nn.Module):
    """The classifier, asked in four quarter turns: as many passes as the product makes."""

    def __init__(self) -> None:
        super().__init__()
        self.network, card = load_model(REFERENCE_MODELS / "classifier")
        self.side = card.input.side
        spec = replace(card.input, closer_look=False)
        self._read = reader_of(self.network, replace(card, input=spec))

    def forward(self, pixels: Tensor) -> Tensor:
        """Give logits."""
        return self._read(pixels)[0]


class Stock(BasicInferTask):
    """Written as MONAI Label's own examples are."""

    def __init__(
        self, weights: Path, network: nn.Module, side: int, labels: list[str], kind: InferType
    ) -> None:
        torch.save({"model": network.state_dict()}, weights)
        super().__init__(str(weights), network, kind, labels, 2, "stock")
        self._side = side

    def pre_transforms(self, data: object = None) -> list[object]:
        """Read and fit."""
        return [
            LoadImaged(keys="image"),
            EnsureChannelFirstd(keys="image"),
            Resized(keys="image", spatial_size=(self._side, self._side)),
            NormalizeIntensityd(keys="image", subtrahend=127.5, divisor=127.5),
        ]

    def inferer(self, data: object = None) -> SimpleInferer:
        """Run the network on the whole picture."""
        return SimpleInferer()

    def post_transforms(self, data: Any = None) -> list[object]:
        """Make probabilities, or a mask of the picture's size.

        The mask is made as by MONAI Label's `Restored`, which needs torchvision.
        """
        if self.type == InferType.CLASSIFICATION:
            return [Activationsd(keys="pred", softmax=True)]
        size = [int(length) for length in data["image"].meta["spatial_shape"][:2]]
        return [
            Activationsd(keys="pred", sigmoid=True),
            AsDiscreted(keys="pred", threshold=0.5),
            Resized(keys="pred", spatial_size=size, mode="nearest"),
            SqueezeDimd(keys="pred", dim=0),
        ]

    def infer(self, request: dict[str, Any], datastore: Any) -> dict[str, Any]:
        """Do what `MONAILabelApp.infer` does; it has no file for probabilities."""
        image = request["image"]
        path = datastore.get_image_uri(image)
        file, answer = self({**request, "image": path, "result_extension": ".nii.gz"})
        if file is None:
            datastore.update_image_info(image, {"prediction": answer["prediction"]})
            return {"params": answer}
        datastore.save_label(image, file, request["label_tag"], answer)
        return {"file": file, "params": answer}

    def milliseconds(self, images: list[str], datastore: LocalDatastore) -> float:
        """Predict all, one after the other as MONAI Label does; give the time of one."""
        wish = {"device": "cpu", "images": images, "multi_gpu": False, "logging": "ERROR"}
        began = time.perf_counter()
        found = BatchInferTask()(wish, datastore, self.infer)
        if not all(found.values()):
            sys.exit("MONAI Label's batch failed.")
        return (time.perf_counter() - began) * 1000 / len(images)


def monai_label_ms(pictures: list[Path], scratch: Path) -> tuple[float, float]:
    """Milliseconds a picture of MONAI Label's `BatchInferTask`, of the outliner and of the classifier.

    Over MONAI Label's own datastore of files, answers stored. It knows one model at a time.
    """
    folder = scratch / "stock"
    folder.mkdir()
    for path in pictures:
        shutil.copy(path, folder)
    datastore = LocalDatastore(str(folder), extensions=("*.jpg",), auto_reload=False)
    images = sorted(datastore.list_images())
    outliner, card = load_model(REFERENCE_MODELS / "outliner")
    classifier = Diagnosing().eval()
    outline = Stock(scratch / "outliner.pt", outliner, card.input.side, ["lesion"], InferType.SEGMENTATION)
    diagnosis = Stock(
        scratch / "classifier.pt", classifier, classifier.side, list(CLASSES), InferType.CLASSIFICATION
    )
    for task in (outline, diagnosis):
        task.milliseconds(images[:2], datastore)  # loads the network
    return outline.milliseconds(images[2:], datastore), diagnosis.milliseconds(images[2:], datastore)
