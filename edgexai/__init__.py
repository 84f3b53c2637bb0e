"""edgexai: recipe -> twin -> engine -> evidence, for small image classifiers on edge boards."""

import os as _os

__version__ = "0.1.0"

# From 1.32 on, ONNX Runtime reports its use to its maker unless it is told not to. Neither a network under evaluation
# nor a board in service should; whoever wants it sets the variable. Here: it is read when onnxruntime is loaded.
_os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
