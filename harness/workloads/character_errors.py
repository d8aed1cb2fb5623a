"""Character errors of strings against references, counted by jiwer.

Source: https://jitsi.github.io/jiwer/
"""

from __future__ import annotations

from collections.abc import Sequence


def character_errors(references: Sequence[str], found: Sequence[str]) -> tuple[int, int]:
    """Least substitutions, deletions and insertions that make each reference of what was found; characters of all
    references. Their ratio over any set of strings is its character error rate (CER).
    """
    import jiwer

    counted = jiwer.process_characters(list(references), list(found))
    edits = counted.substitutions + counted.deletions + counted.insertions
    return edits, counted.substitutions + counted.deletions + counted.hits
