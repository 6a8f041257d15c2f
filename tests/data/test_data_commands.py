"""`retlib data` as a person uses it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from retlib.cli import app


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path: Path):
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "cache"))


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def shell(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "retlib.cli", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def rows(output: str) -> dict[str, list[str]]:
    """Cells of the status table by data set."""
    lines = [line.split() for line in output.splitlines()]
    return {words[0]: words[1:] for words in lines if len(words) == 5 and "/" in words[2]}


def test_status_of_everything(data_root: Path):
    code, output = run("status", "--root", data_root)
    assert code == 0
    table = rows(output)
    assert table["DRIVE"] == ["present", "40/40", "140/140", str(data_root / "DRIVE")]
    assert table["STARE"][:3] == ["present", "20/20", "60/60"]
    assert table["CHASE_DB1"][:3] == ["present", "28/28", "84/84"]
    assert table["HRF"][:3] == ["present", "45/45", "135/135"]
    assert "grand-challenge" not in output


def test_status_of_nothing_says_what_to_do(tmp_path: Path):
    code, output = run("status", "--root", tmp_path)
    assert code == 0
    assert rows(output)["HRF"][:3] == ["missing", "0/45", "0/135"]
    assert "Register free of charge at https://drive.grand-challenge.org/" in output
    assert "DRIVE/training/{images,1st_manual,mask}" in output
    for name in ("stare", "chase_db1", "hrf"):
        assert f"`retlib data fetch {name}` downloads it" in output


def test_status_of_a_part(mirror):
    root = mirror("DRIVE")
    for number in ("01", "02", "03", "04"):
        (root / f"DRIVE/test/1st_manual/{number}_manual1.gif").unlink()
    _, output = run("status", "--root", root)
    assert rows(output)["DRIVE"][:3] == ["partial", "36/40", "136/140"]
    assert f"missing: {root}/DRIVE/test/1st_manual/01_manual1.gif" in output
    assert "missing: and 1 more" in output


def test_verify_authentic_files(data_root: Path):
    assert run("verify", "drive", "chase_db1", "--root", data_root) == (
        0,
        "DRIVE: all 40 samples are authentic\nCHASE_DB1: all 28 samples are authentic\n",
    )


def test_verify_names_what_differs(mirror, swap_in):
    root = mirror("CHASE_DB1")
    path = root / "CHASE_DB1/Image_07L_1stHO.png"
    swap_in(path, (root / "CHASE_DB1/Image_07R_1stHO.png").read_bytes())
    code, output = run("verify", "--root", root)
    assert code == 1
    assert f"{path} holds the vessels of Image_07R" in output
    assert "CHASE_DB1: 1 files differ" in output
    assert "DRIVE: not present, left out" in output


def test_verify_of_nothing(tmp_path: Path):
    code, output = run("verify", "--root", tmp_path)
    assert code == 1
    assert "nothing to verify" in output
    with pytest.raises(FileNotFoundError, match="STARE is not there"):
        run("verify", "stare", "--root", tmp_path)


def test_fetch(data_root: Path, server, tmp_path: Path):
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in sorted((data_root / "CHASE_DB1").iterdir()):
            opened.write(path, f"CHASEDB1/{path.name}")
    server.files["mirror/CHASEDB1.zip"] = archive.read_bytes()
    root = tmp_path / "data"
    arguments = ("fetch", "chase_db1", "--root", root, "--base-url", f"{server.address}mirror")
    code, output = run(*arguments)
    assert code == 0
    assert output == f"CHASE_DB1 is in {root / 'CHASE_DB1'}\nCHASE_DB1: all 28 samples are authentic\n"
    assert "is present" in run(*arguments)[1]
    assert len(server.requests) == 1
    assert run(*arguments, "--force")[0] == 0
    assert len(server.requests) == 2


def test_fetch_says_what_is_not_authentic(data_root: Path, server, tmp_path: Path):
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in sorted((data_root / "CHASE_DB1").iterdir()):
            opened.writestr(path.name, path.read_bytes() + b"\0" * (path.name == "Image_09R.jpg"))
    server.files["CHASEDB1.zip"] = archive.read_bytes()
    code, output = run("fetch", "chase_db1", "--root", tmp_path / "data", "--base-url", server.address)
    assert code == 1
    assert f"{tmp_path / 'data/CHASE_DB1/Image_09R.jpg'} holds other bytes" in output


def test_fetch_needs_a_place():
    with pytest.raises(ValueError, match="say where to put the data with --root or the variable RETLIB_DATA"):
        run("fetch", "stare")


def test_phantoms_have_no_files(tmp_path: Path):
    for command in ("fetch", "verify"):
        with pytest.raises(ValueError, match="phantom has no files"):
            run(command, "phantom", "--root", tmp_path)


def test_mistake_ends_in_one_line(tmp_path: Path):
    result = shell("data", "fetch", "drive", "--root", str(tmp_path))
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("retlib: DRIVE cannot be downloaded by a program. Register")
    assert result.stderr.count("\n") == 1
    result = shell("data", "verify", "retina", "--root", str(tmp_path), RETLIB_DEBUG="1")
    assert "Traceback" in result.stderr
    assert "unknown data set 'retina'; choose one of drive" in result.stderr


def test_help_and_version():
    from retlib import __version__

    runner = CliRunner()
    assert runner.invoke(app, ["--version"]).stdout.strip() == __version__
    assert "data" in runner.invoke(app, ["--help"]).stdout
    code, output = run("--help")
    assert code == 0
    for command in ("status", "verify", "fetch", "pack", "unpack"):
        assert command in output
