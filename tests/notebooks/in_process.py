"""Run a notebook's script in the test's own process, so that its names can be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import pairing
import pytest
import torch

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "book" / "records"


def run_script(name: str, records: Path, replaced: Mapping[str, object] | None = None) -> tuple[dict, str]:
    """Run the code of ``notebooks/<name>.py`` without data: its names, and the HTML and Markdown that it displays.

    ``replaced`` are names of the script that are given other values as soon as it has defined them.
    """
    shown: list[str] = []

    def show(value: object, display_id: bool | None = None) -> object:
        text = getattr(value, "data", None)
        shown.append(text if isinstance(text, str) else getattr(value, "to_html", str)())
        return type("Handle", (), {"update": staticmethod(show)})

    threads, names = torch.get_num_threads(), {}
    script = (ROOT / "notebooks" / f"{name}.py").read_text(encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RETLIB_DATA", raising=False)  # ids follow from committed fingerprints
        patch.setattr("IPython.display.display", show)
        patch.setattr(plt, "show", lambda: plt.close("all"))
        for cell in pairing.read_script(script).cells[1:]:
            if cell.cell_type == "code":
                exec(cell.source, names)
            if "parameters" in cell.metadata.get("tags", []):
                names["records"] = str(records)
            names.update({key: value for key, value in (replaced or {}).items() if key in names})
    assert torch.get_num_threads() == threads
    plt.close("all")
    return names, "\n".join(shown)
