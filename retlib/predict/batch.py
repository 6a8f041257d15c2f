"""Segment many photographs: choose the files, name the output, write it."""

from __future__ import annotations

import glob
import io
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin

from retlib.data.readers import mask_of
from retlib.files import write_whole
from retlib.predict.fundus_check import NotAFundusError
from retlib.predict.photographs import SUFFIXES, PhotographError, read_photograph, read_with_doubts

if TYPE_CHECKING:  # importing torch takes most of a second, which a wrong argument need not cost
    from retlib.predict.predictor import Prediction, Predictor

COLUMNS = ("file", "width", "height", "fov_diameter", "vessel_share", "seconds", "doubts")
"""Columns of the summary: pixels, pixels, pixels, share of the FOV, seconds, and doubts or why there is no map."""

_SOFTWARE = "retlib predict"  # in the metadata of every picture that is written here
_COLOUR = np.array([0, 200, 255], np.float32)  # of the overlay: no colour of a retina, also for colour-blind eyes
_OPACITY = 0.65  # of the overlay
_NAMED = 20  # files that are left out and named


class Job(NamedTuple):
    """Name one photograph and the files that are made of it."""

    source: Path
    targets: dict[str, Path]  #: ``vessels`` and, where asked for, ``overlay``, ``probabilities``, ``fov`` -> a file.


def plan(
    inputs: Sequence[str],
    output: str,
    *,
    recursive: bool = False,
    overlay: bool = False,
    probabilities: bool = False,
    save_fov: str | None = None,
    tables: Mapping[str, str | None] | None = None,
) -> tuple[list[Job], list[str]]:
    """Choose the photographs and name all output before anything is computed.

    A folder stands for its picture files (by `SUFFIXES`), sorted by name, without hidden files and without earlier
    output of `retlib predict`. One photograph goes to the file ``output`` if that ends in ``.png``. Otherwise
    ``output`` is a folder, and each map has the name of its photograph; two photographs that differ only in their
    ending keep it: ``a.jpg.png``. A file with the ending of another picture is refused as output.

    Args:
        inputs: files, folders or patterns.
        output: a PNG file or a folder.
        recursive: search the folders inside a folder too.
        overlay: also write ``NAME_overlay.png``.
        probabilities: also write ``NAME_probabilities.png``.
        save_fov: folder for the fields of view.
        tables: option -> file for a table, which must not be one of the others; None where there is none.

    Returns:
        The jobs, and a line on each kind of thing that is left out: earlier output, files that are no pictures, folders
        without a photograph.

    Raises:
        ValueError: an input does not exist, or there is no photograph at all; ``output`` is no PNG, one file for many
            photographs, the same file for two photographs, or a photograph that would be overwritten.
    """
    places, left_out = _find(inputs, recursive)
    if not output:
        raise ValueError("--output: the name is empty; expected a folder, or a file ending in .png")
    target = Path(output)
    is_picture = target.name.lower().endswith(SUFFIXES)
    if target.exists() and not target.is_dir() and not is_picture:
        raise ValueError(f"--output: {target} is a file; expected a folder, or a file ending in .png")
    names = _names(list(places.values()))
    if target.is_dir() or output.endswith(("/", os.sep)) or not is_picture:
        bases = [target / name for name in names]
    elif len(inputs) > 1 or not Path(inputs[0]).is_file():
        raise ValueError(f"--output: {len(places)} photographs go to a folder, got the file name {target}")
    elif target.suffix.lower() != ".png":
        raise ValueError(f"--output: expected a file ending in .png (or a folder), got {target}")
    else:
        bases = [target]
    jobs = []
    for source, base, name in zip(places, bases, names, strict=True):
        targets = {"vessels": base}
        if overlay:
            targets["overlay"] = base.with_name(f"{base.name[:-4]}_overlay.png")
        if probabilities:
            targets["probabilities"] = base.with_name(f"{base.name[:-4]}_probabilities.png")
        if save_fov is not None:
            targets["fov"] = Path(save_fov) / name
        jobs.append(Job(source, targets))
    _refuse_collisions(jobs, tables or {})
    return jobs, left_out


