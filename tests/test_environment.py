import ast
import hashlib
import os
import subprocess
import sys

from clean_environment import clean
from conftest import ROOT

from tests.reliability import computation
from thaw.support.environment import DECIDED, settle

HOSTILE = {
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF2_BEHAVIOR": "0",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit",
    "XLA_FLAGS": "--nonsense",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_CORETYPE": "Prescott",
    "OPENBLAS_NUM_THREADS": "7",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3",
    "KERAS_BACKEND": "jax",
    "KERAS_MAX_STEPS_PER_EPOCH": "0",
    "HDF5_DRIVER": "nonsense",
}


def test_no_variable_of_the_shells_moves_a_byte() -> None:
    parts = (computation.features, computation.training, computation.numbers, computation.store)
    command = [sys.executable, "-m", "tests.reliability.computation"]
    ended = subprocess.run(
        [*command, *(part.__name__ for part in parts)],
        cwd=ROOT,
        env=os.environ | HOSTILE,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [f"{part.__name__} {hashlib.sha256(part()).hexdigest()}" for part in parts]
    assert ended.stdout.splitlines() == expected


def test_every_package_settles_the_environment_before_it_imports_a_library() -> None:
    for folder in ("tools", "benchmarks", "pretrain", "tests/reliability"):
        body = ast.parse((ROOT / folder / "__init__.py").read_text()).body
        first = next(node for node in body if isinstance(node, ast.Import | ast.ImportFrom))
        assert ast.unparse(first) == "import thaw", folder


def test_what_users_need_stays() -> None:
    needed = {"KERAS_HOME": "/k", "CUDA_VISIBLE_DEVICES": "1", "TF_CPP_MIN_LOG_LEVEL": "0"}
    shell = needed | HOSTILE | {"HTTPS_PROXY": "p"}
    settle(shell)
    left = {name: value for name, value in shell.items() if name not in DECIDED}
    left.pop("OPENBLAS_CORETYPE", None)
    assert left == needed | {"HTTPS_PROXY": "p"}
    assert shell["KERAS_BACKEND"] == "tensorflow"
    assert shell["OPENBLAS_NUM_THREADS"] == "1"


def test_tests_start_from_a_clean_environment() -> None:
    shell = {"PATH": "/bin", "GIT_DIR": "/mine", "THAW_QUIET": "1", "PYTHONPATH": "/x"}
    clean(shell)
    assert shell["PATH"] == "/bin"
    assert not {"GIT_DIR", "THAW_QUIET", "PYTHONPATH"} & set(shell)
    assert "THAW_QUIET" not in os.environ
