"""Variables that libraries read: what decides is set, what could change a result is removed.

Which kernels compute, how exactly and on how many threads: libraries let a variable decide it, some
when they are imported, some in spite of what thaw asks for later (`ONEDNN_DEFAULT_FPMATH_MODE`
overrules the precision that OpenVINO is given). So thaw/__init__.py calls `settle` before any of
them is imported. Families are removed by prefix, since the next version brings new names;
`python -m tests.reliability.environment` tries those that the present ones know.
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
)
"""How the names of variables begin that libraries of thaw's read."""
NEEDED = frozenset(
    {
        "TF_CPP_MIN_LOG_LEVEL",  # how much TensorFlow says, with its two for looking for a fault
        "TF_CPP_MAX_VLOG_LEVEL",
        "TF_CPP_VMODULE",
        "TF_FORCE_GPU_ALLOW_GROWTH",  # a GPU shared with others: how its memory is taken
        "TF_GPU_ALLOCATOR",
        "KERAS_HOME",  # where the published weights lie; see `hide_keras_home`
        "TORCH_HOME",
        "JOBLIB_TEMP_FOLDER",  # where there is room
        "LOKY_MAX_CPU_COUNT",  # fewer processes, which give the same bytes
    }
)
"""Of those families, what users need and what changes no result."""
DECIDED = {
    "KERAS_BACKEND": "tensorflow",
    # oneDNN's kernels round differently from Eigen's. Left to itself, TensorFlow takes those that
    # it thinks best for the processor.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    # A sum's last digits hang on how many threads share it. What may use more asks for them:
    # thaw.findings.baseline, as params.yaml says.
    "OPENBLAS_NUM_THREADS": "1",
    # Some disks (NFS) have no locks, and reading fails there. A lock would protect nothing, since
    # each file is written under a name of its own and then moved.
    "HDF5_USE_FILE_LOCKING": "FALSE",
}
USERS_KERAS_HOME = "THAW_KERAS_HOME"
"""Where the name of the user's KERAS_HOME is kept, for programs that this one starts, too."""
HASWELL = {"OPENBLAS_CORETYPE": "Haswell"}
"""Of NumPy's and SciPy's OpenBLAS, which takes the processor's own kernels. x86 alone has these."""


def settle(variables: MutableMapping[str, str] = os.environ) -> None:
    """Set and remove what could change a result, for this process and those that it starts.

    A library that was imported before has read some of them by then: import thaw first.
    """
    for name in [name for name in variables if name.startswith(FAMILIES)]:
        if name not in NEEDED:
            del variables[name]
    variables.update(DECIDED)
    if platform.machine() in ("x86_64", "AMD64"):
        variables.update(HASWELL)
    # Level 3 also drops the start-up notices about GPUs that are not there; Python errors remain.
    variables.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextmanager
def without(name: str) -> Iterator[None]:
    """Take a variable away for a while: one that other programs of the user's need."""
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[name] = value


def hide_keras_home() -> None:
    """Let Keras find no keras.json: it reads one as it is imported, and may end in a traceback."""
    if os.environ.get("KERAS_HOME") != os.devnull:
        os.environ[USERS_KERAS_HOME] = os.environ.get("KERAS_HOME") or "~/.keras"
        os.environ["KERAS_HOME"] = os.devnull


def keras_home() -> Path:
    """Return the user's folder of Keras' downloads; as in Keras a temporary one without a home."""
    try:
        return Path(os.environ[USERS_KERAS_HOME]).expanduser()
    except RuntimeError:  # a user number without a name
        return Path(tempfile.gettempdir()) / ".keras"
