"""The curves of a training while it runs, for `dvc plots show`, `dvc exp show` and editors.

They lie in data/live, which git ignores. No stage reads them and no result depends on them: if they
cannot be written, the training goes on without them. Its folders plots and metrics are in git, and
DVC finds them empty, because DVC warns of a file that dvc.yaml names and a commit lacks.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dvclive
import keras

from thaw.support import paths
from thaw.training.history import HISTORY_COLUMNS


class _Live(dvclive.Live):
    """DVCLive as a writer of files only: it asks neither git nor DVC nor Studio's server.

    It removes the curves of the mode's last training. What it does beside that as it starts is in
    the two private methods: tests/test_live.py notices if a new version has others.
    """

    def __init__(self, folder: Path, mode: str) -> None:
        self._mode = mode  # first, because `super` reads the places
        super().__init__(str(folder), save_dvc_exp=False, dvcyaml=False)

    @property
    def plots_dir(self) -> str:
        return f"{self.dir}/plots/{self._mode}"

    @property
    def metrics_file(self) -> str:
        return f"{self.dir}/metrics/{self._mode}.json"

    def _init_dvc(self) -> None:
        """Open no repository: DVCLive would make one where there is none."""

    def _init_studio(self) -> None:
        """Send nothing, whatever token the user's environment or DVC's settings have."""
        self._studio_events_to_skip |= {"start", "data", "done"}


class LiveCurves(keras.callbacks.Callback):
    """Writes the loss and accuracy of each epoch to data/live.

    If there are several seeds, a training replaces the curves of the seed before it.

    Args:
        root: the project's folder.
        mode: `frozen`, `partial` or `full`.

    """

    def __init__(self, root: Path, mode: str) -> None:
        super().__init__()
        self.folder, self.mode = root / paths.LIVE, mode
        self.live: _Live | None = None

    @contextmanager
    def shown(self, before: Sequence[dict[str, float]]) -> Iterator[None]:
        """Write the epochs `before` an interruption, and leave the curves when the block ends.

        The numbers for `dvc exp show` are removed then: it would add them to those of the results.
        """
        self._try(lambda: self._start(before))
        try:
            yield
        finally:
            self._try(self._end)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Write an epoch's values; Keras calls this."""
        self._try(lambda: self._log({"epoch": epoch + 1, **(logs or {})}))

    def _start(self, before: Sequence[dict[str, float]]) -> None:
        self.live = _Live(self.folder, self.mode)
        # All of them anew: those on the disk may be of another run, or end after the checkpoint.
        for row in before:
            self._log(row)

    def _log(self, row: dict[str, float]) -> None:
        if self.live:
            self.live.step = int(row["epoch"])
            for name in HISTORY_COLUMNS[1:]:
                self.live.log_metric(name, float(row[name]))
            self.live.next_step()

    def _end(self) -> None:
        if self.live:
            self.live.end()
            Path(self.live.metrics_file).unlink()

    def _try(self, write: Callable[[], Any]) -> None:
        """Write, or warn once and write no more."""
        try:
            write()
        except OSError as error:
            self.live = None
            print(
                f"warning: the curves in {self.folder} cannot be written; the training goes on "
                f"without them, and its results do not need them. Received: {error}",
                file=sys.stderr,
                flush=True,
            )
