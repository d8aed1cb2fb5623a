"""What all pages are made by: templates whose values cannot become markup, and a policy that lets nothing be loaded."""

from __future__ import annotations

import base64
import hashlib

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from harness.analyse.quantity import count, duration
from harness.report.text import clip, finalize, short

POLICY = (
    "default-src 'none'; style-src '{style}'; script-src '{script}'; img-src data:; base-uri 'none'; form-action 'none'"
)


def csp_hash(text: str) -> str:
    """What a Content-Security-Policy names an inline style or script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def templates() -> Environment:
    """Where templates come from: markup in values is escaped, hidden characters are shown."""
    environment = Environment(
        loader=PackageLoader("harness.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=finalize
    )
    environment.filters |= {"count": count, "duration": duration, "clip": clip, "short": short}
    return environment


def source(environment: Environment, name: str) -> Markup:
    """A file of the templates as it stands in the page, comments of whole lines and indentation left out."""
    assert environment.loader is not None
    lines = (line.strip() for line in environment.loader.get_source(environment, name)[0].splitlines())
    return Markup("\n".join(line for line in lines if line and not line.startswith(("//", "/*"))))
