"""Downloads from a local server that breaks off, changes its files, refuses parts or sends other things."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retlib.data import DataError
from retlib.data.checksums import inspect_files
from retlib.data.collections import CHASE_DB1, DRIVE, HRF, STARE
from retlib.data.download import cache_folder, fetch_dataset, resume_download, unpack
from retlib.data.readers import read_sample


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path: Path) -> Path:
    """Downloads go to a folder of the test."""
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def zipped(members: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(members: Iterable[tuple[str, bytes]], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def flat(folder: Path) -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]


@pytest.fixture
def chase(tiny, tiny_root: Path, server, tmp_path: Path):
    """The tiny data set on the server, and an empty data root."""
    filler = np.random.default_rng(0).bytes(300_000)  # so that a connection can break in the middle
    server.files["CHASEDB1.zip"] = zipped([*flat(tiny_root / tiny.folder), ("read me.bin", filler)])
    return tiny, tmp_path / "data"


def leftovers(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir()) if root.exists() else []


# The real data sets through their official archives


def test_chase_db1_arrives_authentic(data_root: Path, server, tmp_path: Path, cache: Path):
    server.files["CHASEDB1.zip"] = zipped(flat(data_root / "CHASE_DB1"))
    assert fetch_dataset(CHASE_DB1, tmp_path / "data", server.address) == []
    assert leftovers(tmp_path / "data") == ["CHASE_DB1"]
    assert len(leftovers(tmp_path / "data/CHASE_DB1")) == 84
    assert not list(cache.rglob("*.zip"))


def test_stare_arrives_authentic(data_root: Path, server, tmp_path: Path):
    for folder in ("stare-images", "labels-ah", "labels-vk"):
        server.files[f"{folder}.tar"] = tarred(flat(data_root / "STARE" / folder))
    assert fetch_dataset(STARE, tmp_path / "data", server.address) == []
    assert leftovers(tmp_path / "data/STARE") == ["labels-ah", "labels-vk", "stare-images"]


def test_hrf_layout(server, tmp_path: Path):
    """HRF at a few bytes a file: the folders of its archive, and a verdict on false files."""
    hrf = replace(HRF, bases={"all": ("01_dr", "01_g")})
    places = [choices[0] for name in hrf.names for choices in hrf.files(name).values()]
    server.files["all.zip"] = zipped((place, place.encode()) for place in places)
    differences = fetch_dataset(hrf, tmp_path / "data", server.address)
    assert sorted(item.path for item in differences) == sorted(tmp_path / "data/HRF" / place for place in places)
    assert (tmp_path / "data/HRF/images/01_dr.JPG").read_bytes() == b"images/01_dr.JPG"


# Interruptions


def test_broken_connection_is_taken_up(chase, server):
    tiny, root = chase
    size = len(server.files["CHASEDB1.zip"])
    server.etags["CHASEDB1.zip"] = '"v1"'
    server.cut_after = [200_000]
    fetch_dataset(tiny, root, server.address)
    (_, first, _), (_, second, rest) = server.requests
    assert first is None
    assert second == f"bytes={size - rest}-"
    assert 130_000 < size - rest <= 200_000  # at most one block of what had been sent is asked for again
    assert read_sample(tiny, root, "Image_01L").image.shape == (48, 60, 3)


def test_next_call_goes_on(chase, server, cache: Path):
    """The process ends in between; what has arrived stays, and nothing is under the data root."""
    tiny, root = chase
    whole = server.files["CHASEDB1.zip"]
    server.cut_after = [200_000]
    with pytest.raises(DataError, match=r"CHASEDB1\.zip could not be downloaded .* goes on from there") as caught:
        fetch_dataset(tiny, root, server.address, retries=0)
    assert "by hand" in str(caught.value)
    assert leftovers(root) == []
    part = (cache / "downloads/chase_db1/CHASEDB1.zip.part").read_bytes()
    assert len(part) > 130_000 and whole.startswith(part)
    fetch_dataset(tiny, root, server.address, retries=0)
    assert server.requests[-1] == ("CHASEDB1.zip", f"bytes={len(part)}-", len(whole) - len(part))
    assert not inspect_files(tiny, root).missing
    assert not list(cache.rglob("CHASEDB1*"))


def test_server_without_parts_starts_over(chase, server):
    tiny, root = chase
    server.ranges = False
    server.cut_after = [200_000]
    fetch_dataset(tiny, root, server.address)
    assert [sent for _, _, sent in server.requests] == [200_000, len(server.files["CHASEDB1.zip"])]
    assert not inspect_files(tiny, root).missing


def test_changed_file_starts_over(chase, server):
    tiny, root = chase
    good = server.files["CHASEDB1.zip"]
    server.files["CHASEDB1.zip"], server.etags["CHASEDB1.zip"] = b"x" * len(good), '"old"'
    server.cut_after = [200_000]
    with pytest.raises(DataError):
        fetch_dataset(tiny, root, server.address, retries=0)
    server.files["CHASEDB1.zip"], server.etags["CHASEDB1.zip"] = good, '"new"'
    fetch_dataset(tiny, root, server.address, retries=0)
    _, wanted, sent = server.requests[-1]
    assert wanted is not None and sent == len(good)
    assert not inspect_files(tiny, root).missing


def test_complete_part_needs_no_more_bytes(server, tmp_path: Path):
    server.files["a.zip"] = b"content"
    part = tmp_path / "a.zip.part"
    part.write_bytes(b"content")
    resume_download(f"{server.address}a.zip", str(tmp_path / "a.zip"), None, part)
    assert (tmp_path / "a.zip").read_bytes() == b"content"
    assert server.requests == [("a.zip", "bytes=7-", 0)]
    assert not part.exists()


def test_part_longer_than_the_file_is_dropped(server, tmp_path: Path):
    import requests

    server.files["a.zip"] = b"content"
    part = tmp_path / "a.zip.part"
    part.write_bytes(b"something longer")
    with pytest.raises(requests.ConnectionError, match="changed"):
        resume_download(f"{server.address}a.zip", str(tmp_path / "a.zip"), None, part)
    assert not part.exists() and not (tmp_path / "a.zip").exists()


def test_quick_download_shows_no_bar(chase, server, capfd):
    tiny, root = chase
    fetch_dataset(tiny, root, server.address)
    assert capfd.readouterr().err == ""


# Servers and archives that do not deliver


def test_drive_needs_a_person(tmp_path: Path):
    with pytest.raises(DataError, match=r"DRIVE cannot be downloaded by a program.*Register.*grand-challenge"):
        fetch_dataset(DRIVE, tmp_path)


def test_missing_archive(tiny, server, tmp_path: Path):
    with pytest.raises(DataError, match=rf"{server.address}CHASEDB1\.zip could not be downloaded \(404"):
        fetch_dataset(tiny, tmp_path / "data", server.address, retries=0)
    assert leftovers(tmp_path / "data") == []


def test_no_server(tiny, tmp_path: Path):
    with pytest.raises(DataError, match=r"could not be downloaded .*by hand: get CHASEDB1\.zip"):
        fetch_dataset(tiny, tmp_path / "data", "http://127.0.0.1:9/", retries=0)


@pytest.mark.parametrize("content", [b"<html>log in first</html>", b""])
def test_page_in_place_of_an_archive(tiny, server, tmp_path: Path, cache: Path, content: bytes):
    server.files["CHASEDB1.zip"] = content
    with pytest.raises(DataError, match=r"CHASEDB1\.zip is no readable tar or zip archive") as caught:
        fetch_dataset(tiny, tmp_path / "data", server.address)
    assert caught.value.__cause__ is None
    assert leftovers(tmp_path / "data") == []
    assert not list(cache.rglob("CHASEDB1*")), "the next call must not meet the bad file again"


def test_damaged_archive(chase, server):
    tiny, root = chase
    content = bytearray(server.files["CHASEDB1.zip"])
    content[2000:2100] = bytes(100)
    server.files["CHASEDB1.zip"] = bytes(content)
    with pytest.raises(DataError, match="no readable tar or zip archive"):
        fetch_dataset(tiny, root, server.address)
    assert leftovers(root) == []


def test_incomplete_archive(tiny, tiny_root: Path, server, tmp_path: Path):
    members = [member for member in flat(tiny_root / tiny.folder) if member[0] != "Image_01R_2ndHO.png"]
    server.files["CHASEDB1.zip"] = zipped(members)
    with pytest.raises(DataError, match=r"1 files are missing \(Image_01R_2ndHO\.png\), so nothing was put"):
        fetch_dataset(tiny, tmp_path / "data", server.address)
    assert leftovers(tmp_path / "data") == []


def test_existing_files(chase, server):
    """A half-filled folder is completed; what does not belong to the data set stays."""
    tiny, root = chase
    folder = root / tiny.folder
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    (folder / "Image_01L.jpg").write_bytes(b"broken")
    fetch_dataset(tiny, root, server.address)
    assert (folder / "notes.txt").read_text() == "mine"
    assert read_sample(tiny, root, "Image_01L").image.shape == (48, 60, 3)
    assert leftovers(root) == [tiny.folder]


# Unpacking


@pytest.mark.parametrize("pack", [zipped, tarred, lambda members: tarred(members, "w:gz")])
def test_members_cannot_leave_their_place(tiny, tmp_path: Path, pack):
    members = [
        ("../../Image_01L.jpg", b"photograph"),
        ("/etc/Image_01R_1stHO.PNG", b"label"),
        ("..\\..\\Image_01R.jpg", b"other"),
        ("../../evil.txt", b"evil"),
        ("__MACOSX/._Image_01L_1stHO.png", b"resource fork"),
    ]
    archive = tmp_path / "archive"
    archive.write_bytes(pack(members))
    root = tmp_path / "deep/er/root"
    assert unpack(tiny, archive, root) == 3
    written = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    del written["archive"]
    assert written == {
        "deep/er/root/CHASE_DB1/Image_01L.jpg": b"photograph",
        "deep/er/root/CHASE_DB1/Image_01R_1stHO.png": b"label",
        "deep/er/root/CHASE_DB1/Image_01R.jpg": b"other",
    }


def test_links_are_left_out(tiny, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    archive = tmp_path / "archive.tar"
    with tarfile.open(archive, "w") as opened:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            entry = tarfile.TarInfo("Image_01L.jpg")
            entry.type, entry.linkname = kind, str(secret)
            opened.addfile(entry)
    assert unpack(tiny, archive, tmp_path / "root") == 0
    assert not (tmp_path / "root").exists()


def test_oversized_member(tiny, tmp_path: Path):
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("Image_01L.jpg", bytes(64 * 2**20 + 1))
    with pytest.raises(DataError, match=r"archive\.zip: Image_01L\.jpg has 67108865 bytes, more than any file"):
        unpack(tiny, archive, tmp_path / "root")


def test_cache_folder(monkeypatch, tmp_path: Path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("RETLIB_CACHE")
    assert cache_folder().name == "retlib"
