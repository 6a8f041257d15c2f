"""Read names: of a column, the score and the data set, split or region that qualifies it; of a row, what was scored."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from retlib.data.registry import COLLECTIONS

NAMES = {
    "accuracy": ("acc", "accuracy", "ac", "oa", "overallaccuracy", "globalaccuracy", "pixelaccuracy"),
    "sensitivity": ("se", "sen", "sens", "sensitivity", "recall", "rec", "re", "tpr", "truepositiverate"),
    "specificity": ("sp", "spe", "spec", "specificity", "tnr", "truenegativerate"),
    "precision": ("pr", "pre", "prec", "precision", "ppv", "positivepredictivevalue"),
    "dice": ("dice", "dsc", "f1", "f1score", "fscore", "fmeasure", "dicescore", "dicecoefficient", "f1dice"),
    "iou": ("iou", "jaccard", "jac", "ji", "js", "jsc", "jaccardindex", "jaccardscore", "intersectionoverunion"),
}
_SCORES = {name: score for score, names in NAMES.items() for name in names}
IGNORED = {  # how the name of another score begins -> why it is passed over
    r"auc|ap\Z": "an area over all thresholds says nothing about one operating point",
    "mcc|kappa": "it is no ratio of sums of pixel counts",
    "(m|mean)(iou|dice)": "it averages in the background",
}
AMBIGUOUS = {  # abbreviation -> what else it stands for, and the score beside which it is a score for sure
    "se": ("a standard error", "specificity"),
    "pr": ("an area under the precision-recall curve", "sensitivity"),
    "re": ("a relative error", "precision"),
    "ac": ("a coefficient of agreement", "sensitivity"),
    "js": ("a Jensen-Shannon distance", "dice"),
}
_SMALL = 0.5  # no network that is worth a table finds fewer of the vessels; a standard error is smaller
QUARTILES = re.compile(r"median|quartile|iqr|[(\[][\d.]+ ?%? ?[-–,;to]+ ?[\d.]+ ?%?[)\]]", re.IGNORECASE)
OF_MEANS = re.compile(r"\b(ci|confidence|mean|avg|average)\b", re.IGNORECASE)
BEST = re.compile(r"\b(best|top|highest) (of|run|fold|epoch)|[(\[]best[)\]]|\Abest\Z", re.IGNORECASE)
OVERALL = re.compile(r"(overall|average|avg|mean|total|all|combined)( data ?sets?)?\.?", re.IGNORECASE)
_QUALIFIERS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "tst"),
    "FOV": ("fov", "masked"),
    "whole frame": ("full", "frame", "whole", "entire"),
}
_QUALIFIER = {word: name for name, words in _QUALIFIERS.items() for word in words}
KNOWN = frozenset(_QUALIFIERS)
"""Splits and regions as `read_heading` writes them."""
_UNITS = frozenset(
    "in inside within the on of set split data dataset db image images percent pixels region only score scores rate "
    "value coef coeff coefficient similarity index measure sorensen".split()
)
_MEANS = {"mean", "avg", "average"}
SPREADS = frozenset("sd std stdev stddev standard deviation error err stderr sem ci iqr var variance sigma".split())
_NO_MEANS = {"median", "min", "max", "minimum", "maximum", "delta", "gain", "improvement", "rank"}
_GREEK = str.maketrans({"Δ": " delta ", "δ": " delta ", "σ": " sigma ", "μ": " mean ", "ø": "o"})

LABELS = ("method", "methods", "model", "models", "name", "network", "algorithm", "reference", "references", "approach")
SINGLES = (  # rows of different pixels
    *("image", "images", "img", "imageid", "testimage", "case", "patient", "patientid", "subject", "sample", "eye"),
    *("fold", "id", "no", "file", "filename"),
)
NUMBERS = ("id", "no")  # beside a column of methods, numbers of the rows
DATASETS = ("dataset", "datasets", "data", "database", "databases", "testset", "testdataset")
PARTS = "split subset set part partition phase region area mask statistic stat measure".split()
SPECIAL = frozenset((*LABELS, *SINGLES, *DATASETS, *PARTS))
OF_METHODS = frozenset(  # what tells of a method, and not of the pixels that were scored
    "ref refs type year yearvenue venue journal conference publication publishedin author authors backbone encoder "
    "loss optimizer optimiser code category framework source note notes remark technique params parameters flops macs "
    "gpu platform hardware paper citation citations learning supervised supervision description significance".split()
)
SINGLE = re.compile(
    r"(image|img|case|patient|subject|sample|eye|fold)[\s_#]*\d+[a-z]?|im\d{4}|.*\.(tiff?|jpe?g|png|ppm|gif|bmp)",
    re.IGNORECASE,
)
NO_SCORES = re.compile(  # what the rows under a table hold beside means
    r"(std|sd|st\.? ?dev\.?|stdev|standard deviation|variance|±.*|\+/-.*|min(imum)?|max(imum)?|median|range|iqr|q[1-3]"
    r"|p[- ]?values?|improvement|gain|rank|count)",
    re.IGNORECASE,
)
_CROSSED = re.compile(
    r"trained|weights|transfer|fine.?tuned|→|->|\+|\b(to|from|with|without|w/o?|et al)\b", re.IGNORECASE
)


class Heading(NamedTuple):
    """A heading as read.

    Attributes:
        score: A score of retlib; None where it names none, or several.
        dataset: retlib's name of a data set; None where it names none.
        words: Splits, regions and other words that qualify it, sorted.
        known: Whether all these words are known.
        spread: Whether it names a spread, such as a standard deviation, and no mean beside it.
        plain: Whether nothing but the name of the score (and its unit) stands in it.
        reason: Why it is passed over; empty where it names a score.
    """

    score: str | None
    dataset: str | None
    words: tuple[str, ...]
    known: bool
    spread: bool
    plain: bool
    reason: str

    @property
    def group(self) -> tuple[str | None, tuple[str, ...]]:
        """What columns of one data set, split and region have in common."""
        return self.dataset, self.words


def read_heading(heading: str) -> Heading:
    """Read a heading such as ``Se (DRIVE)``, ``F1 - FOV``, ``DRIVE_Acc`` or ``Dice (train, %)``.

    A word that is not known qualifies the score where a mark sets it apart (``Se (thick)``); without a mark it may
    name another score (``boundary IoU``), and the column is passed over.
    """
    text = re.sub(r"field of view", "fov", heading.translate(_GREEK).lower())
    datasets: dict[str, None] = {}  # in their order: trained on one and tested on the other is another experiment
    whole = plain_text(heading)
    metric = _SCORES.get(whole) or _SCORES.get(re.sub(r"[^a-z0-9]", "", text))
    scores, words, means = {metric} - {None}, set(), set()
    parts = [] if metric else re.split(r"\s[-–—]+\s|[^\w\s%-]+|_", text)
    for part in parts:
        rest = []
        for token in re.findall(r"[a-z]+\d*|\d+", part):
            dataset = find_dataset(token)
            if dataset:
                datasets[dataset] = None
            elif token in _QUALIFIER:
                words.add(_QUALIFIER[token])
            elif token in _MEANS | SPREADS | _NO_MEANS:
                means.add(token)
            elif token not in ("db1", "db2"):
                rest.append(token)
        plain = [token for token in rest if token not in _UNITS]
        found = _SCORES.get("".join(rest)) or _SCORES.get("".join(plain))
        if found:
            scores.add(found)
        elif plain and not ("ci" in text and plain == ["95"]):
            words.add(" ".join(plain))
    plains = [whole, *(re.sub(r"[^a-z0-9]", "", part) for part in parts)]
    reason = next((why for start, why in IGNORED.items() if any(re.match(start, plain) for plain in plains)), "")
    if means & _NO_MEANS or re.match(r"1\s*[-–—]", text):
        reason = "it is no score, and no mean of one"
    elif not reason and len(scores) != 1:
        reason = "it names several scores" if scores else "not a score that is known"
    if len(datasets) > 1:
        words.add(" to ".join(datasets))
    return Heading(
        score=None if reason else scores.pop(),
        dataset=next(iter(datasets)) if len(datasets) == 1 else None,
        words=tuple(sorted(words)),
        known=words <= KNOWN,
        spread=bool(means & SPREADS) and not means & _MEANS,
        plain=not means and len(datasets) < 2,
        reason=reason,
    )


def other_meaning(heading: str, columns: Mapping[str, str], values: Sequence[float]) -> str:
    """Say what else an abbreviation may stand for; empty where the heading, its case or the table settles it.

    Args:
        heading: As written, of a column that is read as a score.
        columns: Heading -> score, of all columns of the table.
        values: The numbers under the heading, fractions of one.
    """
    short = next((word for word in re.findall(r"[A-Za-z]+", heading) if word.lower() in AMBIGUOUS), "")
    spelled = {word for word in re.findall(r"[a-z]+", heading.lower()) if _SCORES.get(word)} - AMBIGUOUS.keys()
    if not short or spelled:
        return ""
    meaning, partner = AMBIGUOUS[short.lower()]
    small = short.lower() == "se" and max(values, default=1) < _SMALL
    return meaning if small or (not short.istitle() and partner not in columns.values()) else ""


def plain_text(heading: str) -> str:
    """Strip unit, arrows and punctuation from a heading: ``"F1-score (%) ↑"`` gives ``f1score``."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"[(\[]\s*(?:%|\d+)?\s*[)\]]", "", heading.translate(_GREEK).lower()))


