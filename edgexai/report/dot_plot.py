"""A dot plot as inline SVG: one line a category, one mark a value, larger marks for later ones; see ``figures``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from edgexai.report.figures import PER_CENT, Chart, Series, legend_sample, marker

WIDTH, STEP = 440, 25
_LEFT, _RIGHT, _TOP, _BOTTOM, _APART = 148, 20, 8, 42, 9.0


@dataclass(frozen=True)
class Group:
    """One line of the plot: its name and the values of each network on it."""

    name: str
    series: Sequence[Series]


def dot_plot(title: str, groups: Sequence[Group], *, x_label: str) -> Chart:
    """Draws fractions along x; marks link to the rows behind them.

    Args:
        title: said aloud and printed above.
        groups: from top to bottom; a series of one name keeps its place within every group.
        x_label: axis name.
    """
    height = _TOP + STEP * len(groups) + _BOTTOM
    bottom, inner = height - _BOTTOM, WIDTH - _LEFT - _RIGHT
    out = [f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">']
    for x, text in PER_CENT:
        px = _LEFT + inner * x
        out.append(f'<path class="grid" d="M{px:.1f} {_TOP}V{bottom}"/>')
        out.append(f'<text x="{px:.1f}" y="{bottom + 17}" text-anchor="middle">{escape(text)}</text>')
    middle = _LEFT + inner / 2
    out.append(f'<text class="axis" x="{middle:.0f}" y="{height - 5}" text-anchor="middle">{escape(x_label)}</text>')
    legend = {s.name: s for group in groups for s in group.series}
    for row, group in enumerate(groups):
        y = _TOP + STEP * (row + 0.5)
        out.append(f'<text x="{_LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{escape(group.name)}</text>')
        for series in group.series:
            # Side by side rather than on top of each other: two networks are often equal.
            py = y + _APART * (list(legend).index(series.name) - (len(legend) - 1) / 2)
            xs = [_LEFT + inner * min(max(p.y, 0.0), 1.0) for p in series.points]
            out.append(f'<g style="--c:var(--c-{escape(series.key)})">')
            out.append(f'<path class="bar" d="M{min(xs):.1f} {py:.1f}H{max(xs):.1f}"/>')
            for k, (px, point) in enumerate(zip(xs, series.points, strict=True)):
                size = 2.4 + 2.2 * k / max(1, len(xs) - 1)
                words = f"{series.name}, {group.name}, severity {point.x:g}: {point.label}"
                mark = f'<g class="mark">{marker(series.marker, px, py, size)}<title>{escape(words)}</title></g>'
                out.append(f'<a href="#{escape(point.row_id)}">{mark}</a>' if point.row_id else mark)
            out.append("</g>")
    out.append("</svg>")
    return Chart(title, Markup("".join(out)), [(s.name, s.key, legend_sample(s)) for s in legend.values()])
