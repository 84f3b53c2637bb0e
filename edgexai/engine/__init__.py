"""What runs: the twin on torch, and engines that only know ``predict(images) -> logits``."""

from edgexai.registry import Entry

RUNTIMES: dict[str, Entry] = {
    "onnxruntime": Entry("edgexai.engine.onnx_runtime:OnnxRuntimeEngine"),
    "tensorrt": Entry("edgexai.engine.tensorrt_start:start_tensorrt"),
}
