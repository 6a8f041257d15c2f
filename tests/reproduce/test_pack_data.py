"""tools/pack_data.py: data sets in parts and back, on made-up files."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import pack_data
import pytest

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


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_what_readers_use_comes_back_byte_for_byte(data: Path, tmp_path: Path) -> None:
    parts = pack_data.pack(data, tmp_path / "parts", LIMIT_MIB)
    assert len(parts) > 2 and all(part.stat().st_size <= LIMIT_MIB * 2**20 for part in parts)
    assert pack_data.pack(data, tmp_path / "again", LIMIT_MIB)[0].read_bytes() == parts[0].read_bytes()
    expected = {name: content for name, content in contents(data).items() if "not used" not in str(content)}
    assert pack_data.unpack(parts, tmp_path / "restored") == ([], len(expected))
    assert contents(tmp_path / "restored") == expected


def test_some_parts_are_named_as_missing(data: Path, tmp_path: Path) -> None:
    parts = pack_data.pack(data, tmp_path / "parts", LIMIT_MIB)
    absent, written = pack_data.unpack(parts[1:], tmp_path / "restored")
    assert absent == [1] and 0 < written < len(contents(data))


def test_files_that_are_not_the_authentic_ones_are_named(data: Path, tmp_path: Path, capsys) -> None:
    """The nonsense comes back as it was, and the fingerprints say that it is nonsense."""
    assert pack_data.main(["pack", str(data), str(tmp_path / "parts"), "--only", "drive"]) == 0
    (part,) = (tmp_path / "parts").iterdir()
    assert pack_data.main(["unpack", str(part), str(tmp_path / "restored")]) == 1
    out = capsys.readouterr().out
    assert "DRIVE: 12 of 40 samples are whole" in out and "01_test.tif" in out and "STARE" not in out


def test_a_damaged_or_foreign_part_is_refused(data: Path, tmp_path: Path, capsys) -> None:
    part = pack_data.pack(data, tmp_path / "parts", LIMIT_MIB)[0]
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="no whole part"):
        pack_data.unpack([part], tmp_path / "restored")
    part.write_bytes(whole[:3000] + bytes(100) + whole[3100:])
    with pytest.raises(ValueError, match=r"no whole part|damaged"):
        pack_data.unpack([part], tmp_path / "restored")
    with zipfile.ZipFile(part, "w") as archive:
        archive.writestr(pack_data.MANIFEST, '{"part": 1, "of": 1, "sha256": {"../evil.txt": ""}}')
        archive.writestr("../evil.txt", "x")
    with pytest.raises(ValueError, match=r"evil\.txt is no file of a data set"):
        pack_data.unpack([part], tmp_path / "restored")
    assert not (tmp_path / "restored").exists() and not (tmp_path / "evil.txt").exists()
    assert pack_data.main(["pack", str(data), str(tmp_path / "small"), "--limit-mib", "0.001"]) == 2
    assert "alone takes" in capsys.readouterr().err and not (tmp_path / "small").exists()
    assert pack_data.main(["pack", str(tmp_path / "small"), str(tmp_path)]) == 2
