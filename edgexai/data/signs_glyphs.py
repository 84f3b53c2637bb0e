"""Numerals and letters of the signs as strokes, after the look of the German road lettering (DIN 1451).

Convention: a glyph fills the box x 0..1, y 0..1 with the *centre line* of its stroke; ``write`` sets a row of them
centred on a point and widens the centre line, so the printed height is ``height``.
"""

from __future__ import annotations

from edgexai.data.signs_pen import Pen, Point, arc

_GLYPHS: dict[str, list[list[Point]]] = {
    "0": [[*arc(0.5, 0.28, 0.5, 0.28, 180, 360), *arc(0.5, 0.72, 0.5, 0.28, 0, 180), (0.0, 0.28)]],
    "1": [[(0.18, 0.24), (0.62, 0.0), (0.62, 1.0)]],
    "2": [[*arc(0.5, 0.29, 0.48, 0.29, 190, 385), (0.0, 1.0), (1.0, 1.0)]],
    "3": [[*arc(0.48, 0.25, 0.45, 0.25, 195, 440), *arc(0.48, 0.74, 0.52, 0.26, -85, 165)]],
    "5": [[(0.92, 0.0), (0.14, 0.0), (0.08, 0.46), *arc(0.48, 0.68, 0.52, 0.32, 225, 510)]],
    "6": [
        [(0.72, 0.0), (0.14, 0.5), *arc(0.5, 0.69, 0.5, 0.31, 200, 180)],
        [*arc(0.5, 0.69, 0.5, 0.31, 0, 360)],
    ],
    "7": [[(0.0, 0.0), (1.0, 0.0), (0.36, 1.0)]],
    "8": [[*arc(0.5, 0.24, 0.43, 0.24, 0, 360)], [*arc(0.5, 0.73, 0.5, 0.27, 0, 360)]],
    "S": [[*arc(0.5, 0.25, 0.48, 0.25, -20, -250), *arc(0.5, 0.74, 0.5, 0.26, -70, 160)]],
    "T": [[(0.0, 0.0), (1.0, 0.0)], [(0.5, 0.0), (0.5, 1.0)]],
    "O": [[*arc(0.5, 0.28, 0.5, 0.28, 180, 360), *arc(0.5, 0.72, 0.5, 0.28, 0, 180), (0.0, 0.28)]],
    "P": [[(0.0, 1.0), (0.0, 0.0), *arc(0.55, 0.27, 0.45, 0.27, -90, 90), (0.0, 0.54)]],
}


def write(
    pen: Pen, text: str, *, x: float, y: float, height: float, width: float, gap: float, line: float, paint: int
) -> None:
    """Set ``text`` in a row centred on (x,y).

    Args:
        pen: where to draw.
        text: made of the glyphs 0 1 2 3 5 6 7 8 S T O P (all that the 43 signs need).
        x, y: centre of the row, in the pen's units.
        height, width: of one printed glyph, stroke included.
        gap: between two glyphs.
        line: stroke width; the pen's weight applies to it.
        paint: paint number.
    """
    stroke = line * pen.weight
    advances = [width * (0.72 if c == "1" else 1.0) for c in text]
    left = x - (sum(advances) + gap * (len(text) - 1)) / 2
    for c, advance in zip(text, advances, strict=True):
        ox, oy = left + stroke / 2, y - height / 2 + stroke / 2
        sx, sy = advance - stroke, height - stroke
        for path in _GLYPHS[c]:
            pen.stroke([(ox + px * sx, oy + py * sy) for px, py in path], line, paint, round_ends=c in "0O8")
        left += advance + gap
