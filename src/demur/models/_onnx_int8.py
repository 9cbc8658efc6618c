"""int8 copies of ONNX encoders: smoothed, then dynamically quantised per channel.

Dynamic quantisation gives a whole activation tensor one scale, and a few channels of an encoder are
hundreds of times larger than the rest. Smoothing moves that spread into the weights first, whose every
column has a scale of its own; one cheap product a tensor is added. Whether the result is good enough is
decided in ``_onnx_export``.
"""

from __future__ import annotations

import logging
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.training import TokenRows, pad_rows

_LEAST_SCALE = 1e-3


@dataclass(frozen=True)
class Recipe:
    """One way to quantise the products of activations with weights; the head always stays in fp32."""

    name: str
    strength: float
    """How much of the activations' spread goes into the weights, in 0..1."""
    kept_share: float = 0.0
    """Share of the products left in fp32: those whose activations are the most uneven."""


RECIPES = (
    Recipe("smoothed", strength=0.7),
    Recipe("smoothed, the most uneven sixth in fp32", strength=0.7, kept_share=1 / 6),
    Recipe("smoothed, the most uneven third in fp32", strength=0.7, kept_share=1 / 3),
)
"""Tried in this order; each is slower and nearer to fp32 than the one before."""


@dataclass(frozen=True)
class ActivationRange:
    """What calibration saw of one tensor: per channel the largest magnitude, and the root mean square of all."""

    largest: NDArray[np.float64]
    rms: float


def measure_ranges(path: Path, rows: TokenRows, pad_id: int) -> dict[str, ActivationRange]:
    """Run rows through an fp32 model and note the range of every tensor that meets a weight matrix."""
    import onnx
    import onnxruntime

    model = onnx.load(str(path))
    tensors = sorted({node.input[0] for node in _products(model)})
    for name in tensors:
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Optimisation would fuse away the tensors asked for.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = [node.name for node in session.get_inputs()]
    largest: dict[str, NDArray[np.float64]] = {}
    squares: dict[str, list[float]] = defaultdict(list)
    for row in range(len(rows)):
        padded = pad_rows(rows.take([row]), pad_id)
        values = session.run(tensors, {name: padded[name] for name in inputs})
        for name, value in zip(tensors, values, strict=True):
            flat = np.abs(value.reshape(-1, value.shape[-1]), dtype=np.float64)  # (tokens, channels)
            largest[name] = np.maximum(largest.get(name, 0.0), flat.max(axis=0))
            squares[name].append(float((flat**2).mean()))
    return {name: ActivationRange(largest[name], float(np.sqrt(np.mean(squares[name])))) for name in tensors}


def has_products(path: Path) -> bool:
    """Whether an fp32 model has anything that :func:`quantise` would make int8."""
    import onnx

    return bool(_products(onnx.load(str(path))))


def quantise(source: Path, target: Path, recipe: Recipe, ranges: dict[str, ActivationRange]) -> None:
    """Write an int8 copy of an fp32 ONNX model.

    References
    ----------
    Xiao et al., "SmoothQuant", ICML 2023, equation 4: channel ``j`` is divided by
    ``max|x_j|^a / max|w_j|^(1-a)``, its weights are multiplied by it.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(str(source))
    kept = _most_uneven(model, ranges, recipe.kept_share)
    kept |= {node.name for node in model.graph.node if node.op_type == "Gemm"}
    smooth(model, ranges, recipe.strength, kept)
    with quiet_export():
        quantize_dynamic(
            model,
            str(target),
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=sorted(kept),
        )


def smooth(model: Any, ranges: dict[str, ActivationRange], strength: float, skip: Iterable[str] = ()) -> None:
    """Divide activations and multiply weights by one scale a channel, in place; the outputs stay the same.

    Parameters
    ----------
    model
        An ONNX model whose products with weights are ``MatMul`` nodes.
    ranges
        From :func:`measure_ranges`.
    strength
        0 flattens the weights, 1 the activations.
    skip
        Names of nodes to leave alone.
    """
    from onnx import helper, numpy_helper

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    skipped, readers = set(skip), defaultdict(list)
    users: dict[str, int] = defaultdict(int)
    for node in _products(model):
        users[node.input[1]] += 1
        if node.name not in skipped:
            readers[node.input[0]].append(node)
    for name, nodes in readers.items():
        if name not in ranges or any(users[node.input[1]] > 1 for node in nodes):
            continue
        matrices = [numpy_helper.to_array(weights[node.input[1]]) for node in nodes]  # each (channels, out)
        scale = _scale(ranges[name].largest, matrices, strength)
        inverse, smoothed = f"{name}_inverse_scale", f"{name}_smoothed"
        model.graph.initializer.append(numpy_helper.from_array((1 / scale).astype(np.float32), inverse))
        first = min(list(model.graph.node).index(node) for node in nodes)
        for node, matrix in zip(nodes, matrices, strict=True):
            scaled = numpy_helper.from_array((matrix * scale[:, None]).astype(np.float32), node.input[1])
            weights[node.input[1]].CopyFrom(scaled)
            node.input[0] = smoothed
        product = helper.make_node("Mul", [name, inverse], [smoothed], name=f"{name}_smooth")
        model.graph.node.insert(first, product)


def _scale(largest: NDArray[np.float64], matrices: list[NDArray[Any]], strength: float) -> NDArray[np.float64]:
    heaviest = np.max([np.abs(matrix).max(axis=1) for matrix in matrices], axis=0)
    scale = np.maximum(largest, 1e-5) ** strength / np.maximum(heaviest, 1e-5) ** (1 - strength)
    scale /= np.exp(np.log(scale).mean())
    result: NDArray[np.float64] = np.maximum(scale, _LEAST_SCALE)
    return result


def _products(model: Any) -> list[Any]:
    """The ``MatMul`` nodes of an activation with a weight matrix, in the graph's order."""
    weights = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) == 2}
    return [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights]


def _most_uneven(model: Any, ranges: dict[str, ActivationRange], share: float) -> set[str]:
    """Names of the products whose activations have the largest peak for their root mean square."""
    products = _products(model)
    peaks = {name: float(found.largest.max()) / max(found.rms, 1e-12) for name, found in ranges.items()}
    ordered = sorted(products, key=lambda node: -peaks.get(node.input[0], 0.0))
    return {node.name for node in ordered[: round(len(products) * share)]}


@contextmanager
def quiet_export() -> Iterator[None]:
    """Hold back warnings and log lines of exporter and quantiser, on none of which a user can act."""
    names = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
