"""EfficientNet-Lite0 as classifier and as encoder of a U-Net, in plain torch.

EfficientNet-Lite (Liu 2020, "Higher accuracy on vision models with EfficientNet-Lite") is EfficientNet
(Tan and Le 2019) without squeeze-and-excitation and with ReLU6 in the place of swish. MONAI has the
original only. The one published set of ImageNet weights that DermCheck can start from belongs to
Lite0, so the modules below stand in the order of that file: see `load_imagenet_weights`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from dermcheck.lesions import CLASSES

__all__ = [
    "EfficientNetLite0",
    "EfficientNetLite0Encoder",
    "EfficientNetLite0Pair",
    "build_efficientnet_lite0",
    "build_efficientnet_lite0_pair",
    "build_efficientnet_lite0_unet",
    "load_imagenet_weights",
]

_STEM: Final = 32
_TOP: Final = 1280
_STAGES: Final = (
    # kernel, stride, expansion, input channels, output channels, blocks
    (3, 1, 1, 32, 16, 1),
    (3, 2, 6, 16, 24, 2),
    (5, 2, 6, 24, 40, 2),
    (3, 2, 6, 40, 80, 3),
    (5, 1, 6, 80, 112, 3),
    (5, 2, 6, 112, 192, 4),
    (3, 1, 6, 192, 320, 1),
)
_SKIPS: Final = (0, 2, 4, 10, 15)
"""The last block at each resolution (1/2, 1/4, 1/8, 1/16, 1/32 of the input): what a U-Net hands over."""
_SKIP_CHANNELS: Final = (16, 24, 40, 112, 320)
_ENCODER_NAME: Final = "efficientnet-lite0"


def _normalisation(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    """Convolve with TensorFlow's "same" padding, which is uneven where an even size is halved."""
    if stride == 1:
        return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    before = (kernel - stride) // 2
    after = kernel - stride - before
    return nn.Sequential(
        nn.ZeroPad2d((before, after, before, after)),
        nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False),
    )


