"""LIME as the ``lime`` package's users run it, against ours at the same agreement with a reference of many masks.

"At equal agreement": ours explains the int8 file with a better sampling design and only as many masks as bring its
coefficients as near to the reference as 1,000 uniform masks bring those of the float network. The reference is the
*float* network's, so whatever int8 changes counts against ours. Network and images as in the family "stability".
"""

from __future__ import annotations

from edgexai.bench.agreement import passes_needed, reference_coefficients
from edgexai.bench.lime_package import package_lime
from edgexai.bench.lime_stability import designs_against
from edgexai.bench.line import Line, interleave, ratio_line
from edgexai.bench.workshop import SEED, Workshop
from edgexai.explain.lime import lime
from edgexai.explain.segment import grid
from edgexai.explain.surrogate import Design

DESIGN: Design = "antithetic"
"""Of ours; chosen once from the stability table, not anew in every run."""
_WHAT = "lime package on torch / ours on onnxruntime int8-x86, at equal agreement"
_AIM = ">= 10"
_BATCH = 64


def lime_at_equal_agreement(workshop: Workshop, *, missing: str) -> Line:
    """The line, or a skipped one where ``missing`` says why the package cannot be run."""
    settings, trained = workshop.settings, workshop.trained
    if missing:
        return Line("lime", _WHAT, None, threads=workshop.threads, aim=_AIM, reason=missing)
    fp32, int8 = (trained.engine(flavour, threads=workshop.threads) for flavour in ("fp32", "int8-x86"))
    images, targets = trained.images, trained.targets
    segments, usual = grid(images.shape[2], settings.lime_cells), settings.lime_samples
    reference = reference_coefficients(
        fp32, images, targets, segments=segments, n_samples=settings.stability_reference, seed=SEED
    )
    uniform = designs_against(fp32, workshop, images, targets, segments, reference, ("uniform",), counts=(usual,))[
        "uniform"
    ]
    found = designs_against(int8, workshop, images, targets, segments, reference, (DESIGN,))[DESIGN]
    goal = uniform.correlation[0]
    needed = passes_needed(found, goal)
    masks = found.counts[-1] if needed is None else needed
    shown, classes = images[: settings.lime_images], targets[: settings.lime_images]
    times = interleave(
        {
            "package": lambda: package_lime(trained.net, shown, classes, segments=segments, n_samples=usual),
            "ours": lambda: lime(
                int8, shown, classes, segments=segments, n_samples=masks, seed=SEED, design=DESIGN, batch_size=_BATCH
            ),
        },
        rounds=settings.rounds,
    )
    reached = found.at(masks)[0]
    line = ratio_line(
        "lime",
        _WHAT,
        times["package"],
        times["ours"],
        threads=workshop.threads,
        aim=_AIM,
        method=(
            f"signnet trained on {trained.data} ({trained.val_acc:.0%} right), {len(shown)} image(s) a round, "
            f"{settings.lime_cells**2} grid segments, one label. Over: lime package, torch network, batch 10, {usual} "
            f"masks. Under: ours, int8-x86, {DESIGN}, {masks} masks, batch {_BATCH}. Mean rank correlation with "
            f"{settings.stability_reference} uniform masks on the float network, over {len(images)} validation images "
            f"and {settings.stability_seeds} draws: {goal.mean():.3f} and {reached:.3f}."
        ),
        detail={"masks": masks, "goal": float(goal.mean()), "reached": reached, "design": DESIGN},
    )
    if needed is not None:
        return line
    return Line(**{**line.__dict__, "broken": f"{masks} masks, the most tried, do not reach the agreement"})
