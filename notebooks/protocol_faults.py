# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% tags=["remove-cell"]
# On Colab: clone this version of the study and install what Colab lacks. Elsewhere this cell does nothing.
import os
import runpy
import subprocess
import sys

if "google.colab" in sys.modules:
    _study = "/content/retlib-v0.1.0"
    _clone = f"git clone --quiet --depth=1 --branch=v0.1.0 https://github.com/example/retlib {_study}"
    if not os.path.isdir(_study):
        subprocess.run(_clone.split(), check=True)
    runpy.run_path(f"{_study}/book/_tools/colab.py", run_name="__main__")

# %% [markdown]
# # Effect of protocol flaws
#
# The same predictions of the same networks, scored as one should not: over the whole frame, at a threshold that saw the test
# images, against resized labels, or after the epoch that is best on the test images. The networks are those of [One protocol
# for all networks](one_protocol.ipynb) on DRIVE; nothing but the scoring changes.

# %% tags=["parameters", "hide-input"]
# papermill replaces these by name. The defaults show the records that come with the book and train nothing.
profile: str = "lite"  # smoke: synthetic images; lite: real images, short; paper: ten times the steps
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the records; None: the book's own
device: str = "auto"  # auto, cpu, cuda, cuda:1
seeds: list = [0, 1, 2]  # of these, the seeds that the study plans for DRIVE
train: str = "never"  # missing, never, always: which records to make

# %% tags=["hide-input"]
from retlib.study import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-input", "remove-output"]
import json
from typing import Literal

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from IPython.display import display
from matplotlib_inline.backend_inline import set_matplotlib_formats

from retlib.device import environment, pick_device
from retlib.inference import probabilities
from retlib.metrics import Confusion, evaluate
from retlib.metrics.counts import ratio
from retlib.models import MODEL_TITLES
from retlib.predict.weights import fill, read_state
from retlib.preprocessing import InputSettings, to_grid
from retlib.study import Record, figures, in_short, open_study, results, runner
from retlib.study.baselines import METHODS, baseline_scores, train_baselines
from retlib.study.config import NUMERICS, Recorded, RunConfig, ScoringSettings
from retlib.study.records import find_or_make
from retlib.study.scoring import choose_threshold, score_test
from retlib.study.tables import LABELS, signed, style

figures.set_style()
plt.rcParams["svg.hashsalt"] = "protocol-faults"  # a page that is built twice is the same page
set_matplotlib_formats("svg", metadata={"Date": None})
SMOKE = parameters.profile == "smoke"
NO_RECORD = "No record yet: run this notebook with train='missing'."

study = open_study("one-protocol", parameters)
plan = study.source.plan(parameters.profile)
runs = [run for run, entry in plan.items() if entry.role == "table" and entry.dataset == "drive"]
runs = runs[:3] if SMOKE else runs  # a smoke run shows the pipeline, not a comparison
study.train(runs)
train_baselines(study)

TITLES = MODEL_TITLES | METHODS
SCORES = LABELS | {"accuracy": "accuracy", "specificity": "specificity", "sensitivity": "sensitivity"}

# %% tags=["hide-input"]
summary = display(in_short(NO_RECORD), display_id=True)  # filled in below, when its numbers are known

# %% [markdown]
# ## What each flaw adds
#
# - **Whole frame.** The black surround is counted, too. The loss of our networks looks inside the field of view (FOV) alone,
#   so that what they predict in the surround is untrained. The frame is therefore scored twice: with the networks' own output,
#   and with nothing predicted outside the FOV, as a paper has it that cuts its predictions to the FOV or trains on the
#   surround until it is black. In the second case each pixel of the surround is one that cannot be wrong.
# - **Threshold.** It is chosen for the highest mean Dice on the test images, or for each test image by itself.
# - **Resized labels.** Logits and labels are brought to one square grid, labels by the nearest pixel, as pipelines do that
#   resize a data set once. This needs a network's weights, which stay on the machine that trained it, so that fewer networks
#   may have it.
# - **Best epoch.** One network is trained again and scored on the test images on the way: its best epoch against its last.

