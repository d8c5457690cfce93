"""The ablation tables of the papers, on anybody's clips."""

import json
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from skmer.evaluation._ablation_report import MERTOOLS, AblationReport
from skmer.evaluation._evaluate import evaluate, labels_in_order
from skmer.evaluation._folds import check_length, refuse_text
from skmer.evaluation._ladders import LADDERS, check_name
from skmer.evaluation._mertools_protocol import mertools_protocol
from skmer.evaluation._scores import SCORES
from skmer.evaluation._setting import (
    WITHOUT_UNLABELLED,
    Setting,
    changes,
    varied,
)
from skmer.model_selection import ReferenceFolds
from skmer.utils import split_labels
from skmer.utils._clip_ids import aligned_groups, clip_ids
from skmer.utils._sklearn import HasMethods, Interval, StrOptions, validate_params


@validate_params(
    {
        "name": [str],
        "X": ["array-like"],
        "y": ["array-like"],
        "encoders": [StrOptions({"offline", "paper"}), Mapping, None],
        "streams": ["array-like"],
        "annotators": [list, tuple, None],
        "models": [Mapping, None],
        "cv": [Interval(Integral, 2, None, closed="left"), HasMethods("split")],
        "groups": ["array-like", None],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "rows": ["array-like", None],
        "protocol": [StrOptions({"honest", "mertools"})],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "n_reruns": [Interval(Integral, 1, None, closed="left")],
        "n_bootstraps": [Interval(Integral, 0, None, closed="left")],
        "sidecar_text": ["boolean"],
        "on_error": [StrOptions({"raise", "nan"})],
        "n_jobs": [Integral, None],
        "random_state": [Interval(Integral, 0, None, closed="left")],
        "verbose": ["verbose"],
        "overwrite": ["boolean"],
    },
    prefer_skip_nested_validation=False,
)
def ablation(
    name,
    X,
    y,
    *,
    encoders="offline",
    streams=("audio", "video", "text"),
    annotators=None,
    models=None,
    cv=5,
    groups=None,
    n_repeats=1,
    rows=None,
    protocol="honest",
    n_draws=50,
    n_reruns=6,
    n_bootstraps=1000,
    sidecar_text=False,
    cache="default",
    on_error="raise",
    device="auto",
    n_jobs=None,
    random_state=0,
    verbose=False,
    folder=None,
    overwrite=False,
):
    """Run the rows of a paper's ablation table on your clips.

    Parameters
    ----------
    name : str
        The table: ``"mmef-net"``, ``"ecmf"``, ``"acoustic-visual"``, ``"foal-net"``,
        ``"mr-ccl"``, ``"mr-ccl-oversampling"`` or ``"mr-ccl-learning-rate"``.
    X : list, Series or DataFrame of clips or features, of length n_clips
        As recipes take them.
    y : array-like of shape (n_clips,)
        Labels; -1 among integers and None or NaN among strings are unlabelled.
    encoders : {"offline", "paper"}, dict of str to transformer, or None, \
            default="offline"
        As recipes take it; None: X holds features.
    streams : sequence of str, default=("audio", "video", "text")
        The modalities that the clips have. Rows that add another are not run.
    annotators : list of transformers, default=None
        :class:`~skmer.enrichment.ChatAnnotator` or the like for the rows that add
        labels and keywords of language models.
    models : dict of str to str, default=None
        Folders or ids of models to load in place of those that recipes name.
    cv : int or splitter, default=5
        As for :func:`evaluate`; with a number, unlabelled clips are in all training
        parts, but for those of the groups that are tested. Rows with one fold more
        need a number.
    groups : Series indexed by clip id or array-like of length n_clips, default=None
        Group, such as the speaker, of each clip.
    n_repeats : int, default=1
        Seeds a row.
    rows : sequence of str, default=None
        Names of rows to run; None runs all.
    protocol : {"honest", "mertools"}, default="honest"
        ``"mertools"`` adds a column with the score by that toolkit's protocol: the
        best of ``n_draws`` random settings, each judged by its best epoch in the
        folds that are reported, run ``n_reruns`` times again. It is optimistic, and
        takes more than ``n_draws`` times as long.
    n_draws, n_reruns : int, default=50 and 6
        Of that protocol.
    n_bootstraps : int, default=1000
        Draws of the bootstrap; 0 gives no intervals.
    sidecar_text : bool, default=False
        Read the words from files beside the clips.
    cache : "default", path or None, default="default"
        Folder of the feature cache.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of clips that cannot be read.
    device : str, default="auto"
        Where encoders and networks run.
    n_jobs : int or None, default=None
        Folds at a time.
    random_state : int, default=0
        Seed of all rows.
    verbose : bool, default=False
        Show a progress bar over rows.
    folder : path or None, default=None
        Where to keep the table and a report of each row. Folds that are finished
        there are not run again, nor are runs of MERTools' protocol.
    overwrite : bool, default=False
        Remove folds and reports of another evaluation, with other clips or settings
        for example, in the rows' folders; other files stay.

    Returns
    -------
    report : AblationReport

    Raises
    ------
    ValueError
        If there is no such table, a row of ``rows`` is not in it, or ``y`` or
        ``groups`` do not have a value for each clip.
    FileExistsError
        If a row's folder holds another evaluation, and ``overwrite`` is False or
        files of skmer's cannot be told from others. It is a ValueError too.

    See Also
    --------
    evaluate : One model, with all that can be said of it.

    Notes
    -----
    A row that lacks something, a model that cannot be loaded for example, is listed
    with ``status`` "not run: needs ...". A row that then leaves the pipeline of the
    row before as it is, is not run either. The papers' rows give labels by GPT-4 and
    features by Baichuan2; here they are those of the given ``annotators`` and of the
    recipe's text model.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmer.evaluation import ablation
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile(["happy", "sad"], 12)
    >>> X = pd.DataFrame(rng.normal(size=(24, 2)) + 2 * (y == "sad")[:, None])
    >>> X.columns = ["audio__0", "text__0"]
    >>> report = ablation(
    ...     "acoustic-visual", X, y, encoders=None, cv=2, n_bootstraps=0,
    ...     rows=["HL", "HL(18)", "CLIPL"],
    ... )
    >>> report.table["status"].tolist()
    ['run',
     "not run: needs a speech model: encoders='paper', or one in encoders=",
     'not run: needs the stream video']
    """
    check_name(name)
    refuse_text(cv, "a number of folds or a splitter")
    ladder = LADDERS[name]
    chosen = _chosen(ladder, rows)
    ids = clip_ids(X)
    y = labels_in_order(y, ids)
    check_length("y", y, X)
    check_length("groups", aligned_groups(groups, ids, required=False), X)
    setting = Setting(
        X,
        y,
        encoders=encoders,
        streams=streams,
        annotators=annotators,
        models=models or {},
        common={
            "sidecar_text": sidecar_text,
            "cache": cache,
            "on_error": on_error,
            "device": device,
            "random_state": int(random_state),
        },
    )
    run = _Run(setting, X, y, cv, groups, protocol, folder, overwrite)
    run.settings = {
        "n_repeats": int(n_repeats),
        "n_bootstraps": int(n_bootstraps),
        "n_jobs": n_jobs,
        "random_state": int(random_state),
    }
    run.draws = {"n_draws": int(n_draws), "n_reruns": int(n_reruns)}
    with tqdm(total=len(chosen), desc="Rows", disable=not verbose) as bar:
        for row, wanted in run.planned(ladder, chosen):
            run.add(ladder, row, wanted)
            bar.update(wanted)
    report = AblationReport(
        ladder.title,
        pd.DataFrame(run.found).set_index("row"),
        run.models,
        {
            "name": name,
            "protocol": protocol,
            "n_clips": len(split_labels(y)[0]),
            "n_labelled": int(split_labels(y)[0].sum()),
            **run.settings,
        },
    )
    if folder is not None:
        report.save(folder)
    return report


