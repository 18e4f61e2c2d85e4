"""Collect the mistakes of a user: name -> Mistake."""

from mistakes import corpora, flags, runs, tasks, values

MISTAKES = {
    **flags.MISTAKES,
    **values.MISTAKES,
    **corpora.MISTAKES,
    **tasks.MISTAKES,
    **runs.MISTAKES,
}
