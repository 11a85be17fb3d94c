"""What the seven classes look like under a dermoscope, each by the features textbooks name.

Kittler et al. 2016, "Standardization of terminology in dermoscopy/dermatoscopy" (J Am Acad
Dermatol 74:1093), gives the terms. A drawing shows a class's usual features together, plainer
than nature does: enough for a demonstration, nothing to learn from.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from sample_drawing.canvas import Canvas, Spot, Stroke
from sample_drawing.lesion import LesionOutline
from sample_drawing.textures import Plane, cell_ridges, fractal_noise, smoothstep, value_noise
from sample_drawing.tissue import Tissue

__all__ = ["LESION_PATTERNS", "LesionPattern"]

LesionPattern = Callable[[Canvas, LesionOutline, Tissue, np.random.Generator], None]
"""Adds one lesion to the tissue."""


def _spots(
    outline: LesionOutline,
    count: int,
    depths: tuple[float, float],
    radii: tuple[float, float],
    rng: np.random.Generator,
    oval: float = 1.25,
) -> list[Spot]:
    """Scatter ovals between two depths; radii in fractions of the lesion's radius."""
    return [
        Spot(
            x,
            y,
            rng.uniform(*radii) * outline.lesion.radius,
            elongation=rng.uniform(1.0, oval),
            angle=rng.uniform(0, np.pi),
            strength=rng.uniform(0.6, 1.0),
        )
        for x, y in outline.scatter(count, *depths, rng)
    ]


def _network(outline: LesionOutline, cell: float, width: float, rng: np.random.Generator) -> Plane:
    """Draw a pigment network: brown lines, `width` cells wide, around paler holes that do not grow."""
    x, y = (
        position + 0.75 * cell * (fractal_noise(outline.x, outline.y, 1.1 * cell, rng, octaves=2) - 0.5)
        for position in (outline.x, outline.y)
    )
    wall, _, _ = cell_ridges(x, y, cell, rng)
    uneven = 0.6 + 0.8 * value_noise(outline.x, outline.y, 4.0 * cell, rng)
    return smoothstep(width, 0.0, wall) * uneven


def paint_naevus(canvas: Canvas, outline: LesionOutline, tissue: Tissue, rng: np.random.Generator) -> None:
    """Melanocytic naevus: symmetric, regular network that fades at the edge, even globules."""
    body = smoothstep(0.0, 0.32, outline.depth)
    network = _network(outline, 0.055, 0.46, rng)
    shade = fractal_noise(outline.x, outline.y, 0.30, rng) - 0.5
    tissue.melanin += body * (0.42 + 0.38 * smoothstep(0.1, 0.8, outline.depth) + 0.55 * shade)
    tissue.melanin += 0.36 * network * smoothstep(-0.02, 0.2, outline.depth) * (1.0 - 0.35 * body)
    tissue.melanin += 0.42 * canvas.spots(_spots(outline, 46, (0.08, 0.75), (0.020, 0.036), rng), 0.6)


def paint_melanoma(canvas: Canvas, outline: LesionOutline, tissue: Tissue, rng: np.random.Generator) -> None:
    """Melanoma: asymmetric, many colours, atypical network, streaks, blue-white veil, regression."""
    radius = outline.lesion.radius
    u, v = outline.x / radius, outline.y / radius
    eccentric = smoothstep(-0.8, 0.9, u * np.cos(outline.heavy_side) + v * np.sin(outline.heavy_side))
    body = smoothstep(0.0, 0.14, outline.depth)
    blotch = smoothstep(0.34, 0.66, fractal_noise(u, v, 0.75, rng))
    tissue.melanin += body * (0.42 + 0.95 * blotch * (0.45 + 0.55 * eccentric) + 0.50 * eccentric)
    coarse = _network(outline, 0.085, 0.36, rng)
    tissue.melanin += 0.75 * coarse * body * (1.0 - eccentric) * fractal_noise(u, v, 0.5, rng)
    tissue.blood += body * 0.40 * smoothstep(0.45, 0.7, fractal_noise(u, v, 0.55, rng))
    tissue.melanin += 0.7 * canvas.spots(_spots(outline, 36, (0.0, 0.6), (0.015, 0.045), rng), 0.55)
    veil = smoothstep(0.46, 0.72, fractal_noise(u - 0.4, v, 0.6, rng)) * smoothstep(0.2, 0.5, outline.depth)
    tissue.cover(0.66 * veil, (0.42, 0.46, 0.56))
    regression = smoothstep(0.52, 0.72, fractal_noise(u, v + 3.0, 0.55, rng)) * smoothstep(
        0.2, 0.4, outline.depth
    )
    tissue.cover(0.60 * regression * (1.0 - veil), (0.80, 0.68, 0.65))


