"""The one way in which pictures and logits change their size."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["resample"]


def resample(picture: Tensor, rows: int, columns: int) -> Tensor:
    """Resize (N, C, H, W) bilinearly with antialiasing, pixel areas aligned, as training does.

    float32 stays float32; uint8 is rounded to uint8 and takes no float copy.

    >>> import torch
    >>> resample(torch.tensor([0.0, 8.0]).view(1, 1, 2, 1), 4, 1).flatten().tolist()
    [0.0, 2.0, 6.0, 8.0]
    """
    if picture.shape[2:] == (rows, columns):
        return picture
    if columns == 1:  # torch 2.13 repeats the first row when one column is asked for and rows are enlarged
        return resample(picture, rows, 2).mean(3, keepdim=True)
    return F.interpolate(picture, (rows, columns), mode="bilinear", antialias=True)
