"""What all HTML pages share: templates, style and script in the page, and the policy that allows no others."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from harness.analyse.quantity import count, duration
from harness.report.text import clip, finalize, short

POLICY = (
    "default-src 'none'; style-src '{style}'; script-src '{script}'; img-src data:; base-uri 'none'; form-action 'none'"
)


def rendered(
    template: str, *, styles: Sequence[str] = ("style.css",), script_file: str = "page.js", **shown: object
) -> str:
    """A page by its template, with style, script and the policy that names both by their hashes."""
    environment = _templates()
    style = Markup("\n").join(_source(environment, name) for name in styles)
    script = _source(environment, script_file)
    policy = POLICY.format(style=csp_hash(style), script=csp_hash(script))
    return environment.get_template(template).render(style=style, script=script, policy=policy, **shown)


def csp_hash(text: str) -> str:
    """What a Content-Security-Policy names an inline style or script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=finalize
    )
    environment.filters |= {"count": count, "duration": duration, "clip": clip, "short": short}
    return environment


def _source(environment: Environment, name: str) -> Markup:
    """A file of the templates as it stands in the page, comments of whole lines and indentation left out."""
    assert environment.loader is not None
    lines = (line.strip() for line in environment.loader.get_source(environment, name)[0].splitlines())
    return Markup("\n".join(line for line in lines if line and not line.startswith(("//", "/*"))))
