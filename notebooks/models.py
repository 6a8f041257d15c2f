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
# # Model zoo
#
# Every network of the study is built by its name. This page says what each one is, how large it is in the papers and on the
# leaderboard, how far it sees and what it scores, and draws it from its own code.

# %% tags=["parameters", "hide-input"]
# papermill replaces these by name. Nothing is trained here, and no data set is needed.
data_root: str = None  # folder of the data sets; None: RETLIB_DATA
records: str = None  # folder of the records; None: the book's own
seeds: list = [0, 1, 2]  # of these, the seeds whose records are read

# %% tags=["hide-input"]
from retlib.study import check_parameters

parameters = check_parameters(globals())

# %% tags=["hide-input", "remove-output"]
import base64
import contextlib
import functools
import html
import inspect
import io
import json
import math
import sys
from unittest import mock

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from IPython.display import HTML, display
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from retlib.data.phantoms import make_phantom
from retlib.data.registry import COLLECTIONS
from retlib.models import MODEL_TITLES, build_model, count_parameters, list_models, model_options, multiply_adds
from retlib.models.drawing import Arrow, Box, map_sizes, network_figure
from retlib.papers import list_papers, load_paper
from retlib.preprocessing import working_grid
from retlib.study import figures, in_short, open_study, results
from retlib.study.tables import Html, network_costs, number_text, style

figures.set_style()
plt.rcParams["svg.hashsalt"] = "models"  # a page that is built twice is the same page
TITLES = {model: MODEL_TITLES.get(model, model) for model in list_models()}
with torch.device("meta"):  # shapes alone: no memory for weights
    SHAPES = {model: build_model(model) for model in TITLES}


def link(address, text):
    """Write a link for a table."""
    return Html(f'<a href="{address}">{html.escape(text)}</a>')


def api(model):
    """Link a network's title to its entry in the API."""
    return link(f"../book/api/models.html#module-{type(SHAPES[model]).__module__}", TITLES[model])


def options_text(config):
    """Name the width of a network, and the options that are not its defaults."""
    usual, chosen = model_options(config.model), config.model_options
    shown = {name: value for name, value in chosen.items() if name == "width" or value != usual[name]}
    texts = [f"{name} {', '.join(map(str, v)) if isinstance(v, list) else v}" for name, v in shown.items()]
    return "; ".join(texts).replace("_", " ")


def count(number):
    """Write a whole number with spaces between thousands."""
    return number_text(float(number), ",.0f")


# %% tags=["hide-input"]
summary = display(in_short("No record yet."), display_id=True)  # filled in below, when its numbers are known

# %% [markdown]
# ## Build one
#
# A name and options give a `torch.nn.Module`. It takes images of any height and width and returns one logit per pixel; a
# sigmoid makes it a probability. Options are listed by `model_options` and explained in the API.

# %%
model = build_model("unet", in_channels=3, width=16, depth=3)
logits = model(torch.zeros(1, 3, 584, 565))  # a photograph of DRIVE's size
built = {
    "shape of the logits": " × ".join(map(str, logits.shape)),
    "parameters": count(count_parameters(model)),
    "multiply-adds": count(multiply_adds(model, 3, 584, 565)),
    "options and their defaults": ", ".join(f"{name} {value}" for name, value in model_options("unet").items()),
}
style(pd.DataFrame({"": list(built), "value": list(built.values())}), "A U-Net of width 16 and depth 3.")

# %% [markdown]
# ## The networks
#
# A name leads to its module in the [API](../book/api/models.md), a paper to its page.

# %%
runs = {key: load_paper(key).runs("paper") for key in list_papers()}  # the papers' runs at full size
used = {
    model: [key for key, configs in runs.items() if any(config.model == model for config in configs.values())]
    for model in TITLES
}
zoo = pd.DataFrame(
    {
        "network": {model: api(model) for model in TITLES},
        "build_model": {model: f'"{model}"' for model in TITLES},
        "what it is": {
            model: inspect.getdoc(sys.modules[type(module).__module__]).splitlines()[0].rstrip(".")
            for model, module in SHAPES.items()
        },
        "papers": {
            model: Html(", ".join(link(f"{key.replace('-', '_')}.html", load_paper(key).short) for key in keys) or "—")
            for model, keys in used.items()
        },
    }
)
style(zoo.reset_index(drop=True), "Networks by name.")


