"""Which engine, which batch: python -m benchmarks.engines.

Writes  benchmarks/engines.md

Measures images/s, best of three passes; how far the features are from Keras' (the largest distance
of an image's, as a share of its length); and the arithmetic of the convolutions as a share of what
TensorFlow reaches in one product of two large matrices, measured in the same process: where that is
near 1, no engine that does the same arithmetic can be much faster. Engines: predict (Keras'
`predict`), keras (`predict_on_batch`), tensorflow (its graph, variables folded into constants),
onnxruntime (needs `pip install onnxruntime tf2onnx`, and is left out without), openvino. Each is
measured in a process of its own, `python -m benchmarks.engines SIDE ENGINE BATCH`.
"""

import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from benchmarks.apart import ROOT, machine, run_apart
from benchmarks.cases import load
from thaw import activations, backbone, inference
from thaw.params import load_params
from thaw.runtime import configure

SWEEP = {
    32: {
        "predict": (32,),
        "keras": (64, 256),
        "tensorflow": (64, 256),
        "onnxruntime": (16, 64, 256),
        "openvino": (16, 64, 256),
    },
    224: {
        "predict": (32,),
        "keras": (16,),
        "tensorflow": (1, 16),
        "onnxruntime": (1, 4, 16),
        "openvino": (1, 2, 4, 16),
    },
}
"""Batches by side and engine."""
MATRIX = 4096
"""Side of the matrices whose product shows what the processor can do."""
MEANS = np.array([103.939, 116.779, 123.68], np.float32)
"""Of blue, green and red, as `preprocess_input` subtracts them."""
Run = Callable[[NDArray[np.uint8]], Any]


def folded(model: keras.Model) -> Run:
    """TensorFlow's graph with its variables folded into constants."""
    shape = (None, *model.input_shape[1:])
    traced = tf.function(lambda x: model(x, training=False))
    concrete = traced.get_concrete_function(tf.TensorSpec(shape, tf.uint8))
    graph = convert_variables_to_constants_v2(concrete)
    return lambda images: graph(tf.constant(images))[0].numpy()


def onnxruntime(base: keras.Model) -> Run:
    """ONNX Runtime on Keras' own export of the backbone.

    NumPy preprocesses: tf2onnx 1.17 makes a graph of the colours' reversal that does not load.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = load_params(ROOT).threads
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        base.export(file.name, format="onnx", verbose=False)
        session = ort.InferenceSession(file.name, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images[..., ::-1] - MEANS})[0]


def runner(base: keras.Model, model: keras.Model, engine: str, batch: int) -> Run:
    """Return what computes features by `engine`; `model` preprocesses before `base`."""
    makers: dict[str, Callable[[], Run]] = {
        "predict": lambda: lambda images: model.predict(images, batch_size=batch, verbose=0),
        "keras": lambda: model.predict_on_batch,
        "tensorflow": lambda: folded(model),
        "onnxruntime": lambda: onnxruntime(base),
        "openvino": lambda: inference.openvino(model, batch),
    }
    return makers[engine]()


def first(outputs: Any) -> NDArray[np.float32]:
    """Return the one output, which some engines put into a tuple."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


def product_speed() -> float:
    """Return the multiplications and additions a second of one large float32 product, at best."""
    matrix = tf.random.stateless_uniform((MATRIX, MATRIX), (0, 1))
    best = 0.0
    for _ in range(5):
        begin = time.perf_counter()
        tf.matmul(matrix, matrix).numpy()
        best = max(best, 2 * MATRIX**3 / (time.perf_counter() - begin))
    return best


def measure(side: int, engine: str, batch: int) -> dict[str, float]:
    """Return images/s, how far features are from Keras', and the share of `product_speed`."""
    configure(seed=0, threads=load_params(ROOT).threads)
    base, model = backbone.feature_model(side, "byte")
    images = load(side, 4096 if side == 32 else 64).batch(slice(None))
    run = runner(base, model, engine, batch)
    step = len(images) if engine == "predict" else batch
    run(images[:step])
    best = 0.0
    for _ in range(3):
        begin = time.perf_counter()
        outputs = [first(run(images[i : i + step])) for i in range(0, len(images), step)]
        best = max(best, len(images) / (time.perf_counter() - begin))
    some = images[:64]
    expected = model.predict(some, verbose=0)
    distance = np.linalg.norm(np.concatenate(outputs)[: len(some)] - expected, axis=1)
    off = float((distance / np.linalg.norm(expected, axis=1)).max())
    arithmetic = 2 * sum(map(activations.multiplications, base.layers))
    share = best * arithmetic / product_speed()
    return {"images_per_second": best, "off": off, "share": share}


def sweep() -> Iterator[tuple[int, str, int]]:
    """Yield side, engine and batch of every measurement."""
    for side, engines in SWEEP.items():
        for engine, batches in engines.items():
            if engine != "onnxruntime" or importlib.util.find_spec(engine):
                yield from ((side, engine, batch) for batch in batches)


def main() -> None:
    """Measure all; write the table."""
    lines = [
        "| side | engine | batch | images/s | times `predict` | of a product's speed | off by |",
        "|---|---|---|---|---|---|---|",
    ]
    naive: dict[int, float] = {}
    for side, engine, batch in sweep():
        found = run_apart("engines", str(side), engine, str(batch))
        speed = found["images_per_second"]
        times = speed / naive.setdefault(side, speed)
        lines.append(
            f"| {side} | {engine} | {batch} | {speed:.1f} | {times:.2f} | {found['share']:.2f} "
            f"| {found['off']:.0e} |"
        )
        print(lines[-1], flush=True)
    (ROOT / "benchmarks/engines.md").write_text("\n".join([*lines, "", machine(), ""]))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
    else:
        main()
