"""Weights files made to do harm, or only odd: python -m tests.reliability.hostile.

Each begins as a file that Keras wrote. The harmful must end in one message, the odd in the same
weights; neither in another error, nor in more than `thaw.support.hdf5` grants of time and memory.
"""

import os
import resource
import signal
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import keras
import numpy as np

from thaw.network import layouts
from thaw.network.weights import assign
from thaw.support import hdf5
from thaw.support.errors import ThawError

ARRAY = "layers/conv2d/vars/1"
"""The array that is replaced: (4,) float32."""
OF_ITS_SHAPE = "layers/batch_normalization/vars/0"
SIZE = 4
HUGE = 1_000_000_000
PATIENCE = 10
"""Seconds beyond `hdf5.SECONDS` that a file may take in all."""
Change = Callable[[Path], None]


def network() -> keras.Model:
    """Return a network small enough that most of its file is structure."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(SIZE, 3, name="convolution"),
            keras.layers.BatchNormalization(name="normalisation"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(5, name="predictions"),
        ]
    )


def _put(node: Any, path: Path) -> None:
    """Put a link, array or type in the array's place."""
    with h5py.File(path, "r+") as file:
        del file[ARRAY]
        file[ARRAY] = node


def _array(path: Path, shape: tuple[int, ...] = (SIZE,), dtype: Any = "f4", **how: Any) -> None:
    """Put an array made so in the array's place."""
    with h5py.File(path, "r+") as file:
        if "data" not in how:
            how["shape"], how["dtype"] = shape, dtype
        del file[ARRAY]
        file.create_dataset(ARRAY, **how)


def _secret(path: Path) -> Path:
    """Return an HDF5 file beside `path` whose content is nobody's business."""
    secret = path.with_name("secret.h5")
    with h5py.File(secret, "w") as file:
        file["values"] = np.arange(SIZE, dtype=np.float32)
    return secret


def _link_to_file(path: Path) -> None:
    _put(h5py.ExternalLink(str(_secret(path)), "values"), path)


def _link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    _put(h5py.ExternalLink(str(path.with_name("pipe")), "values"), path)


def _virtual(path: Path) -> None:
    layout = h5py.VirtualLayout((SIZE,), "f4")
    layout[:] = h5py.VirtualSource(str(_secret(path)), "values", (SIZE,), "f4")
    with h5py.File(path, "r+") as file:
        del file[ARRAY]
        file.create_virtual_dataset(ARRAY, layout)


