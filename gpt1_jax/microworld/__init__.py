"""Generate the microworld: a small synthetic world from a seed, with novels and labeled tasks.

`files.write` is the entry point.
"""
