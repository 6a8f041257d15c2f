"""The audit as tables, sentences and a figure."""

from __future__ import annotations

import matplotlib.pyplot as plt

from retlib.audit import VERDICTS, Background, audit_row, figures, frames


def test_tables_say_what_the_audit_found(audits, background):
    rows = audits["af-unet"]
    shares = frames.share_frame(rows)
    assert len(shares) == 12 and (shares.lowest <= shares.share).all() and (shares.share <= shares.highest).all()
    checks = frames.check_frame(rows, VERDICTS)
    assert len(checks) == sum(len(row.checks) for row in rows)
    assert len(frames.check_frame(rows)) == (checks.verdict != "consistent").sum()
    counts = frames.verdict_frame({"af-unet": rows}).iloc[0]
    assert sum(counts[verdict] for verdict in VERDICTS) + counts["nothing to check"] == len(rows)
    assert frames.check_frame([]).empty and frames.tolerance_frame(Background({}, ())).empty
    widths = frames.tolerance_frame(background)
    assert set(widths["data set"]) >= {"DRIVE", "STARE"} and (widths["largest departure"] > 0).all()


def test_sentences_are_made_of_the_numbers(audits, background):
    told = frames.sentences(audits["resaspp-unet"], background)
    assert told[0].startswith(
        "DRIVE: 6 rows imply a vessel share of 0.087 to 0.088; the labels of its test part have 0.088"
    )
    khan = [sentence for sentence in told if "Khan" in sentence and "STARE" in sentence]
    assert len(khan) == 1 and khan[0].startswith("Table 3 and Table 7, Khan")
    assert "0.3800 to 0.4200" in khan[0] and "averaging" not in khan[0]
    bare = audit_row({"accuracy": "0.95", "sensitivity": "0.70", "specificity": "0.98"}, label="a", kind="measured")
    assert frames.sentences([bare], background)[0] == "no data set named: 1 row implies a vessel share of 0.107."


def test_the_figure_draws_every_share_once(audits, background):
    figure = figures.share_figure(audits, background, ["drive", "hrf"])
    (axis,) = figure.axes  # no row on HRF implies a share
    labels = [label.get_text() for label in axis.get_yticklabels()]
    rows = [row for found in audits.values() for row in found if row.dataset == "drive"]
    drawn = {(row.label, row.share.exact) for row in rows if any(check.name == "vessel share" for check in row.checks)}
    paired = {item for item in drawn if item[0].split(",")[0] not in ("Han et al.", "Panchal & Kokare", "Duan et al.")}
    assert len(labels) == len(paired) and any(label.startswith("AF_UNet") for label in labels)
    assert any(text.get_text() == "0.65" for text in axis.texts)  # beyond the axis, as an arrow
    plt.close(figure)
