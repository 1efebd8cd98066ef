"""Environment variables that could change a result: thaw sets or removes them.

Variables can choose a library's kernels, their precision and the number of threads. Some libraries
read them on import. Some let them overrule what thaw asks for later: `ONEDNN_DEFAULT_FPMATH_MODE`
overrules the precision that thaw gives to OpenVINO. So thaw/__init__.py calls `settle` before it
imports any library. Variables are removed by prefix, because new versions bring new names.
`python -m tests.reliability.environment` tries the names that the installed versions know.
"""

import os
import platform
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

FAMILIES = (
    *("ONEDNN_", "DNNL_", "MKLDNN_"),  # kernels and precision, in TensorFlow and in OpenVINO
    *("TF_", "TF2_", "XLA_", "AUTOGRAPH_", "MLIR_", "TPU_", "DTENSOR_"),
    *("OV_", "OPENVINO_", "TBB_", "HWLOC_", "INTEL_"),
    "KERAS_",
    *("NPY_", "NUMPY_", "SCIPY_", "SKLEARN_", "SKIMAGE_", "PRIMA_", "EAGER_IMPORT"),
    *("NETWORKX_", "JOBLIB_", "LOKY_"),
    *("OPENBLAS_", "GOTO_", "BLIS_", "MKL_", "VECLIB_", "GFORTRAN_"),
    *("OMP_", "KMP_", "GOMP_"),  # threads: params.yaml's `threads` decides
    *("CUBLAS", "CUDNN_", "NCCL_", "NVIDIA_TF32_", "CUDA_FORCE_"),
    *("TORCH_", "PYTORCH_", "ATEN_"),  # of pretrain/
    *("HDF5_", "H5PY_", "BLOSC", "BTUNE_"),
    "TQDM_",
    "DVCLIVE_",  # such as DVCLIVE_TEST: the curves go to a temporary folder
)
"""Prefixes of the variables that thaw's libraries read."""
NEEDED = frozenset(
    {
        "TF_CPP_MIN_LOG_LEVEL",  # how much TensorFlow logs; the next two are for debugging
        "TF_CPP_MAX_VLOG_LEVEL",
        "TF_CPP_VMODULE",
        "TF_FORCE_GPU_ALLOW_GROWTH",  # how TensorFlow takes the memory of a shared GPU
        "TF_GPU_ALLOCATOR",
        "KERAS_HOME",  # where the published weights are; see `hide_keras_home`
        "TORCH_HOME",
        "JOBLIB_TEMP_FOLDER",  # a disk with enough space
        "LOKY_MAX_CPU_COUNT",  # fewer processes give the same bytes
    }
)
"""Variables of those families that users need and that change no result."""
DECIDED = {
    "KERAS_BACKEND": "tensorflow",
    # oneDNN's kernels round differently from Eigen's. By default TensorFlow picks the ones that
    # it expects to be faster on the processor.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    # The last digits of a sum depend on how many threads compute it. Only thaw.findings.baseline
    # uses more threads, and params.yaml says how many.
    "OPENBLAS_NUM_THREADS": "1",
    # Some file systems (NFS) have no locks, and HDF5 then fails to read. thaw needs no locks: it
    # writes each file under a temporary name and then renames it.
    "HDF5_USE_FILE_LOCKING": "FALSE",
}
USERS_KERAS_HOME = "THAW_KERAS_HOME"
"""Variable that keeps the user's KERAS_HOME, so that child processes find it too."""
X86 = ("x86_64", "AMD64")
"""What Python calls processors of that family."""
HASWELL = {"OPENBLAS_CORETYPE": "Haswell"}
"""Makes OpenBLAS use the same kernels on every x86 processor; by default it picks its own."""


def settle(variables: MutableMapping[str, str] = os.environ) -> None:
    """Set or remove the variables that could change a result, here and in child processes.

    Import thaw before other libraries: a library that is already loaded may have read some of them.

    Args:
        variables: changed in place.

    """
    for name in [name for name in variables if name.startswith(FAMILIES)]:
        if name not in NEEDED:
            del variables[name]
    variables.update(DECIDED)
    if platform.machine() in X86:
        variables.update(HASWELL)
    # Level 3 also hides the start-up messages about missing GPUs. Python errors remain visible.
    variables.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextmanager
def without(name: str) -> Iterator[None]:
    """Remove a variable while the block runs, then restore it for the user's other programs."""
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[name] = value


def hide_keras_home() -> None:
    """Keep Keras from reading a keras.json on import: a damaged one ends in a traceback."""
    if os.environ.get("KERAS_HOME") != os.devnull:
        os.environ[USERS_KERAS_HOME] = os.environ.get("KERAS_HOME") or "~/.keras"
        os.environ["KERAS_HOME"] = os.devnull


def keras_home() -> Path:
    """Return the user's folder for Keras' downloads, or a temporary one if there is no home."""
    try:
        return Path(os.environ[USERS_KERAS_HOME]).expanduser()
    except RuntimeError:  # the user id has no account, so `~` means nothing
        return Path(tempfile.gettempdir()) / ".keras"
