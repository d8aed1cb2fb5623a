"""What the parent names when it asks for predictions: importable without torch, as `measure.entry` is."""

from __future__ import annotations

from pathlib import Path

from harness.measure.entry import die_with_parent, leave


def predict(result_path: str, asked_json: str) -> None:
    """Write the predicted memory of trials (see `answers.answers`)."""
    die_with_parent()
    from harness.predict.answers import answers

    leave(Path(result_path), answers(asked_json))
