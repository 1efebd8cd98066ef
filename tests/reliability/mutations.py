"""Break code on purpose and see whether a test notices: python -m tests.reliability.mutations.

Each change is made in a copy of the project, whose tests of that part are then run.
"""

import ast
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.reliability.project import copy_files

NOTICED = 1
"""pytest's exit code when tests fail; any other means that they did not run."""
CONDITION = "if"
"""Stands for the condition of a function's only `if`."""


@dataclass(frozen=True)
class Mutation:
    """A change to one function of thaw, and the tests that must fail then.

    Code is compared as syntax: its format, its comments and the module it lies in do not matter.

    Attributes:
        function: its name, after that of its class.
        old: the expression or statement that changes, which the function has once, or `CONDITION`.
        new: what it becomes.
        tests: the module below tests/.

    """

    function: str
    old: str
    new: str
    tests: str

    def spot(self, root: Path) -> tuple[Path, ast.expr | ast.stmt]:
        """Return what changes in the project in `root`, and the module that it is in.

        Raises:
            LookupError: not exactly one function of thaw has the old code, exactly once.

        """
        found = [
            (path, node)
            for path in sorted((root / "thaw").rglob("*.py"))
            for name, function in _functions(ast.parse(path.read_text(encoding="utf-8")))
            if name == self.function
            for node in self._old(function)
        ]
        if len(found) != 1:
            places = [f"{path}:{node.lineno}" for path, node in found]
            raise LookupError(f"{self.function} has {self.old!r} {len(found)} times: {places}")
        return found[0]

    def _old(self, function: ast.AST) -> list[ast.expr | ast.stmt]:
        if self.old == CONDITION:
            return [node.test for node in ast.walk(function) if isinstance(node, ast.If)]
        wanted = ast.dump(_node(self.old))
        nodes = (node for node in ast.walk(function) if isinstance(node, ast.expr | ast.stmt))
        return [node for node in nodes if ast.dump(node) == wanted]

    def apply(self, root: Path) -> None:
        """Change the module of the project in `root`."""
        path, old = self.spot(root)
        lines = path.read_bytes().splitlines(keepends=True)
        first, last = old.lineno - 1, (old.end_lineno or old.lineno) - 1
        before = b"".join(lines[:first]) + lines[first][: old.col_offset]
        after = lines[last][old.end_col_offset :] + b"".join(lines[last + 1 :])
        path.write_bytes(before + self.new.encode() + after)


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield prefix + node.name, node
            yield from _functions(node, f"{prefix}{node.name}.")


def _node(code: str) -> ast.AST:
    """Return the syntax of a statement, or of an expression."""
    (statement,) = ast.parse(code).body
    return statement.value if isinstance(statement, ast.Expr) else statement


