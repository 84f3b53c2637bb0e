"""The 43 signs of GTSRB as clean drawings: which paint covers which part of every pixel.

Source: the signs of the German road traffic regulations (StVO), drawn by our own code. Convention: labels 0..42 in
GTSRB's order; a drawing's tight box is centred and reaches 1/1.04 of the canvas.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from edgexai.data import signs_pictograms as pictograms
from edgexai.data.signs_glyphs import write
from edgexai.data.signs_pen import BLACK, BLUE, GREY, PAINTS, RED, WHITE, YELLOW, Pen, Point, arc

CLASSES = 43
WEIGHTS = (1.0, 0.88, 0.77)
"""Stroke weights a sign is drawn in; the first is the plain one."""
_SUPERSAMPLE = 4
_LIMITS = {0: "20", 1: "30", 2: "50", 3: "60", 4: "70", 5: "80", 7: "100", 8: "120"}


@lru_cache(maxsize=4)
def coverage(size: int) -> NDArray[np.float32]:
    """Paint coverage of every drawing.

    Args:
        size: edge of a drawing in pixels.
    Returns:
        (V,43,PAINTS,size,size) in [0,1], read-only: V stroke weights; channel k is the share of a pixel under paint
        k+1; the sum over channels is the silhouette.
    """
    out = np.zeros((len(WEIGHTS), CLASSES, PAINTS, size, size), np.float32)
    for v, weight in enumerate(WEIGHTS):
        for label in range(CLASSES):
            canvas = Image.new("L", (size * _SUPERSAMPLE, size * _SUPERSAMPLE), 0)
            _sign(Pen(ImageDraw.Draw(canvas), size * _SUPERSAMPLE, weight), label)
            cells = np.asarray(canvas).reshape(size, _SUPERSAMPLE, size, _SUPERSAMPLE)
            for paint in np.unique(cells[cells > 0]):
                out[v, label, paint - 1] = (cells == paint).mean((1, 3), dtype=np.float32)
    out.setflags(write=False)
    return out


def _sign(pen: Pen, label: int) -> None:
    if label in _LIMITS or label in (9, 10, 15, 16):
        _prohibition(pen, label)
    elif label in (6, 32, 41, 42):
        _end(pen, label)
    elif label == 12:
        _priority(pen)
    elif label == 13:
        _triangle(pen.at(0, 0, 1.0), down=True)
    elif label == 14:
        _stop(pen)
    elif label == 17:
        pen.disc(0, 0, 1.0, WHITE)
        pen.disc(0, 0, 0.95, RED)
        pen.polygon([(-0.76, -0.16), (0.76, -0.16), (0.76, 0.16), (-0.76, 0.16)], WHITE)
    elif 33 <= label <= 40:
        _mandatory(pen, label)
    else:
        _warning(pen, label)


def _prohibition(pen: Pen, label: int) -> None:
    pen.disc(0, 0, 1.0, WHITE)
    pen.disc(0, 0, 0.965, RED)
    pen.disc(0, 0, 0.965 - 0.2 * pen.weight, WHITE)
    if label in _LIMITS:
        text = _LIMITS[label]
        if len(text) == 2:
            write(pen, text, x=0, y=0, height=0.82, width=0.49, gap=0.08, line=0.135, paint=BLACK)
        else:
            write(pen, text, x=-0.02, y=0, height=0.81, width=0.37, gap=0.07, line=0.115, paint=BLACK)
    elif label == 9:
        pictograms.car(pen.at(-0.34, 0.02, 0.3), RED)
        pictograms.car(pen.at(0.34, 0.02, 0.3), BLACK)
    elif label == 10:
        pictograms.lorry_behind(pen.at(-0.3, -0.02, 0.37), RED)
        pictograms.car(pen.at(0.36, 0.08, 0.27), BLACK)
    elif label == 16:
        pictograms.lorry_side(pen.at(0, 0, 0.56), BLACK)


def _end(pen: Pen, label: int) -> None:
    pen.disc(0, 0, 1.0, BLACK)
    pen.disc(0, 0, 0.955, WHITE)
    if label == 6:
        write(pen, "80", x=0, y=0, height=0.95, width=0.6, gap=0.1, line=0.17, paint=GREY)
    elif label == 41:
        pictograms.car(pen.at(-0.4, 0.02, 0.36), GREY)
        pictograms.car(pen.at(0.4, 0.02, 0.36), GREY)
    elif label == 42:
        pictograms.lorry_behind(pen.at(-0.38, -0.02, 0.45), GREY)
        pictograms.car(pen.at(0.43, 0.08, 0.33), GREY)
    for offset in (-0.22, -0.11, 0.0, 0.11, 0.22):
        reach = math.sqrt(0.955**2 - offset**2)
        u = math.sqrt(0.5)
        mid = (offset * u, offset * u)
        ends: list[Point] = [(mid[0] - reach * u, mid[1] + reach * u), (mid[0] + reach * u, mid[1] - reach * u)]
        pen.stroke(ends, 0.06, BLACK, round_ends=False)


def _priority(pen: Pen) -> None:
    for reach, corner, paint in ((1.0, 0.1, WHITE), (0.64, 0.03, BLACK), (0.6, 0.03, YELLOW)):
        _rounded(pen, [(0, -reach), (reach, 0), (0, reach), (-reach, 0)], corner, paint)


def _stop(pen: Pen) -> None:
    for reach, paint in ((1.0, WHITE), (0.95, RED)):
        a = reach * math.tan(math.pi / 8)
        corners = [(a, -reach), (reach, -a), (reach, a), (a, reach)]
        pen.polygon([*corners, *[(-x, -y) for x, y in corners]], paint)
    write(pen, "STOP", x=0, y=0, height=0.6, width=0.34, gap=0.08, line=0.11, paint=WHITE)


def _triangle(pen: Pen, *, down: bool = False) -> None:
    s = -1.0 if down else 1.0
    centroid = s * 0.29
    inner = 0.6 if down else 0.69 - 0.03 * (pen.weight - 1) / 0.14
    for scale, corner, paint in ((1.0, 0.09, WHITE), (0.95, 0.08, RED), (inner, 0.03, WHITE)):
        corners = [(0.0, -0.87 * s), (1.0, 0.87 * s), (-1.0, 0.87 * s)]
        _rounded(pen, [(x * scale, centroid + (y - centroid) * scale) for x, y in corners], corner, paint)


def _warning(pen: Pen, label: int) -> None:
    _triangle(pen)
    if label == 11:
        pictograms.crossing(pen.at(0, 0.19, 0.5))
    elif label == 18:
        pictograms.exclamation(pen.at(0, 0.15, 0.5))
    elif label in (19, 20):
        pictograms.bend_left(pen.at(0, 0.34, 0.44, flip=label == 20))
    elif label == 21:
        pictograms.double_bend(pen.at(0, 0.22, 0.46))
    elif label == 22:
        pictograms.bumps(pen.at(0, 0.42, 0.5))
    elif label == 23:
        pictograms.skid(pen.at(0, 0.32, 0.5))
    elif label == 24:
        pictograms.narrows_right(pen.at(0, 0.25, 0.47))
    elif label == 25:
        pictograms.digger(pen.at(-0.02, 0.24, 0.46))
    elif label == 26:
        pictograms.lights(pen.at(0, 0.2, 0.5))
    elif label == 27:
        pictograms.walker(pen.at(0, 0.21, 0.5))
    elif label == 28:
        pictograms.children(pen.at(0.03, 0.27, 0.48))
    elif label == 29:
        pictograms.bicycle(pen.at(0, 0.33, 0.52))
    elif label == 30:
        pictograms.snowflake(pen.at(0, 0.27, 0.41))
    elif label == 31:
        pictograms.deer(pen.at(0.0, 0.32, 0.45, flip=True))


def _mandatory(pen: Pen, label: int) -> None:
    pen.disc(0, 0, 1.0, WHITE)
    pen.disc(0, 0, 0.965, BLUE)
    mirrored = pen.at(0, 0, 1.0, flip=label in (34, 37, 39))
    if label in (33, 34):
        path = [(-0.26, 0.68), (-0.26, 0.05), *arc(0.02, 0.05, 0.28, 0.3, 180, 270), (0.2, -0.25), (0.68, -0.25)]
        mirrored.arrow(path, 0.2, WHITE, head=0.38, solid=False)
    elif label == 35:
        pen.arrow([(0, 0.7), (0, -0.72)], 0.2, WHITE, head=0.5, solid=False)
    elif label in (36, 37):
        mirrored.arrow([(-0.2, 0.7), (-0.2, -0.74)], 0.18, WHITE, head=0.35, solid=False)
        turn = [(-0.2, 0.5), *arc(0.05, 0.36, 0.22, 0.18, 180, 270), (0.1, 0.18), (0.72, 0.18)]
        mirrored.arrow(turn, 0.18, WHITE, head=0.34, solid=False)
    elif label in (38, 39):
        mirrored.arrow([(-0.5, -0.5), (0.54, 0.54)], 0.23, WHITE, head=0.52, solid=False)
    else:
        pictograms.roundabout(pen)


def _rounded(pen: Pen, corners: list[Point], radius: float, paint: int) -> None:
    """A convex polygon whose corners are rounded off inside, its outermost points kept (the box stays the same)."""
    cx, cy = sum(x for x, _ in corners) / len(corners), sum(y for _, y in corners) / len(corners)
    reach = max(math.hypot(x - cx, y - cy) for x, y in corners)
    spread = math.sin(math.pi / len(corners) if len(corners) > 3 else math.pi / 6)
    shrink = 1 - radius / spread / reach
    inner = [(cx + (x - cx) * shrink, cy + (y - cy) * shrink) for x, y in corners]
    flat = Pen(pen.draw, pen.pixels, 1.0, pen.x, pen.y, pen.scale, pen.flip)
    flat.polygon(inner, paint)
    flat.stroke([*inner, inner[0]], 2 * radius, paint)
