"""`retlib predict`: segment the vessels of a photograph, or of a folder of photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def predict(
    photographs: Annotated[
        list[str], typer.Argument(help="Photographs, folders of photographs, or patterns.", show_default=False)
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", help="For one photograph a PNG file; otherwise a folder, made where it does not exist."
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
        typer.Option(help="Probability from which on a pixel is a vessel; by default the model's own.", min=0, max=1),
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
    like a fundus photograph, is named with the reason, and the others go on. Earlier output is overwritten, a
    photograph never. Exit code: 0 when every photograph was segmented, 1 when some were not, 2 for a wrong argument.
    """
    from tqdm import tqdm

    from retlib.predict.batch import plan, run_jobs
    from retlib.predict.predictor import load_predictor

    jobs, left_out = plan(photographs, output, recursive=recursive, overlay=overlay, probabilities=probabilities)
    predictor = load_predictor(weights, threshold=threshold, device=device)
    if left_out:
        typer.echo(f"{left_out} pictures left out: retlib predict wrote them itself")
    # disable=None: a bar only where standard error is a terminal, and there only after two seconds.
    with tqdm(total=len(jobs), unit="photograph", delay=2, disable=True if len(jobs) == 1 else None) as bar:

        def report(line: str, failed: bool) -> None:
            bar.update()
            with bar.external_write_mode():
                typer.echo(f"retlib: {line}" if failed else line, err=failed)

        failed = run_jobs(predictor, jobs, check=not force, report=report)
    if len(jobs) > 1:
        typer.echo(f"{len(jobs) - failed} of {len(jobs)} photographs segmented")
    if failed:
        raise typer.Exit(1)
