"""The pen the rendered signs are drawn with: polygons, discs and strokes in sign units, on a map of paint numbers.

Convention: the sign's tight box is centred on (0,0) and reaches from -1 to 1; x runs right, y runs down. A pixel of the
canvas holds one paint number, so no colour is fixed here: fading and light choose the colours later. Lines are drawn as
polygons and discs (no system font, no line joins of the library), so every machine draws the same shapes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import ImageDraw

NOTHING, WHITE, RED, BLACK, BLUE, YELLOW, GREEN, GREY = range(8)
"""Paint numbers; ``NOTHING`` is what lies outside the sign."""
PAINTS = 7
MARGIN = 1.04
"""The canvas reaches from -MARGIN to MARGIN in sign units."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Pen:
    """Draws on one canvas through a shift, a scale and a mirror.

    Attributes:
        draw: Pillow's drawing context of a mode "L" canvas of ``pixels`` x ``pixels``.
        pixels: edge of the canvas.
        weight: factor on every stroke width (signs of different makers differ in it).
        x, y, scale, flip: where this pen's (0,0) lies, how large its unit is, and whether x is mirrored.
    """

    draw: ImageDraw.ImageDraw
    pixels: int
    weight: float = 1.0
    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    flip: bool = False

    def at(self, x: float, y: float, scale: float = 1.0, *, flip: bool = False) -> Pen:
        """A pen whose origin is this pen's (x,y), ``scale`` times as large, mirrored left to right if ``flip``."""
        sign = -1.0 if self.flip else 1.0
        return replace(
            self,
            x=self.x + sign * x * self.scale,
            y=self.y + y * self.scale,
            scale=self.scale * scale,
            flip=self.flip != flip,
        )

    def polygon(self, points: Sequence[Point], paint: int) -> None:
        """A filled polygon."""
        self.draw.polygon([self._pixel(p) for p in points], fill=paint)

    def disc(self, x: float, y: float, r: float, paint: int) -> None:
        """A filled circle."""
        cx, cy = self._pixel((x, y))
        reach = r * self.scale * self.pixels / (2 * MARGIN)
        self.draw.ellipse((cx - reach, cy - reach, cx + reach, cy + reach), fill=paint)

    def stroke(self, points: Sequence[Point], width: float, paint: int, *, round_ends: bool = True) -> None:
        """A line of ``width`` through the points, joints always round, ends round or cut square."""
        half = width * self.weight / 2
        for (x1, y1), (x2, y2) in itertools.pairwise(points):
            length = math.hypot(x2 - x1, y2 - y1)
            if length > 0:
                nx, ny = -(y2 - y1) / length * half, (x2 - x1) / length * half
                self.polygon([(x1 + nx, y1 + ny), (x2 + nx, y2 + ny), (x2 - nx, y2 - ny), (x1 - nx, y1 - ny)], paint)
        for x, y in points if round_ends else points[1:-1]:
            self.disc(x, y, half, paint)

    def arrow(self, points: Sequence[Point], width: float, paint: int, *, head: float, solid: bool) -> None:
        """A line that ends in an arrow head: a filled triangle (black arrows) or two barbs (white arrows on blue).

        Args:
            points: path; the last point is the tip.
            width: of the line.
            paint: paint number.
            head: length of the head along the path.
            solid: filled triangle, else barbs.
        """
        (x1, y1), (x2, y2) = points[-2], points[-1]
        length = math.hypot(x2 - x1, y2 - y1)
        ux, uy = (x2 - x1) / length, (y2 - y1) / length
        if solid:
            bx, by, side = x2 - ux * head, y2 - uy * head, head * 0.8
            self.stroke([*points[:-1], (bx, by)], width, paint, round_ends=False)
            self.polygon([(x2, y2), (bx - uy * side, by + ux * side), (bx + uy * side, by - ux * side)], paint)
            return
        # The barbs run 45 degrees back from the tip; a square set on its corner makes their outer corner sharp.
        back = width * self.weight / 2 * math.sqrt(2)
        px, py = x2 - ux * back, y2 - uy * back
        self.stroke([*points[:-1], (px, py)], width, paint, round_ends=False)
        for s in (-1.0, 1.0):
            end = (px - (ux + s * uy) * (head - back), py - (uy - s * ux) * (head - back))
            self.stroke([(px, py), end], width, paint, round_ends=False)
        self.polygon(
            [
                (x2, y2),
                (px - uy * back, py + ux * back),
                (px - ux * back, py - uy * back),
                (px + uy * back, py - ux * back),
            ],
            paint,
        )

    def _pixel(self, point: Point) -> Point:
        x = self.x + (-point[0] if self.flip else point[0]) * self.scale
        y = self.y + point[1] * self.scale
        middle = (self.pixels - 1) / 2
        return middle + x * self.pixels / (2 * MARGIN), middle + y * self.pixels / (2 * MARGIN)


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> list[Point]:
    """Points on an ellipse from ``start`` to ``end`` degrees; 0 points right, 90 down. At most 10 degrees apart."""
    steps = max(2, math.ceil(abs(end - start) / 10))
    angles = [math.radians(start + (end - start) * k / steps) for k in range(steps + 1)]
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]
