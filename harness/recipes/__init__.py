"""Recipes: WHAT is learned per step: optimizers, schedules and how a recipe is put together."""
