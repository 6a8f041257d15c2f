"""Segment many photographs: choose the files, name the output, write it."""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from retlib.files import write_whole
from retlib.predict.fundus_check import NotAFundusError
from retlib.predict.photographs import SUFFIXES, PhotographError, read_photograph
from retlib.predict.predictor import Predictor

_SOFTWARE = "retlib predict"  # in the metadata of every picture that is written here
_COLOUR = np.array([0, 200, 255], np.float32)  # of the overlay: no colour of a retina, also for colour-blind eyes
_OPACITY = 0.65  # of the overlay


@dataclass(frozen=True)
class Job:
    """Name one photograph and the files that are made of it."""

    source: Path
    vessels: Path
    overlay: Path | None = None
    probabilities: Path | None = None

    @property
    def targets(self) -> tuple[Path, ...]:
        """The files that are written."""
        return tuple(path for path in (self.vessels, self.overlay, self.probabilities) if path is not None)


def plan(
    inputs: Sequence[str], output: str, *, recursive: bool = False, overlay: bool = False, probabilities: bool = False
) -> tuple[list[Job], int]:
    """Choose the photographs and name all output before anything is computed.

    A folder stands for its picture files (by `SUFFIXES`), sorted by name, without hidden files and without earlier
    output of `retlib predict`. One photograph goes to the file ``output`` if that ends in ``.png``. Otherwise
    ``output`` is a folder, and each map has the name of its photograph; two photographs that differ only in their
    ending keep it: ``a.jpg.png``.

    Args:
        inputs: files, folders or patterns.
        output: a PNG file or a folder.
        recursive: search the folders inside a folder too.
        overlay: also write ``NAME_overlay.png``.
        probabilities: also write ``NAME_probabilities.png``.

    Returns:
        The jobs, and the number of pictures that are left out as earlier output.

    Raises:
        ValueError: an input does not exist, or a folder holds no photographs; ``output`` is no PNG, one file for many
            photographs, the same file for two photographs, or a photograph that would be overwritten.
    """
    places, left_out = _find(inputs, recursive)
    target = Path(output)
    if target.exists() and not target.is_dir() and not target.suffix:
        raise ValueError(f"--output: {target} is a file without an ending; expected a folder, or a file ending in .png")
    if target.is_dir() or output.endswith(("/", os.sep)) or not target.suffix:
        bases = [target / name for name in _names(list(places.values()))]
    elif len(inputs) > 1 or not Path(inputs[0]).is_file():
        raise ValueError(f"--output: {len(places)} photographs go to a folder, got the file name {target}")
    elif target.suffix.lower() != ".png":
        raise ValueError(f"--output: expected a file ending in .png (or a folder), got {target}")
    else:
        bases = [target]
    jobs = [
        Job(
            source,
            base,
            base.with_name(f"{base.name[:-4]}_overlay.png") if overlay else None,
            base.with_name(f"{base.name[:-4]}_probabilities.png") if probabilities else None,
        )
        for source, base in zip(places, bases, strict=True)
    ]
    _refuse_collisions(jobs)
    return jobs, left_out


def run_jobs(
    predictor: Predictor, jobs: Iterable[Job], *, check: bool = True, report: Callable[[str, bool], None]
) -> int:
    """Run all jobs; one that fails does not stop the others.

    Args:
        predictor: the network.
        jobs: photographs and output.
        check: refuse images that do not look like fundus photographs.
        report: called after each job with one line, and whether the job failed.

    Returns:
        The number of jobs that failed.
    """
    failed = 0
    for job in jobs:
        try:
            line = _run(predictor, job, check)
        except Exception as error:  # also a full disk, say, or a photograph too large for the device's memory
            if os.environ.get("RETLIB_DEBUG") and not isinstance(error, (NotAFundusError, PhotographError)):
                raise
            failed += 1
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            report(reason if isinstance(error, PhotographError) else f"{job.source}: {reason}", True)
        else:
            report(line, False)
    return failed


def _run(predictor: Predictor, job: Job, check: bool) -> str:
    """Segment one photograph and write its files, each of them whole or not at all; return one line on the result."""
    image = read_photograph(job.source)
    result = predictor(image, check=check)
    job.vessels.parent.mkdir(parents=True, exist_ok=True)
    if job.probabilities:
        write_whole(job.probabilities, _png(np.rint(result.probabilities * np.float32(65535)).astype(np.uint16)))
    if job.overlay:
        tinted = image.copy()
        tinted[result.vessels] = np.rint(_OPACITY * _COLOUR + (1 - _OPACITY) * image[result.vessels])
        write_whole(job.overlay, _png(tinted))
    write_whole(job.vessels, _png(result.vessels.astype(np.uint8) * np.uint8(255)))
    doubt = "" if result.check.passed else f"; doubtful: {'; '.join(result.check.reasons)}"
    return f"{job.source} -> {job.vessels}: vessels on {result.vessel_share:.1%} of the field of view{doubt}"


def _find(inputs: Sequence[str], recursive: bool) -> tuple[dict[Path, Path], int]:
    """Find photographs, each once: path -> path relative to the folder that was given; and count earlier output."""
    chosen: dict[Path, tuple[Path, Path]] = {}
    left_out = 0
    for path in (path for name in inputs for path in _expand(name)):
        if not path.is_dir():
            chosen.setdefault(path.resolve(), (path, Path(path.name)))
            continue
        pictures = _pictures(path, recursive)
        if not pictures:
            deeper = "" if recursive else "; --recursive looks into the folders inside it"
            raise ValueError(f"{path}: no photographs in this folder (looked for {', '.join(SUFFIXES)}{deeper})")
        for picture in pictures:
            if _is_output(picture):
                left_out += 1
            else:
                chosen.setdefault(picture.resolve(), (picture, picture.relative_to(path)))
    if not chosen:
        raise ValueError(f"{inputs[0]}: every picture in it was written by `retlib predict` itself")
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
    path = Path(name)
    if path.exists():
        return [path]
    if glob.has_magic(name):  # quoted, or left as it is by the shell
        if matches := sorted(Path(match) for match in glob.glob(os.path.expanduser(name), recursive=True)):
            return matches
        raise ValueError(f"{name}: nothing matches this pattern")
    raise ValueError(
        f"{name}: there is no such file or folder (--overlay and --probabilities take no name: their files lie beside"
        " the output)"
    )


def _pictures(folder: Path, recursive: bool) -> list[Path]:
    return sorted(
        path
        for path in (folder.rglob("*") if recursive else folder.iterdir())
        if path.name.lower().endswith(SUFFIXES)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


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


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    sources = {os.path.normcase(job.source.resolve()): job.source for job in jobs}
    taken: dict[str, Path] = {}
    for job in jobs:
        for target in job.targets:
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
