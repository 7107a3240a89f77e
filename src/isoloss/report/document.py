"""What every page is made of: one HTML file whose scripts are named by hash, and whose data lie in it compressed."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.metadata
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isoloss.gains.result import to_json
from isoloss.report.figures import Figure
from isoloss.report.figures.canvas import PALETTE, recoloured, rounded

#: Its licence asks that this go where it goes.
_NOTICE = "/*! Vega: BSD-3-Clause, (c) University of Washington Interactive Data Lab */\n"
#: Where vl-convert's bundler finds its own copy of Vega: a name inside the package, nothing is fetched.
_VEGA = "https://cdn.jsdelivr.net/npm/vega@{}/+esm"
_DIGITS = 6
#: Pixels that a figure's title and horizontal axis take beside its height.
_AROUND = 74


def render_document(
    template: str,
    context: Mapping[str, Any],
    shelf: Shelf,
    *,
    styles: Sequence[str] = ("report.css",),
    scripts: Sequence[str] = ("report.js",),
    data: Mapping[str, Any] | None = None,
) -> str:
    """The page of `template`: self-contained, its scripts allowed one by one, its figures and `data` packed.

    The content-security policy names each script by its SHA-256: no other script runs, whatever the data hold, and
    nothing is evaluated from text. `data` reaches the page's scripts beside the figures.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("isoloss.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    code = [script_bundle(), interpreter()] if shelf.figures else []
    code += [template_text(name) for name in scripts]
    return environment.get_template(template).render(
        **context,
        css=Markup("".join(map(template_text, styles)) + palette_css()),
        policy=policy(code),
        scripts=[Markup(text) for text in code],
        packed=packed({"figures": shelf.payload(), "dark": recoloured(), **(data or {})}),
        version=importlib.metadata.version("isoloss"),
    )


def policy(scripts: Sequence[str]) -> str:
    """The content-security policy of a page that holds `scripts` and runs nothing else."""
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{h}'" for h in hashes)
    rest = "img-src data: blob:; base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed}; {rest}"


def packed(value: Any) -> str:
    """JSON as a page holds it: deflated, in base64, so that no text in it can be markup."""
    text = json.dumps(to_json(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return base64.b64encode(squeezer.compress(text.encode()) + squeezer.flush()).decode()


def unpacked(text: str) -> Any:
    """What `packed` packed, as JSON knows it."""
    return json.loads(zlib.decompress(base64.b64decode(text), -15))


def embedded(value: Any) -> Any:
    """JSON that is safe inside a script element: no markup, no line separators, no NaN."""
    from markupsafe import Markup

    text = json.dumps(to_json(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


@functools.cache
def script_bundle() -> str:
    """What draws a compiled figure, of Vega, as one minified script; no end tag in it can end the element around it."""
    import vl_convert

    source = _VEGA.format(vl_convert.get_vega_version())
    text = str(
        vl_convert.javascript_bundle(f'import {{ parse, View }} from "{source}"; window.vega = {{ parse, View }};')
    )
    return _NOTICE + text.replace("</script", "<\\/script").replace("<!--", "\\x3c!--")


@functools.cache
def interpreter() -> str:
    """Vega's interpreter of expressions, with which a figure is drawn without evaluating any text as code."""
    return (Path(__file__).parent / "vendor" / "vega-interpreter.js").read_text(encoding="utf-8")


def palette_css() -> str:
    """The figures' colours as CSS variables ``--arm-0`` and on, for light and dark."""
    light, dark = ("".join(f"--arm-{k}:{c};" for k, c in enumerate(PALETTE[mode])) for mode in ("light", "dark"))
    return f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"


def template_text(name: str) -> str:
    """A template's own text, as it is."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


class Shelf:
    """Numbers the page's figures as the template meets them and holds what the page's script needs of each."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []

    def add(self, figure: Figure) -> dict[str, Any]:
        """Keep `figure`; what the template's ``figure`` macro shows, with the room to hold before it is drawn."""
        self.figures.append(figure)
        return {"number": len(self.figures) - 1, "figure": figure, "height": figure.body["height"] + _AROUND}

    def payload(self) -> list[dict[str, Any]]:
        """All figures as the script reads them: a file name, the Vega body, and the data behind it by column."""
        out = []
        for f in self.figures:
            columns = list(dict.fromkeys(name for row in f.rows for name in row))
            values = [[rounded(row.get(name), _DIGITS) for row in f.rows] for name in columns]
            name = re.sub(r"[^a-z0-9]+", "-", f.title.lower()).strip("-")[:80]
            out.append({"name": name or f.name, "body": f.vega(), "columns": columns, "values": values})
        return out
