"""Break lines on purpose and see whether a test notices: python -m reliability.mutations.

Each is broken in a copy of the project, whose tests of that part are then run.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from reliability.project import copy_files

NOTICED = 1
"""pytest's exit code when tests fail; any other means that they did not run."""


@dataclass(frozen=True)
class Mutation:
    """A line of thaw, what it becomes, and the tests that must fail then."""

    file: str
    line: str
    broken: str
    tests: str


MUTATIONS = {
    "one layer more is frozen": Mutation(
        "thaw/network/backbone.py",
        "layer.trainable = i >= count",
        "layer.trainable = i > count",
        "test_backbone",
    ),
    "a block's name freezes all but its last layer": Mutation(
        "thaw/network/backbone.py",
        "return 1 + max(i for i, name",
        "return max(i for i, name",
        "test_backbone",
    ),
    "frozen batch normalisation ignores the batch": Mutation(
        "thaw/network/backbone.py",
        "if not training or self.trainable:",
        "if not training or True:",
        "test_backbone",
    ),
    "frozen_batch_norm: batch thaws what was frozen": Mutation(
        "thaw/network/backbone.py",
        "layer.trainable = original.trainable",
        "layer.trainable = True",
        "test_backbone",
    ),
    "input in [0, 1] is not scaled": Mutation(
        "thaw/network/backbone.py", "images = images / 255.0", "pass", "test_backbone"
    ),
    "validation images are trained on": Mutation(
        "thaw/data/images.py",
        '"train": Part(train, rest[kept])',
        '"train": Part(train, kept)',
        "test_images",
    ),
    "a split that overlaps passes": Mutation(
        "thaw/data/images.py",
        "if len(np.unique(joined)) != len(joined) or",
        "if",
        "test_images",
    ),
    "a draw is not sorted": Mutation(
        "thaw/data/images.py",
        "return np.sort(drawn), np.sort(other)",
        "return drawn, other",
        "test_images",
    ),
    "accuracy takes the least likely class": Mutation(
        "thaw/findings/evaluation.py",
        "return self.probabilities.argmax(axis=1)",
        "return self.probabilities.argmin(axis=1)",
        "test_evaluation",
    ),
    "cross-entropy is that of the likeliest class": Mutation(
        "thaw/findings/evaluation.py",
        "right = predictions.probabilities[np.arange(len(predictions.labels)), predictions.labels]",
        "right = predictions.probabilities.max(axis=1)",
        "test_evaluation",
    ),
    "the intervals of two models are drawn apart": Mutation(
        "thaw/findings/intervals.py",
        "by_seed = [right @ counts / one.shape[1] for right in (one, other)]",
        "by_seed = [right[:, random.permutation(one.shape[1])] @ counts / one.shape[1] "
        "for right in (one, other)]",
        "test_evaluation",
    ),
    "any Fashion-MNIST file passes": Mutation(
        "thaw/data/fashion_mnist.py",
        "if received != file.sha256:",
        "if False:",
        "test_fashion_mnist",
    ),
    "any mirror's bytes pass": Mutation(
        "thaw/data/mirrors.py",
        'if received != f"{file.size:,} bytes, SHA-256 {file.sha256}":',
        "if False:",
        "test_mirrors",
    ),
    "any bundled weights pass": Mutation(
        "thaw/network/bundled.py", "if received != expected:", "if False:", "test_bundled"
    ),
    "weights of any shape pass": Mutation(
        "thaw/network/weights.py", "if expected != received:", "if False:", "test_weights"
    ),
    "a checkpoint is taken for another run's params": Mutation(
        "thaw/training/checkpoint.py", '"params": params,', '"params": None,', "test_checkpoint"
    ),
    "a checkpoint is taken for another run's files": Mutation(
        "thaw/training/checkpoint.py",
        "[sha256(path) for path in [*files, *code]]",
        "[sha256(path) for path in code]",
        "test_checkpoint",
    ),
    "a damaged checkpoint is taken": Mutation(
        "thaw/training/checkpoint.py",
        "if self._line(self.folder, name) not in lines:",
        "if False:",
        "test_checkpoint",
    ),
    "the last epoch's weights are kept, not the best's": Mutation(
        "thaw/training/fitting.py", "kept.restore_best(model)", "pass", "test_training"
    ),
    "a resumed epoch has another order": Mutation(
        "thaw/training/fitting.py",
        "self.train.start_epoch(epoch)",
        "self.train.start_epoch(0)",
        "test_training",
    ),
    "a head sees every epoch in the same order": Mutation(
        "thaw/training/batches.py", "self.shared_order.assign(self.order)", "pass", "test_batches"
    ),
    "augmented images are cached": Mutation(
        "thaw/training/activation_cache.py",
        "if training.augment.some:",
        "if False:",
        "test_activations",
    ),
    "frozen layers on batch statistics are cached": Mutation(
        "thaw/training/activation_cache.py",
        'if frozen_batch_norm == "training":',
        "if False:",
        "test_activations",
    ),
    "the cache may be of any size": Mutation(
        "thaw/training/activation_cache.py",
        "if size > max_gb * 1e9:",
        "if False:",
        "test_activations",
    ),
    "features that are all the same pass": Mutation(
        "thaw/network/features.py", "if count > 1 and not varied:", "if False:", "test_features"
    ),
    "what a kill put aside is forgotten": Mutation(
        "thaw/support/files.py", "_aside(folder).replace(folder)", "pass", "test_files"
    ),
    "Adam forgets that its means begin at 0": Mutation(
        "thaw/training/optimizers.py",
        "beta1_power=ops.power(beta_1, step),",
        "beta1_power=ops.power(beta_1, step + 1),",
        "test_optimizers",
    ),
    "a file is written in place": Mutation(
        "thaw/support/files.py",
        'scratch = path.with_name(f"{SCRATCH}{os.getpid()}-{path.name}")',
        "scratch = path",
        "test_files",
    ),
}


def failing(root: Path, tests: str) -> bool:
    """Return whether tests fail in `root`."""
    command = (sys.executable, "-m", "pytest", "-q", "-x", f"tests/{tests}.py")
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if ended.returncode not in (0, NOTICED):
        sys.exit(f"error: the tests did not run:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    return ended.returncode == NOTICED


def is_noticed(root: Path, mutation: Mutation) -> bool:
    """Break the line in `root`, run the tests, mend it; return whether they failed."""
    path = root / mutation.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace(mutation.line, mutation.broken), encoding="utf-8")
    noticed = failing(root, mutation.tests)
    path.write_text(whole, encoding="utf-8")
    return noticed


def main() -> None:
    """Print a line for each mutation; end with 1 where one went unnoticed."""
    unnoticed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy_files(Path(folder))
        for tests in sorted({mutation.tests for mutation in MUTATIONS.values()}):
            if failing(Path(folder), tests):
                sys.exit(f"error: tests/{tests}.py fails before anything is broken")
        print("| Broken on purpose | File | Tests | Noticed |\n|---|---|---|---|")
        for what, mutation in MUTATIONS.items():
            noticed = is_noticed(Path(folder), mutation)
            unnoticed += not noticed
            where = f"{mutation.file} | tests/{mutation.tests}.py"
            print(f"| {what} | {where} | {'yes' if noticed else '**no**'} |", flush=True)
    sys.exit(1 if unnoticed else 0)


if __name__ == "__main__":
    main()
