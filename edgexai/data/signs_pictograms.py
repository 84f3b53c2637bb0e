"""The pictograms inside the signs: cars, people, animals, arrows. Our own drawings of what the German signs show.

Convention: each function draws around its pen's (0,0), about one unit to each side; ``paint`` is a paint number.
"""

from __future__ import annotations

import math

from edgexai.data.signs_pen import BLACK, GREEN, RED, WHITE, YELLOW, Pen, Point, arc


def car(pen: Pen, paint: int) -> None:
    """A car from behind."""
    pen.polygon([(-0.72, -0.1), (-0.5, -0.72), (0.5, -0.72), (0.72, -0.1)], paint)
    pen.polygon([(-0.5, -0.17), (-0.37, -0.55), (0.37, -0.55), (0.5, -0.17)], WHITE)
    pen.polygon([(-0.95, -0.1), (0.95, -0.1), (0.98, 0.4), (-0.98, 0.4)], paint)
    for side in (-1, 1):
        pen.polygon([(side * 0.85, 0.35), (side * 0.85, 0.7), (side * 0.5, 0.7), (side * 0.5, 0.35)], paint)
        pen.disc(side * 0.7, 0.14, 0.11, WHITE)


def lorry_behind(pen: Pen, paint: int) -> None:
    """A lorry from behind: a tall box on wheels."""
    pen.polygon([(-0.85, -1.0), (0.85, -1.0), (0.85, 0.42), (-0.85, 0.42)], paint)
    for side in (-1, 1):
        pen.polygon([(side * 0.78, 0.4), (side * 0.78, 0.75), (side * 0.42, 0.75), (side * 0.42, 0.4)], paint)


def lorry_side(pen: Pen, paint: int) -> None:
    """A lorry from the side, driving left."""
    pen.polygon([(-0.35, -0.62), (1.0, -0.62), (1.0, 0.22), (-0.35, 0.22)], paint)
    pen.polygon(
        [(-0.98, 0.38), (-0.98, -0.02), (-0.8, -0.36), (-0.42, -0.36), (-0.42, 0.2), (1.0, 0.2), (1.0, 0.38)], paint
    )
    pen.polygon([(-0.86, -0.02), (-0.75, -0.26), (-0.54, -0.26), (-0.54, -0.02)], WHITE)
    for x in (-0.62, 0.42, 0.74):
        pen.disc(x, 0.4, 0.22, WHITE)
        pen.disc(x, 0.4, 0.17, paint)


def crossing(pen: Pen) -> None:
    """Thick upward arrow over a thinner crossing road: right of way at the next junction."""
    pen.polygon([(-0.27, 0.95), (-0.27, -0.35), (0.27, -0.35), (0.27, 0.95), (0.0, 0.78)], BLACK)
    pen.polygon([(-0.48, -0.3), (0.0, -0.98), (0.48, -0.3)], BLACK)
    pen.polygon([(-0.75, 0.16), (-0.27, 0.0), (0.27, 0.0), (0.75, 0.16), (0.75, 0.36), (-0.75, 0.36)], BLACK)


def exclamation(pen: Pen) -> None:
    """General caution."""
    pen.polygon([*arc(0, -0.78, 0.23, 0.22, 180, 360), (0.1, 0.45), (-0.1, 0.45)], BLACK)
    pen.disc(0, 0.8, 0.2, BLACK)


def bend_left(pen: Pen) -> None:
    """A road that bends left."""
    pen.arrow(
        [(0.4, 0.8), (0.4, 0.1), *arc(0.0, 0.1, 0.4, 0.42, 0, -80), (-0.25, -0.32), (-0.85, -0.32)],
        0.3,
        BLACK,
        head=0.45,
        solid=True,
    )


def double_bend(pen: Pen) -> None:
    """Two bends, the first to the left."""
    pen.stroke([(0.34, 0.95), (0.34, -0.02), (-0.3, 0.26), (-0.3, -0.3)], 0.33, BLACK, round_ends=False)
    pen.polygon([(-0.56, -0.3), (-0.34, -0.95), (-0.04, -0.3)], BLACK)


