"""The report of an evaluation, on the screen and in a folder."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from skmer.evaluation._html import report_html
from skmer.evaluation._markdown import report_markdown
from skmer.evaluation._plots import draw_all
from skmer.evaluation._resume import write_whole
from skmer.model_selection import ReferenceFolds

_FORMAT = 1
TABLES = (
    "scores",
    "fold_scores",
    "per_class",
    "per_modality",
    "robustness",
    "confusion",
    "weights",
    "calibration",
    "reliability",
    "references",
    "protocols",
    "predictions",
    "run_time",
)


_DTYPES = {"str", "bool", "int64", "float64"}


class EvaluationReport:
    """What :func:`evaluate` found.

    Parameters
    ----------
    facts : dict
        What was evaluated: name, classes, seed, versions...
    tables : dict of str to DataFrame
        By the names of the attributes below.
    notes : dict of str to str
        Why a table is not there.
    folds : ReferenceFolds, default=None
        The folds.

    Attributes
    ----------
    scores : DataFrame
        WAF, UA and WA over all held-out predictions, with the ends of their bootstrap
        intervals, and mean and spread over folds and over repeats.
    fold_scores : DataFrame
        Of each fold of each repeat, with seconds.
    per_class : DataFrame
        Precision, recall, F1 and support.
    per_modality : DataFrame or None
        One modality at a time.
    robustness : DataFrame or None
        Modalities removed from the test clips.
    confusion : DataFrame
        Counts, one row a true class; means over repeats.
    weights : DataFrame or None
        Mean weight of each stream over the held-out clips of each class that have the
        stream; so rows sum to more than 1 where clips lack streams.
    calibration, reliability : DataFrame or None
        ECE, Brier score and log loss; how often predictions are right, by how sure
        they are.
    references : DataFrame or None
        The model beside plain classifiers; ``gain`` is its weighted F1 minus theirs.
        ``verdict`` goes by the interval of the gain: ``"model better"``,
        ``"reference better"``, ``"level"`` where it holds 0, or ``"no interval"``.
    protocols : DataFrame or None
        Honest score, and that of the best epoch of each reported fold.
    predictions : DataFrame
        By clip id, with probabilities.
    run_time : DataFrame
        Seconds.

    See Also
    --------
    evaluate : Makes reports.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skmer.evaluation import EvaluationReport, evaluate
    >>> X, y = np.arange(20.0).reshape(-1, 1), np.repeat(["happy", "sad"], 10)
    >>> report = evaluate(LogisticRegression(), X, y, cv=2, n_bootstraps=50)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = report.save(folder)
    ...     same = EvaluationReport.load(folder)
    >>> same.scores.equals(report.scores)
    True
    >>> same.notes["literature"]
    'not applicable: the model does not end in a network of skmer, so there are no
    epochs to choose from'
    """

    def __init__(self, facts, tables, notes, folds=None):
        self.facts = facts
        self.notes = notes
        self.folds = folds
        for name in TABLES:
            setattr(self, name, tables.get(name))

    @property
    def tables(self):
        """The tables that are there, by name."""
        given = {name: getattr(self, name) for name in TABLES}
        return {name: table for name, table in given.items() if table is not None}

    def __repr__(self):
        head = f"{self.facts['name']}: {self.facts['n_labelled']} clips, "
        head += f"{self.facts['n_folds']} folds"
        return f"{head}\n{self.scores[['score', 'low', 'high']].round(3)}"

    def _repr_html_(self):
        return report_html(self, {}, whole=False)

    def to_dict(self):
        """Return the report as dicts, lists, strings and numbers.

        Returns
        -------
        report : dict
        """
        return {
            "format": _FORMAT,
            "facts": _plain(self.facts),
            "notes": dict(self.notes),
            "tables": {name: _of_table(table) for name, table in self.tables.items()},
        }

    def to_json(self):
        """Return the report as JSON.

        Returns
        -------
        text : str
        """
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def to_markdown(self):
        """Return the report as Markdown, without pictures.

        Returns
        -------
        text : str
        """
        return report_markdown(self, {})

    def to_html(self):
        """Return the report as one page of HTML that needs nothing else.

        Returns
        -------
        page : str
            With pictures where matplotlib is installed.
        """
        return report_html(self, draw_all(self))

    def save(self, folder, *, overwrite=False):
        """Write the report into a folder.

        Parameters
        ----------
        folder : str or PathLike
            Made where it does not exist. It gets ``report.md``, ``report.html``,
            ``report.json``, ``predictions.csv``, ``folds.csv`` and, where matplotlib
            is installed, pictures.
        overwrite : bool, default=False
            Replace a report that is there.

        Returns
        -------
        folder : Path

        Raises
        ------
        FileExistsError
            If the folder holds a report and ``overwrite`` is False.
        """
        folder = Path(folder)
        if (folder / "report.json").exists() and not overwrite:
            raise FileExistsError(
                f"{folder} holds a report. Give another folder, or pass overwrite=True."
            )
        folder.mkdir(parents=True, exist_ok=True)
        pictures = draw_all(self)
        for name, picture in (pictures or {}).items():
            write_whole(folder / f"{name}.png", picture)
        files = {
            "report.md": report_markdown(self, pictures),
            "report.html": report_html(self, pictures),
            "predictions.csv": self.predictions.to_csv(lineterminator="\n"),
        }
        for name, text in files.items():
            write_whole(folder / name, text.encode())
        if self.folds is not None:
            self.folds.save(folder / "folds.csv")
        # Last: it says that the rest is there
        write_whole(folder / "report.json", self.to_json().encode())
        return folder

    @classmethod
    def load(cls, folder):
        """Read a report that was saved.

        Parameters
        ----------
        folder : str or PathLike
            What :meth:`save` wrote.

        Returns
        -------
        report : EvaluationReport

        Raises
        ------
        FileNotFoundError
            If there is no report.
        ValueError
            If the file is of a later format, or no report.
        """
        path = Path(folder) / "report.json"
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no report.json.")
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            form = data["format"]
            if form != _FORMAT:
                raise ValueError(
                    f"{path} is of format {form}; this version of skmer reads format "
                    f"{_FORMAT}. Update skmer."
                )
            tables = {name: _as_table(data["tables"][name]) for name in data["tables"]}
            facts, notes = data["facts"], data["notes"]
        except (KeyError, TypeError, RecursionError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is no report of skmer ({error}).") from error
        folds = Path(folder) / "folds.csv"
        folds = ReferenceFolds.read(folds) if folds.is_file() else None
        return cls(facts, tables, notes, folds)


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _of_table(table):
    return {
        "index": _plain(table.index.tolist()),
        "index_name": table.index.name,
        "columns": _plain(list(table.columns)),
        "columns_name": table.columns.name,
        "dtypes": [_kind(dtype) for dtype in table.dtypes],
        "values": [_plain(table.iloc[:, i].tolist()) for i in range(table.shape[1])],
    }


def _kind(dtype):
    return str(dtype) if dtype.kind in "iufb" else "str"


def _as_table(data):
    wrong = set(data["dtypes"]) - _DTYPES
    if wrong:
        raise TypeError(f"columns of {', '.join(map(str, wrong))}")
    series = {}
    for i, (values, kind) in enumerate(
        zip(data["values"], data["dtypes"], strict=True)
    ):
        if kind == "str":
            series[i] = pd.Series(values)
        else:
            known = [np.nan if v is None else v for v in values]
            series[i] = pd.Series(np.array(known, dtype=kind))
    table = pd.DataFrame(series)
    table.columns = pd.Index(data["columns"], name=data["columns_name"])
    table.index = pd.Index(data["index"], name=data["index_name"])
    return table
