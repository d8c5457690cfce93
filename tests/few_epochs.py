"""Ablation tables whose networks learn for a few epochs only."""

from dataclasses import replace
from functools import partial

from skmer.evaluation._ladders import LADDERS


def shorten(monkeypatch, n_epochs=2):
    """Let the rows of all tables train for a few epochs, all else as it is."""
    for name, ladder in LADDERS.items():
        rows = [
            replace(row, build=partial(_shortened, row.build, n_epochs))
            for row in ladder.rows
        ]
        monkeypatch.setitem(LADDERS, name, replace(ladder, rows=tuple(rows)))


def _shortened(build, n_epochs, setting):
    model = build(setting)
    names = [
        name
        for name in model.get_params(deep=True)
        if name.rpartition("__")[2] == "max_epochs"
    ]
    return model.set_params(**dict.fromkeys(names, n_epochs))
