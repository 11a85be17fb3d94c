"""What lies over the skin in real photographs: hairs, gel bubbles, ruler marks, dark corners."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from sample_drawing.canvas import Canvas, Spot, Stroke
from sample_drawing.textures import Plane, fractal_noise, smoothstep

__all__ = [
    "Colours",
    "darken_corners",
    "draw_bubbles",
    "draw_hairs",
    "draw_ruler",
    "endoscope_field",
    "enlarge",
    "lay_on_cloth",
]

Colours = npt.NDArray[np.float64]  # (rows, columns, 3): sRGB from 0 to 1


def _blend(picture: Colours, opacity: Plane, colour: tuple[float, float, float]) -> Colours:
    weight = opacity[..., None]
    blended: Colours = picture * (1.0 - weight) + np.asarray(colour) * weight
    return blended


def draw_hairs(canvas: Canvas, picture: Colours, count: int, rng: np.random.Generator) -> Colours:
    """Lay `count` bent hairs over the picture, mostly combed one way, each with a faint shadow."""
    comb = rng.uniform(0, np.pi)
    hairs, glints, shadows = [], [], []
    for _ in range(count):
        middle = rng.uniform(-1.1, 1.1, 2) * (canvas.half_width, canvas.half_height)
        heading, length = comb + rng.normal(0, 0.45), rng.uniform(0.7, 2.0)
        bend, steps = rng.normal(0, 0.35), np.linspace(-0.5, 0.5, 25)
        along = length * steps
        across = bend * length * (steps**2 - 0.08)
        points = np.stack(
            [
                middle[0] + along * np.cos(heading) - across * np.sin(heading),
                middle[1] + along * np.sin(heading) + across * np.cos(heading),
            ],
            axis=1,
        )
        width, strength = rng.uniform(0.009, 0.018), rng.uniform(0.75, 1.0)
        hairs.append(Stroke([(x, y) for x, y in points], width, strength))
        glints.append(Stroke([(x, y) for x, y in points - 0.2 * width], 0.25 * width, 0.35 * strength))
        shadows.append(Stroke([(x + 0.012, y + 0.014) for x, y in points], 1.6 * width, 0.25))
    picture = picture * (1.0 - 0.6 * canvas.strokes(shadows))[..., None]
    picture = _blend(picture, 0.92 * canvas.strokes(hairs), (0.13, 0.09, 0.07))
    return _blend(picture, canvas.strokes(glints), (0.55, 0.47, 0.42))


def draw_bubbles(canvas: Canvas, picture: Colours, count: int, rng: np.random.Generator) -> Colours:
    """Add bubbles of immersion gel: a dark rim, a bright inner crescent."""
    rims, hollows, glints = [], [], []
    for _ in range(count):
        x = rng.uniform(-canvas.half_width, canvas.half_width)
        y = rng.uniform(-canvas.half_height, canvas.half_height)
        radius = rng.uniform(0.015, 0.05) * (1.0 + 1.5 * (rng.random() > 0.85))
        rims.append(Spot(x, y, radius))
        hollows.append(Spot(x, y, 0.86 * radius))
        glints.append(Spot(x - 0.45 * radius, y - 0.45 * radius, 0.22 * radius))
    rim = np.clip(canvas.spots(rims, 0.12) - canvas.spots(hollows, 0.14), 0.0, 1.0)
    picture = picture * (1.0 - 0.45 * rim)[..., None]
    picture = _blend(picture, 0.10 * canvas.spots(hollows, 0.3), (1.0, 1.0, 1.0))
    return _blend(picture, 0.85 * canvas.spots(glints, 0.6), (1.0, 1.0, 1.0))


def draw_ruler(canvas: Canvas, picture: Colours, mm_per_unit: float) -> Colours:
    """Etch a millimetre scale along the lower edge, as contact plates carry; longer marks at 5 and 10 mm."""
    y, spacing = canvas.half_height - 0.07, 1.0 / mm_per_unit
    last = int((canvas.half_width - 0.1) / spacing)
    strokes = [Stroke([(-last * spacing, y), (last * spacing, y)], 0.008)]
    for tick in range(-last, last + 1):
        height = 0.11 if tick % 10 == 0 else 0.08 if tick % 5 == 0 else 0.05
        strokes.append(Stroke([(tick * spacing, y), (tick * spacing, y - height)], 0.008))
    return _blend(picture, 0.85 * canvas.strokes(strokes), (0.08, 0.08, 0.10))


def darken_corners(canvas: Canvas, picture: Colours) -> Colours:
    """Leave the dermoscope's round field of view and black corners."""
    reach = 0.5 * (1.0 + np.hypot(canvas.half_width, canvas.half_height))
    radius = np.hypot(canvas.x, canvas.y) / reach
    light = smoothstep(1.03, 0.93, radius) * (1.0 - 0.25 * radius**2)
    return _blend(picture * light[..., None], 1.0 - smoothstep(1.03, 0.97, radius), (0.03, 0.025, 0.03))


def endoscope_field(canvas: Canvas, picture: Colours) -> Colours:
    """Leave an endoscope's eight-cornered field on black; its light falls off towards the edge."""
    x, y = np.abs(canvas.x), np.abs(canvas.y)
    edge = np.maximum(np.maximum(x, y), (x + y) / 1.38) / 0.98
    light = 1.08 - 0.55 * np.hypot(x, y) ** 2
    inside: Colours = picture * (np.clip(light, 0.0, 1.2) * smoothstep(1.0, 0.99, edge))[..., None]
    return inside


def lay_on_cloth(canvas: Canvas, picture: Colours, rng: np.random.Generator) -> tuple[Colours, Plane]:
    """Make the skin a limb that crosses the picture on a green cloth.

    Returns
    -------
    tuple[Colours, Plane]
        The picture, and where skin is seen (0 to 1).
    """
    x, y = canvas.x, canvas.y
    slope, half = rng.uniform(-0.12, 0.12), 0.74 + 0.05 * np.sin(1.3 * x + rng.uniform(-1, 1)) - 0.06 * x
    across = (y - slope * x) / half
    skin = smoothstep(1.0, 0.985, np.abs(across))
    rounding = np.sqrt(np.clip(1.0 - 0.80 * across**2, 0.0, 1.0)) * (1.0 - 0.12 * across)
    fold = fractal_noise(x, y, 0.9, rng)
    weave = 0.02 * np.sin(250.0 * x) * np.sin(250.0 * y)
    shadow = 1.0 - 0.55 * smoothstep(1.5, 1.0, across) * smoothstep(0.0, 0.5, across)
    cloth = ((0.55 + 0.6 * fold + weave) * shadow)[..., None] * np.array([0.22, 0.47, 0.45])
    weight = skin[..., None]
    return picture * rounding[..., None] * weight + cloth * (1.0 - weight), skin


def enlarge(picture: npt.NDArray[np.uint8], factor: int) -> npt.NDArray[np.uint8]:
    """Enlarge a drawn picture, (rows, columns, 3), smoothly."""
    rows, columns = picture.shape[:2]
    larger = Image.fromarray(picture).resize((columns * factor, rows * factor), Image.Resampling.BICUBIC)
    return np.asarray(larger)
