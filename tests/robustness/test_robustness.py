"""A short version of ``python -m tests.robustness``: every reader, every writer, every kind of damage, a few times."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.robustness import __main__ as command
from tests.robustness.full_disk import write_on_a_full_disk
from tests.robustness.kills import kill_downloads, kill_runs, kill_writer
from tests.robustness.malformed import FAILED, READERS, REFUSED, SAME, Reader, count, try_reader
from tests.robustness.writers import WRITERS, HalfError, Writer

without_fork = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks of a process with torch: Linux")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A fork has no other threads; the tests' own fixture puts their number back."""
    import torch

    torch.set_num_threads(1)
    yield


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_damaged_file_is_refused_by_name_or_read_right(reader: Reader, tmp_path: Path) -> None:
    cases = list(try_reader(reader, tmp_path / "work", each=1))
    assert [f"{case.seed}: {case.why}" for case in cases if case.outcome == FAILED] == []
    assert Counter(case.outcome for case in cases)[REFUSED] >= 3


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.name)
def test_a_full_disk_is_named_and_leaves_what_was_there(writer: Writer, tmp_path: Path) -> None:
    for left in command.LEFT:
        assert write_on_a_full_disk(writer, tmp_path / f"disk-{left}", left)


@without_fork
@pytest.mark.slow
@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.name)
def test_a_killed_writer_leaves_a_whole_version(writer: Writer, tmp_path: Path) -> None:
    counts = kill_writer(writer, tmp_path, kills=6, processes=2 if writer.name == "record" else 1)
    assert counts["kills"] >= 6


@without_fork
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_runs_end_in_the_records_of_runs_left_alone(tmp_path: Path) -> None:
    counts = kill_runs(tmp_path, kills=4, runs=2)
    assert counts["kills"] >= 4 and counts["rounds"] >= 1


@without_fork
@pytest.mark.slow
def test_killed_downloads_leave_no_part_of_a_data_set(tmp_path: Path) -> None:
    assert kill_downloads(tmp_path, kills=5)["kills"] >= 5


# --- the checks can fail ---------------------------------------------------------------------------------------------


def test_a_reader_that_believes_everything_is_found_out(tmp_path: Path) -> None:
    def make(folder: Path) -> Path:
        (folder / "a.txt").write_bytes(b"0123456789" * 50)
        return folder / "a.txt"

    def crash(path: Path) -> bytes:
        return {b"0123456789" * 50: b""}[path.read_bytes()]

    believing = list(try_reader(Reader("a", "a", make, lambda path: path.read_bytes()), tmp_path / "a", each=2))
    assert {case.damage for case in believing if case.outcome == FAILED} >= {"empty", "cut", "random bytes", "a text"}
    crashing = list(try_reader(Reader("b", "b", make, crash), tmp_path / "b", each=2))
    assert {case.outcome for case in crashing} <= {FAILED, SAME}
    assert count(crashing)["b"][FAILED] > 10


def test_a_reader_that_writes_elsewhere_or_names_no_file_is_found_out(tmp_path: Path) -> None:
    def make(folder: Path) -> Path:
        (folder / "a.txt").write_bytes(b"0123456789" * 50)
        return folder / "a.txt"

    def writing(path: Path) -> bytes:
        if path.read_bytes() != b"0123456789" * 50:
            (path.parent / "elsewhere").touch()
            raise ValueError(f"{path}: damaged")
        return b""

    def vague(path: Path) -> bytes:
        if path.read_bytes() != b"0123456789" * 50:
            raise ValueError("damaged")
        return b""

    for number, read in enumerate((writing, vague)):
        cases = list(try_reader(Reader("a", "a", make, read), tmp_path / str(number), each=1))
        assert {case.outcome for case in cases} <= {FAILED, SAME}


@without_fork
def test_a_writer_of_halves_is_found_out(tmp_path: Path) -> None:
    def write(folder: Path, version: int) -> None:
        with (folder / "file").open("wb") as file:
            for _ in range(1000):
                file.write(bytes([version % 256]) * 1000)
                file.flush()

    def read(folder: Path) -> int:
        content = (folder / "file").read_bytes()
        if len(content) != 1_000_000 or len(set(content)) > 1:
            raise HalfError
        return content[0]

    with pytest.raises(HalfError):
        kill_writer(Writer("halves", write, read), tmp_path / "killed", kills=30)
    with pytest.raises(AssertionError, match=r"is gone|left behind|nothing was said"):
        write_on_a_full_disk(Writer("halves", write, lambda folder: read(folder) * 0), tmp_path / "full", 5000)


# --- the file that the page shows ------------------------------------------------------------------------------------


def test_parts_are_stored_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "robustness.json"
    parts = {"kills": lambda *_: {"failures": []}, "full_disk": lambda *_: {"failures": ["one"]}}
    monkeypatch.setattr(command, "PARTS", parts)
    assert command.main(["--output", str(target), "--parts", "kills"]) == 0
    assert command.main(["--output", str(target), "--parts", "full_disk"]) == 1
    content = json.loads(target.read_text(encoding="utf-8"))
    assert content["full_disk"]["failures"] == ["one"] and content["kills"]["python"]


def test_the_suite_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test_two.py").write_text("def test_one():\n    pass\n\n\ndef test_two():\n    assert False\n")
    monkeypatch.setitem(os.environ, "OPENBLAS_CORETYPE", "Haswell")
    target = tmp_path / "robustness.json"
    assert command.main(["--suite", "--output", str(target), str(tmp_path / "test_two.py")]) == 1
    (suite,) = json.loads(target.read_text(encoding="utf-8"))["suites"].values()
    assert (suite["passed"], suite["failed"], suite["skipped"], suite["openblas"]) == (1, 1, 0, "Haswell")


def test_the_file_of_the_book_is_whole() -> None:
    content = json.loads(command.TARGET.read_text(encoding="utf-8"))
    assert [content[part]["failures"] for part in command.PARTS] == [[], [], []]
    assert set(content["kills"]["kinds"]) == {*(writer.name for writer in WRITERS), "downloads", "runs"}
    assert all(counts["kills"] >= 50 for counts in content["kills"]["kinds"].values())
    names = [name for group in content["malformed"]["readers"].values() for name in group]
    assert names == [reader.name for reader in READERS]
    counted = sum(sum(outcomes.values()) for outcomes in content["malformed"]["outcomes"].values())
    assert counted == content["malformed"]["files"] >= 300


def test_the_tables_of_the_book_are_those_of_its_file(tmp_path: Path) -> None:
    copy = tmp_path / command.TARGET.name
    copy.write_bytes(command.TARGET.read_bytes())
    command.write_tables(copy)
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.csv")}
    assert sorted(written) == [f"robustness-{name}.csv" for name in ("disks", "files", "kills", "suites")]
    page = (command.ROOT / "book" / "tested.md").read_text(encoding="utf-8")
    for name, text in written.items():
        assert (command.RECORDS / name).read_text(encoding="utf-8") == text, "run python -m tests.robustness --parts"
        assert f":file: records/{name}\n" in page
