"""Measure the parts of `accelerator.py`: one module for each, with measure(size) -> rows."""
