"""Inference engines: a Keras model run by Keras itself or, faster on a CPU, by OpenVINO.

Which one is params.yaml's `engine`, the same on every machine: nothing is chosen behind anyone's
back. Both compute in float32; benchmarks/README.md has the measurements that the choice rests on.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Arrays = tuple[NDArray[np.float32], ...]

PIXELS_IN_A_BATCH = {"keras": 1 << 18, "openvino": 1 << 16}
"""Of input images. Keras: 256 of 32 px, 16 from 128 px on, so that activations fit in memory.
OpenVINO: 64 of 32 px, 2 of 224 px, within a tenth of its fastest (benchmarks/README.md)."""
SMALLEST_BATCH = {"keras": 16, "openvino": 2}


@dataclass(frozen=True)
class Network:
    """A model made ready to predict."""

    batch_size: int
    """Images that go through at once; fewer may."""
    run: Callable[[NDArray[np.uint8]], Arrays]
    """From images (n, size, size, 3) uint8 to the model's outputs, each (n, ..) float32."""


def batch_size(size: int, engine: str) -> int:
    """Return how many images of `size` pixels go through a network at once."""
    return max(SMALLEST_BATCH[engine], PIXELS_IN_A_BATCH[engine] // size**2)


def ready(model: keras.Model, engine: str) -> Network:
    """Make a model from images (n, size, size, 3) uint8 ready to predict.

    Its weights are taken as they are now: OpenVINO keeps a copy.

    Args:
        model: with one output or several.
        engine: keras or openvino.

    """
    size = model.input_shape[1]
    make = {"keras": _keras, "openvino": openvino}[engine]
    return Network(batch_size(size, engine), make(model, batch_size(size, engine)))


def _keras(model: keras.Model, _: int) -> Callable[[NDArray[np.uint8]], Arrays]:
    return lambda images: tuple(keras.tree.flatten(model.predict_on_batch(images)))


def openvino(model: keras.Model, most: int) -> Callable[[NDArray[np.uint8]], Arrays]:
    """Compile for batches of exactly `most` images, faster than for any; smaller ones are padded.

    `read_model` takes TensorFlow's SavedModel as it is; OpenVINO's converter would ask for consent
    to telemetry.
    """
    from openvino import Core  # a fifth of a second that only its users should pay

    core = Core()
    with tempfile.TemporaryDirectory() as name:
        model.export(Path(name), format="tf_saved_model", verbose=False)
        network = core.read_model(name)
        network.reshape([most, *model.input_shape[1:]])
        compiled = core.compile_model(
            network,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32",  # or it takes bfloat16 where the CPU has it
                "INFERENCE_NUM_THREADS": tf.config.threading.get_intra_op_parallelism_threads(),
                "PERFORMANCE_HINT": "LATENCY",
            },
        )
    outputs = range(len(model.outputs))

    def run(images: NDArray[np.uint8]) -> Arrays:
        count = len(images)
        padded = np.concatenate([images, np.zeros((most - count, *images.shape[1:]), np.uint8)])
        results = compiled(padded)
        return tuple(np.array(results[i][:count]) for i in outputs)

    return run
