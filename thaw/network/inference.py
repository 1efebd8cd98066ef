"""Inference engines: Keras itself, or OpenVINO, which is faster on a CPU.

`engine` and `engine_precision` in params.yaml decide, so every machine uses the same engine and
precision, and none is chosen automatically. The measurements are in benchmarks/README.md.
"""

import sys
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
from thaw.support.errors import ThawError
from thaw.support.files import require_space

Arrays = tuple[NDArray[np.float32], ...]

PIXELS_IN_A_BATCH = {"keras": 1 << 18, "openvino": 1 << 16}
"""Pixels of the input images in one batch; for OpenVINO, in the batch of one thread.

Keras gets 256 images of 32 px, and 16 from 128 px on, so that the activations fit in memory.
OpenVINO gets 64 images of 32 px or 2 of 224 px, its fastest sizes (benchmarks/README.md)."""
SMALLEST_BATCH = {"keras": 16, "openvino": 2}
"""Images in a batch, however large the images are."""


@dataclass(frozen=True)
class Network:
    """A model that is ready to predict."""

    batch_size: int
    """The largest number of images that `run` takes in one call."""
    run: Callable[[NDArray[np.uint8]], Arrays]
    """Maps images (n, size, size, 3) uint8 to the model's outputs, each (n, ..) float32."""


def batch_size(size: int, engine: str) -> int:
    """Return the images in a batch, for a side of `size` pixels; for OpenVINO, in each thread's."""
    return max(SMALLEST_BATCH[engine], PIXELS_IN_A_BATCH[engine] // size**2)


def ready(model: keras.Model, engine: str, precision: str = "float32") -> Network:
    """Make a model ready to predict.

    Do not change the model's weights afterwards: OpenVINO keeps a copy, and Keras does not.

    Args:
        model: from images (n, size, size, 3) uint8 to one or more outputs.
        engine: keras or openvino.
        precision: float32 or bfloat16. The outputs are float32 either way.

    Raises:
        ThawError: OpenVINO cannot compute in bfloat16 on this processor.

    """
    most = batch_size(model.input_shape[1], engine)
    if engine == "keras":
        return Network(most, _keras(_in_bfloat16(model) if precision == "bfloat16" else model))
    streams = _threads() or 1  # TensorFlow returns 0 where no number was set
    return Network(streams * most, openvino(model, most, streams, precision))


def _threads() -> int:
    return tf.config.threading.get_intra_op_parallelism_threads()


def _keras(model: keras.Model) -> Callable[[NDArray[np.uint8]], Arrays]:
    """Trace a model once, for any number of images.

    `predict_on_batch` traces anew for a last batch of another size, and TensorFlow then warns of
    it after a few models. The two may differ in the last digit.
    """
    images = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)
    traced = tf.function(lambda some: model(some, training=False), autograph=False)
    run = traced.get_concrete_function(images)
    return lambda some: tuple(
        tf.cast(x, tf.float32).numpy() for x in keras.tree.flatten(run(tf.constant(some)))
    )


def _in_bfloat16(model: keras.Model) -> keras.Model:
    """Return a copy whose layers compute in bfloat16; say so if the processor is slow at that."""
    if not (tf.config.list_physical_devices("GPU") or "BF16" in _processor_precisions()):
        print(
            "warning: this processor has no instructions for bfloat16, so Keras computes in it "
            "slowly. -S engine_precision=float32 is faster here.",
            file=sys.stderr,
            flush=True,
        )

    def replace(layer: keras.Operation) -> keras.Operation:
        # The input is uint8, and what preprocesses it, before any layer, is float32.
        if isinstance(layer, keras.layers.InputLayer) or not isinstance(layer, keras.Layer):
            return layer
        return type(layer).from_config(layer.get_config() | {"dtype": "mixed_bfloat16"})

    copy = keras.models.clone_model(model, clone_function=replace, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def _processor_precisions() -> list[str]:
    """Return the precisions that the processor has instructions for, as OpenVINO names them."""
    from openvino import Core

    precisions: list[str] = Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return precisions


def openvino(
    model: keras.Model, most: int, streams: int, precision: str = "float32"
) -> Callable[[NDArray[np.uint8]], Arrays]:
    """Compile a model with OpenVINO, for `streams` batches at a time of `most` images each.

    One stream per thread is faster than all threads on one batch, where they wait for each other
    after every layer. A fixed batch size is faster than a dynamic one, so smaller batches are
    padded.

    Returns:
        A function from up to `streams * most` images (n, size, size, 3) uint8 to the model's
        outputs, each (n, ..) float32.

    Raises:
        ThawError: `precision` is bfloat16 and the processor has no instructions for it. OpenVINO
            would compute in float32, and params.yaml would not tell.

    """
    from openvino import Core  # the import takes a fifth of a second, so only users pay for it

    core = Core()
    if precision == "bfloat16" and "BF16" not in _processor_precisions():
        raise ThawError(
            "engine_precision bfloat16 needs a processor with instructions for it (AMX or AVX-512 "
            "BF16), and instruction_set native: otherwise OpenVINO computes in float32. Allowed "
            "here: -S engine_precision=float32, or -S engine=keras, which is slow. Received: "
            f"engine_precision {precision}, engine openvino, on a processor without it"
        )
    with tempfile.TemporaryDirectory() as name:
        # On a full disk TensorFlow raises no OSError, and its error names a file that is gone.
        require_space(Path(name), 4 * model.count_params())
        model.export(Path(name), format="tf_saved_model", verbose=False)
        # Not `openvino.convert_model`: it would ask for consent to telemetry.
        network = core.read_model(name)
        network.reshape([most, *model.input_shape[1:]])
        compiled = core.compile_model(
            network,
            "CPU",
            {
                # By default it is bfloat16 on processors that have it.
                "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
                "INFERENCE_NUM_THREADS": _threads(),
                "NUM_STREAMS": streams,
            },
        )
    requests = [compiled.create_infer_request() for _ in range(streams)]

    def run(images: NDArray[np.uint8]) -> Arrays:
        batches = [images[start : start + most] for start in range(0, len(images), most)]
        # Start every request before waiting for the first, so that all streams work at once.
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
    """Return the model's output for all `images`: (n, outputs) float32.

    The default engine is Keras, which is the reference for the other one.
    """
    network = ready(model, engine)
    return np.concatenate([output for (output,) in predict_batches(network, images)])
