from __future__ import annotations

import time

import numpy as np
import pytest

from retlib.metrics import ScoreHistograms


def histograms(logits, vessels, fovs=None, **options) -> ScoreHistograms:
    return ScoreHistograms.from_logits([f"image-{i}" for i, _ in enumerate(logits)], logits, vessels, fovs, **options)


def test_select(score_maps):
    logits, vessels, fovs = score_maps(3)
    stored = histograms(logits, vessels, fovs)
    inside, frame = stored.select(), stored.select("frame")
    assert inside.vessel.sum() == sum((v & f).sum() for v, f in zip(vessels, fovs, strict=True))
    assert (frame.vessel + frame.background).sum() == sum(v.size for v in vessels)
    some = stored.select(images=["image-2", "image-0"], pooled=False)
    assert some.names == ("image-2", "image-0")
    assert some.auc().tolist() == stored.select(pooled=False).auc()[[2, 0]].tolist()
    one = stored.select(images="image-1")
    assert one.auc() == stored.select(pooled=False).auc()[1] and isinstance(one.auc(), float)
    with pytest.raises(ValueError, match="images: 'image-7' is none of image-0, image-1"):
        stored.select(images=["image-7"])
    with pytest.raises(ValueError, match="region is 'outside': expected"):
        stored.select("outside")


def test_no_fov_is_the_whole_frame(score_maps):
    logits, vessels, fovs = score_maps(2)
    whole = histograms(logits, vessels)
    assert (whole.counts[:, 1] == 0).all()
    mixed = histograms(logits, vessels, [fovs[0], None])
    assert mixed.counts[0, 1].sum() == (~fovs[0]).sum() and mixed.counts[1, 1].sum() == 0


def test_images_without_a_class_are_nan(score_maps):
    logits, vessels, _ = score_maps(2)
    each = histograms(logits, [vessels[0], vessels[0] & False]).select(pooled=False)
    assert np.isnan(each.auc()).tolist() == np.isnan(each.average_precision()).tolist() == [False, True]
    assert np.isnan(each.metrics(0.5)["sensitivity"]).tolist() == [False, True]
    assert 0 < each.best_threshold() < 1


def test_saved_and_read_again(score_maps, tmp_path):
    stored = histograms(*score_maps(3))
    for name in ("one.npz", "two.npz"):
        stored.save(tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    again = ScoreHistograms.load(tmp_path / "one.npz")
    assert again.names == stored.names and again.counts.dtype == np.int32
    assert (again.counts == stored.counts).all() and (again.edges == stored.edges).all()
    with np.load(tmp_path / "one.npz", allow_pickle=False) as plain:  # readable without this package
        assert plain["counts"].shape == (3, 2, 2, plain["edges"].size + 1)


def test_damaged_files_are_named(score_maps, tmp_path):
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    histograms(*score_maps(1)).save(good)
    whole = good.read_bytes()
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz: no such file"):
        ScoreHistograms.load(tmp_path / "nowhere.npz")
    for content in (b"", b"not a zip", whole[: len(whole) // 2]):
        bad.write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.npz holds no score histograms"):
            ScoreHistograms.load(bad)
    np.savez_compressed(bad, names=np.array(["a"]), edges=np.zeros(3))
    with pytest.raises(ValueError, match=r"bad\.npz holds no score histograms"):
        ScoreHistograms.load(bad)
    np.savez_compressed(bad, names=np.array(["a"], object), edges=np.zeros(3), counts=np.zeros(3))
    with pytest.raises(ValueError, match=r"bad\.npz holds no score histograms"):
        ScoreHistograms.load(bad)


def test_bad_images_are_named(score_maps):
    logits, vessels, fovs = score_maps(2)
    for changed, words in (
        ((logits[:1], vessels, fovs), "logits has 1 images: expected 2"),
        ((logits, vessels, fovs[:1]), "fovs has 1 images: expected 2"),
        (([logits[0], logits[1] * np.nan], vessels, fovs), "logits of image-1 holds NaN"),
        (([logits[0], logits[1][0]], vessels, fovs), r"logits of image-1 has shape \(140,\)"),
        ((logits, [vessels[0], vessels[1][:5]], fovs), r"vessels of image-1 has shape \(5, 140\)"),
        ((logits, vessels, [fovs[0] * 255, None]), "fov of image-0 holds integers from 0 to 255"),
        (([logits[0], vessels[1]], vessels, fovs), "logits of image-1 has type bool"),
    ):
        with pytest.raises(ValueError, match=words):
            ScoreHistograms.from_logits(["image-0", "image-1"], *changed)
    with pytest.raises(ValueError, match="repeat"):
        ScoreHistograms.from_logits(["a", "a"], logits, vessels)
    with pytest.raises(ValueError, match="names is empty"):
        ScoreHistograms.from_logits([], [], [])
    with pytest.raises(ValueError, match="strictly increasing"):
        ScoreHistograms(("a",), np.array([1, 1], np.float32), np.zeros((1, 2, 2, 3), np.int32))
    with pytest.raises(ValueError, match="edges is float64"):
        ScoreHistograms(("a",), np.array([1.0, 2.0]), np.zeros((1, 2, 2, 3), np.int32))


def test_twenty_images_take_milliseconds(score_maps, tmp_path):
    logits, vessels, fovs = score_maps(2, shape=(584, 565))
    stored = ScoreHistograms.from_logits(
        [str(i) for i in range(20)], logits * 10, vessels * 10, fovs * 10, thresholds=(0.4, 0.5)
    )
    stored.save(tmp_path / "run.npz")
    times = []
    for _ in range(3):
        started = time.perf_counter()
        loaded = ScoreHistograms.load(tmp_path / "run.npz")
        each, pooled = loaded.select(pooled=False), loaded.select()
        (
            each.metrics(0.5),
            pooled.metrics(0.4),
            pooled.best_threshold(),
            pooled.calibration(),
            each.roc_curve(),
        )
        times.append(time.perf_counter() - started)
    assert min(times) < 0.2
    assert (tmp_path / "run.npz").stat().st_size < 150_000
