"""An ablation table that was run, on the screen and in a folder."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from skmer.evaluation._markdown import as_text
from skmer.evaluation._resume import write_whole
from skmer.evaluation._scores import SCORES

MERTOOLS = "MERTools protocol WAF"


@dataclass
class AblationReport:
    """An ablation table that was run.

    Parameters
    ----------
    title : str
        Paper and table.
    table : DataFrame
        A row for each of the paper's. Columns: ``WAF``, ``UA`` and ``WA``, shares of
        1 over all out-of-fold predictions, with ``_low`` and ``_high`` of the
        bootstrap; ``repeat_std`` of WAF; ``best epoch WAF``, chosen on the fold that
        is reported and so optimistic; columns of the protocol, where asked for;
        ``folds``; ``status``, which is ``"run"`` or says why it was not;
        ``changes``, parameters that differ from those of the row in ``against``;
        and the paper's figures, in percent, as ``reported ...``.
    models : dict of str to str
        The pipeline of each row that was made.
    facts : dict
        Settings of the run.

    Examples
    --------
    See :func:`ablation`.
    """

    title: str
    table: pd.DataFrame
    models: dict
    facts: dict = field(default_factory=dict)

    def to_markdown(self):
        """Return the table as Markdown.

        Returns
        -------
        text : str
        """
        reported = [c for c in self.table.columns if c.startswith("reported ")]
        protocol = [MERTOOLS] if MERTOOLS in self.table.columns else []
        optimistic = ["best epoch WAF", *protocol]
        head = ["row", *SCORES, *optimistic, *reported, "changes"]
        lines = [
            f"# {self.title}",
            "",
            f"{self.facts['n_labelled']} labelled clips; seeds a row: "
            f"{self.facts['n_repeats']}. Percent; in brackets the bootstrap interval. "
            "WAF: weighted F1; UA: mean recall of classes; WA: accuracy. Best epoch"
            + (" and the MERTools protocol are" if protocol else " is")
            + " chosen on the very fold that is reported: optimistic. Best epoch is "
            "blank where a row ends in no single network, but in a vote of several or "
            "another classifier. Reported: the paper's figures, on its own data and "
            "models.",
            "",
            f"| {' | '.join(head)} |",
            f"|{' --- |' * len(head)}",
        ]
        for name, row in self.table.iterrows():
            if row["status"] != "run":
                cells = [row["status"]] + [""] * (len(SCORES) - 1 + len(optimistic))
            else:
                cells = [_interval(row, score) for score in SCORES]
                cells += [_percent(row[column]) for column in optimistic]
            cells += ["" if pd.isna(row[c]) else f"{row[c]:.2f}" for c in reported]
            changed = "; ".join(f"{k}: {v}" for k, v in row["changes"].items())
            if changed and row["against"]:
                changed = f"against {row['against']}: {changed}"
            cells = [str(name), *cells, changed]
            lines.append(f"| {' | '.join(map(as_text, cells))} |")
        return "\n".join(lines) + "\n"

    def save(self, folder):
        """Write ``ablation.md``, ``ablation.csv`` and ``ablation.json``.

        Parameters
        ----------
        folder : path
            Made where it is not there; these files are replaced.

        Returns
        -------
        folder : Path
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        table = self.table.assign(changes=self.table["changes"].map(json.dumps))
        rows = json.loads(self.table.reset_index().to_json(orient="records"))
        about = {"title": self.title, **self.facts, "rows": rows}
        about["models"] = self.models
        write_whole(folder / "ablation.md", self.to_markdown().encode())
        write_whole(folder / "ablation.csv", table.to_csv(lineterminator="\n").encode())
        text = json.dumps(about, indent=1, ensure_ascii=False)
        write_whole(folder / "ablation.json", text.encode())
        return folder


def _percent(share):
    return "" if pd.isna(share) else f"{100 * share:.1f}"


def _interval(row, name):
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    text = _percent(row[name])
    return text if pd.isna(low) else f"{text} ({_percent(low)} to {_percent(high)})"
