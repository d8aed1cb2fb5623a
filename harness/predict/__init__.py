"""Predict: the memory of a cell by kind, from shapes and its strategy's rule, before and without running it."""
