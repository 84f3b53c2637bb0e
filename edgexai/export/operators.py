"""What TensorRT's ONNX parser takes, as data: operator -> types of its values, per TensorRT version.

Sources, read in November 2026: the operator tables in the documentation of onnx-tensorrt for TensorRT 10.6 and 10.15
(the two nearest that could be had) and its changelog; for 11.4 also the answers of TensorRT-RTX 1.7.1's parser, which
shares that line's code. So:

- 10.3: the table of 10.6 without what the changelog adds in 10.4 and 10.5; opset at most 20 (its table of 10.1).
- 10.13: what both 10.6 and 10.15 take; what only 10.15 takes is not confirmed.
- 11.4: the table of 10.15 where TensorRT-RTX 1.7.1 answers the same.

An operator that is in neither list of a version is not confirmed for it: refused only where asked to be strict.
"""

from __future__ import annotations

VERSIONS = ("10.3", "10.13", "11.4")

_FLOATS = "FLOAT FLOAT16 BFLOAT16"
_NUMBERS = f"{_FLOATS} INT32 INT64"
_ANY = f"{_NUMBERS} BOOL"

_BY_TYPES = {
    _FLOATS: "Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization Ceil Celu Clip Conv ConvTranspose Cos "
    "Cosh CumSum Dropout Einsum Elu Erf Exp Floor Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool GroupNormalization "
    "GRU HardSigmoid HardSwish Hardmax InstanceNormalization IsInf LayerNormalization LeakyRelu Log LogSoftmax "
    "LRN LSTM LpNormalization LpPool MatMul MaxPool MeanVarianceNormalization PRelu QuantizeLinear RandomNormal "
    "RandomNormalLike RandomUniform RandomUniformLike Reciprocal Resize RNN Round Scan Selu Sigmoid Sin Sinh "
    "Softmax Softplus Softsign Sqrt Tan Tanh ThresholdedRelu Upsample",
    "FLOAT FLOAT16": "GridSample Mish NonMaxSuppression NonZero RoiAlign",
    _NUMBERS: "Abs Add ArgMax ArgMin DepthToSpace Div Equal Greater GreaterOrEqual IsNaN Less LessOrEqual Max Min Mean "
    "Mod Mul Neg Pow Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
    "ReduceSum ReduceSumSquare Relu Scatter ScatterElements ScatterND Shrink Sign SpaceToDepth Sub Sum TopK Gelu Pad",
    _ANY: "Concat Constant ConstantOfShape Expand EyeLike Flatten Gather GatherElements GatherND Identity If Loop "
    "OneHot ReverseSequence Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze Where Reshape",
    f"{_ANY} UINT8": "Cast CastLike",
    "BOOL": "And Not Or Xor",
    "INT8": "DequantizeLinear",
}
_COMMON = {op: frozenset(types.split()) for types, ops in _BY_TYPES.items() for op in ops.split()}
_SINCE_10_4 = dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow"), frozenset({"INT32", "INT64"}))
_SINCE_10_5 = {"STFT": frozenset({"FLOAT"})}
_SINCE_10_15 = dict.fromkeys(("Attention", "RMSNormalization", "RotaryEmbedding"), frozenset(_FLOATS.split()))
_DEFORM = {"DeformConv": frozenset({"FLOAT", "FLOAT16"})}

TAKEN: dict[str, dict[str, frozenset[str]]] = {
    "10.3": {**_COMMON, **_DEFORM},
    "10.13": {**_COMMON, **_DEFORM, **_SINCE_10_4, **_SINCE_10_5},
    "11.4": {**_COMMON, **_SINCE_10_4, **_SINCE_10_5, **_SINCE_10_15},
}
"""Version -> operator -> names of onnx.TensorProto types that its data may have."""

_NEVER_WORDS = (
    "AffineGrid Bernoulli BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor CenterCropPad Col2Im Compress "
    "ConcatFromSequence ConvInteger DFT Det DynamicQuantizeLinear ImageDecoder MatMulInteger MaxRoiPool MaxUnpool "
    "MelWeightMatrix Multinomial NegativeLogLikelihoodLoss Optional OptionalGetElement OptionalHasElement QLinearConv "
    "QLinearMatMul RegexFullMatch SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert "
    "SequenceLength SequenceMap SoftmaxCrossEntropyLoss SplitToSequence StringConcat StringNormalizer StringSplit "
    "TfIdfVectorizer Unique"
)
_NEVER = frozenset(_NEVER_WORDS.split())
REFUSED: dict[str, frozenset[str]] = {
    "10.3": _NEVER | set(_SINCE_10_4) | set(_SINCE_10_5),
    "10.13": _NEVER,
    "11.4": _NEVER,
}
"""Version -> operators that its table says it does not take."""
