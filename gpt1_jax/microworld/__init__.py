"""The embedded data: a seeded little world that writes novels and labelled tasks; files.write is the way in."""
