"""Compare inference engines and batch sizes: python -m benchmarks.engines.

Writes  benchmarks/engines.md

For each engine and batch size it measures:

- images/s, the best of three passes;
- how far the features are from Keras': the largest distance between an image's two feature vectors,
  as a share of their length;
- the arithmetic of the convolutions per second, as a share of what TensorFlow reaches in one
  product of two large matrices (the best of all runs), which shows how close the engine is to the
  processor's limit.

The engines are predict (Keras' `predict`), keras (`predict_on_batch`), tensorflow (its graph, with
variables folded into constants), onnxruntime (left out unless `pip install --no-deps onnxruntime
onnx tf2onnx` has installed it), openvino (all threads on one batch) and openvino-streams (a batch
for each thread). Each measurement runs in a new process:
`python -m benchmarks.engines SIDE ENGINE BATCH`.
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
from thaw.config.load import load_params
from thaw.network import backbone, inference
from thaw.support.runtime import set_up
from thaw.training import costs

SWEEP = {
    32: {
        "predict": (32,),
        "keras": (64, 256),
        "tensorflow": (64, 256),
        "onnxruntime": (16, 64, 256),
        "openvino": (16, 64, 256),
        "openvino-streams": (16, 64, 256),
    },
    224: {
        "predict": (32,),
        "keras": (16,),
        "tensorflow": (1, 16),
        "onnxruntime": (1, 4, 16),
        "openvino": (1, 2, 4, 16),
        "openvino-streams": (1, 2, 4),
    },
}
"""The batch sizes to measure, by side of the images and engine."""
MATRIX = 4096
"""Side of the two square matrices whose product shows the processor's limit."""
ONNX = ("onnxruntime", "onnx", "tf2onnx")
"""Packages that ONNX Runtime and Keras' export to it need."""
Run = Callable[[NDArray[np.uint8]], Any]


def folded(model: keras.Model) -> Run:
    """Return a runner of TensorFlow's graph, with its variables folded into constants."""
    shape = (None, *model.input_shape[1:])
    traced = tf.function(lambda x: model(x, training=False))
    concrete = traced.get_concrete_function(tf.TensorSpec(shape, tf.uint8))
    graph = convert_variables_to_constants_v2(concrete)
    return lambda images: graph(tf.constant(images))[0].numpy()


def onnxruntime(base: keras.Model) -> Run:
    """Return a runner of ONNX Runtime on Keras' own export of the backbone.

    NumPy preprocesses the images, because tf2onnx 1.17 turns the reversal of the colours into a
    graph that does not load.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = load_params(ROOT).threads
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        base.export(file.name, format="onnx", verbose=False)
        session = ort.InferenceSession(file.name, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    preprocess = keras.applications.resnet.preprocess_input
    return lambda images: session.run(None, {name: preprocess(images.astype(np.float32))})[0]


def runner(base: keras.Model, model: keras.Model, engine: str, batch: int) -> Run:
    """Return a function from images to features by `engine`.

    `model` takes raw images, and `base` preprocessed ones.
    """
    makers: dict[str, Callable[[], Run]] = {
        "predict": lambda: lambda images: model.predict(images, batch_size=batch, verbose=0),
        "keras": lambda: model.predict_on_batch,
        "tensorflow": lambda: folded(model),
        "onnxruntime": lambda: onnxruntime(base),
        "openvino": lambda: inference.openvino(model, batch, 1),
        "openvino-streams": lambda: inference.openvino(model, batch, load_params(ROOT).threads),
    }
    return makers[engine]()


def first(outputs: Any) -> NDArray[np.float32]:
    """Return the only output. Some engines wrap it in a tuple."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


def product_speed() -> float:
    """Return the speed of one large float32 product: 10^9 operations/s, the best of five."""
    matrix = tf.random.stateless_uniform((MATRIX, MATRIX), (0, 1))
    best = 0.0
    for _ in range(5):
        begin = time.perf_counter()
        tf.matmul(matrix, matrix).numpy()
        best = max(best, 2e-9 * MATRIX**3 / (time.perf_counter() - begin))
    return best


def measure(side: int, engine: str, batch: int) -> dict[str, float]:
    """Return images/s, the distance from Keras' features, and the speeds of engine and product.

    Both speeds are in 10^9 multiplications and additions per second.
    """
    threads = load_params(ROOT).threads
    set_up(threads)
    product = product_speed()
    base, model = backbone.feature_model(side, "0-255")
    images = load(side, 4096 if side == 32 else 64).batch(slice(None))
    run = runner(base, model, engine, batch)
    step = {"predict": len(images), "openvino-streams": threads * batch}.get(engine, batch)
    run(images[:step])  # the first call compiles
    best = 0.0
    for _ in range(3):
        begin = time.perf_counter()
        outputs = [first(run(images[i : i + step])) for i in range(0, len(images), step)]
        best = max(best, len(images) / (time.perf_counter() - begin))
    some = images[:64]
    expected = model.predict(some, verbose=0)
    distance = np.linalg.norm(np.concatenate(outputs)[: len(some)] - expected, axis=1)
    off = float((distance / np.linalg.norm(expected, axis=1)).max())
    arithmetic = 2e-9 * sum(map(costs.macs, base.layers))
    return {
        "images_per_second": best,
        "off": off,
        "arithmetic": best * arithmetic,
        "product": product,
    }


def sweep() -> Iterator[tuple[int, str, int]]:
    """Yield the side, engine and batch size of every measurement."""
    for side, engines in SWEEP.items():
        for engine, batches in engines.items():
            if engine != "onnxruntime" or all(map(importlib.util.find_spec, ONNX)):
                yield from ((side, engine, batch) for batch in batches)


def markdown(found: dict[tuple[int, str, int], dict[str, float]]) -> str:
    """Return the table of the results of `measure`."""
    product = max(each["product"] for each in found.values())
    lines = [
        "| side | engine | batch | images/s | times `predict` | of a product's speed | off by |",
        "|---|---|---|---|---|---|---|",
    ]
    for (side, engine, batch), each in found.items():
        naive = found[side, "predict", SWEEP[side]["predict"][0]]["images_per_second"]
        speed = each["images_per_second"]
        lines.append(
            f"| {side} | {engine} | {batch} | {speed:.1f} | {speed / naive:.2f} "
            f"| {each['arithmetic'] / product:.2f} | {each['off']:.0e} |"
        )
    note = f"The product: {product:.0f} * 10^9 multiplications and additions a second. {machine()}"
    return "\n".join([*lines, "", note, ""])


def main() -> None:
    """Measure every engine and batch size, and write the table."""
    found = {}
    for side, engine, batch in sweep():
        found[side, engine, batch] = run_apart("engines", str(side), engine, str(batch))
        print(side, engine, batch, found[side, engine, batch], flush=True)
    (ROOT / "benchmarks/engines.md").write_text(markdown(found))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
    else:
        main()
