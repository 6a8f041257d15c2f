"""Records that were altered, and what a killed replacement leaves; the book on a full disk."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

import build as book
import pytest

from retlib import cli
from retlib.study import Record, Store
from retlib.study.records import find_or_make
from tests.experiments.conftest import tiny
from tests.robustness.full_disk import fill, small_disk
from tests.study.made_records import write_record


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """A record with a file of histograms and an error map, on phantoms."""
    monkeypatch.setenv("RETLIB_CACHE", str(tmp_path / "cache"))
    return write_record(Store(tmp_path / "records"), tiny(), lambda *_: 0.8125)


def test_a_number_that_was_altered_is_refused(record: Record) -> None:
    file = record.folder / "record.json"
    file.write_text(file.read_text(encoding="utf-8").replace("0.8125", "0.8225"), encoding="utf-8")
    for read in (lambda: Store(record.folder.parent).get(record.id), lambda: list(Store(record.folder.parent))):
        with pytest.raises(
            ValueError, match=rf"{record.id}.record\.json: its content was changed after it was written"
        ):
            read()


def test_a_file_that_was_exchanged_is_refused(record: Record) -> None:
    other = write_record(Store(record.folder.parents[1] / "others"), tiny(seed=1), lambda *_: 0.5)
    (other.folder / "phantom-test.npz").write_bytes((other.folder / "phantom-test.npz").read_bytes() + b" ")
    for name, read in (("phantom-test.npz", record.histograms), ("phantom-test.first.png", record.error_maps)):
        read()
        (record.folder / name).write_bytes((other.folder / name).read_bytes() + b" ")
        with pytest.raises(ValueError, match=rf"{name}: its content is not what record\.json says"):
            read()


def test_a_record_in_the_folder_of_another_is_refused(record: Record) -> None:
    record.folder.rename(record.folder.with_name("0" * 16))
    with pytest.raises(ValueError, match=f"0{{16}}: the record in it is {record.id}"):
        Store(record.folder.parent).get("0" * 16)


def test_a_record_of_before_the_checksums_is_read(record: Record) -> None:
    content = {key: value for key, value in record.content.items() if key not in ("sha256", "files")}
    (record.folder / "record.json").write_text(json.dumps(content), encoding="utf-8")
    old = Store(record.folder.parent).get(record.id)
    assert old.content == content and old.histograms().names == record.histograms().names and old.error_maps()


def test_the_audit_names_a_record_that_was_altered(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "table.csv").write_text("Method,Acc,Se,Sp\nOurs,0.9550,0.7300,0.9770\n")
    file = record.folder / "record.json"
    for content in (file.read_text(encoding="utf-8").replace('"smoke"', '"paper"'), '{"config": 5}', "[1, 2]", ""):
        file.write_text(content, encoding="utf-8")
        arguments = ["retlib", "audit", str(tmp_path / "table.csv"), "--records", str(record.folder.parent)]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as end:
            cli.main()
        error = capsys.readouterr().err
        assert end.value.code == 2 and error.startswith(f"retlib: {file}: ") and error.count("\n") == 1


def test_a_record_whose_replacement_was_killed_is_put_back(record: Record) -> None:
    record.folder.rename(record.folder.with_name(f".{record.id}.12345678.old"))
    half = record.folder.with_name(f".{record.id}.12345678")
    half.mkdir()

    def make(_: Path) -> None:
        raise AssertionError("the record is there")

    found = find_or_make(tiny(), record.folder.parent, None, make)
    assert found.content == record.content and half.exists()  # another machine may be writing it
    os.utime(half, (time.time() - 4000,) * 2)
    Store(record.folder.parent).clean(record.id)
    assert [path.name for path in record.folder.parent.iterdir()] == [record.id]


def test_the_book_on_a_full_disk_ends_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with small_disk(tmp_path / "disk", kibibytes=256) as mounted:
        if not mounted:
            pytest.skip("no disk can be mounted here")
        fill(tmp_path / "disk", 20_000)
        assert book.main(["--only", "speed", "--output", str(tmp_path / "disk" / "build")]) == 1
        error = capsys.readouterr().err.strip()
        assert error.startswith("the book was not written: ") and "No space left" in error and "\n" not in error
        shutil.rmtree(tmp_path / "disk" / "build")
