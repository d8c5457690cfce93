"""What a report says, in order, before it becomes Markdown or HTML."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from skmer.evaluation._folds import told_of_split_groups
from skmer.evaluation._scores import SCORES

# How many of the surest mistakes are shown
_MISTAKES = 10
# A bootstrap of fewer groups says little
_FEW_UNITS = 10


@dataclass
class Section:
    """A heading with sentences, a table and a picture below."""

    title: str
    sentences: list = field(default_factory=list)
    table: pd.DataFrame | None = None
    picture: str | None = None
    # What the picture shows, for those who do not see it
    shows: str = ""


def sections_of(report):
    """Return what a report says.

    Parameters
    ----------
    report : EvaluationReport
        The report.

    Returns
    -------
    sections : list of Section
    """
    makers = (
        _in_short,
        _scores,
        _references,
        _protocols,
        _folds,
        _classes,
        _modalities,
        _robustness,
        _weights,
        _calibration,
        _mistakes,
        _run_time,
        _about,
    )
    return [maker(report) for maker in makers]


def _in_short(report):
    """Say in words what the tables say."""
    name, scores = report.facts["name"], report.scores
    low, high = scores.loc["WAF", ["low", "high"]]
    waf = percent(scores.loc["WAF", "score"])
    between = ""
    if not np.isnan(low):
        between = f" (interval {percent(low)} to {percent(high)} %)"
    sentences = [
        f"Weighted F1 of {name} on clips it was not trained on: {waf} %{between}."
    ]
    facts = report.facts
    # Reports of before have no count
    told = told_of_split_groups(
        facts.get("n_split_groups"), facts["n_groups"], facts.get("group_name")
    )
    sentences += [told] if told else []
    if report.references is not None:
        rows = report.references.iloc[1:]
        own = report.references["WAF"].iloc[0]
        sentences += [
            _in_words(name, system, row, _difference(own, row["WAF"]))
            for system, row in rows.iterrows()
        ]
        if not (rows["verdict"] == "model better").all():
            sentences.append(
                "So this evaluation does not show that the model is worth more than "
                "plain classifiers of the same features."
            )
    worst = report.per_class["F1"]
    sentences.append(
        f"Hardest class: {worst.idxmin()} (F1 {percent(worst.min())} %); easiest: "
        f"{worst.idxmax()} ({percent(worst.max())} %)."
    )
    found = report.robustness
    if found is not None and (found["system"] == name).any():
        own = found[(found["system"] == name) & (found["missing"] != "nothing")]
        singles = own[own["missing"].isin(report.facts["modalities"])]
        worst = singles.loc[singles["change"].idxmin()]
        sentences.append(
            f"What it misses most is {worst['missing']}: without it, WAF changes by "
            f"{_difference(worst['WAF'], scores.loc['WAF', 'score'])} points."
        )
    return Section("In short", sentences)


def with_interval(table, measure):
    """Return scores of a table in percent with their intervals, as words."""
    low, high = table[f"{measure}_low"], table[f"{measure}_high"]
    return [
        percent(s) if np.isnan(lo) else f"{percent(s)} ({percent(lo)} to {percent(hi)})"
        for s, lo, hi in zip(table[measure], low, high, strict=True)
    ]


def percent(share):
    """Return a share in percent with one decimal."""
    return "" if share is None or np.isnan(share) else f"{100 * share:.1f}"


def _signed(share):
    return "" if np.isnan(share) else f"{100 * share:+.1f}"


def _difference(share, other):
    """Return the difference of two shares as they are shown, in points."""
    if np.isnan(share) or np.isnan(other):
        return ""
    points = round(float(percent(share)) - float(percent(other)), 1)
    return f"{points + 0.0:+.1f}"


def _scores(report):
    facts, scores = report.facts, report.scores
    drawn = "groups" if facts["n_groups"] else "clips"
    sentences = [
        f"{facts['n_labelled']} labelled clips, {len(facts['classes'])} classes, "
        f"{facts['n_folds']} folds, "
        + ("fitted once." if facts["n_repeats"] == 1 else
           f"fitted {facts['n_repeats']} times with different seeds; means."),
    ]  # fmt: skip
    if facts["n_bootstraps"]:
        sentences.append(
            f"Intervals: {percent(facts['confidence']).removesuffix('.0')} %, "
            f"{facts['n_bootstraps']} draws of {facts['n_units']} {drawn}. They hold "
            "what comes of the choice of test clips, not of training clips or seeds."
        )
        if facts["n_units"] < _FEW_UNITS:
            sentences.append(
                f"So few {drawn} make the intervals too narrow: read them as a hint."
            )
    table = pd.DataFrame(
        {
            "score, %": [percent(v) for v in scores["score"]],
            "interval": [
                "" if np.isnan(lo) else f"{percent(lo)} to {percent(hi)}"
                for lo, hi in zip(scores["low"], scores["high"], strict=True)
            ],
            "mean over folds": [percent(v) for v in scores["fold_mean"]],
            "spread over folds": [percent(v) for v in scores["fold_std"]],
        },
        index=["WAF, weighted F1", "UA, mean recall", "WA, accuracy"],
    )
    if facts["n_repeats"] > 1:
        table["spread over seeds"] = [percent(v) for v in scores["repeat_std"]]
    return Section("Scores", sentences, table)


def _absent(report, name):
    note = report.notes.get(name, "not applicable")
    return [note[:1].upper() + note[1:] + "."]


def _references(report):
    title = "Beside plain references"
    found = report.references
    if found is None:
        return Section(title, _absent(report, "references"))
    sentences = [
        "Fitted on the same folds and features; intervals of gains are of paired draws."
    ]
    for key in ("per_modality", "left out of references"):
        if key in report.notes:
            sentences += _absent(report, key)
    table = pd.DataFrame(
        {f"{m}, %": with_interval(found, m) for m in SCORES}, index=found.index
    )
    own = found["WAF"].iloc[0]
    gains = ["", *(_difference(own, other) for other in found["WAF"].iloc[1:])]
    table["gain in WAF"] = [
        gain if np.isnan(lo) else f"{gain} ({_signed(lo)} to {_signed(hi)})"
        for gain, lo, hi in zip(
            gains, found["gain_low"], found["gain_high"], strict=True
        )
    ]
    table["verdict"] = found["verdict"]
    return Section(
        title, sentences, table, "references", "Weighted F1 of the model and references"
    )


def _in_words(name, system, row, difference):
    gain = f"{difference.lstrip('+-')} points of WAF"
    where = "above" if row["gain"] > 0 else "below"
    if row["verdict"] == "model better":
        return f"{name} clears {system}: {gain} above it, and the interval is above 0."
    if row["verdict"] == "reference better":
        return (
            f"{name} does not clear {system}: {gain} below it, and the interval is "
            "below 0."
        )
    if row["verdict"] == "no interval":
        return f"{name} is {gain} {where} {system}; without draws, it may be by chance."
    return (
        f"{name} is not shown to clear {system}: {gain} {where} it, and the interval "
        "holds 0."
    )


def _protocols(report):
    title = "Honest score and the literature's protocol"
    if report.protocols is None:
        return Section(title, _absent(report, "literature"))
    table = report.protocols.copy()
    for measure in SCORES:
        table[measure] = [percent(v) for v in table[measure]]
    waf = report.protocols["WAF"]
    gap = _difference(waf["literature"], waf["honest"])
    return Section(
        title,
        [
            "Papers often report the epoch that was best on the very clips they test. "
            f"That choice alone is worth {gap} points of WAF here; new clips do not "
            "give it back. Compare the second row with published numbers obtained so, "
            "and nothing else."
        ],
        table,
    )


def _folds(report):
    table = report.fold_scores.copy()
    for measure in SCORES:
        table[measure] = [percent(v) for v in table[measure]]
    for name in ("fit_seconds", "predict_seconds"):
        table[name] = [f"{v:.2f}" for v in table[name]]
    if report.facts["n_repeats"] == 1:
        table = table.drop(columns="repeat")
    return Section("Fold by fold", [], table.set_index("fold"))


def _classes(report):
    table = report.per_class.copy()
    for name in ("precision", "recall", "F1"):
        table[name] = [percent(v) for v in table[name]]
    return Section(
        "Class by class", [], table, "confusion", "Share of each true class taken for"
    )


def _modalities(report):
    title = "One modality at a time"
    found = report.per_modality
    if found is None:
        return Section(title, _absent(report, "per_modality"))
    table = pd.DataFrame({"system": found["system"].to_list()}, found["modality"])
    for measure in SCORES:
        table[f"{measure}, %"] = with_interval(found, measure)
    sentences = [report.notes[k] + "." for k in ("model alone",) if k in report.notes]
    return Section(title, sentences, table)


def _robustness(report):
    title = "When a modality is missing"
    found = report.robustness
    if found is None:
        return Section(title, _absent(report, "robustness"))
    sentences = [
        "Trained on everything; the modality is removed from test clips only. The "
        "references get training means in its place, a network of skmer masks it."
    ]
    if "robustness" in report.notes:
        sentences += _absent(report, "robustness")
    table = pd.DataFrame({"missing": found["missing"].to_list()}, found["system"])
    for measure in SCORES:
        table[f"{measure}, %"] = with_interval(found, measure)
    whole = found[found["missing"] == "nothing"].set_index("system")["WAF"]
    table["change in WAF"] = [
        _difference(waf, whole[system])
        for waf, system in zip(found["WAF"], found["system"], strict=True)
    ]
    return Section(
        title, sentences, table, "robustness", "Weighted F1 without each modality"
    )


def _weights(report):
    title = "Weights of streams"
    if report.weights is None:
        return Section(title, _absent(report, "weights"))
    table = report.weights.map(percent)
    return Section(
        title,
        [
            "Mean share, in percent, of each stream in what is said of the held-out "
            "clips that have it. Where clips lack streams, rows sum to more than 100."
        ],
        table,
        "weights",
        "Share of each stream by true class",
    )


def _calibration(report):
    title = "Do probabilities mean what they say"
    if report.calibration is None:
        return Section(title, _absent(report, "calibration"))
    return Section(
        title,
        [
            "ECE: mean gap between how sure the model is and how often it is right; "
            "Brier score (0 to 2) and log loss: lower is better."
        ],
        report.calibration.map("{:.3f}".format),
        "reliability",
        "Accuracy by how sure the model is",
    )


def _mistakes(report):
    title = "Surest mistakes"
    found = report.predictions
    wrong = found[found["true"] != found["predicted"]]
    columns = [f"P({label})" for label in report.facts["classes"]]
    if not len(wrong):
        return Section(title, ["None."])
    if columns[0] not in found:
        return Section(title, _absent(report, "calibration"))
    sure = wrong[columns].max(axis=1).to_numpy()
    order = np.argsort(-sure, kind="stable")[:_MISTAKES]
    table = wrong.iloc[order][["true", "predicted"]].copy()
    table["probability"] = [f"{v:.2f}" for v in sure[order]]
    return Section(title, ["Clips to look at first; labels may be wrong, too."], table)


def _run_time(report):
    table = report.run_time.copy()
    table["seconds"] = [f"{v:.2f}" for v in table["seconds"]]
    return Section("Run time", ["Sums over folds and repeats."], table)


def _about(report):
    facts = report.facts
    rows = {
        "model": facts["model"],
        "clips": f"{facts['n_clips']}, of which {facts['n_labelled']} are labelled",
        "seed": facts["seed"],
        "device": facts["device"],
        "machine": facts["machine"],
        "folds": "folds.csv (skmer.model_selection.ReferenceFolds.read)"
        if report.folds is not None
        else "not kept: a clip is tested more than once, or not all of the rest trains",
        **facts["versions"],
    }
    table = pd.DataFrame({"value": [str(v) for v in rows.values()]}, list(rows))
    return Section("How it was made", [], table)