def run_jobs(
    predictor: Predictor,
    jobs: Iterable[Job],
    *,
    check: bool = True,
    fov: str | None = None,
    measure: bool = False,
    report: Callable[[str, str], None],
) -> tuple[int, list[dict[str, object]]]:
    """Run all jobs; one that fails does not stop the others.

    Args:
        predictor: the network.
        jobs: photographs and output.
        check: refuse images that do not look like fundus photographs.
        fov: a mask of the field of view, or a folder of masks, see `find_mask`; by default it is estimated.
        measure: measure the vessels of each map, see `retlib.metrics.morphology`.
        report: called after each job with one line on the map, one on failure or doubt, either of them empty.

    Returns:
        The number of jobs that failed, and a row for each photograph: `COLUMNS`, and the measures if ``measure``.
    """
    failed, rows = 0, []
    for job in jobs:
        start = time.perf_counter()
        row: dict[str, object] = {"file": str(job.source)}
        try:
            line, measured, doubts = _run(predictor, job, check, fov, measure)
        except Exception as error:  # also a full disk, say, or a photograph too large for the device's memory
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            if os.environ.get("RETLIB_DEBUG") and not isinstance(error, ValueError):
                raise
            failed += 1
            row["doubts"] = f"not segmented: {reason}"
            report("", reason if isinstance(error, PhotographError) else f"{job.source}: {reason}")
        else:
            row |= measured | {"seconds": f"{time.perf_counter() - start:.2f}", "doubts": "; ".join(doubts)}
            report(line, f"{job.source}: doubtful: {row['doubts']}" if doubts else "")
        rows.append(row)
    return failed, rows


def find_mask(fov: str, source: Path) -> Path:
    """Find a photograph's mask of the field of view.

    Args:
        fov: a mask, for all photographs; or a folder with a mask for each, which has the name of its photograph, or
            begins with it: ``21_training_mask.gif`` belongs to ``21_training.tif``.
        source: the photograph.

    Raises:
        ValueError: there is no such mask, or there are several.
    """
    place = Path(fov)
    if not place.is_dir():
        return place
    stem = _stem(source.name)
    masks = {path: _stem(path.name) for path in _pictures(place, False)[0]}
    found = [path for path, name in masks.items() if name == stem]
    found = found or [path for path, name in masks.items() if name.startswith((f"{stem}_", f"{stem}-", f"{stem}."))]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ValueError(f"--fov: expected one mask in {place} named {stem} or {stem}_..., found {names}")
    return found[0]


def _run(
    predictor: Predictor, job: Job, check: bool, fov: str | None, measure: bool
) -> tuple[str, dict[str, object], tuple[str, ...]]:
    """Segment one photograph and write its files, each of them whole or not at all: a line on it, a row, its doubts."""
    image, doubts = read_with_doubts(job.source)
    if fov is None:
        result = predictor(image, check=check)
    else:
        place = find_mask(fov, job.source)
        mask = mask_of(read_photograph(place)[..., 0])
        try:
            result = predictor(image, check=check, fov=mask)
        except NotAFundusError as error:
            raise PhotographError(f"{job.source}: inside the mask {place}, {error}") from None
        except ValueError as error:  # the mask has another size than the photograph, or no pixel inside
            raise ValueError(f"--fov {place}: {error}") from None
    for kind, path in reversed(job.targets.items()):  # the vessels last: where they are, the others are too
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, _png(_draw(kind, image, result)))
    line = f"{job.source} -> {job.targets['vessels']}: vessels on {result.vessel_share:.1%} of the field of view"
    height, width = image.shape[:2]
    row = {"width": width, "height": height, "fov_diameter": result.fov_diameter}
    if measure:
        from retlib.metrics.morphology import measure_vessels  # scikit-image takes a while to import

        measures = measure_vessels(result.vessels, result.fov)
        row |= {name: "" if math.isnan(value) else f"{value:.6g}" for name, value in measures.items()}
    return line, row | {"vessel_share": f"{result.vessel_share:.4f}"}, (*doubts, *result.doubts)


def _draw(kind: str, image: np.ndarray, result: Prediction) -> np.ndarray:
    """Draw what a file of a `Job` shows: uint8 (H, W) or (H, W, 3), or uint16 (H, W) for probabilities."""
    if kind == "probabilities":
        return np.rint(result.probabilities * np.float32(65535)).astype(np.uint16)
    if kind == "overlay":
        tinted = image.copy()
        tinted[result.vessels] = np.rint(_OPACITY * _COLOUR + (1 - _OPACITY) * image[result.vessels])
        return tinted
    return (result.fov if kind == "fov" else result.vessels) * np.uint8(255)