def find_dataset(written: str) -> str | None:
    """Find retlib's name for a data set as people write it; None if there is none."""
    plain = re.sub(r"[^a-z0-9]", "", written.lower())
    return next((key for key in COLLECTIONS if plain.startswith(key.split("_")[0])), None)


def tell_dataset(written: str) -> str | None:
    """Find the one data set that a cell names; None for another, and where it may be the one that was trained on."""
    return None if _CROSSED.search(written) else read_heading(written).dataset


def read_regions(label: str) -> set[str]:
    """Find what a row's name says of the pixels that were scored: ``inside FOV``, ``whole image``, ``without mask``."""
    regions = re.findall(
        r"(?<![\w-])(fov|field of view|(?:full|whole|entire) (?:image|frame|picture)s?|(?:with|without|no) mask"
        r"|\A(?:background|vessels?)\Z)(?![\w-])(?! attention)",
        label.lower(),
    )
    return set(regions)


def dataset_in(label: str) -> str | None:
    """Find the data set whose name stands as a word of a row's name, as in ``U-Net DRIVE``."""
    words = {word.lower() for word in re.findall(r"(?<![\w-])[A-Za-z]+\w*(?![\w-])", label)}
    found = [key for key in COLLECTIONS if words & {key.replace("_", ""), key.split("_")[0]}]
    return found[0] if len(found) == 1 and not _CROSSED.search(label) else None
