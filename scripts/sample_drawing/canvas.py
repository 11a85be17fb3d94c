"""The picture's plane: where each pixel lies, and shapes drawn on it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from sample_drawing.textures import Plane, smoothstep

__all__ = ["Canvas", "Spot", "Stroke"]

_SUPERSAMPLING = 3


@dataclass(frozen=True, slots=True)
class Spot:
    """An ellipse in scene units."""

    x: float
    y: float
    radius: float
    elongation: float = 1.0
    angle: float = 0.0
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line through points in scene units; `width` too."""

    points: Sequence[tuple[float, float]]
    width: float
    strength: float = 1.0


@dataclass(frozen=True)
class Canvas:
    """A picture's plane, or a part of it. (0, 0) is the picture's middle, its short side is 2 units long."""

    x: Plane
    """Position of each pixel's centre from the picture's middle rightwards."""
    y: Plane
    """Position of each pixel's centre from the picture's middle downwards."""
    pixels_per_unit: float

    @classmethod
    def of_size(cls, rows: int, columns: int) -> "Canvas":
        """Lay out a whole picture."""
        scale = min(rows, columns) / 2.0
        across = (np.arange(columns) + 0.5) / scale - columns / 2.0 / scale
        down = (np.arange(rows) + 0.5) / scale - rows / 2.0 / scale
        x, y = np.meshgrid(across, down)
        return cls(x, y, scale)

    @property
    def half_width(self) -> float:
        """Half the width in scene units."""
        return self.x.shape[1] / 2.0 / self.pixels_per_unit

    @property
    def half_height(self) -> float:
        """Half the height in scene units."""
        return self.x.shape[0] / 2.0 / self.pixels_per_unit

    def window(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        """Find the rows and columns within `reach` of a point; may be empty."""
        return self._span(self.y[:, 0], y, reach), self._span(self.x[0], x, reach)

    def _span(self, line: npt.NDArray[np.float64], middle: float, reach: float) -> slice:
        first, last = np.searchsorted(line, (middle - reach, middle + reach))
        return slice(int(first), int(last))

    def part(self, window: tuple[slice, slice]) -> "Canvas":
        """Take the part of the canvas in a window; positions stay what they are."""
        return Canvas(self.x[window], self.y[window], self.pixels_per_unit)

    def spots(self, spots: Iterable[Spot], softness: float = 0.25) -> Plane:
        """Coverage (0 to 1) by ellipses whose edge is `softness` of their radius wide."""
        coverage = np.zeros(self.x.shape)
        for spot in spots:
            reach = spot.radius * max(spot.elongation, 1.0 / spot.elongation) * (1.0 + softness)
            window = self.window(spot.x, spot.y, reach)
            dx, dy = self.x[window] - spot.x, self.y[window] - spot.y
            cos, sin = np.cos(spot.angle), np.sin(spot.angle)
            along, across = dx * cos + dy * sin, dy * cos - dx * sin
            distance = np.hypot(along / spot.elongation, across * spot.elongation) / spot.radius
            shape = smoothstep(1.0 + softness, 1.0 - softness, distance) * spot.strength
            np.maximum(coverage[window], shape, out=coverage[window])
        return coverage

    def strokes(self, strokes: Iterable[Stroke]) -> Plane:
        """Coverage (0 to 1) by lines; smooth edges by drawing larger and averaging."""
        scale = self.pixels_per_unit * _SUPERSAMPLING
        left, top = (float(line[0, 0]) - 0.5 / self.pixels_per_unit for line in (self.x, self.y))
        rows, columns = self.x.shape
        sheet = Image.new("L", (columns * _SUPERSAMPLING, rows * _SUPERSAMPLING))
        pen = ImageDraw.Draw(sheet)
        for stroke in strokes:
            points = [(round((x - left) * scale), round((y - top) * scale)) for x, y in stroke.points]
            pen.line(points, round(255 * stroke.strength), max(1, round(stroke.width * scale)), joint="curve")
        return np.asarray(sheet.reduce(_SUPERSAMPLING), dtype=np.float64) / 255.0
