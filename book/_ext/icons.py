"""Draw Font Awesome's icons into the pages as SVG, in place of the theme's script that draws them in the browser.

That script holds 2,000 icons in 1.5 MB and every page loads it. Here the paths of the icons that a page uses are read
from it when the book is built; then the script, and files that only a developer of the theme needs, are removed.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

from sphinx.errors import ExtensionError

SCRIPT = "_static/scripts/fontawesome.js"
LOADS_SCRIPT = re.compile(r"\s*(<!-- So that users[^>]*icons -->\s*)?<script[^>]*fontawesome\.js[^>]*></script>")
ICON = re.compile(r'<(i|span)\b(?P<attributes>[^>]*\bclass="(?P<classes>[^"]*\bfa[a-z-]*\b[^"]*)"[^>]*)></\1>')
STYLES = {"fab": "fab", "fa-brands": "fab", "far": "far", "fa-regular": "far", "fas": "fas", "fa-solid": "fas"}
UNUSED = ("scripts/*.map", "styles/*.map", "scripts/fontawesome.js*", "vendor/fontawesome/webfonts/*.ttf")

CREDIT = "Font Awesome Free 6 by @fontawesome, https://fontawesome.com; icons: CC BY 4.0"

Icons = dict[str, dict[str, tuple[str, str, str]]]


def read_icons(script: str) -> Icons:
    """Read style (fab, far, fas) -> name -> (width, height, path) from the text of Font Awesome's script.

    Raises:
        ExtensionError: it does not hold the three styles.
    """
    parts = re.split(r'\w\("(fa[brs])",\w\)', script)
    one = re.compile(r'[{,]"?([\w-]+)"?:\[(\d+),(\d+),\[([^\]]*)\],"[0-9a-f]+","([^"]*)"\]')
    icons: Icons = {style: {} for style in ("fab", "far", "fas")}
    for text, style in zip(parts[:-1:2], parts[1::2], strict=True):
        for name, width, height, aliases, path in one.findall(text):
            for key in (name, *re.findall(r'"([\w-]+)"', aliases)):
                icons[style].setdefault(key, (width, height, path))
    if empty := [style for style, found in icons.items() if not found]:
        raise ExtensionError(
            f"{SCRIPT}: expected icons of the styles fab, far and fas, found none of {', '.join(empty)}"
        )
    return icons


def draw(page: str, icons: Icons) -> str:
    """Replace every icon of a page by its SVG with the same attributes, and drop the script.

    Raises:
        ExtensionError: an icon does not exist.
    """

    def svg(match: re.Match[str]) -> str:
        classes = match["classes"].split()
        style = next((STYLES[name] for name in classes if name in STYLES), None)
        if style is None:
            return match[0]
        names = [name.removeprefix("fa-") for name in classes if name.startswith("fa-") and name not in STYLES]
        known = [name for name in names if name in icons[style]]
        if not known:
            raise ExtensionError(f"no icon of Font Awesome has the classes {match['classes']!r}")
        width, height, path = icons[style][known[0]]
        attributes = match["attributes"].replace('class="', 'class="svg-inline--fa ', 1)
        hidden = "" if "aria-" in attributes else ' aria-hidden="true"'
        return (
            f'<svg{attributes}{hidden} role="img" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
            f'<path fill="currentColor" d="{html.escape(path)}"></path></svg>'
        )

    return ICON.sub(svg, LOADS_SCRIPT.sub(f"\n  <!-- Icons: {CREDIT} -->", page))


def draw_all(app, exception: Exception | None) -> None:
    """Draw the icons of all pages once they are written."""
    folder = Path(app.outdir)
    if exception is not None or app.builder.format != "html" or not (folder / SCRIPT).is_file():
        return
    icons = read_icons((folder / SCRIPT).read_text(encoding="utf-8"))
    for path in folder.rglob("*.html"):
        if "_static" not in path.relative_to(folder).parts:
            before = path.read_text(encoding="utf-8")
            if (after := draw(before, icons)) != before:
                path.write_text(after, encoding="utf-8")
    for pattern in UNUSED:
        for path in (folder / "_static").glob(pattern):
            path.unlink()


def setup(app):
    """Register the last step of a build."""
    app.connect("build-finished", draw_all)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
