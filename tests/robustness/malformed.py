"""Read damaged files with every reader of the library, and say what became of each.

Of a damaged file there are three outcomes that are right: it reads as it did before, it is refused with one error that
names it, or it reads as another whole file of its kind, where the format has no checksum that would tell (one digit of
a CSV file, one pixel of a TIFF file). The rest are failures: another exception, a message that does not name the file,
a traceback on the command line, more than `SECONDS`, the beginning of a file taken for the whole, a file of another
kind taken for data, or a file written outside the target.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tarfile
import tempfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from retlib import cli
from retlib.data.phantoms import make_phantom
from tests.robustness.damage import FOREIGN, KINDS, UNFINISHED

SECONDS = 60
"""Time for one file; a reader that takes longer hangs."""

SAME, REFUSED, OTHER, FAILED = "read as before", "refused", "read as another whole file", "failed"
OUTCOMES = (SAME, REFUSED, OTHER, FAILED)


@dataclass(frozen=True)
class Reader:
    """One way of reading one kind of file.

    Attributes:
        name: what is read, as the book's table names it.
        group: line of that table.
        make: write a good file, with what belongs to it, into an empty folder; return the file that will be damaged.
        read: read it, give something that can be compared; anything it writes goes into ``folder / "out"``.
        raw: numbers stand in the file one by one and without a checksum, so zeros are read as numbers.
        sealed: the format has a checksum over all that is read, so another content is never right.
        text: the beginning of a whole file is one too: of a text, or of a tar archive cut between two members.
        huge: further damage: name -> content that claims to be enormous.
    """

    name: str
    group: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    raw: bool = False
    sealed: bool = False
    text: bool = False
    huge: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)


class RefusedError(Exception):
    """A command ended with exit code 1 or 2; the message is its standard error."""


def run_command(*words: object) -> str:
    """Run `retlib` in this process.

    Returns:
        What it printed.

    Raises:
        RefusedError: its exit code was 1 or 2.
    """
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _errors_of_libraries() as more:
        with mock.patch.object(sys, "argv", ["retlib", *map(str, words)]):
            try:
                cli.main()
            except SystemExit as end:
                code = end.code or 0
        errors = (err.getvalue() + more()).strip()
    if code in (1, 2):
        raise RefusedError(errors)
    if code:
        raise RuntimeError(f"exit code {code}: {errors}")
    return out.getvalue()


@contextlib.contextmanager
def _errors_of_libraries() -> Iterator[Callable[[], str]]:
    """Catch what libraries in C write to standard error, past Python."""
    with tempfile.TemporaryFile() as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)

        def read() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        try:
            yield read
        finally:
            os.dup2(before, 2)
            os.close(before)


# --- photographs and masks --------------------------------------------------------------------------------------------


@cache
def photograph() -> np.ndarray:
    """Draw a photograph, uint8 (146, 141, 3)."""
    return make_phantom(3, 146, 141).image


@cache
def tiny_weights() -> Path:
    """Write weights of a tiny network once; they are removed when the process ends."""
    from tests.predict.conftest import random_weights, record_of, ship

    folder = Path(tempfile.mkdtemp(prefix="retlib-weights-"))
    import atexit

    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    record = record_of(folder)
    ship(record, folder, name="tiny", licence="none", weights=random_weights(record, folder / "kept.pt"))
    (folder / "kept.pt").unlink()
    return folder / "tiny.pt"


def _digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return " ".join(f"{path.name}:{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}" for path in files)


def _segment(path: Path, *options: object, weights: Path | None = None) -> str:
    out = path.parent / "out"
    words = ("predict", path, "-o", out / "map.png", "--device", "cpu", "--weights", weights or tiny_weights())
    run_command(*words, *options)
    return _digest(out)


def _save_photograph(name: str, **options: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        Image.fromarray(photograph()).save(folder / name, **options)
        return folder / name

    return make


def _save_deep(folder: Path) -> Path:
    import tifffile

    tifffile.imwrite(folder / "deep.tif", photograph().astype(np.uint16) * 257, photometric="rgb")
    return folder / "deep.tif"


def _png_size(good: bytes) -> bytes:
    """Claim 60000 x 60000 pixels in a PNG's header, with the checksum that belongs to it."""
    import zlib

    head = good[12:16] + (60000).to_bytes(4, "big") * 2 + good[24:29]
    return good[:12] + head + zlib.crc32(head).to_bytes(4, "big") + good[33:]