# %% tags=["hide-input"]
STRIP = 1024  # pixels: a network that sees both ends of a strip of this width from its middle sees the whole image


def average(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """Pool by the mean, which depends on every value that the maximum may come from."""
    pooled = F.avg_pool2d(x, kernel_size, stride, padding)
    return (pooled, pooled) if return_indices else pooled


def repeat(x, indices, kernel_size, stride):
    """Enlarge to every place that max-unpooling may put a value at."""
    return F.interpolate(x, scale_factor=kernel_size)


@functools.cache
def receptive_field(name, options):
    """Measure the receptive field in pixels, the widest over the places of an output pixel within a cell.

    ``options`` is JSON, without the width, which does not matter.
    """
    for width in (2, 4):  # the narrowest that the network may have
        with contextlib.suppress(ValueError):
            narrow = {"width": width} if "width" in model_options(name) else {}
            network = build_model(name, **json.loads(options), **narrow).double().eval()
            break
    generator = torch.Generator()
    with torch.no_grad():
        # Positive kernels, and normalisations that change nothing: no path of the gradient cancels another.
        for part, parameter in network.named_parameters():
            if parameter.ndim > 1:
                parameter.uniform_(0.5, 1.5, generator=generator.manual_seed(0)).div_(parameter[0].numel())
            else:
                parameter.fill_(part.endswith("weight"))
    for strip in (STRIP // 4, STRIP):  # the shorter one, a quarter of the work, is enough where its ends are not seen
        image = torch.ones(1, 1, network.cell, strip, dtype=torch.float64, requires_grad=True)
        with mock.patch.object(F, "max_pool2d", average), mock.patch.object(F, "max_unpool2d", repeat):
            output = network(image)[0, 0, 0]
        widths = []
        for place in range(strip // 2, strip // 2 + network.cell):
            (gradient,) = torch.autograd.grad(output[place], image, retain_graph=True)
            seen = gradient.abs().sum((0, 1, 2)).nonzero()
            first, last = int(seen.min()), int(seen.max())
            widths.append(last - first + 1)
            if strip < STRIP and (first == 0 or last == strip - 1):
                break
        else:
            break
    return max(widths)


def field_text(config):
    """Word the receptive field of a run's network."""
    options = {name: value for name, value in config.model_options.items() if name != "width"}
    pixels = receptive_field(config.model, json.dumps(options))
    return "whole image" if pixels >= STRIP else str(pixels)


threads = torch.get_num_threads()
torch.set_num_threads(1)  # many small convolutions, which threads slow down

# %% [markdown]
# ## On the leaderboard
#
# [One protocol for all networks](one_protocol.ipynb) trains each of them at about half a million parameters by one recipe.
# Dice is its score there on DRIVE. CPU seconds are those of one forward pass, summed over cores.

# %%
board = open_study("one-protocol", parameters)
configs = board.source.runs("lite", role="table", dataset="drive")
size = working_grid(make_phantom(0).fov, configs["drive-unet"].inputs)[1]  # of a photograph like DRIVE's

scores = board.scores().query("complete and as_scored and metric == 'dice'")
dice = results.summarise(results.same_profile(scores, configs), by=["run", "metric"]).droplevel("metric")
leaderboard = network_costs(configs, size).join(dice[["value", "low", "high", "basis"]])
leaderboard["receptive field"] = {run: field_text(config) for run, config in configs.items()}
leaderboard["model"] = {run: config.model for run, config in configs.items()}

file = board.store.path / "benchmarks.json"
timed = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
seconds = {model: entry["cpu_s"] for model, entry in timed.get("network_seconds", {}).items()}
leaderboard["CPU s"] = leaderboard["model"].map(seconds).astype(float)
leaderboard = leaderboard.sort_values("value", ascending=False)

# %% tags=["hide-input"]
shown = leaderboard.reset_index(drop=True)
known = shown["value"].notna()
table = pd.DataFrame(
    {
        "network": shown["model"].map(api),
        "options": leaderboard.index.map(lambda run: options_text(configs[run])),
        "Dice": shown["value"].map(number_text),
        "95 % interval": [(row.low, row.high) if pd.notna(row.value) else None for row in shown.itertuples()],
        "parameters": shown["parameters"].map(count),
        "10⁹ mult.-adds": shown["multiply-adds, 10^9"].map(lambda value: number_text(value, ".2f")),
        "field, px": shown["receptive field"],
        "CPU s": shown["CPU s"].map(lambda value: number_text(value, ".2f")),
    }
)
basis = ", ".join(dict.fromkeys(shown["basis"].dropna())) or "no record yet"
machine = timed.get("network_machine", {})
clock = f" CPU seconds: {machine['processor']}." if machine else ""
style(table, f"Dice on DRIVE ({basis}); one pass over {size[0]} × {size[1]} pixels.{clock}")

# %% [markdown]
# ## In the papers
#
# The same networks at the size of the papers' runs: one row for each set of options, at the size of image that the paper
# gives its network.

# %%
rows = []
for key, of_paper in runs.items():
    seen = []
    for run, config in of_paper.items():
        if (config.model, config.model_options) in seen:
            continue
        seen.append((config.model, config.model_options))
        collection, inputs = COLLECTIONS[config.train.dataset], config.inputs
        pixels = inputs.size or inputs.resample or inputs.crop or (collection.height, collection.width)
        row = {"paper": key, "model": config.model, "options": options_text(config), "channels": inputs.channels}
        row |= {"pixels": pixels, "receptive field": field_text(config)}
        rows.append(row | network_costs({run: config}, pixels).loc[run].to_dict())
papers = pd.DataFrame(rows).sort_values(["paper", "model"], ignore_index=True)

# %% tags=["hide-input"]
torch.set_num_threads(threads)
table = pd.DataFrame(
    {
        "paper": papers["paper"].map(lambda key: link(f"{key.replace('-', '_')}.html", load_paper(key).short)),
        "network": papers["model"].map(api),
        "options": papers["options"],
        "image": [f"{row.channels} × {row.pixels[0]} × {row.pixels[1]}" for row in papers.itertuples()],
        "parameters": papers["parameters"].map(count),
        "10⁹ mult.-adds": papers["multiply-adds, 10^9"].map(lambda value: number_text(value, ".1f")),
        "field, px": papers["receptive field"],
    }
)
style(table, "The networks at the size of the papers' runs. Default options are left out.")

# %% [markdown]
# The **receptive field** (*field*) is the width of the square of pixels on which one output pixel can depend. It is read off the
# network: all kernels are made positive, poolings average, and the gradient of an output pixel is followed back to a
# long strip of an image, for each place of that pixel within a cell of the coarsest map; the widest counts. A network
# that pools over a whole map, attends to it, or normalises by its statistics, sees the **whole image**: both ends of
# the strip are reached. What a trained network uses of its receptive field is usually much less.
#
# **Multiply-adds** count convolutions and matrix products of one forward pass, as `retlib.models.multiply_adds` counts them.

# %% [markdown]
# ## Drawn from the models
#
# Each network with its default options, read from its code during a forward pass over shapes. A box is a stage with the
# number of channels that it gives; `×3` is three blocks of its kind. Each row has half the resolution of the row above it.
# The kinds are the names of classes, explained in the [API](../book/api/models.md).

# %% tags=["hide-input"]
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
SIDE = 512  # pixels of the image that is followed
ARROWS = {
    "same resolution": ("0.35", "-"),
    "to a lower resolution": ("#0072B2", "-"),
    "to a higher resolution": ("#D55E00", "-"),
}


def tensors(value):
    """List the tensors in the arguments or results of a function."""
    if isinstance(value, torch.Tensor):
        return [value]
    value = list(value.values()) if isinstance(value, dict) else value
    return [tensor for item in value for tensor in tensors(item)] if isinstance(value, (list, tuple)) else []


class Origins(TorchFunctionMode):
    """Remember from which stages every tensor comes."""

    def __init__(self):
        super().__init__()
        self.known = {}  # id -> the tensor itself, so that no other gets its id, and its stages

    def of(self, value):
        return frozenset().union(*(self.known[id(item)][1] for item in tensors(value) if id(item) in self.known))

    def note(self, value, stages):
        self.known |= {id(item): (item, stages) for item in tensors(value)}

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if stages := self.of([args, kwargs or {}]):
            self.note(result, stages)
        return result


def parts(module):
    """List the kinds of blocks that a module consists of: of a plain sequence its convolutions or blocks."""
    if type(module) is not nn.Sequential:
        return [type(module).__name__]
    inside = [part for part in module if any(isinstance(item, CONVOLUTIONS) for item in part.modules())]
    return [kind for part in inside for kind in parts(part)]


def find_stages(network, sizes):
    """List the outermost modules that change the resolution once at most; one that enlarges is part of an arrow."""
    modules, found = dict(network.named_modules()), []

    def look(name):
        inside = [part for part in sizes if f"{part}.".startswith(f"{name}.")]
        inside = [part for part in inside if isinstance(modules[part], CONVOLUTIONS)]
        heights = {sizes[part].gives.height for part in inside}
        if name and inside and name in sizes and len(heights | {sizes[name].gives.height}) <= 2:
            before = max((taken.height for taken in sizes[name].takes), default=0)
            if len(inside) > 1 or not 0 < before < sizes[name].gives.height:
                found.append(name)
            return
        for child, _ in modules[name].named_children():
            look(f"{name}.{child}" if name else child)

    look("")
    return found


def read_stages(network, channels):
    """Follow an image of shapes through a network: for each call of a stage (kinds, stages before it, its map)."""
    sizes, modules = map_sizes(network, channels, SIDE, SIDE), dict(network.named_modules())
    origins, stages, under_way, handles = Origins(), [], {}, []

    def before(module, inputs, named):
        under_way[module] = len(stages)
        stages.append([parts(module), origins.of([inputs, named]), None])

    def after(module, inputs, result):
        stages[under_way[module]][2] = result.shape[1:]
        origins.note(result, frozenset([under_way[module]]))

    for name in find_stages(network, sizes):
        handles.append(modules[name].register_forward_pre_hook(before, with_kwargs=True))
        handles.append(modules[name].register_forward_hook(after))
    state = {name: value.to("meta") for name, value in network.state_dict().items()}
    with torch.no_grad(), origins:
        functional_call(network, state, (torch.empty(1, channels, SIDE, SIDE, device="meta"),))
    for handle in handles:
        handle.remove()
    return stages


def joined(stages):
    """Join single convolutions that follow one another at one size: kinds of each stage, and pairs of stages."""
    first, kinds, edges = {}, {}, set()
    for number, (names, sources, shape) in enumerate(stages):
        last = max(sources, default=None)
        alike = len(sources) == 1 and stages[last][0] == names == ["Conv2d"] and stages[last][2] == shape
        first[number] = first[last] if alike else number
        kinds.setdefault(first[number], []).extend(names)
        edges |= {(first[source], first[number]) for source in sources} - {(first[number],) * 2}
    return kinds, sorted(edges)


def draw(model):
    """Draw a network; its picture's alternative text."""
    stages = read_stages(SHAPES[model], SHAPES[model].in_channels)
    kinds, edges = joined(stages)
    column, row, boxes, taken = {}, {}, {}, {}
    for stage in kinds:
        before = [start for start, end in edges if end == stage]
        column[stage] = 1 + max((column[start] for start in before), default=-1)
        row[stage] = math.log2(SIDE / stages[stage][2][1])
        place = column[stage], row[stage]
        taken[place] = taken.get(place, -1) + 1  # branches stand below one another
        text = f"{stages[stage][2][0]}" + (f" ×{len(kinds[stage])}" if len(kinds[stage]) > 1 else "")
        boxes[str(stage)] = Box(0.8 * column[stage], row[stage] + 0.85 * taken[place], text, kinds[stage][0])
    between = {(row[stage], column[stage]) for stage in kinds}
    arrows = []
    for start, end in edges:
        kind = list(ARROWS)[0 if row[start] == row[end] else 1 if row[start] < row[end] else 2]
        passes = any((row[start], place) in between for place in range(column[start] + 1, column[end]))
        far = column[end] - column[start]
        bend = -min(0.18, 0.7 / far) if row[start] == row[end] and passes else 0.0  # around the boxes of its row
        arrows.append(Arrow(str(start), str(end), kind, bend))
    fills = dict(zip(dict.fromkeys(box.kind for box in boxes.values()), sns.color_palette("pastel"), strict=False))
    drawn = {arrow.kind for arrow in arrows}
    figure = network_figure(boxes, arrows, fills, {kind: look for kind, look in ARROWS.items() if kind in drawn})
    if any(arrow.bend for arrow in arrows):  # room above the first row
        low, high = figure.axes[0].get_ylim()
        figure.axes[0].set_ylim(low, high + 0.3)
        figure.set_figheight(figure.get_figheight() + 0.3)
    widths = [str(stages[stage][2][0]) for stage in kinds]
    lowest = 2 ** round(max(row.values()))
    return (
        f"{TITLES[model]}: {len(kinds)} stages with {', '.join(widths)} channels, the lowest at 1/{lowest} of the image's side, "
        f"of {', '.join(fills)}; {sum(row[start] == row[end] for start, end in edges)} connections of one resolution."
    )


def as_picture(model):
    """Draw a network as an HTML figure with its own alternative text."""
    alternative, file = draw(model), io.BytesIO()
    plt.savefig(file, format="svg", metadata={"Date": None})
    plt.close()
    data = base64.b64encode(file.getvalue()).decode()
    return (
        f'<figure id="network-{model}" style="margin: 1.5rem 0"><figcaption><strong>{api(model)}</strong></figcaption>'
        f'<img alt="{html.escape(alternative)}" src="data:image/svg+xml;base64,{data}" style="max-width: 100%"></figure>'
    )


display(HTML("\n".join(as_picture(model) for model in TITLES)))

# %% [markdown]
# ## Add one
#
# A new network is one module in `retlib/models` and one line in its registry; [How to add a
# paper](../book/add-a-paper.md) has an example. It then appears on this page by itself.

# %% tags=["hide-input"]
sizes = leaderboard["parameters"] / 1e6
of_papers = papers["parameters"] / 1e6
lines = [
    f"{len(TITLES)} networks, at {sizes.min():.2f} to {sizes.max():.2f} million parameters on the leaderboard and at "
    f"{of_papers.min():.1f} to {of_papers.max():.1f} million in the papers."
]
if leaderboard["value"].notna().any():
    best = leaderboard.iloc[0]
    lines.append(f"On DRIVE {TITLES[best['model']]} has the highest Dice, {best['value']:.4f} ({best['basis']}).")
if leaderboard["CPU s"].notna().any():
    quick, slow = (leaderboard.sort_values("CPU s").iloc[place] for place in (0, -1))
    lines.append(
        f"A forward pass takes {quick['CPU s']:.2f} CPU seconds ({TITLES[quick['model']]}) to {slow['CPU s']:.2f} "
        f"({TITLES[slow['model']]})."
    )
summary.update(in_short(*lines))
