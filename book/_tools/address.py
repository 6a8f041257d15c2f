"""Decide which address the book's buttons use: that of ``_config.yml``, else a GitHub ``origin``, else none."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ON_GITHUB = re.compile(r"(?:.*[@/])?github\.com[:/](?P<name>[\w.-]+/[\w.-]+?)(?:\.git)?/?")

NO_ADDRESS = (
    "This copy does not know the address of its repository, so its pages have no Colab, source and issue buttons. "
    "Set <code>repository: url</code> in <code>_config.yml</code>, run <code>make notebooks</code> and "
    "<code>make book</code>."
)


def is_placeholder(url: str) -> bool:
    """Tell whether an address is the placeholder of ``_config.yml``: a repository of the user ``example``."""
    return urlsplit(url).path.startswith("/example/")


def github_origin(root: Path) -> str | None:
    """Read the address of the checkout's remote ``origin``; None if it has none on GitHub."""
    try:
        command = ["git", "-C", str(root), "remote", "get-url", "origin"]
        url = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:  # no git on this machine
        return None
    match = ON_GITHUB.fullmatch(url)
    return f"https://github.com/{match['name']}" if match else None


def with_address(config: dict[str, Any], origin: str | None) -> str:
    """Set the buttons of a book's configuration, in place, to what its repository's address allows.

    A book whose address is the placeholder gets no button that leads to a repository, and a line in its footer instead.
    With a GitHub ``origin`` it gets them all but Colab's, because the notebooks' first cell clones the placeholder.

    Args:
        config: content of ``_config.yml``.
        origin: address of the checkout's ``origin`` on GitHub.

    Returns:
        What to tell the person who builds the book; empty if ``_config.yml`` has an address.
    """
    if not is_placeholder(config["repository"]["url"]):
        return ""
    config["launch_buttons"] = {}
    if origin is not None:
        config["repository"]["url"] = origin
        return (
            f"_config.yml names no repository yet: the buttons lead to origin, {origin}. For Colab buttons, write that "
            "address into _config.yml (repository: url) and run `make notebooks`."
        )
    config["html"] |= {"use_repository_button": False, "use_issues_button": False, "extra_footer": NO_ADDRESS}
    config["sphinx"]["config"]["html_theme_options"]["use_source_button"] = False
    return "_config.yml names no repository yet (repository: url), so the book has no Colab, source and issue buttons."