def _jpeg_size(good: bytes) -> bytes:
    place = next(at for at in range(2, len(good)) if good[at : at + 2] in (b"\xff\xc0", b"\xff\xc2"))
    return good[: place + 5] + b"\xff\xff\xff\xff" + good[place + 9 :]


def _tiff_size(good: bytes) -> bytes:
    """Claim 50000 x 50000 pixels in a TIFF's first two tags, width and height."""
    ifd = int.from_bytes(good[4:8], "little")
    values = bytearray(good)
    for entry in range(int.from_bytes(good[ifd : ifd + 2], "little")):
        at = ifd + 2 + 12 * entry
        if int.from_bytes(good[at : at + 2], "little") in (256, 257):
            values[at + 2 : at + 12] = (
                (4).to_bytes(2, "little") + (1).to_bytes(4, "little") + (50000).to_bytes(4, "little")
            )
    return bytes(values)


def _pgm_size(good: bytes) -> bytes:
    return b"P5\n60000 60000\n255\n" + good[-1000:]


def _save_mask(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        Image.fromarray(photograph()).save(folder / "eye.png")
        Image.fromarray(make_phantom(3, 146, 141).fov).save(folder / name)
        return folder / name

    return make


def _segment_with_mask(mask: Path) -> str:
    return _segment(mask.parent / "eye.png", "--fov", mask)


def _label(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        Image.fromarray(make_phantom(3, 146, 141).vessels).save(folder / name)
        return folder / name

    return make


def _read_label(path: Path) -> str:
    from retlib.data.readers import read_mask

    return hashlib.sha256(read_mask(path).tobytes()).hexdigest()


# --- tables -----------------------------------------------------------------------------------------------------------

_TABLE = """Method,Dataset,Acc,Se,Sp,F1
U-Net,DRIVE,0.9531,0.7537,0.9820,0.8142
Attention U-Net,DRIVE,0.9556,0.7792,0.9813,0.8171
R2U-Net,DRIVE,0.9556,0.7792,0.9813,0.8171
Ours,STARE,0.9634,0.7756,0.9884,0.8373
"""


def _table(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "records").mkdir()
        rows = [line.split(",") for line in _TABLE.splitlines()]
        text = _TABLE
        if name.endswith(".md"):
            rows.insert(1, ["---"] * len(rows[0]))
            text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        elif name.endswith(".tex"):
            body = "\\\\\n".join(" & ".join(row) for row in rows)
            text = f"\\begin{{tabular}}{{llrrrr}}\n\\hline\n{body}\\\\\n\\hline\n\\end{{tabular}}\n"
        elif name.endswith(".xlsx"):
            import openpyxl

            book = openpyxl.Workbook()
            for row in rows:
                book.active.append([float(cell) if cell[0] == "0" else cell for cell in row])
            book.save(folder / name)
            return folder / name
        elif "semicolon" in name:
            text = text.replace(",", ";").replace(".", ",")
        (folder / name).write_text(text, encoding="utf-16" if "utf16" in name else "utf-8")
        return folder / name

    return make


def _audit(path: Path) -> str:
    return run_command("audit", path, "--records", path.parent / "records")


def _sheet(change: Callable[[str], str]) -> Callable[[bytes], bytes]:
    """Change the XML of a workbook's first sheet."""

    def damage(good: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
            for name in old.namelist():
                content = old.read(name)
                if name == "xl/worksheets/sheet1.xml":
                    content = change(content.decode()).encode()
                new.writestr(name, content)
        return buffer.getvalue()

    return damage


# --- papers, records, weights, checkpoints, archives ------------------------------------------------------------------


def _paper(folder: Path) -> Path:
    from importlib.resources import files

    text = (files("retlib.papers") / "convlstm-unet.yaml").read_text(encoding="utf-8")
    (folder / "paper.yaml").write_text(text, encoding="utf-8")
    return folder / "paper.yaml"


def _read_paper(path: Path) -> str:
    from retlib.papers import load_paper

    return load_paper(path).model_dump_json()


def _bomb(good: bytes) -> bytes:
    """Write aliases of aliases: two to the power of thirty entries, were they written out."""
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 30))]
    return good + "\n".join(lines).encode()


