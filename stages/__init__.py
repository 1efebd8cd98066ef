"""The stages of dvc.yaml, one module each: read, call thaw, write."""

import thaw  # noqa: F401  before a stage loads NumPy: it says which kernels compute
