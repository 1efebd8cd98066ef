"""Say what pictures show: python -m thaw.predict FILE|FOLDER.. [--mode partial] [--top 3].

A picture that cannot be read gets a line that says why. The exit code is 0 if all could be read, 1
if one could not or there is no model, and 2 if the arguments are wrong.
"""

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib

from thaw.config.fields import ENGINES
from thaw.data.transfer import printable
from thaw.report.results import MODES
from thaw.serving.prediction import Prediction, find_files, load_predictor
from thaw.support import paths
from thaw.support.errors import ThawError
from thaw.support.runtime import set_up

STDIN = "-"


def main() -> int:
    """Print a line for each picture; return 1 if one of them could not be read, else 0."""
    options = _options()
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be valid text
        sys.stdout.reconfigure(errors="backslashreplace")
    set_up(threads=joblib.cpu_count())
    folder = options.model or paths.MODELS / options.mode
    try:
        predictor = load_predictor(folder, options.engine)
    except ThawError as error:
        sys.exit(f"error: {error}")
    top = min(options.top, len(predictor.description.classes))
    write = _writer(options.format, top)
    unread = 0
    for prediction in predictor.predict(find_files(_names(options.files)), top):
        write(prediction)
        unread += bool(prediction.error)
    return 1 if unread else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m thaw.predict", description=__doc__)
    parser.add_argument("files", nargs="*", default=[STDIN], metavar="FILE|FOLDER")
    parser.add_argument("--mode", choices=list(MODES), default="partial")
    parser.add_argument("--model", type=Path, help="a model's folder, instead of --mode")
    parser.add_argument("--top", type=_count, default=3, help="how many classes to print")
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0])
    formats = parser.add_mutually_exclusive_group()
    for name in ("csv", "json"):
        formats.add_argument(f"--{name}", dest="format", action="store_const", const=name)
    return parser.parse_args()


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more. Received: {text!r}")
    return int(text)


def _names(files: list[str]) -> Iterator[str]:
    """Yield the names of files; `-` stands for the names on standard input, one a line."""
    for name in files:
        if name == STDIN:
            yield from (line.rstrip("\n") for line in sys.stdin if line.strip())
        else:
            yield name


def _writer(format: str | None, top: int) -> Callable[[Prediction], Any]:
    """Return a function that prints a prediction."""
    if format == "json":
        return lambda prediction: print(json.dumps(_as_json(prediction)), flush=True)
    if format == "csv":
        table = csv.writer(sys.stdout, lineterminator="\n")
        pairs = (
            f"{name}_{rank}" for rank in range(1, top + 1) for name in ("class", "probability")
        )
        table.writerow(["file", "error", *pairs])
        return lambda prediction: table.writerow(_as_row(prediction, top))
    return lambda prediction: print(_as_text(prediction), flush=True)


def _as_json(prediction: Prediction) -> dict[str, Any]:
    if prediction.error:
        return {"file": prediction.file, "error": prediction.error}
    classes = [{"class": name, "probability": value} for name, value in prediction.classes]
    return {"file": prediction.file, "classes": classes}


def _as_row(prediction: Prediction, top: int) -> list[object]:
    answers = [part for pair in prediction.classes for part in pair]
    return [prediction.file, prediction.error, *answers, *[""] * (2 * top - len(answers))]


def _as_text(prediction: Prediction) -> str:
    said = [f"{name} {value:.3f}" for name, value in prediction.classes]
    return "\t".join([printable(prediction.file), *(said or [f"error: {prediction.error}"])])


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # `| head` has read enough
        # Python flushes the stream once more at exit, and that would fail with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
