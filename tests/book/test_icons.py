"""Icons of Font Awesome drawn into the pages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sphinx.errors import ExtensionError

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

from icons import draw, read_icons  # noqa: E402

SCRIPT = (
    'p={github:[496,512,[],"f09b","M1 1z"]};d("fab",p),d("fa-brands",p);p={sun:[512,512,[9728],"f185","M2 2z"]};'
    'd("far",p);p={0:[320,512,[],"30","M0z"],"magnifying-glass":[512,510,[128269,"search"],"f002","M3 3z"],'
    'sun:[512,512,[],"f185","M4 4z"]};d("fas",p),d("fa-solid",p)'
)


@pytest.mark.parametrize(
    ("classes", "path"),
    [
        ("fab fa-github", "M1 1z"),
        ("theme-switch fa-regular fa-sun  fa-lg", "M2 2z"),
        ("fas fa-search", "M3 3z"),
        ("fa-solid fa-sun", "M4 4z"),
    ],
)
def test_an_icon_keeps_its_attributes(classes: str, path: str) -> None:
    page = draw(f'<a><i class="{classes}" data-mode="x"></i></a>', read_icons(SCRIPT))
    assert page.startswith(f'<a><svg class="svg-inline--fa {classes}" data-mode="x" aria-hidden="true"')
    assert f'd="{path}"' in page and page.endswith("</svg></a>") and "<i" not in page


def test_the_script_is_left_out_and_other_tags_stay() -> None:
    others = '<i class="far away">x</i><i>y</i>'
    page = f'<head><script defer src="a/scripts/fontawesome.js?digest=1"></script></head>{others}'
    drawn = draw(page, read_icons(SCRIPT))
    assert "<script" not in drawn and "CC BY 4.0" in drawn
    assert drawn.endswith(f"</head>{others}")
    assert draw(drawn, read_icons(SCRIPT)) == drawn


def test_an_unknown_icon_or_script_is_an_error() -> None:
    with pytest.raises(ExtensionError, match="no icon of Font Awesome has the classes 'fas fa-moon'"):
        draw('<i class="fas fa-moon"></i>', read_icons(SCRIPT))
    with pytest.raises(ExtensionError, match="found none of fab, far, fas"):
        read_icons("another script")


def test_the_icons_of_the_installed_theme_can_be_read() -> None:
    import pydata_sphinx_theme

    static = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"
    icons = read_icons((static / "scripts" / "fontawesome.js").read_text(encoding="utf-8"))
    assert {"github"} <= icons["fab"].keys() and {"magnifying-glass", "search", "sun", "bars"} <= icons["fas"].keys()
    assert len(icons["fas"]) > 1000