# %%
FRAME = "whole frame instead of the FOV"
BLANKED = "whole frame, nothing predicted outside the FOV"
TEST_THRESHOLD = "threshold chosen on the test images"
IMAGE_THRESHOLD = "threshold chosen on each test image"
RESIZED = "labels resized"
TEST_EPOCH = "epoch chosen on the test images"
FAULTS = {  # flaw -> the scores that it is shown on
    FRAME: ["accuracy", "specificity", "auc", "dice"],
    BLANKED: ["accuracy", "specificity", "auc", "dice"],
    TEST_THRESHOLD: ["dice", "sensitivity"],
    IMAGE_THRESHOLD: ["dice", "sensitivity"],
    RESIZED: ["dice", "auc", "cldice"],
    TEST_EPOCH: ["dice", "auc"],
}


def blanked_frame(record):
    """Score the whole frame of each image as if the prediction had been cut to the FOV: outside it nothing is a vessel.

    Of all pairs of a vessel and a background pixel, those inside keep their order. A vessel inside is above all
    background outside; a vessel outside is above none inside and ties with what lies outside. So the area under the ROC
    curve of the frame follows exactly from the one inside.
    """
    histograms = record.histograms()
    inside = histograms.select(region="fov", pooled=False).counts(record.content["threshold"])
    background, vessel = histograms.counts[:, 1].sum(axis=-1, dtype=np.int64).T  # pixels outside the FOV
    counts = Confusion(inside.tp, inside.fp, inside.fn + vessel, inside.tn + background)
    vessel_inside, background_inside = inside.tp + inside.fn, inside.fp + inside.tn
    area = np.nan_to_num(record.per_image(region="fov")["auc"])  # undefined only where a factor below is 0
    pairs = vessel_inside * background_inside * area + vessel_inside * background + vessel * background / 2
    total = (vessel_inside + vessel) * (background_inside + background)
    return counts.scores() | {"auc": ratio(pairs, total)}


def best_threshold(record, groups):
    """Average scores over images inside the FOV, each group of images at its own threshold of the highest mean Dice."""
    parts = []
    for names in groups:
        histogram = record.histograms().select(region="fov", images=names, pooled=False)
        parts.append(histogram.counts(histogram.best_threshold("dice")).scores())
    return {
        metric: np.nanmean(np.concatenate([np.atleast_1d(part[metric]) for part in parts]))
        for metric in ("dice", "sensitivity")
    }


def rows_of(fault, sound, faulty):
    """List the scores of a flaw, as it should be and with the flaw."""
    rows = [(fault, metric, sound[metric], faulty[metric]) for metric in FAULTS[fault]]
    return pd.DataFrame(rows, columns=["fault", "metric", "sound", "faulty"]).astype({"sound": float, "faulty": float})


def record_costs(record):
    """List the flaws that the record of a run shows by itself: another region, another threshold."""
    sound, names = record.metrics(region="fov", average="image"), record.histograms().names
    faulty = {
        FRAME: record.metrics(region="frame", average="image"),
        BLANKED: {metric: np.nanmean(values) for metric, values in blanked_frame(record).items()},
        TEST_THRESHOLD: best_threshold(record, [names]),
        IMAGE_THRESHOLD: best_threshold(record, [(name,) for name in names]),
    }
    return pd.concat([rows_of(fault, sound, scores) for fault, scores in faulty.items()], ignore_index=True)


# %% [markdown]
# Resized labels and the best epoch need records of their own, which are made where they are missing and weights are there.


