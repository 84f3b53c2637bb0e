"""The speed claims: families of ratios, each measured in one run with both sides in turn; and what intervals hold.

Every entry is ``f(workshop: Workshop) -> list[Line]``.
"""

from edgexai.registry import Entry

FAMILIES: dict[str, Entry] = {
    "epoch": Entry("edgexai.bench.epoch:epoch_over_steps"),
    "data": Entry("edgexai.bench.data_path:data_path_over_torchvision"),
    "lime": Entry("edgexai.bench.lime_speed:lime_over_package"),
    "stability": Entry("edgexai.bench.lime_stability:stability_of_lime"),
    "explain": Entry("edgexai.bench.explain_cost:explain_over_passes"),
    "saliency": Entry("edgexai.bench.saliency_cost:saliency_over_plain"),
    "pruned": Entry("edgexai.bench.pruned_latency:latency_over_macs"),
    "int8": Entry("edgexai.bench.int8_speed:int8_over_fp32"),
    "adversarial": Entry("edgexai.bench.adversarial:adversarial_over_passes"),
    "detect": Entry("edgexai.bench.detect_speed:detect_over_passes"),
    "memory": Entry("edgexai.bench.memory:memory_over_epochs"),
    "target": Entry("edgexai.bench.latency_target:latency_as_asked"),
    "coverage": Entry("edgexai.bench.coverage:coverage_of_intervals"),
    "measurement": Entry("edgexai.bench.measure_cost:measurement_over_passes"),
    "metrics": Entry("edgexai.bench.metrics_speed:metrics_over_quantus"),
    "startup": Entry("edgexai.bench.startup:listing_time"),
}
