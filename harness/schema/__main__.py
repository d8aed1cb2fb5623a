"""`python -m harness.schema [FOLDER]`: write the JSON schema files, into docs/schema unless told otherwise."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.schema.export import export

if __name__ == "__main__":
    export(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schema"))