def _circle(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["layers/again"] = file["/"]


def _names_for_one_array(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        array = file.create_dataset("big", (HUGE,), "u1")
        for i in range(100):
            file[f"big{i}"] = array


def _compressed(path: Path) -> None:
    """Add 3 GB of zeros that take 3 MB."""
    piece = zlib.compress(bytes(HUGE // 10))
    with h5py.File(path, "r+") as file:
        for i in range(3):
            array = file.create_dataset(
                f"big{i}", (HUGE,), "u1", chunks=(HUGE // 10,), compression="gzip"
            )
            for start in range(0, HUGE, HUGE // 10):
                array.id.write_direct_chunk((start,), piece)


def _partly_written(path: Path) -> None:
    _array(path, chunks=(1,))
    with h5py.File(path, "r+") as file:
        file[ARRAY][0] = 1


def _groups(depth: int, count: int, path: Path) -> None:
    with h5py.File(path, "r+") as file:
        for i in range(count):
            file.create_group("/".join([f"g{i}"] * depth))


def _reference(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        references = np.array([file.ref] * SIZE, h5py.ref_dtype)
        del file[ARRAY]
        file.create_dataset(ARRAY, data=references, dtype=h5py.ref_dtype)


def _bytes_of(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _still_written(path: Path) -> None:
    """Leave the file as a killed writer does."""
    _latest(path)
    with h5py.File(path, "r+", libver="latest") as file:
        file.swmr_mode = True
        file.flush()
        content = path.read_bytes()
    path.write_bytes(content)


def _latest(path: Path) -> None:
    _copied(path, libver="latest")


def _copied(path: Path, **how: Any) -> None:
    """Write the file again, as another HDF5 would."""
    other = path.with_name("other.h5")
    with h5py.File(path) as file, h5py.File(other, "w", **how) as copy:
        for name in file:
            file.copy(name, copy)
    other.replace(path)


def _stored_as(dtype: str, path: Path, **how: Any) -> None:
    with h5py.File(path) as file:
        values = file[ARRAY][()]
    _array(path, data=values.astype(dtype), **how)


def _many_attributes(path: Path) -> None:
    with h5py.File(path, "r+", libver="latest") as file:
        attributes = file.create_group("notes").attrs
        attributes["long"] = np.zeros(2_000_000)
        attributes["points to"] = file.ref


def _archive(path: Path, name: str = layouts.ARCHIVED_WEIGHTS, kind: int = 0) -> None:
    """Pack the file as Keras' `.keras`, under another name or compressed."""
    with zipfile.ZipFile(path.with_suffix(layouts.ARCHIVE), "w", kind) as archive:
        archive.write(path, name)
    path.unlink()


def _other_bytes(path: Path) -> None:
    _archive(path)
    archive = path.with_suffix(layouts.ARCHIVE)
    content = archive.read_bytes()
    middle = len(content) // 2  # not its end, where the list of what it holds stands
    archive.write_bytes(content[:middle] + b"\xff" * 64 + content[middle + 64 :])


def _bomb(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(HUGE // 4)
    _archive(path, kind=zipfile.ZIP_DEFLATED)


_POINT = np.array([(1, 2)] * SIZE, [("x", "f4"), ("y", "f4")])
_COLOURS = h5py.enum_dtype({"red": 0, "green": 1}, basetype="i4")
HARMFUL: dict[str, Change] = {
    "array kept in /etc/passwd": partial(_array, external=[("/etc/passwd", 0, 4 * SIZE)]),
    "link to another HDF5 file": _link_to_file,
    "link to a named pipe": _link_to_pipe,
    "virtual array of another file": _virtual,
    "soft link to nothing": partial(_put, h5py.SoftLink("/nothing")),
    "soft link to itself": partial(_put, h5py.SoftLink(f"/{ARRAY}")),
    "soft link to another array": partial(_put, h5py.SoftLink(f"/{OF_ITS_SHAPE}")),
    "group within itself": _circle,
    "100 names for one array of 1 GB": _names_for_one_array,
    "3 GB of zeros, compressed to 3 MB": _compressed,
    "array of 550 GB, never written": partial(_array, shape=(1 << 31, 64), chunks=(1, 64)),
    "array never written": _array,
    "array in pieces, one of four written": _partly_written,
    "1,000 groups within groups": partial(_groups, 1000, 1),
    "50,000 groups": partial(_groups, 1, 50_000),
    "complex weights": partial(_array, data=np.full(SIZE, 1 + 2j, np.complex64)),
    "truth values": partial(_array, data=np.ones(SIZE, bool)),
    "text": partial(_array, data=np.full(SIZE, b"1.5")),
    "text of any length": partial(_array, data=["1.5"] * SIZE),
    "pairs of numbers": partial(_array, data=_POINT),
    "opaque bytes": partial(_array, data=np.full(SIZE, b"1.5", "V3")),
    "named values": partial(_array, data=np.zeros(SIZE, np.int32), dtype=_COLOURS),
    "int8": partial(_array, data=np.ones(SIZE, np.int8)),
    "uint16, as Keras packs bfloat16": partial(_array, data=np.ones(SIZE, np.uint16)),
    "floats of 128 bits": partial(_array, data=np.ones(SIZE, np.longdouble)),
    "float64 beyond float32": partial(_array, data=np.full(SIZE, 1e300)),
    "not a number": partial(_array, data=np.full(SIZE, np.nan, np.float32)),
    "references to objects": _reference,
    "array without shape": partial(_put, h5py.Empty("f4")),
    "type in an array's place": partial(_put, np.dtype("f4")),
    "compressed by a plugin": partial(_array, data=np.ones(SIZE, np.float32), **hdf5plugin.Zstd()),
    "left by a killed writer": _still_written,
    "cut off": _cut,
    "empty file": partial(_bytes_of, b""),
    "archive of something else": partial(_archive, name="../../model.weights.h5"),
    "archive with other bytes in its middle": _other_bytes,
    "archive of 250 MB, compressed to nothing": _bomb,
}
ODD: dict[str, Change] = {
    "user block": partial(_copied, userblock_size=512),
    "newest HDF5 format": _latest,
    "16 MB of attributes": _many_attributes,
    "gzip, shuffle and checksums": partial(
        _stored_as, "f4", compression="gzip", shuffle=True, fletcher32=True
    ),
    "float64": partial(_stored_as, "f8"),
    "big-endian": partial(_stored_as, ">f4"),
    "archive": _archive,
}


@dataclass(frozen=True)
class Outcome:
    """What came of a file."""

    word: str
    """refused, read, or what must not be: read otherwise, Traceback, never ends."""
    said: str
    seconds: float


def attempt(change: Change, folder: Path) -> Outcome:
    """Make a file in `folder`, read it as `weights` in params.yaml has it, and say what came."""
    path = folder / "some.weights.h5"
    model = network()
    model.save_weights(path)
    change(path)
    path = path if path.exists() else path.with_suffix(layouts.ARCHIVE)
    other = keras.models.clone_model(model)
    start = time.monotonic()
    word, said = _read(path, other)
    if word == "read" and not _equal(model.get_weights(), other.get_weights()):
        word = "read otherwise"
    return Outcome(word, said, time.monotonic() - start)


def _read(path: Path, model: keras.Model) -> tuple[str, str]:
    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(hdf5.SECONDS + PATIENCE)
    try:
        assign(model, layouts.read(path, model), path)
    except ThawError as error:
        return "refused", str(error).replace(str(path), path.name)
    except TimeoutError:
        return "never ends", ""
    except Exception as error:
        return "Traceback", repr(error)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return "read", ""


def _equal(some: Iterable[Any], other: Iterable[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(some, other, strict=True))


def _gigabytes() -> float:
    """Return the most memory that this process or one that it started has taken."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    unit = 1 if sys.platform == "darwin" else 1024
    return max(resource.getrusage(some).ru_maxrss for some in who) * unit / 1e9


def main() -> None:
    """Print a line for each file; end with 1 where one is not as it must be."""
    wrong, slowest = 0, 0.0
    print("| Weights file | Outcome | What thaw says |\n|---|---|---|")
    for expected, kinds in (("refused", HARMFUL), ("read", ODD)):
        for what, change in kinds.items():
            with tempfile.TemporaryDirectory() as folder:
                outcome = attempt(change, Path(folder))
            right = outcome.word == expected and "\n" not in outcome.said
            wrong += not right
            slowest = max(slowest, outcome.seconds)
            word = outcome.word if right else f"**{outcome.word}**"
            said = outcome.said.removeprefix("some.weights.h5 is not a file of Keras weights: ")
            short = said.partition(". Name")[0][:120].replace("|", "\\|")
            print(f"| {what} | {word} | {short} |", flush=True)
    print(
        f"\n{len(HARMFUL) + len(ODD)} files, {wrong} not as they must be; the slowest took "
        f"{slowest:.1f} s, the most memory was {_gigabytes():.1f} GB"
    )
    sys.exit(1 if wrong or _gigabytes() > hdf5.MEMORY / 1e9 else 0)


if __name__ == "__main__":
    main()
