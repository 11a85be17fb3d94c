"""A photograph to draw, and the drawing of it."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from dermcheck.lesions import CLASSES
from sample_drawing import artefacts
from sample_drawing.canvas import Canvas
from sample_drawing.lesion import Lesion, outline_lesion
from sample_drawing.lesion_patterns import LESION_PATTERNS
from sample_drawing.skin import paint_skin
from sample_drawing.tissue import Tissue

__all__ = ["DrawnPhotograph", "Lesion", "Scene", "draw_lesion_photograph", "random_scene"]


@dataclass(frozen=True, slots=True)
class Scene:
    """All that decides one drawn photograph."""

    rows: int = 450
    columns: int = 600
    lesions: tuple[Lesion, ...] = ()
    fitzpatrick: int = 2
    """Skin type, 1 (very fair) to 6 (very dark)."""
    hairs: int = 0
    bubbles: int = 0
    ruler: bool = False
    view: Literal["dermoscope", "dark corners", "endoscope", "limb"] = "dermoscope"
    """A dermoscope's picture filled with skin or round, an endoscope's, or a limb on a cloth."""
    feature: float = 1.0
    """Size of the skin's texture; a distant view has a finer one."""
    mm_per_unit: float = 6.0
    """Millimetres along half the short side: only for the ruler and `pixel_spacing_mm`."""
    enlarged: int = 1
    """Draw at this fraction of the size, then enlarge: keeps a 24-megapixel picture affordable."""
    seed: int = 0
    """For all but the lesions, which have seeds of their own."""

    @property
    def pixel_spacing_mm(self) -> float:
        """Distance between pixel centres in mm, the same both ways."""
        return 2.0 * self.mm_per_unit / min(self.rows, self.columns)


class DrawnPhotograph(NamedTuple):
    """A drawn photograph with its ground truth."""

    pixels: npt.NDArray[np.uint8]
    """(rows, columns, 3): red, green, blue, sRGB."""
    mask: npt.NDArray[np.bool_]
    """(rows, columns): True inside a lesion."""


def draw_lesion_photograph(scene: Scene) -> DrawnPhotograph:
    """Draw a scene; the same scene gives the same pixels.

    Raises
    ------
    ValueError
        If a lesion is of no known class, or the size is no multiple of `scene.enlarged`.

    >>> pixels, mask = draw_lesion_photograph(Scene(48, 64, (Lesion("nv", 0.5),)))
    >>> pixels.shape, mask.shape, bool(mask[24, 32]), bool(mask[0, 0])
    ((48, 64, 3), (48, 64), True, False)
    """
    _check(scene)
    rng = np.random.default_rng(scene.seed)
    canvas = Canvas.of_size(scene.rows // scene.enlarged, scene.columns // scene.enlarged)
    tissue = paint_skin(canvas, scene.fitzpatrick, rng, scene.feature)
    mask = np.zeros(canvas.x.shape, dtype=np.bool_)
    for lesion in scene.lesions:
        window = canvas.window(*lesion.centre, reach=1.8 * lesion.elongation * lesion.radius)
        _paint_lesion(canvas.part(window), lesion, tissue.part(window), mask[window])
    picture = _light(canvas, tissue.colour(), rng)
    if scene.view == "limb":
        picture, skin = artefacts.lay_on_cloth(canvas, picture, rng)
        mask &= skin > 0.5
    picture = _add_artefacts(canvas, picture, scene, rng)
    pixels = _to_bytes(picture, rng)
    if scene.enlarged > 1:
        pixels = artefacts.enlarge(pixels, scene.enlarged)
        mask = mask.repeat(scene.enlarged, axis=0).repeat(scene.enlarged, axis=1)
    return DrawnPhotograph(pixels, mask)


def _add_artefacts(
    canvas: Canvas, picture: artefacts.Colours, scene: Scene, rng: np.random.Generator
) -> artefacts.Colours:
    """Add what lies between skin and camera, from below to above."""
    if scene.bubbles:
        picture = artefacts.draw_bubbles(canvas, picture, scene.bubbles, rng)
    if scene.hairs:
        picture = artefacts.draw_hairs(canvas, picture, scene.hairs, rng)
    if scene.ruler:
        picture = artefacts.draw_ruler(canvas, picture, scene.mm_per_unit)
    if scene.view == "dark corners":
        picture = artefacts.darken_corners(canvas, picture)
    elif scene.view == "endoscope":
        picture = artefacts.endoscope_field(canvas, picture)
    return picture


def _paint_lesion(canvas: Canvas, lesion: Lesion, tissue: Tissue, mask: npt.NDArray[np.bool_]) -> None:
    """Add a lesion to the part of the picture around it; one wholly outside the picture adds nothing."""
    if not mask.size:
        return
    rng = np.random.default_rng([lesion.seed, CLASSES.index(lesion.name)])
    outline = outline_lesion(canvas, lesion, rng)
    LESION_PATTERNS[lesion.name](canvas, outline, tissue, rng)
    mask |= outline.mask


def _check(scene: Scene) -> None:
    for lesion in scene.lesions:
        if lesion.name not in LESION_PATTERNS:
            raise ValueError(
                f"no drawing for lesion class {lesion.name!r}; expected one of {', '.join(CLASSES)}"
            )
    if scene.rows % scene.enlarged or scene.columns % scene.enlarged:
        raise ValueError(f"{scene.rows} x {scene.columns} is no multiple of enlarged={scene.enlarged}")


def _light(canvas: Canvas, picture: artefacts.Colours, rng: np.random.Generator) -> artefacts.Colours:
    """Uneven lamp: a little brighter at one side, dimmer far from the middle."""
    turn = rng.uniform(-np.pi, np.pi)
    slant = 0.04 * (canvas.x * np.cos(turn) + canvas.y * np.sin(turn))
    falloff = 1.0 - 0.06 * (canvas.x**2 + canvas.y**2)
    lit: artefacts.Colours = picture * (falloff + slant)[..., None]
    return lit


def _to_bytes(picture: artefacts.Colours, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Round to 8 bits, with a camera's grain: mostly in brightness, a little in colour."""
    brightness = rng.normal(0.0, 1.3, picture.shape[:2])[..., None]
    colour = rng.normal(0.0, 0.6, picture.shape)
    levels: npt.NDArray[np.float64] = np.floor(picture * 255.0 + brightness + colour + 0.5)
    return levels.clip(0, 255).astype(np.uint8)


def random_scene(seed: int, rows: int = 450, columns: int = 600, lesion_name: str | None = None) -> Scene:
    """Make up a dermoscopic scene with one lesion; its class follows from the seed if not given."""
    rng = np.random.default_rng(seed)
    name = lesion_name if lesion_name is not None else CLASSES[int(rng.integers(len(CLASSES)))]
    shift = rng.uniform(-0.2, 0.2, 2)
    lesion = Lesion(
        name,
        radius=float(rng.uniform(0.4, 0.65)),
        centre=(float(shift[0]), float(shift[1])),
        elongation=float(rng.uniform(1.0, 1.25)),
        angle=float(rng.uniform(0, np.pi)),
        seed=seed,
    )
    return Scene(
        rows,
        columns,
        (lesion,),
        fitzpatrick=int(rng.integers(1, 7)),
        hairs=int(rng.integers(0, 12)),
        bubbles=int(rng.integers(0, 6)),
        ruler=bool(rng.random() < 0.2),
        view="dark corners" if rng.random() < 0.3 else "dermoscope",
        seed=seed,
    )
