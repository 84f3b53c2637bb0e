"""How often intervals hold the truth: 95 % is promised, at least 93 % (the exact kind: 95 %) is the aim."""

from __future__ import annotations

from edgexai.bench.line import Line
from edgexai.bench.workshop import Workshop
from edgexai.measure.coverage import designs, simulate
from edgexai.measure.proportions import clopper_pearson


def coverage_of_intervals(workshop: Workshop) -> list[Line]:
    """One line per kind of interval and kind of data, with the mean width beside it."""
    lines: list[Line] = []
    for seed, design in enumerate(designs()):
        found = simulate(design, studies=workshop.settings.coverage_studies, seed=seed)
        _, low, high = clopper_pearson(round(found.coverage * found.studies), found.studies)
        value, said = found.coverage, "simulated studies with a known truth"
        if design.enumerated is not None:
            value = design.enumerated()
            low, high = min(low, value), max(high, value)
            said = f"summed over all outcomes; {found.coverage:.4f} of as many simulated studies"
        lines.append(
            Line(
                "coverage",
                f"{design.interval}: {design.data}",
                value,
                unit="share",
                low=low,
                high=high,
                coverage=0.95,
                n=found.studies,
                aim=f">= {design.least}",
                method=f"nominal 95 %, mean width {found.width:.4g}; {said}.",
                detail={"mean_width": found.width, "nominal": 0.95},
            )
        )
    return lines
