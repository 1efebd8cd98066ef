"""Inference engines: a Keras model run by Keras itself or, faster on a CPU, by OpenVINO.

Which one is params.yaml's `engine`, the same on every machine: nothing is chosen behind anyone's
back. Both compute in float32; benchmarks/README.md has the measurements that the choice rests on.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from thaw.data.image_store import Images
from thaw.support.files import require_space

Arrays = tuple[NDArray[np.float32], ...]

PIXELS_IN_A_BATCH = {"keras": 1 << 18, "openvino": 1 << 16}
"""Of input images. Keras: 256 of 32 px, 16 from 128 px on, so that activations fit in memory.
OpenVINO, a thread: 64 of 32 px, 2 of 224 px, its fastest there (benchmarks/README.md)."""
SMALLEST_BATCH = {"keras": 16, "openvino": 2}


@dataclass(frozen=True)
class Network:
    """A model made ready to predict."""

    batch_size: int
    """Images that go through at once; fewer may."""
    run: Callable[[NDArray[np.uint8]], Arrays]
    """From images (n, size, size, 3) uint8 to the model's outputs, each (n, ..) float32."""


def batch_size(size: int, engine: str) -> int:
    """Return how many images of `size` pixels go through a network at once, OpenVINO: a thread."""
    return max(SMALLEST_BATCH[engine], PIXELS_IN_A_BATCH[engine] // size**2)


def ready(model: keras.Model, engine: str) -> Network:
    """Make a model from images (n, size, size, 3) uint8 ready to predict.

    Its weights are taken as they are now: OpenVINO keeps a copy.

    Args:
        model: with one output or several.
        engine: keras or openvino.

    """
    most = batch_size(model.input_shape[1], engine)
    if engine == "keras":
        return Network(most, lambda images: _keras(model, images))
    streams = _threads() or 1  # 0: not configured
    return Network(streams * most, openvino(model, most, streams))


def _threads() -> int:
    return tf.config.threading.get_intra_op_parallelism_threads()


def _keras(model: keras.Model, images: NDArray[np.uint8]) -> Arrays:
    return tuple(keras.tree.flatten(model.predict_on_batch(images)))


def openvino(model: keras.Model, most: int, streams: int) -> Callable[[NDArray[np.uint8]], Arrays]:
    """Compile for `streams` batches at a time, which share the threads, of exactly `most` images.

    As many streams as threads are faster than all threads on one batch, where they wait for each
    other after every layer, and a fixed size is faster than any; smaller batches are padded.
    `read_model` takes TensorFlow's SavedModel as it is; OpenVINO's converter would ask for consent
    to telemetry.
    """
    from openvino import Core  # a fifth of a second that only its users should pay

    core = Core()
    with tempfile.TemporaryDirectory() as name:
        # TensorFlow's own error of a full disk is no OSError, and names a file that is gone.
        require_space(Path(name), 4 * model.count_params())
        model.export(Path(name), format="tf_saved_model", verbose=False)
        network = core.read_model(name)
        network.reshape([most, *model.input_shape[1:]])
        compiled = core.compile_model(
            network,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32",  # or it takes bfloat16 where the CPU has it
                "INFERENCE_NUM_THREADS": _threads(),
                "NUM_STREAMS": streams,
            },
        )
    requests = [compiled.create_infer_request() for _ in range(streams)]

    def run(images: NDArray[np.uint8]) -> Arrays:
        batches = [images[start : start + most] for start in range(0, len(images), most)]
        running = list(zip(requests[: len(batches)], batches, strict=True))
        for request, batch in running:
            missing = np.zeros((most - len(batch), *batch.shape[1:]), np.uint8)
            request.start_async([np.concatenate([batch, missing])])
        for request, _ in running:
            request.wait()
        return tuple(
            np.concatenate([request.get_output_tensor(i).data[: len(b)] for request, b in running])
            for i in range(len(model.outputs))
        )

    return run


def predict_batches(network: Network, images: Images) -> Iterator[Arrays]:
    """Yield the network's outputs, each (batch, ..) float32, batch by batch, in order."""
    with tqdm(total=len(images), unit="img", disable=None) as bar:
        for start in range(0, len(images), network.batch_size):
            batch = images.batch(slice(start, start + network.batch_size))
            yield network.run(batch)
            bar.update(len(batch))


def predict(model: keras.Model, images: Images, engine: str = "keras") -> NDArray[np.float32]:
    """Return the model's output for all `images`, (n, outputs) float32; Keras is the reference."""
    network = ready(model, engine)
    return np.concatenate([output for (output,) in predict_batches(network, images)])
