"""Export a trained classifier for other programs: python -m thaw.export partial --format onnx.

Reads   data/models/MODE, or any folder with such a model; data/images, for the check
Writes  exports/MODE/FORMAT/  the model, and export.json, which says how to use it
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import joblib

from thaw.serving.exporting import export, export_folder, model_folder
from thaw.serving.formats import FORMATS
from thaw.support.errors import ThawError
from thaw.support.runtime import set_up
from thaw.support.stage import explain


def main(arguments: list[str] | None = None) -> None:
    """Export a model, and print how it compares with Keras.

    A user's mistake or a full disk ends the process with one message and exit code 1.
    """
    parser = argparse.ArgumentParser(prog="python -m thaw.export", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", metavar="MODE|FOLDER", help="frozen, partial, full or a folder")
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument("--int8", action="store_true", help="8-bit integers, for litert")
    parser.add_argument("--to", type=Path, metavar="PATH", help="the folder of the export")
    given = parser.parse_args(arguments)
    target = given.to or export_folder(given.model, given.format, given.int8)
    set_up(threads=joblib.cpu_count())
    try:
        source = model_folder(given.model)
        print(_summary(target, export(source, target, given.format, int8=given.int8)))
    except ThawError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {explain(error)}")
    except KeyboardInterrupt:
        sys.exit(130)


def _summary(target: Path, content: dict[str, Any]) -> str:
    """Return what a person wants to know about an export."""
    check = content["check"]
    lines = [
        f"exported to {target}: {content['model']}, {content['bytes'] / 1e6:.1f} MB",
        f"run by {check['runtime']} on {check['images']:,} {check['origin']}:",
        f"  largest difference from Keras' probabilities: {check['largest_difference']:.2g}",
        f"  same class as Keras: {check['agreement']:.2%}",
    ]
    if "accuracy" in check:
        lines.append(f"  accuracy: {check['accuracy']:.4f}, Keras {check['keras_accuracy']:.4f}")
    else:
        lines.append("  accuracy: unknown, since the model's test images are not in data/images")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