def _nested(good: bytes) -> bytes:
    return b"key: " + b"[" * 100_000


@cache
def _one_record() -> dict[str, bytes]:
    """Make the record of a small run once: name -> content."""
    from retlib.study import run
    from tests.experiments.conftest import tiny

    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, RETLIB_CACHE=f"{folder}/cache"):
        record = run(tiny(), Path(folder) / "records", device="cpu", progress=False)
        return {path.name: path.read_bytes() for path in record.folder.iterdir()}


def _record(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        files = _one_record()
        place = folder / json.loads(files["record.json"])["id"]
        place.mkdir()
        for file, content in files.items():
            (place / file).write_bytes(content)
        return place / name

    return make


def _read_record(path: Path) -> str:
    from retlib.study import Store

    (record,) = Store(path.parents[1])
    maps = {case: values.tobytes() for case, values in record.error_maps().items()}
    histogram = record.histograms()
    return repr((record.content, maps, histogram.names, histogram.edges.tobytes(), histogram.counts.tobytes()))


def _npz(good: bytes) -> bytes:
    """Claim an array of 2^40 numbers in a .npz file."""
    buffer, header = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i4", "fortran_order": False, "shape": (2**40,)})
    with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, header.getvalue() if name == "counts.npy" else old.read(name))
    return buffer.getvalue()


def _weights(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for end in (".pt", ".json"):
            shutil.copy(tiny_weights().with_suffix(end), folder / f"mine{end}")
        Image.fromarray(photograph()).save(folder / "eye.png")
        return folder / f"mine{suffix}"

    return make


def _segment_with_weights(path: Path) -> str:
    return _segment(path.parent / "eye.png", weights=path.with_suffix(".pt"))


def _network():
    import torch
    from torch import nn

    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))


def _state_dict(folder: Path) -> Path:
    import torch

    torch.save(_network().state_dict(), folder / "kept.pt")
    return folder / "kept.pt"


def _read_state_dict(path: Path) -> str:
    from retlib.predict.weights import read_state

    return repr({name: value.tolist() for name, value in read_state(path).items()})


def _checkpoint(folder: Path) -> Path:
    import torch

    from retlib.training.checkpoints import State, save

    network = _network()
    optimiser = torch.optim.AdamW(network.parameters())
    save(folder / "checkpoint.pt", State(epoch=3, steps=12), {"model": network, "optimiser": optimiser})
    return folder / "checkpoint.pt"


def _resume(path: Path) -> str:
    import torch

    from retlib.training.checkpoints import load

    network = _network()
    optimiser = torch.optim.AdamW(network.parameters())
    state = load(path, {"model": network, "optimiser": optimiser}, torch.device("cpu"))
    return repr((state, optimiser.state_dict(), {k: v.tolist() for k, v in network.state_dict().items()}))


def _part(folder: Path) -> Path:
    from retlib.data.pack import pack

    place = folder / "data" / "CHASE_DB1"
    place.mkdir(parents=True)
    Image.fromarray(photograph()).save(place / "Image_01L.jpg")
    Image.fromarray(make_phantom(3, 146, 141).vessels).save(place / "Image_01L_1stHO.png")
    (part,) = pack(folder / "data", folder)
    shutil.rmtree(folder / "data")
    return part


def _unpack(path: Path) -> str:
    out = path.parent / "out"
    try:
        run_command("data", "unpack", path, "--root", out)
    except RefusedError as error:
        if str(error):
            raise  # else the part is whole, and the data sets are not, since this is one of two parts
    return _digest(out)