def _chosen(ladder, rows):
    names = [row.name for row in ladder.rows]
    if rows is None:
        return names
    unknown = [name for name in rows if name not in names]
    if unknown:
        raise ValueError(
            f"{ladder.title} has no row {unknown[0]!r}. It has {', '.join(names)}."
        )
    return list(rows)


class _Run:
    """Makes the rows one after the other."""

    def __init__(self, setting, X, y, cv, groups, protocol, folder, overwrite=False):
        self.setting, self.X, self.y = setting, X, y
        self.cv, self.groups, self.protocol = cv, groups, protocol
        self.folder = None if folder is None else Path(folder)
        self.overwrite = overwrite
        self.found, self.models, self.made, self.last = [], {}, {}, None

    def planned(self, ladder, chosen):
        """Yield rows and whether they were asked for; others are only compared with."""
        for row in ladder.rows:
            yield row, row.name in chosen

    def add(self, ladder, row, wanted):
        """Make a row and score it."""
        model, lack = self.build(row)
        against = self.last if row.against is None else row.against
        other = self.made.get(against)
        n_folds = None if model is None else self.n_folds(row)
        differs = {} if model is None or other is None else changes(model, other[0])
        if model is not None and other is not None and n_folds != other[1]:
            differs["cv"] = f"{other[1]} -> {n_folds}"
        status = self.status(row, model, lack, differs, other and against)
        if model is not None:
            self.made[row.name] = model, n_folds
            self.last = row.name
        if not wanted:
            return
        if model is not None:
            self.models[row.name] = repr(model)
        scores = {}
        if status == "run":
            scores = self.score(ladder, row, model)
        empty = {} if self.found else _no_scores(self.protocol)
        self.found.append(
            {
                "row": row.name,
                **empty,
                **scores,
                "folds": n_folds,
                "status": status,
                "against": against if differs else None,
                "changes": differs,
                **{f"reported {k}": v for k, v in row.reported.items()},
            }
        )

    def build(self, row):
        """Return the row's pipeline and "", or None and what it lacks."""
        lack = self.setting.lacks(row)
        if lack:
            return None, lack
        model = row.build(self.setting)
        lack = self.setting.lacks(row, model)
        return (None, lack) if lack else (self.setting.exchange_models(model), "")

    def varied(self, ladder):
        """Return the parameters that tell the rows of the table apart."""
        models = [self.build(row)[0] for row in ladder.rows]
        return varied([model for model in models if model is not None])

    def n_folds(self, row):
        if not isinstance(self.cv, Integral):
            return None
        return int(self.cv) + row.more_folds

    def status(self, row, model, lack, differs, against):
        """Return "run", or why a row is not."""
        if model is None and lack in WITHOUT_UNLABELLED.values():
            return f"not run: {lack}"
        if model is None:
            return f"not run: needs {lack}"
        absent = self.setting.absent_models(model)
        if absent:
            return f"not run: needs {absent}"
        if against and not differs:
            what = "something to change here"
            if row.more_folds and not isinstance(self.cv, Integral):
                what = "folds by number"
            return f"not run: needs {what}, as it equals {against}"
        return "run"

    def score(self, ladder, row, model):
        cv = self.cv
        if isinstance(cv, Integral):
            cv = ReferenceFolds.from_labels(
                self.y,
                clips=self.X,
                groups=self.groups,
                n_splits=self.n_folds(row),
                hold_out_groups=self.groups is not None,
                random_state=self.settings["random_state"],
            )
        place = None
        if self.folder is not None:
            slug = "".join(c if c.isalnum() else "-" for c in row.name).strip("-")
            place = self.folder / f"{ladder.rows.index(row) + 1:02d}-{slug}"
        report = evaluate(
            model,
            self.X,
            self.y,
            cv=cv,
            groups=self.groups,
            references=False,
            robustness=False,
            name=row.name,
            folder=place,
            overwrite=self.overwrite,
            **self.settings,
        )
        scores = {}
        for name in SCORES:
            found = report.scores.loc[name]
            scores[name] = found["score"]
            scores[f"{name}_low"], scores[f"{name}_high"] = found["low"], found["high"]
        scores["repeat_std"] = report.scores.loc["WAF", "repeat_std"]
        protocols = report.protocols
        scores["best epoch WAF"] = (
            np.nan if protocols is None else protocols.loc["literature", "WAF"]
        )
        scores["seconds"] = report.run_time["seconds"].sum()
        if self.protocol == "mertools":
            mean, std, best = mertools_protocol(
                model,
                self.X,
                self.y,
                recipe=ladder.recipe,
                fixed=self.varied(ladder),
                n_splits=self.n_folds(row) or 5,
                n_jobs=self.settings["n_jobs"],
                seed=self.settings["random_state"],
                folder=None if place is None else place / "mertools",
                overwrite=self.overwrite,
                **self.draws,
            )
            scores[MERTOOLS], scores[f"{MERTOOLS} std"] = mean, std
            scores[f"{MERTOOLS} setting"] = json.dumps(best, default=repr)
        return scores


def _no_scores(protocol):
    names = [f"{name}{end}" for name in SCORES for end in ("", "_low", "_high")]
    names += ["repeat_std", "best epoch WAF", "seconds"]
    if protocol == "mertools":
        names += [MERTOOLS, f"{MERTOOLS} std"]
    return dict.fromkeys(names, np.nan)
