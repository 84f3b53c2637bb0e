"""Line charts as inline SVG: value with its 95 % band, one colour, dash and marker a series.

Hand-made rather than drawn by a plotting library: the text stays text in the page's own font, and the colours are the
page's variables, so that a chart follows the light and the dark page and prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from edgexai.report.evidence import Numbered
from edgexai.report.words import interval_text, value_text

WIDTH, HEIGHT = 440, 270
PER_CENT = ((0.0, "0 %"), (0.25, "25 %"), (0.5, "50 %"), (0.75, "75 %"), (1.0, "100 %"))
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 14, 14, 46
_DASHES = {"solid": "", "dash": "7 4", "dot": "2 3"}


@dataclass(frozen=True)
class Point:
    """x and y with the interval of y (equal to y where there is none) and the row behind it."""

    x: float
    y: float
    low: float
    high: float
    row_id: str
    label: str


@dataclass(frozen=True)
class Series:
    """A named line.

    Attributes:
        name: legend.
        key: the CSS colour variable is ``--c-<key>``.
        points: in order of x.
        dash: "solid", "dash" or "dot".
        marker: "circle", "square", "diamond" or "triangle": told apart without colour too.
    """

    name: str
    key: str
    points: Sequence[Point]
    dash: str = "solid"
    marker: str = "circle"


@dataclass(frozen=True)
class Chart:
    """A drawn chart: its title, SVG, and legend."""

    title: str
    svg: Markup
    legend: Sequence[tuple[str, str, Markup]]


def row_point(x: float, item: Numbered) -> Point | None:
    """A row's value and interval as a point at ``x``; None where it has no value."""
    row = item.row
    if row.value is None:
        return None
    low, high = (row.value if bound is None else bound for bound in (row.low, row.high))
    interval = interval_text(row)
    words = f"{value_text(row)}{f' [{interval}]' if interval else ''}, n {row.n:,}"
    return Point(x, row.value, low, high, item.id, words)


def marker(kind: str, x: float, y: float, size: float = 4.2) -> str:
    """SVG of one mark with its centre at x, y."""
    if kind == "square":
        return f'<rect x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size:.1f}" height="{2 * size:.1f}"/>'
    if kind == "diamond":
        s = size * 1.35
        return f'<path d="M{x:.1f} {y - s:.1f}l{s:.1f} {s:.1f}l{-s:.1f} {s:.1f}l{-s:.1f} {-s:.1f}z"/>'
    if kind == "triangle":
        s = size * 1.25
        return f'<path d="M{x:.1f} {y - s:.1f}l{s:.1f} {1.8 * s:.1f}h{-2 * s:.1f}z"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}"/>'


def legend_sample(series: Series) -> Markup:
    """The short stretch of line and mark that stands before a name in the legend."""
    dash = _DASHES[series.dash]
    return Markup(
        '<svg class="sample" viewBox="0 0 34 12" aria-hidden="true">'
        f'<g style="--c:var(--c-{escape(series.key)})"><path class="line" d="M1 6H33" stroke-dasharray="{dash}"/>'
        f'<g class="mark">{marker(series.marker, 17, 6, 3.6)}</g></g></svg>'
    )


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    x_ticks: Sequence[tuple[float, str]],
    y_range: tuple[float, float] = (0.0, 1.0),
    y_ticks: Sequence[tuple[float, str]] = PER_CENT,
) -> Chart:
    """Draws one chart; markers link to the rows behind them.

    Args:
        title: said aloud and printed above.
        series: lines; empty ones are dropped.
        x_label, y_label: axis names with their unit.
        x_ticks, y_ticks: (position, text).
        y_range: data values at the bottom and the top.
    """
    series = [s for s in series if s.points]
    xs = [x for x, _ in x_ticks] + [p.x for s in series for p in s.points]
    x_low, x_high = min(xs), max(xs)
    x_span, (y_low, y_high) = (x_high - x_low) or 1.0, y_range
    inner_width, inner_height = WIDTH - _LEFT - _RIGHT - 24, HEIGHT - _TOP - _BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        share = min(max((y - y_low) / (y_high - y_low), 0.0), 1.0)
        return _LEFT + 12 + inner_width * (x - x_low) / x_span, _TOP + inner_height * (1 - share)

    out = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for y, text in y_ticks:
        _, py = at(x_low, y)
        out.append(f'<path class="grid" d="M{_LEFT} {py:.1f}H{WIDTH - _RIGHT}"/>')
        out.append(f'<text x="{_LEFT - 7}" y="{py + 4:.1f}" text-anchor="end">{escape(text)}</text>')
    for x, text in x_ticks:
        px = min(at(x, y_low)[0], WIDTH - 4.1 * len(text))  # a long last name must not be cut off
        out.append(f'<text x="{px:.1f}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">{escape(text)}</text>')
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    out.append(f'<text class="axis" x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
    for s in series:
        dash = f' stroke-dasharray="{_DASHES[s.dash]}"' if _DASHES[s.dash] else ""
        out.append(f'<g style="--c:var(--c-{escape(s.key)})">')
        if len(s.points) > 1 and any(p.low < p.high for p in s.points):
            upper = [at(p.x, p.high) for p in s.points]
            lower = [at(p.x, p.low) for p in reversed(s.points)]
            out.append('<path class="band" d="M' + "L".join(f"{x:.1f} {y:.1f}" for x, y in upper + lower) + 'z"/>')
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in (at(p.x, p.y) for p in s.points))
        out.append(f'<path class="line" d="M{line}"{dash}/>')
        for p in s.points:
            (px, py), (_, top), (_, bottom) = at(p.x, p.y), at(p.x, p.high), at(p.x, p.low)
            if p.low < p.high:
                out.append(f'<path class="bar" d="M{px:.1f} {top:.1f}V{bottom:.1f}"/>')
            mark = f'<g class="mark">{marker(s.marker, px, py)}<title>{escape(s.name)}: {escape(p.label)}</title></g>'
            out.append(f'<a href="#{escape(p.row_id)}">{mark}</a>' if p.row_id else mark)
        out.append("</g>")
    out.append("</svg>")
    return Chart(f"{title} ({y_label})", Markup("".join(out)), [(s.name, s.key, legend_sample(s)) for s in series])