MUTATIONS = {
    "one layer more is frozen": Mutation(
        "freeze_first", "i >= count", "i > count", "test_backbone"
    ),
    "a block's name freezes all but its last layer": Mutation(
        "freeze_count", "1", "0", "test_backbone"
    ),
    "frozen batch normalisation ignores the batch": Mutation(
        "BatchNormalization.call", "training and not self.trainable", "False", "test_backbone"
    ),
    "frozen_batch_norm: training thaws what was frozen": Mutation(
        "with_batch_statistics", "original.trainable", "True", "test_backbone"
    ),
    "input in [0, 1] is not scaled": Mutation(
        "preprocess", "images / 255.0", "images", "test_backbone"
    ),
    "validation images are trained on": Mutation(
        "make_splits", "rest[kept]", "kept", "test_images"
    ),
    "a split that overlaps passes": Mutation(
        "check_split", "len(np.unique(joined)) != len(joined)", "False", "test_images"
    ),
    "a draw is not sorted": Mutation("stratified", "np.sort(drawn)", "drawn", "test_images"),
    "accuracy takes the least likely class": Mutation(
        "Predictions.predicted",
        "self.probabilities.argmax",
        "self.probabilities.argmin",
        "test_evaluation",
    ),
    "cross-entropy is that of the likeliest class": Mutation(
        "cross_entropy",
        "predictions.probabilities[np.arange(len(predictions.labels)), predictions.labels]",
        "predictions.probabilities.max(axis=1)",
        "test_evaluation",
    ),
    "the intervals of two models are drawn apart": Mutation(
        "paired_difference",
        "right @ weights",
        "right[:, random.permutation(one.shape[1])] @ weights",
        "test_evaluation",
    ),
    "any Fashion-MNIST file passes": Mutation(
        "_verified", "received != file.sha256", "False", "test_fashion_mnist"
    ),
    "any mirror's bytes pass": Mutation(
        "_unpack",
        "received != f'{file.size:,} bytes, SHA-256 {file.sha256}'",
        "False",
        "test_mirrors",
    ),
    "any bundled weights pass": Mutation("read", "received != expected", "False", "test_bundled"),
    "weights of any shape pass": Mutation(
        "assign", "expected != received", "False", "test_weights"
    ),
    "a checkpoint is taken for another run's params": Mutation(
        "open_checkpoint", "params", "None", "test_checkpoint"
    ),
    "a checkpoint is taken for another run's files": Mutation(
        "open_checkpoint", "[*files, *_code(package)]", "_code(package)", "test_checkpoint"
    ),
    "a damaged checkpoint is taken": Mutation(
        "Checkpoint.flaw", "self._line(self.folder, name) not in lines", "False", "test_checkpoint"
    ),
    "the last epoch's weights are kept, not the best's": Mutation(
        "fit", "checkpoint.restore_best(model)", "None", "test_training"
    ),
    "a resumed epoch has another order": Mutation(
        "_SeedEachEpoch.on_epoch_begin",
        "self.train.start_epoch(epoch)",
        "self.train.start_epoch(0)",
        "test_training",
    ),
    "a head sees every epoch in the same order": Mutation(
        "ArrayBatches.start_epoch", "self.shared_order.assign(self.order)", "None", "test_batches"
    ),
    "augmented images are cached": Mutation(
        "plan_cache", "training.augment.some", "False", "test_activations"
    ),
    "frozen layers on batch statistics are cached": Mutation(
        "plan_cache", "frozen_batch_norm == 'training'", "False", "test_activations"
    ),
    "the cache may be of any size": Mutation(
        "plan_cache", "size > max_gb * 1e9", "False", "test_activations"
    ),
    "features that are all the same pass": Mutation(
        "checked", "count > 1 and not varied", "False", "test_features"
    ),
    "what a kill put aside is forgotten": Mutation(
        "_restore", "_aside(folder).replace(folder)", "None", "test_files"
    ),
    "Adam forgets that its means begin at 0": Mutation(
        "Adam.apply",
        "ops.power(self.beta_1, step)",
        "ops.power(self.beta_1, step + 1)",
        "test_optimizers",
    ),
    "a file is written in place": Mutation(
        "atomic_file",
        "path.with_name(f'{SCRATCH}{os.getpid()}-{path.name}')",
        "path",
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
    """Break the function in `root`, run the tests, mend it; return whether they failed."""
    path, _ = mutation.spot(root)
    whole = path.read_bytes()
    mutation.apply(root)
    noticed = failing(root, mutation.tests)
    path.write_bytes(whole)
    return noticed


def table_row(what: str, mutation: Mutation, noticed: bool = True) -> str:
    """Return a mutation's line of the table."""
    shown = "yes" if noticed else "**no**"
    return f"| {what} | {mutation.function} | tests/{mutation.tests}.py | {shown} |"


def main() -> None:
    """Print a line for each mutation; end with 1 where one went unnoticed."""
    unnoticed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy_files(Path(folder))
        for tests in sorted({mutation.tests for mutation in MUTATIONS.values()}):
            if failing(Path(folder), tests):
                sys.exit(f"error: tests/{tests}.py fails before anything is broken")
        print("| Broken on purpose | Function | Tests | Noticed |\n|---|---|---|---|")
        for what, mutation in MUTATIONS.items():
            noticed = is_noticed(Path(folder), mutation)
            unnoticed += not noticed
            print(table_row(what, mutation, noticed), flush=True)
    sys.exit(1 if unnoticed else 0)


if __name__ == "__main__":
    main()
