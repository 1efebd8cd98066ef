"""LiteRT (TensorFlow Lite): one file, in float32 or with 8-bit integers."""

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from thaw.data.image_store import Images


def write(model: keras.Model, path: Path, calibration: Images | None = None) -> None:
    """Write a classifier as a .tflite file that needs LiteRT's own operations alone.

    Args:
        model: from images (n, side, side, 3) uint8 to probabilities (n, classes) float32.
        path: the file.
        calibration: training images, from which the ranges of the activations are measured. With
            them, weights and activations are stored and computed as 8-bit integers. The input and
            the output of the file stay the same.

    """
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, format="tf_saved_model", verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if calibration is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: _one_by_one(calibration)
        with _without_announcement():  # to measure ranges, it runs the interpreter
            path.write_bytes(converter.convert())


def _one_by_one(images: Images) -> Iterator[list[NDArray[np.uint8]]]:
    for row in range(len(images)):
        yield [images.batch(slice(row, row + 1))]


@contextmanager
def _without_announcement() -> Iterator[None]:
    """Do not warn that the interpreter moves to a package of its own, ai-edge-litert."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def load(path: Path) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Return a function that runs a .tflite file on images (n, side, side, 3) uint8."""
    with _without_announcement():
        interpreter = tf.lite.Interpreter(str(path))
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]

    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        interpreter.resize_tensor_input(source, images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source, images)
        interpreter.invoke()
        return interpreter.get_tensor(target)

    return run
