"""Test the checks of config values."""

import pytest

from gpt1_jax.errors import UserError
from gpt1_jax.trainers import config_checks


@pytest.mark.parametrize(("batch_size", "accumulate"), [(3, 1), (6, 2), (2, 4)])
def test_batch_that_does_not_divide_is_refused(batch_size, accumulate):
    message = (
        rf"config\.batch_size: {batch_size} does not divide .* a multiple of {2 * accumulate}$"
    )
    with pytest.raises(UserError, match=message):
        config_checks.check_batch_size(batch_size, accumulate)
    config_checks.check_batch_size(2 * accumulate, accumulate)
