"""`retlib predict`: segment the vessels of a photograph, or of a folder of photographs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from retlib.files import write_whole


def predict(
    photographs: Annotated[list[str], typer.Argument(help="Photographs, folders of photographs, or patterns.")],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="For one photograph a file ending in .png; else a folder, made where it does not exist.",
        ),
    ],
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also write the photograph with its vessels tinted: NAME_overlay.png.")
    ] = False,
    probabilities: Annotated[
        bool,
        typer.Option(
            "--probabilities",
            help="Also write the probabilities, times 65535, as a 16-bit PNG: NAME_probabilities.png.",
        ),
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Probability from which on a pixel is a vessel, above 0 and below 1; by default the model's own."
        ),
    ] = None,
    fov: Annotated[
        str | None,
        typer.Option(
            help="A mask of the field of view, or a folder with a mask for each photograph, of its name or beginning"
            " with it; by default the field of view is estimated."
        ),
    ] = None,
    save_fov: Annotated[str | None, typer.Option(help="Folder for the fields of view, as masks.")] = None,
    scale: Annotated[
        float,
        typer.Option(
            help="Factor on the size at which the network sees a photograph, 0.1 to 2: 0.5 where only half of the"
            " retina's width is in the picture."
        ),
    ] = 1.0,
    summary: Annotated[
        str | None, typer.Option("--csv", help="File for a table: size, vessels, seconds and doubts of each.")
    ] = None,
    measure: Annotated[
        str | None,
        typer.Option(
            help="File for a table: density, length, width, tortuosity and fractal dimension of the vessels of each."
        ),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Search the folders inside a folder too.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Segment what does not look like a fundus photograph, too.")
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Another weights file (.pt), with its .json card beside it.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...; auto takes CUDA where there is one.")] = "auto",
) -> None:
    """Segment the vessels of fundus photographs: 255 on vessels, 0 elsewhere, at each photograph's own size.

    The field of view is estimated, and outside it there is no vessel. A file that cannot be read, or does not look
    like a fundus photograph, is named with the reason, and the others go on; so is a photograph whose map is likely
    wrong, with the doubts. Earlier output is overwritten, a photograph never. Exit code: 0 when every photograph was
    segmented, with or without doubts, 1 when some were not, 2 for a wrong argument or where there is no photograph.
    """
    from tqdm import tqdm

    from retlib.predict.batch import COLUMNS, plan, run_jobs

    jobs, left_out = plan(
        photographs,
        output,
        recursive=recursive,
        overlay=overlay,
        probabilities=probabilities,
        save_fov=save_fov,
        tables={"--csv": summary, "--measure": measure},
    )
    if fov is not None and not Path(fov).exists():
        raise ValueError(f"--fov: {fov!r}: there is no such file or folder")
    from retlib.predict.predictor import load_predictor  # which imports torch

    predictor = load_predictor(weights, threshold=threshold, device=device, scale=scale)
    for line in left_out:
        typer.echo(line)
    # disable=None: a bar only where standard error is a terminal, and there only after two seconds.
    with tqdm(total=len(jobs), unit="photograph", delay=2, disable=True if len(jobs) == 1 else None) as bar:

        def report(line: str, trouble: str) -> None:
            bar.update()
            with bar.external_write_mode():
                if line:
                    typer.echo(line)
                if trouble:
                    typer.echo(f"retlib: {trouble}", err=True)

        failed, rows = run_jobs(predictor, jobs, check=not force, fov=fov, measure=measure is not None, report=report)
    if summary is not None:
        write_table(summary, COLUMNS, rows)
    if measure is not None:
        from retlib.metrics.morphology import MEASURES

        write_table(measure, ("file", *MEASURES, "doubts"), rows)
    if len(jobs) > 1:
        typer.echo(f"{len(jobs) - failed} of {len(jobs)} photographs segmented")
    if failed:
        raise typer.Exit(1)


def write_table(path: str, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write some columns of the rows of `run_jobs` as a CSV file with a header."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, columns, extrasaction="ignore")
    table.writeheader()
    table.writerows(rows)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_whole(Path(path), text.getvalue().encode(errors="surrogateescape"))
