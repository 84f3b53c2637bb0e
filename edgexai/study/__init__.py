"""Studies: many arms and seeds through one store, tables of them, a verdict per claim. Torch-free.

A launcher is ``f(recipes, *, home, device, data_root, workers, progress)``: when it returns, every stage of every
recipe is in the store.
"""

from edgexai.registry import Entry

LAUNCHERS: dict[str, Entry] = {
    "local": Entry("edgexai.study.launch_local:launch"),
    "ray": Entry("edgexai.study.launch_ray:launch"),
}
"""Name -> who runs the recipes of a study."""