def paint_benign_keratosis(
    canvas: Canvas, outline: LesionOutline, tissue: Tissue, rng: np.random.Generator
) -> None:
    """Seborrhoeic keratosis: sharp edge, fissures and ridges, milia-like cysts, comedo-like openings."""
    radius = outline.lesion.radius
    u, v = outline.x / radius, outline.y / radius
    body = smoothstep(0.0, 0.06, outline.depth)
    bend = fractal_noise(u, v, 0.5, rng)
    # A contour line of smooth noise winds like the furrows between gyri.
    fissure = smoothstep(0.10, 0.0, np.abs(fractal_noise(u, v, 0.20, rng, octaves=2) - 0.5))
    tissue.melanin += body * (0.42 + 0.40 * fissure * (0.4 + bend) + 0.9 * (bend - 0.5))
    tissue.blood -= 0.05 * body
    tissue.cover(0.30 * body * (1.0 - fissure), (0.76, 0.58, 0.35))
    openings = canvas.spots(_spots(outline, 15, (0.08, 0.9), (0.025, 0.055), rng, oval=1.6), 0.45)
    tissue.cover(0.80 * openings, (0.22, 0.13, 0.07))
    cysts = canvas.spots(_spots(outline, 22, (0.1, 0.95), (0.018, 0.042), rng), 0.8)
    tissue.cover(0.75 * cysts * (1.0 - openings), (0.95, 0.89, 0.72))


def paint_basal_cell_carcinoma(
    canvas: Canvas, outline: LesionOutline, tissue: Tissue, rng: np.random.Generator
) -> None:
    """Basal cell carcinoma: pearly pink, branching vessels, blue-grey nests, leaf-like edge, erosion."""
    radius = outline.lesion.radius
    u, v = outline.x / radius, outline.y / radius
    body = smoothstep(-0.02, 0.22, outline.depth)
    tissue.melanin *= 1.0 - 0.6 * body
    tissue.blood += body * (0.22 + 0.6 * (fractal_noise(u, v, 0.5, rng) - 0.4))
    tissue.cover(0.24 * body, (0.90, 0.74, 0.70))
    nests = canvas.spots(_spots(outline, 10, (0.12, 0.8), (0.07, 0.15), rng, oval=1.6), 0.6)
    tissue.cover(0.78 * nests * smoothstep(0.25, 0.6, fractal_noise(u, v, 0.16, rng)), (0.34, 0.36, 0.42))
    leaves = canvas.spots(_leaves(outline, rng), 0.5)
    tissue.cover(0.50 * leaves, (0.42, 0.31, 0.27))
    erosion = smoothstep(0.61, 0.72, fractal_noise(u + 5.0, v, 0.45, rng)) * smoothstep(
        0.2, 0.45, outline.depth
    )
    tissue.cover(0.72 * erosion, (0.55, 0.19, 0.14))
    vessels = canvas.strokes(_branching_vessels(outline, rng)) * smoothstep(-0.12, 0.1, outline.depth)
    tissue.cover(0.70 * vessels * (1.0 - 0.4 * nests), (0.70, 0.20, 0.21))
    shine = canvas.strokes(_shiny_streaks(outline, rng)) * body
    tissue.cover(0.40 * shine, (0.97, 0.92, 0.89))


def _leaves(outline: LesionOutline, rng: np.random.Generator) -> list[Spot]:
    """Place groups of lobes that radiate from points at the border."""
    lobes = []
    for stem in rng.uniform(-np.pi, np.pi, 4):
        x, y = outline.place(stem, 0.08)
        for turn in rng.uniform(-0.9, 0.9, 4):
            angle = stem + outline.lesion.angle + turn
            reach = rng.uniform(0.08, 0.14) * outline.lesion.radius
            lobes.append(
                Spot(
                    x + reach * np.cos(angle),
                    y + reach * np.sin(angle),
                    0.06 * outline.lesion.radius,
                    1.6,
                    angle,
                )
            )
    return lobes


def _branching_vessels(outline: LesionOutline, rng: np.random.Generator) -> list[Stroke]:
    """Arborizing vessels: thick stems from the border inwards that fork into thinner twigs."""
    radius, strokes = outline.lesion.radius, []
    pending = []
    for theta in rng.uniform(-np.pi, np.pi) + np.arange(5) * 2 * np.pi / 5 + rng.normal(0, 0.25, 5):
        start = outline.place(theta, -0.04)
        inwards = np.arctan2(outline.lesion.centre[1] - start[1], outline.lesion.centre[0] - start[0])
        pending.append((start, inwards + rng.normal(0, 0.3), 0.022 * radius, 0.60 * radius))
    while pending:
        (x, y), heading, width, length = pending.pop()
        points = [(x, y)]
        for _ in range(10):
            heading += rng.normal(0, 0.28)
            x, y = x + length / 10 * np.cos(heading), y + length / 10 * np.sin(heading)
            points.append((x, y))
        strokes.append(Stroke(points, width, strength=min(1.0, 0.5 + width / (0.04 * radius))))
        if width > 0.007 * radius:
            turns = (rng.uniform(0.3, 0.8), -rng.uniform(0.3, 0.8))
            pending += [(points[-1], heading + turn, 0.62 * width, 0.68 * length) for turn in turns]
    return strokes


