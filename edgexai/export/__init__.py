"""To ONNX: precision and the saliency head are written into the graph."""

from edgexai.registry import Entry

FLAVOURS: dict[str, Entry] = {
    "fp32": Entry("edgexai.export.onnx_graph:export_onnx"),
    "fp16": Entry("edgexai.export.fp16:to_fp16"),
    "int8-tensorrt": Entry("edgexai.export.int8:quantise"),
    "int8-x86": Entry("edgexai.export.int8:quantise"),
}
