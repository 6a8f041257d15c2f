"""`retlib predict` as a person uses it."""

from __future__ import annotations

import csv
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retlib import cli
from retlib.data.phantoms import make_phantom
from retlib.metrics.morphology import MEASURES, measure_vessels
from retlib.predict import Predictor, batch, read_photograph


@pytest.fixture
def run(weights: Path, monkeypatch: pytest.MonkeyPatch, capfd, tmp_path: Path):
    """Call `retlib predict` in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, weights_file: Path = weights) -> tuple[int, str, str]:
        line = ["retlib", "predict", "--weights", str(weights_file), "--device", "cpu", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", line)
        code = 0
        try:
            cli.main()
        except SystemExit as stopped:
            code = stopped.code or 0
        return code, *capfd.readouterr()

    return call


@pytest.fixture
def eye(tmp_path: Path, photograph: np.ndarray) -> Path:
    """``eye.png`` in the folder of the test."""
    Image.fromarray(photograph).save(tmp_path / "eye.png")
    return tmp_path / "eye.png"


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def values(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


# --- one photograph ----------------------------------------------------------------------------------------------


def test_one_photograph(run, eye: Path, predictor: Predictor, photograph: np.ndarray) -> None:
    code, out, err = run("eye.png", "-o", "vessels.png")
    assert (code, err) == (0, "")
    result = predictor(photograph)
    assert out == f"eye.png -> vessels.png: vessels on {result.vessel_share:.1%} of the field of view\n"
    np.testing.assert_array_equal(values(Path("vessels.png")), result.vessels * np.uint8(255))
    assert names(Path()) == ["eye.png", "vessels.png"]
    assert run("eye.png", "-o", "vessels.png")[0] == 0  # earlier output is overwritten


def test_overlay_and_probabilities(run, eye: Path, predictor: Predictor, photograph: np.ndarray) -> None:
    assert run("eye.png", "-o", "deep/v.PNG", "--overlay", "--probabilities", "--threshold", "0.6")[0] == 0
    assert names(Path("deep")) == ["v.PNG", "v_overlay.png", "v_probabilities.png"]
    result = predictor(photograph)
    stored = values(Path("deep/v_probabilities.png"))
    assert stored.dtype == np.uint16
    np.testing.assert_allclose(stored / 65535, result.probabilities, atol=1e-5)
    vessels = values(Path("deep/v.PNG")) == 255
    np.testing.assert_array_equal(vessels, result.probabilities >= np.float32(0.6))
    tinted = values(Path("deep/v_overlay.png"))
    np.testing.assert_array_equal(tinted[~vessels], photograph[~vessels])
    assert (tinted[vessels][:, 2].astype(int) - tinted[vessels][:, 0] > 0).mean() > 0.95  # blue on an orange retina


def test_the_map_lies_over_the_picture_that_viewers_show(run, eye: Path, photograph: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(photograph).save("turned.jpg", exif=exif)
    assert run("turned.jpg", "-o", "v.png")[0] == 0
    assert values(Path("v.png")).shape == read_photograph("turned.jpg").shape[:2] == photograph.shape[1::-1]


def test_one_photograph_into_a_folder(run, eye: Path) -> None:
    Path("there").mkdir()
    assert run("eye.png", "-o", "there")[0] == run("eye.png", "-o", "new/")[0] == run("eye.png", "-o", "plain")[0] == 0
    assert names(Path("there")) == names(Path("new")) == names(Path("plain")) == ["eye.png"]


def test_what_does_not_look_like_a_fundus_is_refused_unless_forced(run) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)).save("noise.png")
    code, out, err = run("noise.png", "-o", "v.png")
    assert code == 1 and out == "" and not Path("v.png").exists()
    assert err.startswith("retlib: noise.png: this does not look like a fundus photograph: ") and err.count("\n") == 1
    assert "--force" in err
    code, out, err = run("noise.png", "-o", "v.png", "--force")
    assert code == 0 and Path("v.png").exists() and out.count("\n") == 1
    assert err.startswith("retlib: noise.png: doubtful: ") and err.count("\n") == 1


# --- many --------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, photograph: np.ndarray) -> Path:
    """Good photographs, bad files, files that are no pictures, and a folder inside."""
    place = tmp_path / "eyes"
    (place / "more").mkdir(parents=True)
    other = Image.fromarray(make_phantom(0, 340, 320).image)
    other.save(place / "b.JPG", quality=95)
    Image.fromarray(photograph).save(place / "a.tif")
    other.save(place / "more" / "a.tif")
    (place / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    (place / "empty.jpg").touch()
    Image.new("RGB", (300, 300), "white").save(place / "scan.png")
    (place / "notes.txt").write_text("not a picture")
    (place / "._a.tif").write_bytes(b"what a Macintosh leaves behind")
    return place


def test_a_folder_goes_on_after_bad_files(run, folder: Path) -> None:
    code, out, err = run("eyes", "-o", "out", "--overlay")
    assert code == 1
    assert names(Path("out")) == ["a.png", "a_overlay.png", "b.png", "b_overlay.png"]
    assert out.splitlines()[-1] == "2 of 5 photographs segmented"
    lines = err.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == [
        f"eyes/{name}" for name in ("cut.png", "empty.jpg", "scan.png")
    ]
    assert "empty" in lines[1] and "fundus" in lines[2]
    assert values(Path("out/b.png")).shape == (340, 320)


def test_folders_inside_keep_their_place(run, folder: Path) -> None:
    code, out, _ = run("eyes", "-o", "out", "--recursive")
    assert code == 1 and "3 of 6" in out
    assert names(Path("out")) == ["a.png", "b.png", "more/a.png"]


def test_several_files_and_patterns(run, folder: Path) -> None:
    code, out, err = run("eyes/a.tif", "eyes/*.JPG", "eyes/b.JPG", "-o", "out")
    assert (code, err) == (0, "") and "2 of 2" in out
    assert names(Path("out")) == ["a.png", "b.png"]


def test_output_beside_the_photographs_is_no_input_of_the_next_run(run, folder: Path) -> None:
    for name in ("cut.png", "empty.jpg", "scan.png"):
        (folder / name).unlink()
    for _ in range(2):
        code, out, err = run("eyes", "-o", "eyes", "--overlay", "--probabilities")
        assert (code, err) == (0, "") and "2 of 2" in out
    assert "6 pictures left out: retlib predict wrote them itself" in out
    assert len(names(folder)) == 5 + 6


def test_two_photographs_of_one_name_are_both_kept(run, eye: Path, photograph: np.ndarray) -> None:
    Image.fromarray(photograph[:, ::-1]).save("eye.tif")
    assert run("eye.png", "eye.tif", "-o", "out")[0] == 0
    assert names(Path("out")) == ["eye.png.png", "eye.tif.png"]
    assert not np.array_equal(values(Path("out/eye.png.png")), values(Path("out/eye.tif.png")))


def test_a_full_disk_is_told_and_leaves_no_half_file(run, eye: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    code, _, err = run("eye.png", "-o", "v.png")
    assert code == 1 and err == "retlib: eye.png: [Errno 28] No space left on device: 'v.png'\n"
    assert names(Path()) == ["eye.png"]


def test_the_bar_is_for_a_terminal_and_after_two_seconds(run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tqdm

    seen = {}
    original = tqdm.tqdm

    class Spy(original):
        def __init__(self, *arguments, **options):
            seen.update(options)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(tqdm, "tqdm", Spy)
    _, _, err = run("eyes", "-o", "out")
    assert "photograph/s" not in err  # no terminal here
    assert seen["total"] == 5 and seen["delay"] == 2 and seen["disable"] is None and "file" not in seen


# --- wrong usage: exit code 2, one line, nothing written ----------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gone.png", "-o", "v.png"), "gone.png: there is no such file or folder"),
        (("eye.png", "-o", "v.png", "--overlay", "o.png"), "--overlay and --probabilities take no name"),
        (("none*.png", "-o", "out"), "nothing matches this pattern"),
        (("hollow", "-o", "out"), "no photographs in this folder"),
        (("eye.png", "-o", "eye.png"), "would overwrite the photograph eye.png"),
        (("eye.png", "-o", "sub/../eye.png"), "would overwrite the photograph eye.png"),
        (("eye.png", "-o", "v.jpg"), "expected a file ending in .png"),
        (("eye.png", "copy.png", "-o", "v.png"), "2 photographs go to a folder"),
        (("eye.png", "copy.png", "-o", "."), "would overwrite the photograph"),
        (("eye.png", "copy.png", "-o", "plain"), "plain is a file; expected a folder"),
        (("eye.png", "sub/eye.png", "-o", "out"), "eye.png and sub/eye.png would both be written to"),
        (("eye.png", "eye_overlay.tif", "-o", "out", "--overlay"), "would both be written to"),
        (("eye.png", "-o", "out", "--threshold", "0"), "threshold: expected a probability"),
        (("eye.png", "-o", "out", "--device", "toaster"), "device"),
        (("eye.png", "-o", "out", "--scale", "0"), "scale: expected a factor from 0.1 to 2"),
        (("eye.png", "-o", "out", "--fov", "gone"), "--fov: 'gone': there is no such file"),
        (("eye.png", "-o", "out", "--csv", "eye.png"), "--csv: expected the name of a file"),
        (("eye.png", "-o", "out", "--csv", "a.csv", "--measure", "a.csv"), "--measure: expected the name of a file"),
        (("", "-o", "out"), "an empty name"),
    ],
)
def test_wrong_usage(run, eye: Path, arguments: tuple[str, ...], message: str) -> None:
    Path("hollow").mkdir()
    Path("sub").mkdir()
    Path("plain").touch()
    for name in ("copy.png", "sub/eye.png"):
        shutil.copy(eye, name)
    Image.open(eye).save("eye_overlay.tif")
    before = {name: Path(name).read_bytes() for name in names(Path())}
    code, out, err = run(*arguments)
    assert code == 2 and out == ""
    assert err.startswith("retlib: ") and err.count("\n") == 1 and message in err
    assert {name: Path(name).read_bytes() for name in names(Path())} == before


def test_missing_weights_are_wrong_usage(run, eye: Path) -> None:
    code, _, err = run("eye.png", "-o", "v.png", weights_file=Path("gone.pt"))
    assert code == 2 and err.startswith("retlib: gone.pt: there is no such weights file")


def test_output_is_required(run, eye: Path) -> None:
    code, _, err = run("eye.png")
    assert code == 2 and "--output" in err


def test_names_of_gzipped_photographs() -> None:
    assert batch._stem("im0001.ppm.gz") == "im0001" and batch._stem("a.b.JPG") == "a.b"
    assert batch._stem("notes") == "notes" and batch._stem(".png") == ".png"


# --- what people have --------------------------------------------------------------------------------------------


def test_an_output_folder_may_have_a_dot(run, eye: Path) -> None:
    assert run("eye.png", "-o", "run_1.2")[0] == 0
    assert names(Path("run_1.2")) == ["eye.png"]


def test_folders_without_a_picture_and_broken_links_stop_nothing(run, eye: Path) -> None:
    Path("clinic/hollow").mkdir(parents=True)
    Path("clinic/links").mkdir()
    shutil.copy(eye, "clinic/phone.jfif")  # its content decides
    Path("clinic/links/gone.jpg").symlink_to("nowhere.jpg")
    Path("clinic/hollow/notes.txt").touch()
    code, out, err = run(*sorted(map(str, Path("clinic").iterdir())), "-o", "maps")
    assert code == 1 and names(Path("maps")) == ["phone.png"]
    assert "clinic/hollow: no photographs in this folder" in out and "clinic/hollow/notes.txt" in out
    assert err == "retlib: clinic/links/gone.jpg: cannot be read (No such file or directory)\n"
    assert run("clinic/hollow", "-o", "maps")[0] == 2


def test_the_summary_and_the_doubts(run, eye: Path, photograph: np.ndarray) -> None:
    Image.fromarray(photograph // 8).save("dark.png")
    Path("cut.png").write_bytes(eye.read_bytes()[:500])
    code, _, err = run("dark.png", "cut.png", "eye.png", "-o", "out", "--csv", "new/summary.csv")
    assert code == 1 and "retlib: dark.png: doubtful: it is dark" in err
    with Path("new/summary.csv").open(newline="") as file:
        dark, cut, good = csv.DictReader(file)
    assert list(good) == list(batch.COLUMNS)
    assert (good["file"], good["width"], good["height"], good["doubts"]) == ("eye.png", "282", "292", "")
    assert 250 < int(good["fov_diameter"]) < 282 and 0 < float(good["vessel_share"]) < 1 and float(good["seconds"]) > 0
    assert "it is dark" in dark["doubts"] and cut["doubts"].startswith("not segmented: ")


@pytest.mark.parametrize("option", ["--csv", "--measure", "--save-fov", "-o"])
def test_a_file_in_the_place_of_a_folder_is_named_before_any_work(run, eye: Path, option: str) -> None:
    Path("file").touch()
    output = () if option == "-o" else ("-o", "maps")
    code, _, err = run("eye.png", *output, option, "file/new/x.csv" if option != "-o" else "file/new/")
    name = "--output" if option == "-o" else option
    assert code == 2 and f"{name}: file is a file; expected a folder" in err
    assert not Path("maps").exists()


def test_a_mask_of_something_else_is_named(run, eye: Path, photograph: np.ndarray) -> None:
    mask = np.zeros(photograph.shape[:2], np.uint8)
    mask[:130, :130] = 255  # mostly the black corner
    Image.fromarray(mask).save("mask.png")
    code, _, err = run("eye.png", "-o", "maps", "--fov", "mask.png")
    assert code == 1 and "inside the mask mask.png, this does not look like a fundus photograph" in err


def test_the_measures_are_those_of_the_map(run, eye: Path) -> None:
    Path("cut.png").write_bytes(eye.read_bytes()[:500])
    options = ("-o", "out", "--measure", "new/measures.csv", "--save-fov", "masks")
    assert run("cut.png", "eye.png", *options)[0] == 1
    with Path("new/measures.csv").open(newline="") as file:
        cut, good = csv.DictReader(file)
    assert list(good) == ["file", *MEASURES, "doubts"]
    assert cut["doubts"].startswith("not segmented: ") and not cut["vessel_density"]
    expected = measure_vessels(values(Path("out/eye.png")) > 0, values(Path("masks/eye.png")) > 0)
    assert {name: float(good[name] or "nan") for name in MEASURES} == pytest.approx(expected, rel=1e-5, nan_ok=True)


def test_fields_of_view_are_saved_and_given(run, eye: Path) -> None:
    assert run("eye.png", "-o", "v.png", "--save-fov", "masks")[0] == 0
    mask = values(Path("masks/eye.png"))
    half = (mask > 0).astype(np.uint8)
    half[:, :141] = 0
    Path("given").mkdir()
    Image.fromarray(half).save("given/eye_mask.png")  # of 0 and 1
    assert run("eye.png", "-o", "w.png", "--fov", "given", "--force")[0] == 0
    assert not values(Path("w.png"))[:, :141].any() and values(Path("w.png")).any()
    shutil.copy(eye, "other.png")
    code, _, err = run("other.png", "-o", "w.png", "--fov", "given")
    assert code == 1 and "expected one mask in given named other" in err
