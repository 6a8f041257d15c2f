"""The comparison's notebook on phantoms: everything made from nothing, and a wrong value refused."""

from __future__ import annotations

import json
from pathlib import Path

import build as book
import pairing
import pytest


def execute(folder: Path, **parameters: object) -> dict:
    """Execute the notebook as `make book` would; the executed notebook."""
    book.build(folder, only=["one_protocol"], parameters=parameters, progress=False)
    return json.loads((folder / "src" / "notebooks" / "one_protocol.ipynb").read_text(encoding="utf-8"))


def test_smoke_profile_runs_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "cache"))
    records = tmp_path / "records"
    settings = {"profile": "smoke", "train": "missing", "device": "cpu", "seeds": [0], "records": str(records)}
    notebook = execute(tmp_path / "build", **settings)
    kinds = {}
    for path in records.glob("*/record.json"):
        config = json.loads(path.read_text(encoding="utf-8"))["config"]
        assert config["profile"] == "smoke"
        kind = config.get("method") or config.get("kind") or "run"
        kinds[kind] = kinds.get(kind, 0) + 1
    assert kinds == {"run": 3, "frangi": 1, "matched_filter": 1, "rescored": 3, "epochs": 1}
    outputs = [out for cell in notebook["cells"] for out in cell.get("outputs", [])]
    assert not [out for out in outputs if out["output_type"] == "error" or out.get("name") == "stderr"]
    assert sum(any(kind == "image/png" for kind in out.get("data", {})) for out in outputs) == 8
    text = json.dumps(notebook)
    assert "0.8283" not in text, "a published number stands beside phantoms"


def test_a_wrong_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(pairing.NotebookError, match="profile"):
        execute(tmp_path, profile="full")
