"""Whether an Intel processor computes the same bits: python -m tests.reliability.emulated.

Features of 32 images by OpenVINO and by Keras, and a step of training by Adam, each held to AVX2:
on this processor, and on an Intel Haswell that QEMU emulates (Debian's package qemu-user-static).
An emulator follows the instructions, name and caches of a processor, but knows no AVX-512. Minutes.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

EMULATOR = ("qemu-x86_64-static", "-cpu", "Haswell")
IMAGES, SIZE, FROZEN = 32, 32, 10
Arrays = dict[str, NDArray[np.float32]]


def computed() -> Arrays:
    """Return what a processor may round: features, probabilities, gradients, weights."""
    # Here, not above: the process that compares computes nothing.
    import keras
    import tensorflow as tf

    from thaw.config.fields import ENGINES
    from thaw.config.load import load_params
    from thaw.network import backbone, faster, inference, sources, weights
    from thaw.network.heads import build_head
    from thaw.support.runtime import seed_everything, set_up

    set_up(2, "avx2")
    seed_everything(0)
    base = backbone.for_training(weights.resnet50(SIZE, top=False))
    with tempfile.TemporaryDirectory() as folder:
        weights.save(Path(folder), *sources.obtain("bundled", Path(), seed=0))
        weights.load(Path(folder), base)
    backbone.freeze_first(base, FROZEN)
    head = build_head(load_params().head, 10, 0)
    features = backbone.image_model(base, SIZE, "0-255")
    model = backbone.image_model(base, SIZE, "0-255", head)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (IMAGES, SIZE, SIZE, 3), np.uint8)
    labels = tf.constant(random.integers(0, 10, IMAGES))
    found: Arrays = {engine: inference.ready(features, engine).run(images)[0] for engine in ENGINES}
    adam = faster.Adam(1e-3)
    adam.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            probabilities = model(tf.constant(images), training=True)
            losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
            loss = tf.reduce_mean(losses) + tf.add_n(model.losses)
        gradients = tape.gradient(loss, [each.value for each in model.trainable_variables])
        adam.apply(gradients, model.trainable_variables)
        return [probabilities, *gradients]

    probabilities, *gradients = step()
    found["probabilities"] = probabilities.numpy()
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        found[f"gradient of {variable.path}"] = gradient.numpy()
    kept = [*model.variables, *adam.variables]
    return found | {f"{each.path} after it": each.numpy() for each in kept}


def on(*emulator: str) -> Arrays:
    """Compute in a new process, emulated or not."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arrays.npz"
        module = (sys.executable, "-m", "tests.reliability.emulated", str(path))
        subprocess.run([*emulator, *module], check=True)
        with np.load(path) as file:
            return {name.replace("~", "/"): array for name, array in file.items()}


def main() -> None:
    """Compare all arrays, and name those that differ."""
    here, emulated = on(), on(*EMULATOR)
    differ = [name for name, array in here.items() if not np.array_equal(array, emulated[name])]
    print("\n".join(differ))
    print(f"{len(differ)} of {len(here)} arrays differ")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        arrays: dict[str, Any] = {name.replace("/", "~"): each for name, each in computed().items()}
        np.savez(sys.argv[1], **arrays)
