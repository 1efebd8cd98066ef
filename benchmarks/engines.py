"""Which engine, which batch: python -m benchmarks.engines SIDE ENGINE BATCH [COUNT].

Prints images/s, best of three passes, and how far the features are from Keras' (the largest
distance of an image's, as a share of its length). Engines: predict (Keras' `predict`), keras
(`predict_on_batch`), tensorflow (its graph, variables folded into constants), onnxruntime (needs
`pip install onnxruntime tf2onnx`), openvino.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from benchmarks.cases import ROOT, load
from thaw import backbone, inference
from thaw.params import load_params
from thaw.runtime import configure

Run = Callable[[NDArray[np.uint8]], Any]


def folded(model: keras.Model) -> Run:
    """TensorFlow's graph with its variables folded into constants."""
    shape = (None, *model.input_shape[1:])
    traced = tf.function(lambda x: model(x, training=False))
    concrete = traced.get_concrete_function(tf.TensorSpec(shape, tf.uint8))
    graph = convert_variables_to_constants_v2(concrete)
    return lambda images: graph(tf.constant(images))[0].numpy()


def onnxruntime(model: keras.Model) -> Run:
    """ONNX Runtime on Keras' own export."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = load_params(ROOT).threads
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        model.export(file.name, format="onnx", verbose=False)
        session = ort.InferenceSession(file.name, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def runner(model: keras.Model, engine: str, batch: int) -> Run:
    """Return what computes features by `engine`."""
    makers: dict[str, Callable[[], Run]] = {
        "predict": lambda: lambda images: model.predict(images, batch_size=batch, verbose=0),
        "keras": lambda: model.predict_on_batch,
        "tensorflow": lambda: folded(model),
        "onnxruntime": lambda: onnxruntime(model),
        "openvino": lambda: inference.openvino(model, batch),
    }
    return makers[engine]()


def first(outputs: Any) -> NDArray[np.float32]:
    """Return the one output, which some engines put into a tuple."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


def main(side: int, engine: str, batch: int, count: int = 0) -> None:
    """Measure and print."""
    configure(seed=0, threads=load_params(ROOT).threads)
    _, model = backbone.feature_model(side, "byte")
    images = load(side, count or (4096 if side == 32 else 64)).batch(slice(None))
    run = runner(model, engine, batch)
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
    off = (distance / np.linalg.norm(expected, axis=1)).max()
    print(f"{side} px, {engine}, batch {batch}: {best:.1f} images/s, off by {off:.1e}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
