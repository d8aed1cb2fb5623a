"""Dynamometer: runs every way to train a model side by side and says which to use, how sure, and why."""

__version__ = "0.1.0"
