"""Variables of the shell that change no byte: python -m tests.reliability.environment [FAMILY ..].

What computation.py computes must not move, whatever these hold: the variables of each
family at once, with thaw's care. What each does alone without that is shown beside it. The names
are from the libraries' documentation and binaries (`strings`), values those that should do most.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from thaw.support.environment import FAMILIES

ROOT = Path(__file__).parents[2]
WITH = ("-m", "tests.reliability.computation")
WITHOUT = (str(ROOT / "tests/reliability/computation.py"),)
NETWORKS = ("features", "training")
ARRAYS = ("linear", "numbers", "resizing", "figure", "store")


@dataclass(frozen=True)
class Family:
    """Variables that one library or several read, and what they could change."""

    parts: tuple[str, ...]
    variables: Mapping[str, str]


TRIED = {
    "oneDNN": Family(
        NETWORKS,
        {
            "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
            "DNNL_DEFAULT_FPMATH_MODE": "ANY",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "DNNL_MAX_CPU_ISA": "SSE41",
            "ONEDNN_CPU_ISA_HINTS": "PREFER_YMM",
            "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "0",
            "ONEDNN_VERBOSE": "2",
            "ONEDNN_JIT_DUMP": "1",
        },
    ),
    "TensorFlow": Family(
        ("training",),
        {
            "TF_ENABLE_ONEDNN_OPTS": "1",
            "TF_SET_ONEDNN_FPMATH_MODE": "BF16",
            "TF2_BEHAVIOR": "0",
            "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS": "1",
            "TF_ONEDNN_THREADPOOL_USE_CALLER_THREAD": "1",
            "TF_MKL_OPTIMIZE_PRIMITIVE_MEMUSE": "0",
            "TF_ENABLE_WINOGRAD_NONFUSED": "0",
            "TF_USE_DEEP_CONV2D": "1",
            "TF_DISABLE_JIT_KERNELS": "1",
            "TF_DETERMINISTIC_OPS": "0",
            "TF_NUM_INTRAOP_THREADS": "1",
            "TF_NUM_INTEROP_THREADS": "7",
            "TF_OVERRIDE_GLOBAL_THREADPOOL": "1",
            "TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_LEVEL": "UNSAFE_FORCE_ALL",
            "TF_FUNCTION_JIT_COMPILE_DEFAULT": "1",
            "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit",
            "XLA_FLAGS": "--nonsense",
            "TF_CONFIG": "nonsense",
            "TF_DATA_EXPERIMENT_OPT_IN": "all",
            "TF_CPU_ALLOCATOR_USE_BFC": "1",
            "TF_USE_LEGACY_KERAS": "1",
            "TF_OPTIONALS_IN_GRADIENTS": "1",
            "TF_DUMP_GRAPH_PREFIX": "graphs",
            "AUTOGRAPH_STRICT_CONVERSION": "1",
            "AUTOGRAPH_VERBOSITY": "10",
        },
    ),
    "Keras": Family(
        ("training",),
        {
            "KERAS_BACKEND": "jax",
            "KERAS_MAX_EPOCHS": "0",
            "KERAS_MAX_STEPS_PER_EPOCH": "0",
            "KERAS_NNX_ENABLED": "true",
        },
    ),
    "OpenVINO": Family(
        ("features",),
        {
            "OV_CPU_MAX_ISA": "SSE41",
            "OV_ENABLE_SERIALIZE_TRACING": "1",
            "OV_ENABLE_VISUALIZE_TRACING": "1",
            "OV_ENABLE_PROFILE_PASS": "1",
            "OPENVINO_LIB_PATHS": "/nonexistent",
            "OPENVINO_TRACE_DEPTH": "9",
            "HWLOC_SYNTHETIC": "core:1 pu:1",
            "TBB_ENABLE_SANITIZERS": "1",
        },
    ),
    "OpenMP, BLAS": Family(
        ARRAYS,
        {
            "OPENBLAS_CORETYPE": "Prescott",
            "OPENBLAS_NUM_THREADS": "1",
            "OPENBLAS_DEFAULT_NUM_THREADS": "1",
            "OPENBLAS_BLOCK_FACTOR": "1",
            "OPENBLAS_L2_SIZE": "1",
            "OPENBLAS_VERBOSE": "5",
            "GOTO_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "MKL_CBWR": "SSE2",
            "BLIS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "OMP_THREAD_LIMIT": "1",
            "OMP_DYNAMIC": "true",
            "OMP_DISPLAY_ENV": "verbose",
            "GOMP_CPU_AFFINITY": "0",
            "KMP_AFFINITY": "disabled",
        },
    ),
    "NumPy and its kin": Family(
        ARRAYS,
        {
            "NPY_DISABLE_CPU_FEATURES": "X86_V3",
            "NPY_PROMOTION_STATE": "legacy",
            "NUMPY_MADVISE_HUGEPAGE": "0",
            "SCIPY_ARRAY_API": "1",
            "SKLEARN_ASSUME_FINITE": "nonsense",
            "SKLEARN_WORKING_MEMORY": "nonsense",
            "SKIMAGE_NO_DISPATCHING": "1",
            "NETWORKX_AUTOMATIC_BACKENDS": "nonsense",
            "EAGER_IMPORT": "1",
            "TQDM_MININTERVAL": "nonsense",
        },
    ),
    "HDF5": Family(
        ("store",),
        {
            "HDF5_DRIVER": "nonsense",
            "HDF5_DRIVER_CONFIG": "nonsense",
            "HDF5_VOL_CONNECTOR": "nonsense",
            "HDF5_PLUGIN_PATH": "/nonexistent",
            "HDF5_PLUGIN_PRELOAD": "::",
            "HDF5_DEBUG": "all",
            "HDF5_USE_FILE_LOCKING": "TRUE",
            "BLOSC_CLEVEL": "0",
        },
    ),
    "Left alone": Family(
        (*NETWORKS, *ARRAYS),
        {
            "TF_CPP_MIN_LOG_LEVEL": "0",
            "KERAS_HOME": "keras",
            "LOKY_MAX_CPU_COUNT": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "TZ": "Pacific/Kiritimati",
            "PYTHONHASHSEED": "1",
            "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA",
        },
    ),
}


def computed(
    how: tuple[str, ...], parts: tuple[str, ...], variables: Mapping[str, str]
) -> list[str] | None:
    """Return a line for each part of the computation, None where it does not end well."""
    shell = {name: value for name, value in os.environ.items() if not name.startswith(FAMILIES)}
    shell |= {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as folder:
        ended = subprocess.run(
            (sys.executable, *how, *parts),
            cwd=folder,
            env=shell | dict(variables),
            capture_output=True,
            text=True,
            check=False,
        )
    lines = [line for line in ended.stdout.splitlines() if line.split(" ")[0] in parts]
    return None if ended.returncode or "Traceback" in ended.stderr else lines


def rows(family: Family) -> Iterator[tuple[str, str, str]]:
    """Yield each variable with what it does without thaw's care, and with it."""
    cared = computed(WITH, family.parts, family.variables)
    kept = outcome(cared, computed(WITH, family.parts, {}))
    plain = computed(WITHOUT, family.parts, {})
    for name, value in family.variables.items():
        alone = outcome(computed(WITHOUT, family.parts, {name: value}), plain)
        yield f"{name}={value}", alone, kept


def outcome(received: list[str] | None, expected: list[str] | None) -> str:
    """Return in a word what became of the bytes."""
    if received is None:
        return "an error"
    return "the same" if received == expected else "others"


def main() -> None:
    """Print a line for each variable; end with 1 where bytes move in spite of thaw's care."""
    if unknown := set(sys.argv[1:]) - set(TRIED):
        sys.exit(f"error: no such family. Received: {', '.join(unknown)}. Take: {list(TRIED)}")
    moved = 0
    print("| Variable | Without thaw's care | With it |\n|---|---|---|")
    for family in sys.argv[1:] or TRIED:
        for variable, alone, kept in rows(TRIED[family]):
            moved += kept != "the same"
            print(f"| `{variable}` | {alone} | {kept} |", flush=True)
    sys.exit(1 if moved else 0)


if __name__ == "__main__":
    main()