def _archive(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        members = {"Image_01L.jpg": b"a photograph" * 50, "Image_01L_1stHO.png": b"a label" * 70}
        if name.endswith(".zip"):
            with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
                for member, content in members.items():
                    archive.writestr(member, content)
        else:
            with tarfile.open(folder / name, "w") as archive:
                for member, content in members.items():
                    entry = tarfile.TarInfo(member)
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
        return folder / name

    return make


def _unpack_archive(path: Path) -> str:
    from retlib.data.collections import CHASE_DB1
    from retlib.data.download import unpack

    unpack(CHASE_DB1, path, path.parent / "out")
    return _digest(path.parent / "out")


def _shares(folder: Path) -> Path:
    from tests.benchmarks.measuring import RECORDS

    shutil.copy(RECORDS / "datasets.json", folder)
    (folder / "table.csv").write_text(_TABLE, encoding="utf-8")
    return folder / "datasets.json"


def _audit_with_shares(path: Path) -> str:
    return run_command("audit", path.parent / "table.csv", "--records", path.parent)


READERS = [
    Reader("PNG", "photographs", _save_photograph("eye.png"), _segment, huge={"60000 x 60000": _png_size}),
    Reader("JPEG", "photographs", _save_photograph("eye.jpg"), _segment, huge={"65535 x 65535": _jpeg_size}),
    Reader("JPEG, progressive", "photographs", _save_photograph("eye.jpeg", progressive=True), _segment),
    Reader("TIFF", "photographs", _save_photograph("eye.tif"), _segment, raw=True, huge={"50000 x 50000": _tiff_size}),
    Reader(
        "TIFF, LZW", "photographs", _save_photograph("eye.tiff", compression="tiff_lzw"), _segment,
        huge={"50000 x 50000": _tiff_size},
    ),
    Reader("TIFF, 16 bits", "photographs", _save_deep, _segment, raw=True, huge={"50000 x 50000": _tiff_size}),
    Reader("JPEG 2000", "photographs", _save_photograph("eye.jp2"), _segment),
    Reader("WebP", "photographs", _save_photograph("eye.webp", quality=95), _segment),
    Reader("GIF", "photographs", _save_photograph("eye.gif"), _segment),
    Reader("BMP", "photographs", _save_photograph("eye.bmp"), _segment, raw=True),
    Reader("PPM", "photographs", _save_photograph("eye.ppm"), _segment, raw=True, huge={"60000 x 60000": _pgm_size}),
    Reader("PNG for --fov", "masks", _save_mask("mask.png"), _segment_with_mask, huge={"60000 x 60000": _png_size}),
    Reader("GIF for --fov", "masks", _save_mask("mask.gif"), _segment_with_mask),
    Reader("PNG of a data set", "masks", _label("label.png"), _read_label, huge={"60000 x 60000": _png_size}),
    Reader("GIF of a data set", "masks", _label("label.gif"), _read_label),
    Reader(
        "TIFF of a data set", "masks", _label("label.tif"), _read_label, raw=True, huge={"50000 x 50000": _tiff_size}
    ),
    Reader("CSV", "tables", _table("table.csv"), _audit, text=True),
    Reader("CSV, decimal comma", "tables", _table("semicolon.csv"), _audit, text=True),
    Reader("CSV, UTF-16", "tables", _table("utf16.csv"), _audit, text=True),
    Reader("Markdown", "tables", _table("table.md"), _audit, text=True),
    Reader(
        "LaTeX", "tables", _table("table.tex"), _audit, text=True,
        huge={"a cell over 10^9 columns": lambda good: good.replace(b"Ours", rb"\multicolumn{1000000000}{l}{Ours}")},
    ),
    Reader(
        "Excel", "tables", _table("table.xlsx"), _audit,
        huge={
            "a million rows and 16384 columns": _sheet(
                lambda xml: xml.replace("</sheetData>", '<row r="1048576"><c r="XFD1048576"/></row></sheetData>')
            ),
        },
    ),
    Reader("vessel shares (datasets.json)", "tables", _shares, _audit_with_shares, text=True),
    Reader(
        "YAML", "papers", _paper, _read_paper, text=True,
        huge={"aliases of aliases": _bomb, "100,000 brackets": _nested},
    ),
    Reader("record.json", "records", _record("record.json"), _read_record, sealed=True),
    Reader(
        "score histograms", "records", _record("phantom-test.npz"), _read_record, sealed=True,
        huge={"2^40 numbers": _npz},
    ),
    Reader("error map", "records", _record("phantom-test.best.png"), _read_record, sealed=True,
           huge={"60000 x 60000": _png_size}),
    Reader("weights file", "weights", _weights(".pt"), _segment_with_weights, sealed=True),
    Reader("its card", "weights", _weights(".json"), _segment_with_weights, text=True),
    Reader("weights of a run", "weights", _state_dict, _read_state_dict, sealed=True),
    Reader("checkpoint", "checkpoints", _checkpoint, _resume, sealed=True),
    Reader("part of `retlib data pack`", "archives", _part, _unpack),
    Reader("zip", "archives", _archive("CHASEDB1.zip"), _unpack_archive),
    Reader("tar", "archives", _archive("labels.tar"), _unpack_archive, raw=True, text=True),
]  # fmt: skip


@contextlib.contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True)
class Case:
    """One damaged file and what became of it; ``why`` explains a failure, or quotes the refusal."""

    reader: Reader
    damage: str
    seed: str
    outcome: str
    why: str = ""