def bumps(pen: Pen) -> None:
    """Two humps on a road."""
    humps = [*arc(-0.46, 0.1, 0.34, 0.42, 180, 360), *arc(0.46, 0.1, 0.34, 0.42, 180, 360)]
    pen.polygon([(-1.0, 0.1), *humps, (1.0, 0.1), (1.0, 0.36), (-1.0, 0.36)], BLACK)


def skid(pen: Pen) -> None:
    """A tilted car from behind over two winding tracks."""

    def tilted(points: list[Point]) -> list[Point]:
        return [(x, y + 0.26 * x) for x, y in points]

    pen.polygon(tilted([(-0.52, -0.2), (-0.4, -0.72), (0.4, -0.72), (0.52, -0.2)]), BLACK)
    pen.polygon(tilted([(-0.42, -0.2), (-0.33, -0.63), (0.33, -0.63), (0.42, -0.2)]), WHITE)
    pen.polygon(tilted([(-0.62, -0.22), (0.62, -0.22), (0.62, 0.16), (-0.62, 0.16)]), BLACK)
    for side in (-1, 1):
        wheel = [(0.58, 0.1), (0.58, 0.36), (0.34, 0.36), (0.34, 0.1)]
        pen.polygon(tilted([(side * x, y) for x, y in wheel]), BLACK)
    for x, y in ((-0.2, 0.44), (0.1, 0.66)):
        wave = [(x - 0.65 + 1.4 * t, y + 0.14 * math.sin(t * 8.0) + 0.12 * t) for t in (k / 12 for k in range(13))]
        pen.stroke(wave, 0.13, BLACK)


def narrows_right(pen: Pen) -> None:
    """A road whose right edge comes in."""
    pen.stroke([(-0.38, 0.9), (-0.38, -0.8)], 0.24, BLACK, round_ends=False)
    pen.stroke([(0.5, 0.9), (0.5, 0.45), (0.14, -0.1), (0.14, -0.8)], 0.24, BLACK, round_ends=False)


def digger(pen: Pen) -> None:
    """A man with a shovel at a heap."""
    pen.disc(-0.12, -0.82, 0.19, BLACK)
    pen.stroke([(-0.18, -0.46), (-0.38, 0.1)], 0.42, BLACK)
    pen.stroke([(-0.38, 0.1), (-0.1, 0.45), (-0.22, 0.98)], 0.2, BLACK)
    pen.stroke([(-0.42, 0.1), (-0.6, 0.5), (-0.78, 0.98)], 0.2, BLACK)
    pen.stroke([(-0.15, -0.5), (0.24, -0.15), (0.04, 0.1)], 0.18, BLACK)
    pen.stroke([(-0.45, -0.12), (0.5, 0.5)], 0.09, BLACK)
    pen.polygon([(0.1, 1.0), *arc(0.6, 0.95, 0.4, 0.5, 200, 340), (1.05, 1.0)], BLACK)


def lights(pen: Pen) -> None:
    """Red, amber and green lamp."""
    for y, paint in ((-0.62, RED), (0.0, YELLOW), (0.62, GREEN)):
        pen.disc(0, y, 0.28, BLACK)
        pen.disc(0, y, 0.24, paint)


def walker(pen: Pen) -> None:
    """A man walking left."""
    pen.disc(-0.08, -0.86, 0.17, BLACK)
    pen.stroke([(0.02, -0.48), (0.06, 0.08)], 0.34, BLACK)
    pen.stroke([(-0.02, 0.12), (-0.18, 0.5), (-0.42, 0.98)], 0.19, BLACK)
    pen.stroke([(0.1, 0.12), (0.26, 0.5), (0.46, 0.98)], 0.19, BLACK)
    pen.stroke([(-0.04, -0.52), (-0.36, -0.2), (-0.44, 0.1)], 0.13, BLACK)
    pen.stroke([(0.1, -0.5), (0.36, -0.14), (0.3, 0.14)], 0.13, BLACK)