def _find(inputs: Sequence[str], recursive: bool) -> tuple[dict[Path, Path], list[str]]:
    """Find photographs, each once: path -> path relative to the folder that was given; and say what is left out."""
    chosen: dict[Path, tuple[Path, Path]] = {}
    own, others, empty = [], [], []
    for path in (path for name in inputs for path in _expand(name)):
        if not path.is_dir():
            chosen.setdefault(path.resolve(), (path, Path(path.name)))
            continue
        try:
            pictures, rest = _pictures(path, recursive)
        except OSError as error:
            empty.append(f"{path}: cannot be read ({error.strerror})")
            continue
        others += rest
        if not pictures:
            deeper = "" if recursive else "; --recursive looks into the folders inside it"
            empty.append(f"{path}: no photographs in this folder (looked for {', '.join(SUFFIXES)}{deeper})")
        for picture in pictures:
            if _is_output(picture):
                own.append(picture)
            else:
                chosen.setdefault(picture.resolve(), (picture, picture.relative_to(path)))
    if not chosen:
        raise ValueError("; ".join(empty) or f"{inputs[0]}: every picture in it was written by `retlib predict` itself")
    left_out = [f"{line}; left out" for line in empty]
    if own:
        left_out.append(f"{len(own)} pictures left out: retlib predict wrote them itself")
    if others:
        names = ", ".join(map(str, others[:_NAMED])) + f" and {len(others) - _NAMED} more" * (len(others) > _NAMED)
        left_out.append(f"{len(others)} files left out, whose ending is of no picture that is read: {names}")
    return dict(chosen.values()), left_out


def _png(values: np.ndarray) -> bytes:
    """Encode uint8 (H, W) or (H, W, 3), or uint16 (H, W), as a PNG that names this program in its metadata."""
    note = PngImagePlugin.PngInfo()
    note.add_text("Software", _SOFTWARE)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG", pnginfo=note, compress_level=4)
    return buffer.getvalue()


def _is_output(path: Path) -> bool:
    """Tell whether `retlib predict` wrote a file."""
    if path.suffix.lower() != ".png":
        return False
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return picture.info.get("Software") == _SOFTWARE
    except (OSError, SyntaxError, ValueError):
        return False


def _expand(name: str) -> list[Path]:
    if not name:
        raise ValueError("one of the photographs has an empty name; expected a file, a folder or a pattern")
    path = Path(name)
    if os.path.lexists(path):  # also a link whose file is gone, which is named when it is read
        return [path]
    if glob.has_magic(name):  # quoted, or left as it is by the shell
        if matches := sorted(Path(match) for match in glob.glob(os.path.expanduser(name), recursive=True)):
            return matches
        raise ValueError(f"{name}: nothing matches this pattern")
    raise ValueError(
        f"{name}: there is no such file or folder (--overlay and --probabilities take no name: their files lie beside"
        " the output)"
    )


def _pictures(folder: Path, recursive: bool) -> tuple[list[Path], list[Path]]:
    """List the files with the ending of a picture, broken links too, and the others; hidden files in neither."""
    pictures, others = [], []
    for path in sorted(folder.rglob("*") if recursive else folder.iterdir()):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and (path.is_file() or (path.is_symlink() and not path.exists())):
            (pictures if path.name.lower().endswith(SUFFIXES) else others).append(path)
    return pictures, others


def _names(places: Sequence[Path]) -> list[Path]:
    """Name the maps after their photographs, with the photographs' endings where these are the only difference."""
    short = [place.with_name(f"{_stem(place.name)}.png") for place in places]
    keys = [os.path.normcase(name) for name in short]
    return [
        name if keys.count(key) == 1 else place.with_name(f"{place.name}.png")
        for name, key, place in zip(short, keys, places, strict=True)
    ]


def _stem(name: str) -> str:
    ending = max((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), key=len, default="")
    return name[: len(name) - len(ending)] or name


def _refuse_collisions(jobs: Sequence[Job], tables: Mapping[str, str | None]) -> None:
    sources = {os.path.normcase(job.source.resolve()): job.source for job in jobs}
    taken: dict[str, Path] = {}
    for job in jobs:
        for target in job.targets.values():
            key = os.path.normcase(target.resolve())
            if key in sources:
                raise ValueError(
                    f"--output: {target} would overwrite the photograph {sources[key]}; name another place"
                )
            if key in taken:
                raise ValueError(
                    f"--output: {taken[key]} and {job.source} would both be written to {target}; run them one by one,"
                    " or their folders with an output folder each"
                )
            if target.is_dir():
                raise ValueError(f"--output: {target} is a folder; expected a file name, or a folder for all")
            taken[key] = job.source
    files = {"--output": jobs[0].targets["vessels"], "--save-fov": jobs[0].targets.get("fov")}
    files |= {option: name if name is None else Path(name) for option, name in tables.items()}
    for option, path in files.items():
        if path is None:
            continue
        if blocked := next((folder for folder in path.parents if folder.is_file()), None):
            raise ValueError(f"{option}: {blocked} is a file; expected a folder")
        key = os.path.normcase(path.resolve())
        if option in tables and (path.is_dir() or key in sources or key in taken):  # an empty name is this folder
            raise ValueError(
                f"{option}: expected the name of a file that is no photograph, no map and no other table,"
                f" got {tables[option]!r}"
            )
        taken[key] = path
