"""NVIDIA's ONNX parser: a file becomes a strongly typed network, or is refused with the node that is at fault.

Strongly typed means that every tensor keeps the type it has in the ONNX: no builder flag chooses a precision. Standard
library only: this travels to the board.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgexai.engine.tensorrt_library import TensorRT, last_words, recording_logger
from edgexai.errors import MissingCapability, UserError

if TYPE_CHECKING:
    import tensorrt as trt


class Parsed:
    """A builder with a network in it, and what was logged on the way.

    Attributes:
        builder, network: TensorRT's.
        logged: errors and warnings so far; grows while the builder works.
        inputs, outputs: name -> shape; -1 where it is dynamic.
    """

    def __init__(
        self, builder: trt.Builder, network: trt.INetworkDefinition, parser: trt.OnnxParser, logged: list[str]
    ) -> None:
        self.builder, self.network, self.logged = builder, network, logged
        self._parser = parser  # owns the weights that the network points at: it must live as long
        given = [network.get_input(k) for k in range(network.num_inputs)]
        made = [network.get_output(k) for k in range(network.num_outputs)]
        self.inputs = {tensor.name: tuple(tensor.shape) for tensor in given}
        self.outputs = {tensor.name: tuple(tensor.shape) for tensor in made}
        self.types = {tensor.name: tensor.dtype for tensor in (*given, *made)}


def parse(library: TensorRT, source: Path) -> Parsed:
    """Reads an edgexai ONNX file.

    Args:
        library: TensorRT, or TensorRT-RTX where there is no GPU.
        source: has the input "images" (batch,3,H,W) and the outputs "logits" and, if any, "saliency"; all float32.

    Raises:
        UserError: the file is missing, the parser refuses it (node, operator and reason of every fault), or its inputs
            and outputs are not edgexai's.
        MissingCapability: the library cannot start a builder here.
    """
    if not source.is_file():
        raise UserError(f"{source}: no such file")
    logger, logged = recording_logger(library)
    builder = start_builder(library, logger, logged)
    # On 11.x the member is there and ignored: networks are always strongly typed.
    network = builder.create_network(1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    if network is None:
        raise MissingCapability(f"TensorRT {library.__version__} makes no network", problems=last_words(logged))
    parser = library.OnnxParser(network, logger)
    if not parser.parse(source.read_bytes(), str(source)):
        errors = [parser.get_error(k) for k in range(parser.num_errors)]
        faults = tuple(_fault(error) for error in errors) or last_words(logged)
        raise UserError(
            f"{source.name}: the ONNX parser of TensorRT {library.__version__} refuses it",
            problems=faults,
            next_step='the board takes the files "fp32", "fp16" and "int8-tensorrt" of a recipe\'s export',
        )
    parsed = Parsed(builder, network, parser, logged)
    _check(parsed, source, library)
    return parsed


def start_builder(library: TensorRT, logger: trt.ILogger, logged: list[str]) -> trt.Builder:
    """A builder, or MissingCapability: without a driver the constructor gives None, a hollow object or an exception."""
    try:
        builder: trt.Builder | None = library.Builder(logger)
    except (TypeError, RuntimeError) as error:
        logged.append(str(error))
        builder = None
    if not builder:
        raise MissingCapability(
            f"TensorRT {library.__version__} starts no builder here",
            problems=last_words(logged),
            next_step="edgexai doctor: a builder of TensorRT needs the NVIDIA driver",
        )
    return builder


def _fault(error: trt.ParserError) -> str:
    name, operator = error.node_name(), error.node_operator()
    where = f'node "{name}"' if name else "a node without a name"
    return f"{where}{f' ({operator})' if operator else ''}: {' '.join(error.desc().split())}"


def _check(parsed: Parsed, source: Path, library: TensorRT) -> None:
    faults = []
    if set(parsed.inputs) != {"images"}:
        faults.append(f'inputs are {sorted(parsed.inputs)}; there must be "images" alone')
    elif len(shape := parsed.inputs["images"]) != 4 or shape[1] != 3 or min(shape[1:]) < 1:
        faults.append(f'"images" is {shape}; it must be (batch, 3, height, width), and only the batch may be dynamic')
    if "logits" not in parsed.outputs:
        faults.append(f'outputs are {sorted(parsed.outputs)}; "logits" is missing')
    wrong = [name for name, kind in parsed.types.items() if int(kind) != int(library.DataType.FLOAT)]
    faults += [f'"{name}" is {parsed.types[name].name}; inputs and outputs stay float32' for name in wrong]
    if faults:
        raise UserError(f"{source.name}: not a classifier as edgexai exports it", problems=tuple(faults))
