"""Make the pictures of the first page and of the page on predictions, from a photograph of CHASE_DB1 (CC BY 4.0).

    RETLIB_DATA=... python book/_tools/example_pictures.py

The photograph is a test image that no network of the study was trained on; it is reduced to 640 pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from retlib.data import load_dataset
from retlib.predict import load_predictor
from retlib.study import ERROR_COLOURS, error_map

FOLDER = Path(__file__).parents[1] / "_static"
NAME, WIDTH = "Image_12R", 640


def main() -> None:
    """Segment the photograph and write three pictures."""
    sample = next(sample for sample in load_dataset("chase_db1", "test") if sample.name == NAME)
    result = load_predictor()(sample.image)
    colours = np.array([ERROR_COLOURS[key] for key in sorted(ERROR_COLOURS)], np.uint8)
    errors = colours[error_map(result.vessels, sample.vessels, sample.fov)]
    probabilities = (result.probabilities * 255).astype(np.uint8)
    size = WIDTH, round(WIDTH * sample.image.shape[0] / sample.image.shape[1])
    Image.fromarray(sample.image).resize(size, Image.LANCZOS).save(FOLDER / "example-photograph.jpg", quality=82)
    for name, picture in {"errors": errors, "probabilities": probabilities}.items():
        small = Image.fromarray(picture).resize(size, Image.LANCZOS)
        small.quantize(48).save(FOLDER / f"example-{name}.png", optimize=True)


if __name__ == "__main__":
    main()
