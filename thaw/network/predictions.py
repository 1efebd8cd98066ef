"""What a model says of images."""

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.data.images import Images
from thaw.network import inference
from thaw.network.inference import Arrays, Network
from thaw.support.errors import ThawError


@dataclass(frozen=True)
class Predictions:
    """A model's answers on one part of the split.

    Attributes:
        labels: (n,) int64, 0..9.
        probabilities: (n, 10) float32, rows that sum to 1.

    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Refuse what no classifier can have said.

        Raises:
            ThawError: probabilities are not finite, or there is not one row for each label.

        """
        if self.probabilities.shape != (len(self.labels), len(CLASS_NAMES)):
            raise ThawError(
                f"predictions must be {(len(self.labels), len(CLASS_NAMES))}. "
                f"Received: {self.probabilities.shape}"
            )
        if not np.isfinite(self.probabilities).all():
            raise ThawError(
                "the model predicts values that are not finite. Lower learning_rate and check "
                "`weights` and `value_range`."
            )

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The likeliest class of each image."""
        return self.probabilities.argmax(axis=1)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each prediction is right."""
        return self.predicted == self.labels


def predict_batches(network: Network, images: Images) -> Iterator[Arrays]:
    """Yield the network's outputs, each (batch, ..) float32, batch by batch, in order."""
    with tqdm(total=len(images), unit="img", disable=None) as bar:
        for start in range(0, len(images), network.batch_size):
            batch = images.batch(slice(start, start + network.batch_size))
            yield network.run(batch)
            bar.update(len(batch))


def predict(model: keras.Model, images: Images, engine: str = "keras") -> NDArray[np.float32]:
    """Return the model's output for all `images`, (n, outputs) float32; Keras is the reference."""
    network = inference.ready(model, engine)
    return np.concatenate([output for (output,) in predict_batches(network, images)])