# %% tags=["hide-input", "remove-output"]
class OfRun(Recorded):
    """Name a run, and the profile, numerics and scoring of the record that is made from it."""

    profile: str
    numerics: int = NUMERICS
    scoring: ScoringSettings
    run: RunConfig

    @classmethod
    def of(cls, run, **settings):
        return cls(profile=run.profile, scoring=run.scoring, run=run, **settings)

    def explicit_fields(self):
        run = self.run.model_copy(update={"numerics": self.numerics})
        return self.model_dump(mode="json", exclude={"run", "profile", "scoring"}) | {"run": run.explicit_fields()}

    def selections(self):
        return self.run.selections()


class RescoredConfig(OfRun):
    """Score the predictions of a run against labels that are resized to ``grid`` (H, W)."""

    kind: Literal["rescored"] = "rescored"
    grid: tuple[int, int]


class EpochsConfig(OfRun):
    """Train a run again and score its test images after every ``every``-th epoch and after the last."""

    kind: Literal["epochs"] = "epochs"
    every: int


def planned(study, runs):
    """Plan these records: the first seed of every run against resized labels, and that of the first run by epochs."""
    first = [config for name in runs for config in study.configs(name)[:1]]
    grid = (80, 80) if study.parameters.profile == "smoke" else (512, 512)  # synthetic images are smaller
    rescored = [RescoredConfig.of(config, grid=grid) for config in first]
    return rescored + [EpochsConfig.of(config, every=max(1, config.training.epochs // 10)) for config in first[:1]]


def rescore(config, study):
    """Score a finished run against resized labels, at its own threshold; None without its record or its weights.

    The network is applied as in the run. Its logits are then resized bilinearly, labels and FOV by nearest neighbour.
    """
    run, root, store = config.run, study.root, study.store
    sound, weights = store.find(run, root=root, stale=False), runner.weights_path(run.identify(root))

    def make(_):
        device = pick_device(study.parameters.device)
        model = fill(runner.build(run), read_state(weights), weights)
        model.to(device, memory_format=torch.channels_last)  # as in training: another layout changes the last bits
        selection, threshold = run.test[0], sound.content["threshold"]
        samples = runner.load_samples(selection, run, root)
        resized = [to_grid(sample, InputSettings(resample=config.grid)) for sample in samples]
        logits = [
            cv2.resize(native, config.grid[::-1], interpolation=cv2.INTER_LINEAR)
            for native in runner.predict_all(model, samples, run, device)
        ]
        entry, files = score_test(selection.label, logits, resized, threshold, config.scoring.region)
        content = {"environment": environment(device), "model": sound.content["model"], "threshold": threshold}
        return content | {"history": [], "tests": {selection.label: entry}}, files

    return find_or_make(config, store, root, make) if sound is not None and weights.is_file() else None


def score_epochs(config, study):
    """Train a run again and score its test images on the way, each time at a threshold from the training images.

    Training is that of the run, seeds included, so the last of the recorded epochs is the run itself. A killed training
    resumes from its last checkpoint.
    """
    run, root = config.run, study.root

    def make(work):
        if run.training.looks_at_validation or run.pretraining is not None:
            raise ValueError(
                "score_epochs: expected a run without validation and pre-training, whose last epoch counts"
            )
        device = pick_device(study.parameters.device)
        training, validation = runner.load_training(run, root)
        test = runner.load_samples(run.test[0], run, root)
        vessels = [sample.vessels for sample in test]
        fovs = [sample.fov if run.scoring.region == "fov" else None for sample in test]
        checkpoint, log = work / "checkpoint.pt", work / "epochs.json"
        model = runner.build(run).to(device, memory_format=torch.channels_last).eval()  # as in training
        rows = json.loads(log.read_text()) if log.is_file() else []

        def predict(samples):
            return runner.predict_all(model, samples, run, device)

        def score(epoch, epochs, _):
            if epoch % config.every and epoch != epochs:
                return
            content = torch.load(checkpoint, map_location="cpu", weights_only=True)
            averaged = content.get("averaged", {}).items()  # the running average of the weights, if training keeps one
            average = {name.removeprefix("module."): v for name, v in averaged if name.startswith("module.")}
            model.load_state_dict(average or content["model"])
            threshold = choose_threshold(run.scoring, predict, training, validation)
            maps = [probabilities(logits) for logits in predict(test)]
            scores = evaluate(maps, vessels, fovs, threshold, average="image", metrics=("dice", "auc"))
            rows.append({"epoch": epoch, "threshold": threshold} | scores)
            log.write_text(json.dumps(rows))

        trained = runner.train(run, training, validation, device=device, checkpoint=checkpoint, progress=score)
        content = {"environment": environment(device), "history": trained.history, "tests": {}}
        content["test_images"] = [sample.name for sample in test]
        epochs = {row["epoch"]: row for row in rows}  # one that was scored before a kill is scored again
        return content | {"epochs": [epochs[epoch] for epoch in sorted(epochs)]}, {}

    return find_or_make(config, study.store, root, make)


def make_records(study, runs):
    """Make the planned records that are missing, unless the notebook trains nothing; returns those that are there."""
    made = []
    for config in planned(study, runs) if study.parameters.train != "never" else ():
        make, fault = (rescore, RESIZED) if isinstance(config, RescoredConfig) else (score_epochs, TEST_EPOCH)
        record, outcome = study.store.find(config, root=study.root, stale=False), "there already"
        if record is None:
            record, outcome = make(config, study), "made"
        if record is None:
            outcome = "left out, the run has no record or this machine has not kept its weights"
        print(f"{config.run.model}, {fault}: {outcome}")
        made += [] if record is None else [record]
    return made


def extra_costs(record, sound):
    """List the flaw of such a record; ``sound`` is the record of the run itself, and None without it.

    The protocol takes the last epoch; the flaw takes the one with the highest mean Dice over the test images.
    """
    if epochs := record.content.get("epochs"):
        return rows_of(TEST_EPOCH, epochs[-1], max(epochs, key=lambda row: row["dice"]))
    if sound is None:
        return None
    return rows_of(RESIZED, *(one.metrics(region="fov", average="image") for one in (sound, record)))


def costs_of(study, runs):
    """List what each flaw does to the scores of runs without folds: a row for each run, seed, flaw and metric."""
    known = study.records()
    parts = [
        record_costs(Record.read(row.record)).assign(run=row.run, model=row.model, seed=row.seed)
        for row in results.best_profile(known[known["run"].isin(runs)]).itertuples()
    ]
    for config in planned(study, runs):
        record, sound = (study.store.find(item, root=study.root) for item in (config, config.run))
        if record is not None and (part := extra_costs(record, sound)) is not None:
            name = next(name for name in runs if study.configs(name)[:1] == [config.run])
            parts.append(part.assign(run=name, model=config.run.model, seed=config.run.seed))
    columns = ["run", "model", "seed", "fault", "metric", "sound", "faulty"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


make_records(study, runs)

# %%
costs = costs_of(study, runs)  # one row for each run, seed, fault and metric
network = costs.groupby(["fault", "metric", "run"], sort=False)[["sound", "faulty"]].mean()  # over seeds
network["difference"] = network["faulty"] - network["sound"]
table = network.groupby(["fault", "metric"], sort=False).agg(
    networks=("difference", "size"),
    sound=("sound", "mean"),
    faulty=("faulty", "mean"),
    difference=("difference", "mean"),
    lowest=("difference", "min"),
    highest=("difference", "max"),
)
rows = [(fault, metric) for fault, metrics in FAULTS.items() for metric in metrics]
table = table.reindex(pd.MultiIndex.from_tuples(rows, names=["flaw", "score"])).astype(float)

# %% tags=["hide-input"]
reading = table.rename(columns={"sound": "as it should be", "faulty": "with the flaw"}).rename(
    index=SCORES, level="score"
)
reading["networks"] = [None if pd.isna(n) else f"{n:.0f} of {len(runs)}" for n in table["networks"]]
for end in ("lowest", "highest"):
    reading[end] = table[end].map(signed).to_numpy()
style(reading.reset_index(), "What each flaw adds on DRIVE: mean over networks, and the lowest and highest difference.")

# %% tags=["hide-input"] mystnb={"image": {"alt": "A line for each flaw and score on DRIVE: the difference that the flaw makes to each network as a small dot and the mean as a large one. The whole frame with the networks' own output lowers Dice by up to a third; with nothing predicted outside the field of view accuracy rises for every network."}, "figure": {"caption": "What each flaw adds to a score on DRIVE: single networks (small dots) and their mean (large). The axis is linear up to 0.01 and logarithmic beyond.", "name": "fig-faults-costs"}}
if len(network):
    axis = plt.figure(figsize=(9, 5.6)).subplots()
    colours = dict(zip(FAULTS, sns.color_palette("colorblind"), strict=False))
    differences = network.groupby(["fault", "metric"])["difference"].apply(list)
    for place, (fault, metric) in enumerate(reversed(rows)):
        if values := differences.get((fault, metric)):
            axis.plot(values, [place] * len(values), "o", color=colours[fault], markersize=3, alpha=0.5)
            axis.plot(np.mean(values), place, "o", color=colours[fault], markersize=7)
    axis.axvline(0, color="0.4", linewidth=0.8, zorder=1)
    axis.set_xscale("symlog", linthresh=0.01)
    axis.set_yticks(range(len(rows)), [f"{fault}: {SCORES[metric]}" for fault, metric in reversed(rows)], fontsize=8)
    ticks = [-0.3, -0.1, -0.03, -0.01, 0, 0.01, 0.03, 0.1]
    axis.set_xticks(ticks, [signed(tick, 2) if tick else "0" for tick in ticks])
    axis.set_xlabel("with the flaw minus as it should be")
    axis.minorticks_off()
    plt.show()
else:
    print(NO_RECORD)

# %% [markdown]
# ## What networks predict in the surround
#
# The share of the surround that a network calls vessel, and the share of these pixels among all its false positives in the
# frame, means over seeds.


# %%
def predicted_outside(record):
    """Measure how much of the surround a record calls vessel, and its share of the false positives of the frame."""
    histograms, threshold = record.histograms(), record.content["threshold"]
    inside, frame = (histograms.select(region=name).counts(threshold) for name in ("fov", "frame"))
    called = frame.tp + frame.fp - inside.tp - inside.fp
    return float(ratio(called, frame.total - inside.total)), float(ratio(frame.fp - inside.fp, frame.fp))


records = results.best_profile(study.records()).query("run in @runs")
outside = pd.DataFrame(
    [(row.model, *predicted_outside(Record.read(row.record))) for row in records.itertuples()],
    columns=["model", "of the surround", "of all false positives"],
)
outside = (100 * outside.groupby("model").mean()).sort_values("of the surround").rename(index=TITLES)
style(outside.reset_index(names="network"), "DRIVE: pixels of the surround that are called vessel, in percent.", 1)

# %% [markdown]
# ## Curves instead of one threshold
#
# Where a threshold lies decides sensitivity and specificity, and nothing about the ranking of pixels. The ROC and
# precision-recall curves need none. Those of the networks lie close together, so their difference to U-Net's curve is drawn.
# Curves are recomputed from the score histograms of the records, over the pooled pixels of a run's test images, and averaged
# over seeds.

# %%
scores = results.join([study.scores(), baseline_scores(study)])
scores = scores[(scores["dataset"] == "drive") & scores["role"].isin(["table"]) & (scores["region"] == "fov")]
scores = results.best_profile(scores[scores["average"] == "image"], each="group")
folders = scores.groupby("model", sort=False)["record"].unique()  # model -> its records, one per seed


def mean_curve(model, kind, grid):
    """Average the ROC or precision-recall curve of a model over its records."""
    curves = []
    for folder in folders[model]:
        histogram = Record.read(folder).histograms().select(region="fov")  # all test images pooled
        false_rate, true_rate, _ = histogram.roc_curve()
        precision, recall, _ = histogram.pr_curve()
        x, y = (false_rate, true_rate) if kind == "roc" else (recall, precision)
        curves.append(np.interp(grid, x, y))
    return np.mean(curves, axis=0)


# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: sensitivity minus that of U-Net at false-positive rates up to one tenth; right: precision minus that of U-Net by recall. Most networks lie within a few hundredths of U-Net; filters lie clearly below; the second observer is a single point."}, "figure": {"caption": "ROC (left) and precision-recall curves (right) on DRIVE, minus U-Net's. The second observer is one point; what lies below the axis is cut off.", "name": "fig-protocol-curves"}}
PANELS = {
    "roc": (np.linspace(0, 0.1, 401), "1 \N{MINUS SIGN} specificity", "sensitivity minus U-Net's", (-0.15, 0.03)),
    "pr": (np.linspace(0, 1, 401), "sensitivity (recall)", "precision minus U-Net's", (-0.3, 0.05)),
}
dice = scores[scores["metric"] == "dice"].groupby("model")["value"].mean().sort_values(ascending=False)
networks = [model for model in dice.index if model not in METHODS]
filters = [model for model in dice.index if model in METHODS and model != "second_observer"]
named = [*[model for model in networks if model != "unet"][:3], *filters]
if "unet" in networks:
    colours = dict(zip(named, sns.color_palette("colorblind"), strict=False))
    figure = plt.figure(figsize=(10, 4.4))
    for axis, (kind, (grid, xlabel, ylabel, limits)) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
        unet = mean_curve("unet", kind, grid)
        axis.axhline(0, color="black", linewidth=1, label=TITLES["unet"])
        for model in [*(model for model in networks if model not in ("unet", *named)), *named]:
            look = {"color": colours.get(model, "0.8"), "linestyle": "--" if model in filters else "-"}
            axis.plot(
                grid, mean_curve(model, kind, grid) - unet, label=TITLES[model] if model in named else None, **look
            )
        axis.plot([], [], color="0.8", label="other networks")
        if "second_observer" in dice.index:
            rows = scores[scores["model"] == "second_observer"]
            person = rows.groupby("metric")["value"].mean()
            x, y = person["sensitivity"], person["precision"]
            x, y = (1 - person["specificity"], x) if kind == "roc" else (x, y)
            axis.plot(x, y - np.interp(x, grid, unet), "D", color="black", label=TITLES["second_observer"])
        axis.set(xlabel=xlabel, ylabel=ylabel, ylim=limits, xlim=(grid[0], grid[-1]))
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    plt.show()
else:
    print(NO_RECORD)

# %% [markdown]
# ## Calibration
#
# Where probabilities are calibrated, a threshold that was chosen on training images holds on test images. Pixels inside the
# FOV are put into ten equal bins of predicted probability. The expected calibration error (ECE) is the mean, over pixels, of
# the distance between a bin's mean prediction and the share of vessel pixels in it.


# %%
def reliability(model):
    """Join the calibration of a model's records: for each bin the mean prediction, the share of vessels, the pixels."""
    parts = [Record.read(folder).histograms().select(region="fov").calibration(10) for folder in folders[model]]
    columns = ("predicted", "observed", "pixels")
    rows = pd.concat(pd.DataFrame({name: getattr(part, name) for name in columns}) for part in parts).fillna(0)
    sums = rows.mul(rows["pixels"], axis=0)[["predicted", "observed"]].groupby(rows.index).sum()
    pixels = rows["pixels"].groupby(rows.index).sum()
    return sums.div(pixels, axis=0).assign(pixels=pixels)


bins = {model: reliability(model) for model in networks}
ece = pd.Series(
    {m: ((b["predicted"] - b["observed"]).abs() * b["pixels"]).sum() / b["pixels"].sum() for m, b in bins.items()},
    dtype=float,
).sort_values()
style(ece.rename(TITLES).rename_axis("network").reset_index(name="ECE"), "Expected calibration error on DRIVE.")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Reliability diagram on DRIVE: share of vessel pixels minus the mean predicted probability in ten bins, a line for each network, around the zero line of perfect calibration."}, "figure": {"caption": "Calibration on DRIVE, all test pixels inside the FOV and all seeds together: above zero a network predicts too low a probability. The best, the worst and U-Net are named.", "name": "fig-protocol-calibration"}}
if len(ece):
    axis = plt.figure(figsize=(9, 4.2)).subplots()
    axis.axhline(0, color="black", linewidth=0.8, label="calibrated")
    named = list(dict.fromkeys([*ece.index[:3], *(["unet"] if "unet" in ece else []), ece.index[-1]]))
    colours = dict(zip(named, sns.color_palette("colorblind"), strict=False))
    for model in [*(model for model in ece.index if model not in named), *named]:
        label = f"{TITLES[model]}, ECE {ece[model]:.3f}" if model in named else None
        x, y = bins[model]["predicted"], bins[model]["observed"] - bins[model]["predicted"]
        axis.plot(x, y, "o-", markersize=3, color=colours.get(model, "0.8"), label=label)
    axis.plot([], [], "o-", markersize=3, color="0.8", label="other networks")
    axis.set(xlim=(0, 1), xlabel="predicted probability, mean of the bin", ylabel="share of vessels minus prediction")
    axis.figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    plt.show()
else:
    print(NO_RECORD)

# %% [markdown]
# ## How it was measured
#
# - The networks, their training and the protocol are those of [One protocol for all networks](one_protocol.ipynb).
# - *As it should be* is the mean over DRIVE's twenty test images inside the FOV, at the threshold with the highest pooled Dice on
#   the training images. Means are over seeds first, then over networks.
# - The area under the ROC curve of a frame with nothing predicted outside the FOV follows exactly from the one inside: the
#   pixels outside rank below all others and tie with one another.
# - Resized labels and single epochs are measured on the first seed.
#
# ## What remains open
#
# - One data set. How much a frame adds depends on how much of a photograph is surround.
# - An epoch that is chosen on test images was measured on one network, whose Dice no longer changes at the end of a one-cycle
#   schedule. Under a constant learning rate the choice may add more.
#
# ## How to re-run
#
# ```bash
# make reproduce PAPER=protocol_faults PROFILE=lite
# ```


# %% tags=["hide-input"]
def change(fault, *metrics):
    """Word the mean change of some scores by a fault."""
    return ", ".join(f"{SCORES[metric]} by {signed(table.loc[(fault, metric), 'difference'])}" for metric in metrics)


lines = []
if SMOKE:
    lines = ["This is a smoke run on synthetic images: the pipeline works, and no number here means anything."]
elif len(network):
    lines = [
        f"**Counting the whole frame with nothing predicted outside the FOV changes {change(BLANKED, 'accuracy', 'auc', 'dice')}**, "
        "without a better segmentation. With what our networks predict there, untrained, the frame changes "
        f"{change(FRAME, 'accuracy', 'auc', 'dice')}.",
        f"A threshold that is chosen on all test images changes {change(TEST_THRESHOLD, 'dice')}, a threshold for each "
        f"test image changes {change(IMAGE_THRESHOLD, 'dice')}, resized labels change {change(RESIZED, 'dice')}, "
        f"and the epoch that is best on the test images changes {change(TEST_EPOCH, 'dice')}.",
        f"Means over {table['networks'].max():.0f} of {len(runs)} networks on DRIVE ({results.basis_text(records['profile'].iloc[0], records['seed'].nunique())}); "
        "fewer for resized labels, and one for the epoch.",
    ]
summary.update(in_short(*lines or [NO_RECORD]))
