"""What a shell's variables could change, small: each part's bytes, as a line of SHA-256.

`python -m tests.reliability.computation PART ..` runs it with thaw's care, which the package's
__init__.py asks for; `python tests/reliability/computation.py PART ..` does without, and shows what
that is for. The libraries alone compute here, configured as thaw configures them.
"""

import hashlib
import io
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any


def training() -> bytes:
    """Return the weights after one step of a small network with the layers that ResNet50 has."""
    model, images = _network(), _images()
    model.train_on_batch(images, _labels(len(images)))
    return b"".join(value.tobytes() for value in model.get_weights())


def features() -> bytes:
    """Return the features that OpenVINO computes with the same network, before any step."""
    from openvino import Core

    model = _network()
    core = Core()
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, format="tf_saved_model", verbose=False)
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 2, "NUM_STREAMS": 2}
        compiled = core.compile_model(core.read_model(folder), "CPU", settings)
    return compiled(_images())[0].tobytes()


def linear() -> bytes:
    """Return the coefficients of a linear classifier on pixels, as the stage baseline fits it."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    pixels = _images(200).reshape(200, -1)
    with threadpool_limits(2):
        model = LogisticRegression(C=0.01, max_iter=20, tol=0.2).fit(pixels, _labels(200))
    return model.coef_.tobytes()


def numbers() -> bytes:
    """Return what NumPy and SciPy make of the images: sums, products, functions."""
    import numpy as np
    from scipy import stats

    values = _images(500).reshape(500, -1)
    products = values @ values.T
    functions = [np.exp(values), np.sin(values), np.log1p(values), np.sum(values, axis=0)]
    flat = values.astype(np.float64).ravel()
    parts = [products, *functions, np.dot(flat, flat), stats.norm.ppf(np.linspace(0.01, 0.99, 99))]
    return b"".join(np.asarray(part).tobytes() for part in parts)


def resizing() -> bytes:
    """Return an image as scikit-image enlarges it."""
    from skimage.transform import resize

    return resize(_images(1)[0], (224, 224), order=1, mode="constant").tobytes()


def figure() -> bytes:
    """Return a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(4, 3), layout="constrained")
    FigureCanvasAgg(drawn)
    axes = drawn.subplots()
    axes.plot([1, 2, 3], [3, 1, 2], label="a line")
    axes.set(xlabel="epoch", ylabel="loss (nats)", title="A figure")
    axes.legend()
    file = io.BytesIO()
    drawn.savefig(file, metadata={"Software": None})
    return file.getvalue()


def store() -> bytes:
    """Return an HDF5 file with arrays, compressed and not."""
    import h5py
    import hdf5plugin

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some.h5"
        with h5py.File(path, "w") as file:
            file["plain"] = _images(50)
            packed = hdf5plugin.Zstd(clevel=3)
            file.create_dataset("packed", data=_images(50), chunks=(10, 32, 32, 3), **packed)
        return path.read_bytes()


def _images(count: int = 32) -> Any:
    """Return noise, (count, 32, 32, 3) float32 in [0, 1)."""
    import numpy as np

    return np.random.default_rng(0).random((count, 32, 32, 3), np.float32)


def _labels(count: int) -> Any:
    import numpy as np

    return np.arange(count) % 10


@cache
def _network() -> Any:
    """Return a compiled network: convolutions, batch normalisation, a dense layer."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(2)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    layers = [keras.Input((32, 32, 3))]
    for filters, size in ((32, 7), (32, 3), (64, 1)):
        layers += [
            keras.layers.Conv2D(filters, size, strides=2, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    return model


PARTS = (features, training, linear, numbers, resizing, figure, store)


def main(names: Sequence[str]) -> None:
    """Print a line for each part named, of all for none: name, SHA-256."""
    for part in PARTS:
        if not names or part.__name__ in names:
            print(part.__name__, hashlib.sha256(part()).hexdigest(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
