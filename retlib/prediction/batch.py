"""Many photographs: which files, under which names, and what became of each."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from retlib.files import write_whole
from retlib.prediction.files import is_ours, overlay_png, probability_png, vessel_png
from retlib.prediction.fundus import NotAFundusError
from retlib.prediction.photographs import SUFFIXES, PhotographError, read_photograph
from retlib.prediction.predictor import Predictor

PICTURE = ".png"


@dataclass(frozen=True)
class Job:
    """One photograph and the files that are made of it."""

    source: Path
    vessels: Path
    overlay: Path | None = None
    probabilities: Path | None = None

    @property
    def targets(self) -> tuple[Path, ...]:
        """The files that are written."""
        return tuple(path for path in (self.vessels, self.overlay, self.probabilities) if path is not None)


@dataclass(frozen=True)
class Found:
    """Photographs that were named or found: path, and its place below the folder that was named."""

    photographs: tuple[tuple[Path, Path], ...]
    left_out: int  # pictures in the folders that are earlier output
    single: bool  # one file was named, and nothing else


def find_photographs(inputs: Sequence[str], recursive: bool = False) -> Found:
    """Files, folders and patterns as photographs, each once.

    A folder stands for its picture files (by `SUFFIXES`), in order of name, without hidden files and without what
    `retlib predict` wrote itself.

    Args:
        inputs: what the user named.
        recursive: whether folders inside a folder are searched too.

    Raises:
        ValueError: something is not there, or nothing is in it.
    """
    chosen: dict[Path, tuple[Path, Path]] = {}
    left_out = 0
    for name in inputs:
        for path in _expand(name):
            if not path.is_dir():
                chosen.setdefault(path.resolve(), (path, Path(path.name)))
                continue
            pictures = _pictures(path, recursive)
            if not pictures:
                raise ValueError(
                    f"{path}: no photographs in this folder (looked for {', '.join(SUFFIXES)}"
                    + (")" if recursive else "; --recursive looks into the folders inside it)")
                )
            mine = [picture for picture in pictures if not is_ours(picture)]
            left_out += len(pictures) - len(mine)
            for picture in mine:
                chosen.setdefault(picture.resolve(), (picture, picture.relative_to(path)))
    if not chosen:
        raise ValueError(f"{inputs[0]}: every picture in it was written by `retlib predict` itself")
    return Found(tuple(chosen.values()), left_out, len(inputs) == 1 and Path(inputs[0]).is_file())


def plan(found: Found, output: str, *, overlay: bool = False, probabilities: bool = False) -> list[Job]:
    """Decide every name before anything is computed.

    One photograph goes to the file ``output``, if that ends in ``.png``; otherwise ``output`` is a folder, in which
    each photograph's map has its name (two that differ in their ending alone keep it: ``a.jpg.png``).

    Raises:
        ValueError: a name that is no PNG, one file for many photographs, two photographs for one file, or a
            photograph that would be overwritten.
    """
    target = Path(output)
    is_folder = target.is_dir() or output.endswith(("/", os.sep)) or not target.suffix
    if target.exists() and not target.is_dir() and not target.suffix:
        raise ValueError(f"--output: {target} is a file without an ending; expected a folder, or a file ending in .png")
    if is_folder:
        names = _names(found.photographs)
        bases = [target / name for name in names]
    elif not found.single:
        raise ValueError(f"--output: {len(found.photographs)} photographs go to a folder, got the file name {target}")
    elif target.suffix.lower() != PICTURE:
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
        for (source, _), base in zip(found.photographs, bases, strict=True)
    ]
    _refuse_collisions(jobs)
    return jobs


def run_job(predictor: Predictor, job: Job, *, check: bool = True) -> str:
    """Read, predict, write. Several files of one photograph are written one after the other, each whole.

    Returns:
        One line on what was found.

    Raises:
        ValueError: the file is unreadable or no fundus photograph.
        OSError: something could not be written.
    """
    image = read_photograph(job.source)
    try:
        result = predictor(image, check=check)
    except NotAFundusError as error:
        raise NotAFundusError(f"{job.source}: {error}") from None
    job.vessels.parent.mkdir(parents=True, exist_ok=True)
    if job.probabilities:
        write_whole(job.probabilities, probability_png(result.probabilities))
    if job.overlay:
        write_whole(job.overlay, overlay_png(image, result.vessels))
    write_whole(job.vessels, vessel_png(result.vessels))
    doubt = "" if result.check.passed else f"; doubtful: {'; '.join(result.check.reasons)}"
    return f"{job.source} -> {job.vessels}: vessels on {result.vessel_share:.1%} of the field of view{doubt}"


def run_jobs(
    predictor: Predictor, jobs: Iterable[Job], *, check: bool = True, report: Callable[[str | None, str | None], None]
) -> int:
    """Run all jobs; one that fails stops no other.

    Args:
        predictor: the network.
        jobs: what to do.
        check: whether what does not look like a fundus photograph is refused.
        report: called after each job with (what was found, None) or (None, the error in one line).

    Returns:
        How many failed.
    """
    failed = 0
    for job in jobs:
        try:
            done = run_job(predictor, job, check=check)
        except (NotAFundusError, PhotographError) as error:
            failed += 1
            report(None, str(error))
        except Exception as error:  # a full disk, a photograph beyond the device's memory: the others go on
            if os.environ.get("RETLIB_DEBUG"):
                raise
            failed += 1
            report(None, f"{job.source}: {str(error).strip().partition(chr(10))[0] or type(error).__name__}")
        else:
            report(done, None)
    return failed


def _expand(name: str) -> list[Path]:
    path = Path(name)
    if path.exists():
        return [path]
    if glob.has_magic(name):  # a shell that leaves patterns alone, or a quoted one
        if matches := sorted(Path(match) for match in glob.glob(os.path.expanduser(name), recursive=True)):
            return matches
        raise ValueError(f"{name}: nothing matches this pattern")
    raise ValueError(
        f"{name}: there is no such file or folder (--overlay and --probabilities take no name: their files lie beside"
        " the output)"
    )


def _pictures(folder: Path, recursive: bool) -> list[Path]:
    candidates = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(
        path
        for path in candidates
        if path.name.lower().endswith(SUFFIXES)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def _names(photographs: Sequence[tuple[Path, Path]]) -> list[Path]:
    """Names of the maps below the output folder: the photograph's, with its ending where that tells two apart."""
    short = [place.with_name(_stem(place.name) + PICTURE) for _, place in photographs]
    keys = [os.path.normcase(name) for name in short]
    return [
        name if keys.count(key) == 1 else place.with_name(place.name + PICTURE)
        for name, key, (_, place) in zip(short, keys, photographs, strict=True)
    ]


def _stem(name: str) -> str:
    ending = next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(ending)] if ending and len(ending) < len(name) else name


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
