"""The updates at which pretraining is looked at more closely."""

# Figure 2 (right) of the paper, read off its axis: powers of two of 1,000 and of an epoch of 9,600 updates, and the end.
PAPER = (
    1_000,
    2_000,
    4_000,
    8_000,
    9_600,
    19_200,
    38_400,
    76_800,
    153_600,
    307_200,
    614_400,
    960_000,
)


def grid(steps: int) -> tuple[int, ...]:
    """The updates of Figure 2 (right), scaled to a run of `steps` updates: whole numbers, ascending, each once, the last is `steps`.

    What `checkpoint.keep_steps` of a pretraining run should be for its curve to have the paper's points.
    """
    scaled = {int(update * steps / PAPER[-1] + 0.5) for update in PAPER}
    return tuple(sorted(scaled - {0}))
