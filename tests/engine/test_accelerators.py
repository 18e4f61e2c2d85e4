"""Test the specifications of accelerators, and the names of targets."""

import pytest

from gpt1_jax.engine import accelerators
from gpt1_jax.errors import UserError


def test_every_row_is_complete_and_has_a_source():
    rows = accelerators.accelerators()
    assert set(rows) == {"v4", "v5e", "v5p", "v6e", "h100", "h200", "a100", "rtx4090", "l4"}
    for row in rows.values():
        assert row.source.startswith("https://")
        assert min(row.memory, row.bandwidth, row.interconnect, *row.flops.values()) > 1e9
        assert row.peak_flops("bfloat16") >= row.peak_flops("float32") > 0
        assert bool(row.compiler) == (row.dimensions == 0)


@pytest.mark.parametrize(
    ("name", "devices"),
    [("v5e:2x4", 8), ("v5e:4x8", 32), ("v4:2x2x2", 8), ("h100", 1), ("h100:8", 8), ("l4:2", 2)],
)
def test_target_has_its_devices(name, devices):
    assert accelerators.find_target(name).devices == devices


@pytest.mark.parametrize(
    "name",
    [
        *("v7", "v5e", "v5e:", "v5e:8", "v5e:2x", "v5e:0x2", "v5p:2x2", "v5e:2x2x1"),
        *("h100:", "h100:0", "h100:9", "h100:1x8", "H100", "about"),
    ],
)
def test_unknown_target_is_refused_with_the_known_ones(name):
    with pytest.raises(UserError, match=rf"'{name}' is not a target; .*v5e:2x4.*rtx4090.*h100:8"):
        accelerators.find_target(name)


def test_float32_is_multiplied_as_jax_does():
    rows = accelerators.accelerators()
    assert rows["v5e"].peak_flops("float32") == rows["v5e"].flops["bfloat16"]
    assert rows["h100"].peak_flops("float32") == rows["h100"].flops["tensorfloat32"]
