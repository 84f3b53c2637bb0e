"""Runs a recipe: plan, content-addressed store, run folder, status. Torch-free; stages are resolved when they run."""

from __future__ import annotations

from edgexai.registry import Entry

STAGES: dict[str, Entry] = {
    "data": Entry("edgexai.recipe.stages_network:data", 1),
    "unknown": Entry("edgexai.recipe.stages_unknown:unknown", 1),
    "train": Entry("edgexai.recipe.stages_network:train", 2),
    "refine": Entry("edgexai.recipe.stages_network:refine", 2),
    "prune": Entry("edgexai.recipe.stages_network:prune", 3),
    "qat": Entry("edgexai.recipe.stages_qat:qat", 1),
    "export": Entry("edgexai.recipe.stages_network:export", 2),
    "engine": Entry("edgexai.recipe.stages_evidence:engine", 2),
    "probe": Entry("edgexai.recipe.stages_evidence:probe", 1),
    "measure": Entry("edgexai.recipe.stages_evidence:measure", 3),
    "latency": Entry("edgexai.recipe.stages_evidence:latency", 1),
    "ledger": Entry("edgexai.recipe.stages_ledger:ledger", 1),
    "compare": Entry("edgexai.recipe.stages_evidence:compare", 5),
}
"""Stage name -> function of one ``Job``, in the order in which stages run."""

SOURCE_DIGEST = Entry("edgexai.data.digest:source_digest")
"""``(table, *, data_root, home) -> str``: what the data files are, without decoding them."""

REPORT = Entry("edgexai.report.html:write_report")
"""``(run_folder) -> Path`` of the page it wrote."""
