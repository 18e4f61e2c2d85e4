"""Generate the embedded data set: a seeded small world with novels and labeled tasks.

`files.write` is the entry point.
"""