def try_reader(reader: Reader, folder: Path, each: int) -> Iterator[Case]:
    """Damage a reader's file ``each`` times in every way, and read it after each; ``folder`` is empty, and stays so."""
    (folder / "first").mkdir(parents=True)
    expected = reader.read(reader.make(folder / "first"))
    good_path = reader.make(_fresh(folder))
    good = good_path.read_bytes()
    damaged = [
        (kind, f"{reader.name}/{kind}/{number}", damage(random.Random(f"{reader.name}/{kind}/{number}"), good))
        for kind, damage in KINDS.items()
        for number in range(1 if kind == "empty" else each)
    ]
    damaged += [(f"huge: {kind}", f"{reader.name}/{kind}", damage(good)) for kind, damage in reader.huge.items()]
    for kind, seed, content in damaged:
        path = reader.make(_fresh(folder))
        path.write_bytes(content)
        outcome, why = _outcome(reader, path, kind, expected, content == good)
        places = {entry.name for entry in (folder / "case").iterdir()} - {"out"}
        if outcome != FAILED and places != {entry.name for entry in (folder / "first").iterdir()} - {"out"}:
            outcome, why = FAILED, f"written outside the target: {sorted(places)}"
        yield Case(reader, kind, seed, outcome, why)
    shutil.rmtree(folder)


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder / "case", ignore_errors=True)
    (folder / "case").mkdir()
    return folder / "case"


def _outcome(reader: Reader, path: Path, kind: str, expected: Any, unchanged: bool) -> tuple[str, str]:
    try:
        with _limited(SECONDS):
            found = reader.read(path)
    except (RefusedError, ValueError, OSError) as error:
        message = str(error)
        if isinstance(error, TimeoutError) or unchanged or "Traceback" in message or path.name not in message:
            return FAILED, f"{type(error).__name__}: {message}"
        if isinstance(error, RefusedError) and "\n" in message and "is not valid:" not in message:
            return FAILED, f"several lines: {message}"
        return REFUSED, message
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return FAILED, "".join(traceback.format_exception(error)[-3:])
    if found == expected:
        return SAME, ""
    if (
        reader.sealed
        or kind in FOREIGN
        or kind.startswith("huge")
        or (kind in UNFINISHED and not reader.text and not (reader.raw and kind == "zeros to the end"))
    ):
        return FAILED, f"read, with another content: {str(found)[:300]}"
    return OTHER, ""


def count(cases: list[Case]) -> dict[str, dict[str, int]]:
    """Count outcomes by group of readers."""
    found: dict[str, Counter[str]] = {}
    for case in cases:
        found.setdefault(case.reader.group, Counter())[case.outcome] += 1
    return {group: {outcome: counts[outcome] for outcome in OUTCOMES} for group, counts in found.items()}
