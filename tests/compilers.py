"""Skip tests for machines whose compiler is not installed."""

import importlib.util

import pytest

HAS_LIBTPU = importlib.util.find_spec("libtpu") is not None
HAS_CUDA = any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
needs_libtpu = pytest.mark.skipif(not HAS_LIBTPU, reason="libtpu is not installed")
needs_cuda = pytest.mark.skipif(not HAS_CUDA, reason="the CUDA plugin is not installed")