class _InvertedResidual(nn.Module):
    """Expand, convolve each channel, project (Sandler et al. 2018, "MobileNetV2")."""

    def __init__(self, kernel: int, stride: int, expansion: int, inputs: int, outputs: int) -> None:
        super().__init__()
        wide = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [_convolution(inputs, wide, 1), _normalisation(wide), nn.ReLU6()]
        layers += [_convolution(wide, wide, kernel, stride, wide), _normalisation(wide), nn.ReLU6()]
        layers += [_convolution(wide, outputs, 1), _normalisation(outputs)]
        self.layers = nn.Sequential(*layers)
        self._adds_input = stride == 1 and inputs == outputs

    def forward(self, values: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        result: Tensor = self.layers(values)
        return values + result if self._adds_input else result


class EfficientNetLite0Encoder(nn.Module):
    """Feature maps at five resolutions.

    Parameters
    ----------
    spatial_dims, in_channels, pretrained
        As MONAI's `FlexibleUNet` hands them to its encoders; 2, 3 and False are supported.
    """

    def __init__(self, spatial_dims: int = 2, in_channels: int = 3, pretrained: bool = False) -> None:
        if (spatial_dims, in_channels, pretrained) != (2, 3, False):
            raise ValueError("EfficientNetLite0Encoder sees two dimensions and three channels, untrained")
        super().__init__()
        self.stem = nn.Sequential(_convolution(in_channels, _STEM, 3, 2), _normalisation(_STEM), nn.ReLU6())
        self.blocks = nn.ModuleList(
            _InvertedResidual(
                kernel, stride if i == 0 else 1, expansion, inputs if i == 0 else outputs, outputs
            )
            for kernel, stride, expansion, inputs, outputs, blocks in _STAGES
            for i in range(blocks)
        )

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """(N, 3, H, W), H and W multiples of 32, to five maps of 1/2 to 1/32 of the size."""
        values, maps = self.stem(pixels), []
        for number, block in enumerate(self.blocks):
            values = block(values)
            if number in _SKIPS:
                maps.append(values)
        return maps

    @classmethod
    def get_encoder_parameters(cls) -> list[dict[str, Any]]:
        """Parameters that `FlexibleUNet` may change."""
        return [{"spatial_dims": 2, "in_channels": 3, "pretrained": False}]

    @classmethod
    def num_channels_per_output(cls) -> list[tuple[int, ...]]:
        """Channels of the five maps."""
        return [_SKIP_CHANNELS]

    @classmethod
    def num_outputs(cls) -> list[int]:
        """Five maps."""
        return [len(_SKIPS)]

    @classmethod
    def get_encoder_names(cls) -> list[str]:
        """Give the name by which `FlexibleUNet` knows this encoder."""
        return [_ENCODER_NAME]


class _Trunk(nn.Module):
    """What is below a classifier's head: (N, 3, H, W), H and W multiples of 32, to (N, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = EfficientNetLite0Encoder()
        self.top = nn.Sequential(_convolution(_SKIP_CHANNELS[-1], _TOP, 1), _normalisation(_TOP), nn.ReLU6())
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2))

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the features."""
        features: Tensor = self.pool(self.top(self.encoder(pixels)[-1]))
        return features


class EfficientNetLite0(_Trunk):
    """The classifier: (N, 3, H, W), H and W multiples of 32, to (N, 7) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(_TOP, len(CLASSES))

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the logits."""
        logits: Tensor = self.out(super().forward(pixels))
        return logits


class EfficientNetLite0Pair(nn.Module):
    """Two EfficientNet-Lite0 side by side under one head: (N, 3, H, W) to (N, 7) logits.

    `of_two` makes one that gives the mean of two classifiers' logits; training may go on from there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = _Trunk(), _Trunk()
        self.out = nn.Linear(2 * _TOP, len(CLASSES))

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the logits."""
        logits: Tensor = self.out(torch.cat([self.first(pixels), self.second(pixels)], 1))
        return logits

    @classmethod
    @torch.no_grad()
    def of_two(cls, first: EfficientNetLite0, second: EfficientNetLite0) -> EfficientNetLite0Pair:
        """Join two classifiers, which are copied, so that the logits are the mean of theirs."""
        pair = cls()
        for trunk, classifier in ((pair.first, first), (pair.second, second)):
            below = {
                name: value for name, value in classifier.state_dict().items() if name.split(".")[0] != "out"
            }
            trunk.load_state_dict(below)
        pair.out.weight.copy_(torch.cat([first.out.weight, second.out.weight], 1) / 2)
        pair.out.bias.copy_((first.out.bias + second.out.bias) / 2)
        return pair.train(first.training)


def build_efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0, 3.4 million parameters; smaller and quicker than DenseNet121."""
    return EfficientNetLite0()


def build_efficientnet_lite0_pair() -> nn.Module:
    """Two of them under one head, 6.8 million parameters."""
    return EfficientNetLite0Pair()


def build_efficientnet_lite0_unet() -> nn.Module:
    """U-Net (Ronneberger et al. 2015) whose encoder is EfficientNet-Lite0; 3.6 million parameters."""
    from monai.networks.blocks.encoder import BaseEncoder  # importing MONAI takes seconds
    from monai.networks.nets.flexible_unet import FLEXUNET_BACKBONE, FlexibleUNet

    if _ENCODER_NAME not in FLEXUNET_BACKBONE.register_dict:
        FLEXUNET_BACKBONE.register_class(type("_Encoder", (EfficientNetLite0Encoder, BaseEncoder), {}))
    network: nn.Module = FlexibleUNet(
        in_channels=3,
        out_channels=1,
        backbone=_ENCODER_NAME,
        decoder_channels=(128, 64, 40, 24, 16),
        interp_mode="bilinear",
    )
    return network


def load_imagenet_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy published weights into the encoder, and into the layer above it where the network has one.

    Parameters
    ----------
    network
        An `EfficientNetLite0`, or a network with an `EfficientNetLite0Encoder` as its `encoder`.
    weights
        State of the package efficientnet-lite-pytorch (its names; the last layer is not used).

    Raises
    ------
    ValueError
        If the tensors do not have the shapes of EfficientNet-Lite0.
    """
    above = ("_conv_head.", "_bn1.")
    _copy_in_order(network.encoder, {k: v for k, v in weights.items() if not k.startswith((*above, "_fc."))})
    if isinstance(network, EfficientNetLite0):
        _copy_in_order(network.top, {k: v for k, v in weights.items() if k.startswith(above)})


def _copy_in_order(target: nn.Module | Tensor, source: Mapping[str, Tensor]) -> None:
    assert isinstance(target, nn.Module)  # noqa: S101  # nn.Module's attributes are typed as either
    names = list(target.state_dict())
    shapes = [tensor.shape for tensor in target.state_dict().values()]
    if [tensor.shape for tensor in source.values()] != shapes:
        raise ValueError(f"{len(source)} tensors do not fit the {len(names)} of EfficientNet-Lite0")
    target.load_state_dict(dict(zip(names, source.values(), strict=True)))