def children(pen: Pen) -> None:
    """A large and a small child running left, hand in hand."""
    for child in (pen.at(0.32, -0.02, 0.92), pen.at(-0.6, 0.3, 0.62)):
        child.disc(-0.1, -0.82, 0.22, BLACK)
        child.stroke([(-0.02, -0.42), (0.06, 0.05)], 0.44, BLACK)
        child.stroke([(0.0, 0.1), (-0.3, 0.46), (-0.36, 0.98)], 0.24, BLACK)
        child.stroke([(0.1, 0.1), (0.38, 0.5), (0.72, 0.88)], 0.24, BLACK)
        child.stroke([(-0.05, -0.48), (-0.65, -0.2)], 0.15, BLACK)
        child.stroke([(0.05, -0.48), (0.6, -0.3)], 0.15, BLACK)


def bicycle(pen: Pen) -> None:
    """A bicycle from the side."""
    for x in (-0.58, 0.58):
        pen.stroke(arc(x, 0.28, 0.36, 0.36, 0, 360), 0.12, BLACK)
    for path in (
        [(-0.58, 0.28), (-0.3, -0.2), (0.36, -0.2), (0.0, 0.28), (-0.58, 0.28)],
        [(0.0, 0.28), (-0.3, -0.2), (-0.36, -0.4)],
        [(0.58, 0.28), (0.32, -0.48), (0.56, -0.52)],
        [(-0.52, -0.42), (-0.2, -0.42)],
    ):
        pen.stroke(path, 0.11, BLACK)


def snowflake(pen: Pen) -> None:
    """A six-armed ice crystal."""
    for k in range(6):
        c, s = math.cos(math.radians(90 + 60 * k)), math.sin(math.radians(90 + 60 * k))
        pen.stroke([(0, 0), (0.95 * c, 0.95 * s)], 0.15, BLACK)
        for side in (-1, 1):
            a = math.radians(90 + 60 * k + side * 45)
            tip = (0.48 * c + 0.36 * math.cos(a), 0.48 * s + 0.36 * math.sin(a))
            pen.stroke([(0.48 * c, 0.48 * s), tip], 0.13, BLACK)


def deer(pen: Pen) -> None:
    """A stag leaping right, upwards."""
    pen.polygon(
        [(-0.72, 0.12), (-0.6, -0.14), (-0.1, -0.1), (0.22, -0.34), (0.42, -0.12), (0.2, 0.18), (-0.3, 0.26)], BLACK
    )
    pen.polygon([(0.1, -0.2), (0.36, -0.72), (0.74, -0.55), (0.7, -0.44), (0.5, -0.46), (0.4, -0.1)], BLACK)
    pen.stroke([(-0.6, 0.08), (-0.66, 0.36), (-1.02, 0.5), (-1.2, 0.74)], 0.14, BLACK)
    pen.stroke([(-0.5, 0.16), (-0.48, 0.42), (-0.82, 0.6), (-0.96, 0.86)], 0.12, BLACK)
    pen.stroke([(0.25, 0.06), (0.74, 0.1), (0.78, 0.36)], 0.12, BLACK)
    pen.stroke([(0.15, 0.14), (0.6, 0.3), (0.6, 0.56)], 0.12, BLACK)
    pen.stroke([(0.4, -0.66), (0.26, -0.98), (0.36, -1.15)], 0.08, BLACK)
    pen.stroke([(0.46, -0.66), (0.5, -1.0)], 0.08, BLACK)


def roundabout(pen: Pen) -> None:
    """Three arrows chasing each other anticlockwise."""
    for k in range(3):
        start = 20 + 120 * k
        path = arc(0, 0, 0.53, 0.53, start, start - 68)
        a = math.radians(start - 68 - 30)
        pen.arrow([*path, (0.55 * math.cos(a), 0.55 * math.sin(a))], 0.19, WHITE, head=0.29, solid=True)
