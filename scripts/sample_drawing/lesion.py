"""Where a lesion lies: its irregular border."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sample_drawing.canvas import Canvas
from sample_drawing.textures import Plane, fractal_noise, smoothstep, value_noise

__all__ = ["Lesion", "LesionOutline", "outline_lesion"]

# How far the border strays from an ellipse, and how ragged it is, by class.
_IRREGULARITY = {"akiec": 0.16, "bcc": 0.13, "bkl": 0.10, "df": 0.06, "mel": 0.26, "nv": 0.06, "vasc": 0.09}
_RAGGEDNESS = {"akiec": 0.22, "bcc": 0.10, "bkl": 0.07, "df": 0.10, "mel": 0.16, "nv": 0.07, "vasc": 0.05}


@dataclass(frozen=True, slots=True)
class Lesion:
    """A lesion to draw. The same `seed` and class keep their look at another size: so a lesion grows."""

    name: str
    """One of the seven classes, e.g. ``mel``."""
    radius: float
    """Mean radius in scene units (half the picture's short side is 1)."""
    centre: tuple[float, float] = (0.0, 0.0)
    """(x, y) in scene units from the picture's middle, rightwards and downwards."""
    elongation: float = 1.12
    angle: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class LesionOutline:
    """A lesion's place on the canvas."""

    x: Plane
    """Position relative to the lesion's centre, in scene units."""
    y: Plane
    depth: Plane
    """1 at the centre, 0 on the border, negative outside."""
    theta: Plane
    """Direction from the centre in radians, in the lesion's own axes."""
    heavy_side: float
    """Direction in which a melanoma is darkest and has its streaks, in the picture's axes."""
    lesion: Lesion
    harmonics: npt.NDArray[np.float64]
    """(n, 2): amplitude and phase of the border's waves 2, 3, 4, ..."""

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """True inside the border."""
        return self.depth > 0.0

    def place(self, theta: float, depth: float) -> tuple[float, float]:
        """Find the point at this direction and depth, in scene units of the canvas (raggedness left out)."""
        lesion = self.lesion
        reach = (1.0 - depth) * lesion.radius * float(_border(np.array(theta), self.harmonics))
        along, across = reach * np.cos(theta) * lesion.elongation, reach * np.sin(theta) / lesion.elongation
        cos, sin = np.cos(lesion.angle), np.sin(lesion.angle)
        return (
            lesion.centre[0] + along * cos - across * sin,
            lesion.centre[1] + along * sin + across * cos,
        )

    def scatter(
        self, count: int, shallow: float, deep: float, rng: np.random.Generator
    ) -> list[tuple[float, float]]:
        """Draw `count` points evenly over the ring between two depths."""
        far, near = (1.0 - shallow) ** 2, (1.0 - deep) ** 2
        return [
            self.place(rng.uniform(-np.pi, np.pi), 1.0 - float(np.sqrt(rng.uniform(near, far))))
            for _ in range(count)
        ]


def _border(theta: Plane, harmonics: npt.NDArray[np.float64]) -> Plane:
    """Relative radius of the border in a direction: a Fourier series, 1 on average."""
    radius = np.ones_like(theta)
    for wave, (amplitude, phase) in enumerate(harmonics, start=2):
        radius += amplitude * np.cos(wave * theta + phase)
    return radius


def outline_lesion(canvas: Canvas, lesion: Lesion, rng: np.random.Generator) -> LesionOutline:
    """Place a lesion; what `rng` gives decides its shape, `lesion.radius` only its size."""
    waves = np.arange(2, 10)
    amplitudes = _IRREGULARITY[lesion.name] * rng.uniform(0.4, 1.0, waves.size) / waves
    harmonics = np.stack([amplitudes, rng.uniform(-np.pi, np.pi, waves.size)], axis=1)
    x, y = canvas.x - lesion.centre[0], canvas.y - lesion.centre[1]
    cos, sin = np.cos(lesion.angle), np.sin(lesion.angle)
    along = (x * cos + y * sin) / lesion.elongation
    across = (y * cos - x * sin) * lesion.elongation
    theta = np.arctan2(across, along)
    ragged = fractal_noise(x / lesion.radius, y / lesion.radius, 0.35, rng) - 0.5
    depth = 1.0 - np.hypot(along, across) / (lesion.radius * _border(theta, harmonics))
    depth += _RAGGEDNESS[lesion.name] * ragged
    heavy_side = float(rng.uniform(-np.pi, np.pi))
    if lesion.name == "mel":
        depth += 0.26 * _streaks(depth, theta, heavy_side - lesion.angle, rng)
    return LesionOutline(x, y, depth, theta, heavy_side, lesion, harmonics)


def _streaks(depth: Plane, theta: Plane, side: float, rng: np.random.Generator) -> Plane:
    """Radial streaks and pseudopods along one side of the border, 0 to 1."""
    # Noise on a circle has no seam; a circle that widens a little bends the streaks.
    circle = 1.0 - 0.12 * depth
    fingers = value_noise(circle * np.cos(theta), circle * np.sin(theta), 0.055, rng)
    sector = smoothstep(0.0, 0.8, np.cos(theta - side))
    return (
        sector
        * smoothstep(0.42, 0.85, fingers)
        * smoothstep(-0.32, -0.02, depth)
        * smoothstep(0.4, 0.1, depth)
    )
