"""Where this user's files are that outlive a run and may be deleted at any time."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$DYNAMOMETER_CACHE, else dynamometer in $XDG_CACHE_HOME, else ~/.cache/dynamometer.

    Raises RuntimeError where the user has no home.
    """
    if own := os.environ.get("DYNAMOMETER_CACHE"):
        return Path(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "dynamometer"
    return Path.home() / ".cache" / "dynamometer"
