"""Pictures of a report, drawn without touching pyplot or the user's backend."""

import importlib.util
import io
import warnings

import numpy as np


def draw_all(report):
    """Draw a report's pictures.

    Parameters
    ----------
    report : EvaluationReport
        The report.

    Returns
    -------
    pictures : dict of str to bytes, or None
        PNG files by name; None where matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return None
    makers = {
        "confusion": (_confusion, report.confusion),
        "references": (_references, report.references),
        "robustness": (_robustness, report.robustness),
        "weights": (_weights, report.weights),
        "reliability": (_reliability, report.reliability),
    }
    return {
        name: _png(draw, table)
        for name, (draw, table) in makers.items()
        if table is not None
    }


def _png(draw, table):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.subplots(), table)
    file = io.BytesIO()
    with warnings.catch_warnings():
        # Names in writing that its font lacks are boxes; tables have them whole
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)
        # Without the version of matplotlib and the like in it
        figure.savefig(
            file, format="png", facecolor="white", metadata={"Software": None}
        )
    return file.getvalue()


def _text(name):
    """Return a name for matplotlib, which would read dollars as formulas."""
    text = " ".join(str(name).split())
    text = text if len(text) <= 24 else f"{text[:23]}…"
    return text.replace("$", r"\$")


def _confusion(ax, table):
    counts = table.to_numpy(dtype=float)
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    image = ax.imshow(share, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    names = [_text(name) for name in table.index]
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right")
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    if len(names) <= 12:
        for i, row in enumerate(share):
            for j, value in enumerate(row):
                shade = "white" if value > 0.5 else "black"
                ax.text(j, i, f"{value:.2f}", ha="center", va="center", color=shade)
    ax.figure.colorbar(image, label="share of the true class")


def _bars(ax, names, table):
    score = 100 * table["WAF"].to_numpy()
    ends = 100 * table[["WAF_low", "WAF_high"]].to_numpy()
    known = ~np.isnan(ends).any(axis=1)
    spread = np.where(known[:, None], np.abs(ends - score[:, None]), 0)
    places = np.arange(len(score))
    ax.barh(places, score, xerr=spread.T, error_kw={"linewidth": 0.8}, color="#5b8db8")
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    ax.set_xlabel("WAF, %")


def _references(ax, table):
    _bars(ax, [_text(name) for name in table.index], table)


def _robustness(ax, table):
    own = table[table["system"] == table["system"].iloc[0]]
    names = [
        "everything there" if name == "nothing" else _text(f"without {name}")
        for name in own["missing"]
    ]
    _bars(ax, names, own)
    ax.set_title(_text(own["system"].iloc[0]))


def _weights(ax, table):
    places = np.arange(len(table))
    width = 0.8 / table.shape[1]
    for i, stream in enumerate(table.columns):
        shift = (i - (table.shape[1] - 1) / 2) * width
        heights = table.iloc[:, i].to_numpy(dtype=float)
        ax.bar(places + shift, heights, width, label=_text(stream))
    ax.set_xticks(
        places, [_text(name) for name in table.index], rotation=45, ha="right"
    )
    ax.set_ylabel("mean share of the stream")
    ax.legend(title="stream", loc="upper left", bbox_to_anchor=(1, 1))


def _reliability(ax, table):
    ax.plot([0, 1], [0, 1], color="gray", linewidth=0.8, label="as sure as right")
    for system in table["system"].unique():
        own = table[table["system"] == system]
        ax.plot(own["confidence"], own["accuracy"], marker="o", label=_text(system))
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_xlabel("how sure: mean of the largest probability")
    ax.set_ylabel("how often right")
    ax.legend()