def _shiny_streaks(outline: LesionOutline, rng: np.random.Generator) -> list[Stroke]:
    """Short white lines at right angles to each other, seen in polarised light."""
    strokes = []
    for index, (x, y) in enumerate(outline.scatter(9, 0.25, 0.9, rng)):
        angle = 0.4 + (index % 2) * np.pi / 2 + rng.normal(0, 0.1)
        reach = rng.uniform(0.06, 0.13) * outline.lesion.radius
        ends = [(x + side * reach * np.cos(angle), y + side * reach * np.sin(angle)) for side in (-1, 1)]
        strokes.append(Stroke(ends, 0.014 * outline.lesion.radius))
    return strokes


def paint_actinic_keratosis(
    canvas: Canvas, outline: LesionOutline, tissue: Tissue, rng: np.random.Generator
) -> None:
    """Actinic keratosis: red pseudo-network around pale follicles ("strawberry"), white-yellow scale."""
    radius = outline.lesion.radius
    u, v = outline.x / radius, outline.y / radius
    body = smoothstep(-0.02, 0.40, outline.depth)
    tissue.blood += body * (0.34 + 0.9 * (fractal_noise(u, v, 0.45, rng) - 0.45))
    tissue.blood += body * 0.35 * (fractal_noise(u, v, 0.10, rng) - 0.5)
    tissue.melanin += body * 0.35 * (fractal_noise(u, v, 0.3, rng) - 0.3)
    follicles = _spots(outline, 60, (0.0, 0.95), (0.035, 0.06), rng, oval=1.15)
    halo = canvas.spots(follicles, 0.6)
    plug = canvas.spots([Spot(f.x, f.y, 0.4 * f.radius, strength=f.strength) for f in follicles], 0.7)
    tissue.cover(0.42 * halo * body, (0.93, 0.80, 0.72))
    tissue.cover(0.55 * plug * body, (0.80, 0.62, 0.40))
    flakes = fractal_noise(u, v, 0.09, rng, octaves=3)
    patch = fractal_noise(u, v + 7.0, 0.5, rng)
    scale = smoothstep(1.02, 1.22, patch + flakes) * smoothstep(0.05, 0.3, outline.depth)
    tissue.cover(0.78 * scale, (0.93, 0.88, 0.76))


def paint_dermatofibroma(
    canvas: Canvas, outline: LesionOutline, tissue: Tissue, rng: np.random.Generator
) -> None:
    """Dermatofibroma: white scar-like centre within a delicate brown network that fades outwards."""
    radius = outline.lesion.radius
    u, v = outline.x / radius, outline.y / radius
    uneven = 0.4 * (fractal_noise(u, v, 0.35, rng) - 0.5)
    ring = smoothstep(-0.05, 0.4, outline.depth) * smoothstep(0.85, 0.40, outline.depth + uneven)
    tissue.melanin += ring * (0.34 + 0.34 * _network(outline, 0.05, 0.40, rng))
    tissue.melanin += 0.10 * smoothstep(-0.05, 0.2, outline.depth)
    tissue.blood += 0.10 * smoothstep(0.0, 0.5, outline.depth)
    scar = smoothstep(0.40, 0.80, outline.depth + uneven)
    tissue.cover(0.55 * scar * (0.7 + 0.6 * fractal_noise(u, v, 0.12, rng)), (0.93, 0.82, 0.75))
    shine = canvas.strokes(_shiny_streaks(outline, rng)) * scar
    tissue.cover(0.45 * shine, (0.98, 0.94, 0.90))


def paint_vascular_lesion(
    canvas: Canvas, outline: LesionOutline, tissue: Tissue, rng: np.random.Generator
) -> None:
    """Angioma: red, purple and dark lacunae, parted by paler septa, under a whitish veil."""
    radius = outline.lesion.radius
    u, v = outline.x / radius, outline.y / radius
    body = smoothstep(0.0, 0.09, outline.depth)
    bent_u, bent_v = (
        position + 0.22 * (fractal_noise(u, v, 0.30, rng, octaves=2) - 0.5) for position in (u, v)
    )
    wall, middle, hue = cell_ridges(bent_u, bent_v, 0.27, rng)
    lacuna = smoothstep(0.0, 0.40, wall) * smoothstep(0.85, 0.25, middle) * body
    tissue.blood += body * (0.42 + 0.4 * (fractal_noise(u, v, 0.2, rng) - 0.5)) + lacuna * (0.75 + 0.45 * hue)
    tissue.venous += lacuna * 0.60 * smoothstep(0.5, 1.0, hue)
    veil = smoothstep(0.48, 0.75, fractal_noise(u, v, 0.5, rng)) * body
    tissue.cover(0.24 * veil, (0.88, 0.80, 0.83))


LESION_PATTERNS: Mapping[str, LesionPattern] = MappingProxyType(
    {
        "akiec": paint_actinic_keratosis,
        "bcc": paint_basal_cell_carcinoma,
        "bkl": paint_benign_keratosis,
        "df": paint_dermatofibroma,
        "mel": paint_melanoma,
        "nv": paint_naevus,
        "vasc": paint_vascular_lesion,
    }
)
"""How to draw each of the seven classes."""
