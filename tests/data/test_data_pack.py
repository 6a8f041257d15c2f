"""Pack data sets into parts and unpack them, on made-up files."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from retlib.cli import app
from retlib.data.pack import pack, unpack
from retlib.data.registry import COLLECTIONS

LIMIT_MIB = 0.1


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data root of incompressible nonsense, with files that no reader uses beside it."""
    root, draw = tmp_path / "data", random.Random(0)
    for key in ("drive", "stare"):
        for name in COLLECTIONS[key].names[:12]:
            for choices in COLLECTIONS[key].files(name).values():
                path = root / COLLECTIONS[key].folder / choices[0]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(draw.randbytes(5000))
    (root / "DRIVE" / "readme.txt").write_text("not used")
    (root / "third_party_fov").mkdir()
    (root / "third_party_fov" / "mask.png").write_bytes(b"not used")
    return root


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_what_readers_use_comes_back_byte_for_byte(data: Path, tmp_path: Path) -> None:
    parts = pack(data, tmp_path / "parts", LIMIT_MIB)
    assert len(parts) > 2 and all(part.stat().st_size <= LIMIT_MIB * 2**20 for part in parts)
    assert pack(data, tmp_path / "again", LIMIT_MIB)[0].read_bytes() == parts[0].read_bytes()
    expected = {name: content for name, content in contents(data).items() if "not used" not in str(content)}
    assert unpack(parts, tmp_path / "restored") == ([], len(expected))
    assert contents(tmp_path / "restored") == expected


def test_some_parts_are_named_as_missing(data: Path, tmp_path: Path) -> None:
    parts = pack(data, tmp_path / "parts", LIMIT_MIB)
    absent, written = unpack(parts[1:], tmp_path / "restored")
    assert absent == [1] and 0 < written < len(contents(data))


def test_files_that_are_not_the_authentic_ones_are_named(data: Path, tmp_path: Path) -> None:
    """The nonsense comes back as it was, and the fingerprints say that it is nonsense."""
    code, out = run("pack", tmp_path / "parts", "drive", "--root", data)
    (part,) = (tmp_path / "parts").iterdir()
    assert code == 0 and out.startswith(f"{part}: ")
    code, out = run("unpack", part, "--root", tmp_path / "restored")
    assert code == 1 and f"files in {tmp_path / 'restored'}" in out
    assert "DRIVE: 12 of 40 samples are whole, " in out and "01_test.tif" in out and "STARE" not in out


def test_commands_say_what_is_missing(data: Path, tmp_path: Path, monkeypatch) -> None:
    parts = pack(data, tmp_path / "parts", LIMIT_MIB)
    assert "not among these parts: 1, 3" in run("unpack", parts[1], "--root", tmp_path / "restored")[1]
    monkeypatch.delenv("RETLIB_DATA", raising=False)
    with pytest.raises(ValueError, match="say where the data is with --root or the variable RETLIB_DATA"):
        run("pack", tmp_path / "more")
    with pytest.raises(ValueError, match="say where to put the data with --root"):
        run("unpack", parts[0])
    with pytest.raises(ValueError, match="phantom has no files"):
        run("pack", tmp_path / "more", "phantom", "--root", data)


def test_a_damaged_or_foreign_part_is_refused(data: Path, tmp_path: Path) -> None:
    part = pack(data, tmp_path / "parts", LIMIT_MIB)[0]
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="no whole part"):
        unpack([part], tmp_path / "restored")
    part.write_bytes(whole[:3000] + bytes(100) + whole[3100:])
    with pytest.raises(ValueError, match="no whole part"):
        unpack([part], tmp_path / "restored")
    for comment in (b"", b"\xff", b"{}", b"1"):
        with zipfile.ZipFile(part, "w") as archive:
            archive.comment = comment
        with pytest.raises(ValueError, match="no whole part"):
            unpack([part], tmp_path / "restored")
    with zipfile.ZipFile(part, "w") as archive:
        archive.comment = b'{"part": 1, "of": 1}'
        archive.writestr("../evil.txt", "x")
    with pytest.raises(ValueError, match=r"evil\.txt is no file of a data set"):
        unpack([part], tmp_path / "restored")
    assert not (tmp_path / "restored").exists() and not (tmp_path / "evil.txt").exists()
    with pytest.raises(ValueError, match="alone takes"):
        run("pack", tmp_path / "small", "--root", data, "--limit-mib", "0.001")
    assert not (tmp_path / "small").exists()
    with pytest.raises(ValueError, match="no file of DRIVE, STARE, CHASE_DB1, HRF there"):
        run("pack", tmp_path, "--root", tmp_path / "small")
