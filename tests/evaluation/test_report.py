"""The report's folder: complete, self-contained, and safe whatever clips are called."""

import base64
import io
import json
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

from skmer.evaluation import EvaluationReport, evaluate
from skmer.fusion import AttentionFusionClassifier
from skmer.model_selection import ReferenceFolds

needs_pictures = pytest.mark.skipif(
    find_spec("matplotlib") is None,
    reason="matplotlib is not installed: skmer[plot]",
)

MODALITIES = ("audio", "video", "text")
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>|`[a](javascript:b)'


class Page(HTMLParser):
    """What a page consists of."""

    VOID = {"meta", "img", "br"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.pictures = [], [], []
        self.open, self.style = [], ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        attrs = dict(attrs)
        self.attributes += [(tag, *pair) for pair in attrs.items()]
        if tag == "img":
            self.pictures.append(attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data


@pytest.fixture(scope="module")
def folder(report, tmp_path_factory):
    return report.save(tmp_path_factory.mktemp("out") / "deep" / "report")


def test_a_report_comes_back_as_it_was(report, folder):
    same = EvaluationReport.load(folder)
    assert set(same.tables) == set(report.tables)
    for name, table in report.tables.items():
        pd.testing.assert_frame_equal(getattr(same, name), table)
    assert same.to_dict() == report.to_dict()
    assert same.to_markdown() == report.to_markdown()
    assert repr(same) == repr(report)
    assert same.weights is None


@needs_pictures
def test_the_folder_is_complete(report, folder, data):
    X, y = data
    found = {path.name for path in folder.iterdir()}
    pictures = {"confusion.png", "references.png", "robustness.png", "reliability.png"}
    texts = {"report.md", "report.html", "report.json", "predictions.csv", "folds.csv"}
    assert found == pictures | texts
    predictions = pd.read_csv(folder / "predictions.csv", index_col="clip")
    assert predictions.index.tolist() == X.index.tolist()
    assert predictions["predicted"].tolist() == report.predictions["predicted"].tolist()
    folds = ReferenceFolds.read(folder / "folds.csv")
    again = evaluate(
        LogisticRegression(), X.fillna(0), y, cv=folds, references=False, n_bootstraps=0
    )
    assert again.predictions["fold"].tolist() == report.predictions["fold"].tolist()
    for picture in pictures:
        with Image.open(folder / picture) as image:
            image.load()
            assert image.width > 300 and np.ptp(np.asarray(image.convert("L"))) > 100
        assert f"]({picture})" in (folder / "report.md").read_text()


def _shown(report, title):
    """Return the rows of a section's table in Markdown, without its head."""
    section = report.to_markdown().partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def _first(cell):
    return float(cell.partition(" ")[0])


def test_differences_are_those_of_the_figures_shown(report):
    table = report.robustness.copy()
    table["WAF"] = [0.93349, *(0.93251 for _ in table["WAF"].iloc[1:])]
    table["change"] = table["WAF"] - table["WAF"].iloc[0]
    table = table[table["system"] == report.facts["name"]]
    tables = {**report.tables, "robustness": table}
    near = EvaluationReport(report.facts, tables, report.notes)
    for row in _shown(near, "When a modality is missing"):
        assert (_first(row[2]), row[-1]) == (93.3, "+0.0")
    for title in ("When a modality is missing", "Beside plain references"):
        rows = _shown(report, title)
        column = 2 if title.startswith("When") else 1
        for row in rows:
            change = row[-1] if column == 2 else row[-2].partition(" ")[0]
            whole = _first(rows[0][column])
            if column == 2:
                whole = next(_first(r[2]) for r in rows if r[0] == row[0])
                assert float(change) == round(_first(row[2]) - whole, 1)
            elif change:
                assert float(change) == round(whole - _first(row[1]), 1)
    assert {row[-1] for row in _shown(report, "Beside plain references")[1:]} <= {
        "model better", "reference better", "level",
    }  # fmt: skip


def test_shares_are_in_percent_in_short(report):
    short = report.to_markdown().partition("## Scores")[0]
    assert " %)." in short and " %); easiest: " in short
    assert f"{100 * report.scores.loc['WAF', 'score']:.1f} % (interval" in short


def test_json_is_plain(folder):
    def refuse(word):
        raise AssertionError(word)

    text = (folder / "report.json").read_text()
    data = json.loads(text, parse_constant=refuse)
    assert data["format"] == 1
    assert data["facts"]["versions"]["scikit-learn"]
    assert data["facts"]["seed"] == 0


def test_a_report_is_not_overwritten_unasked(report, folder):
    with pytest.raises(FileExistsError, match="overwrite=True"):
        report.save(folder)
    report.save(folder, overwrite=True)
    assert not list(folder.glob(".*"))


def test_only_reports_are_loaded(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"holds no report\.json"):
        EvaluationReport.load(tmp_path)
    for content in ("{", "[]", '{"format": 1}'):
        (tmp_path / "report.json").write_text(content)
        with pytest.raises(ValueError, match="is no report"):
            EvaluationReport.load(tmp_path)
    data = json.loads((folder / "report.json").read_text())
    (tmp_path / "report.json").write_text(json.dumps({**data, "format": 2}))
    with pytest.raises(ValueError, match="Update skmer"):
        EvaluationReport.load(tmp_path)
    data["tables"]["scores"]["dtypes"][0] = "object"
    (tmp_path / "report.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match="is no report"):
        EvaluationReport.load(tmp_path)


@needs_pictures
def test_the_page_needs_nothing_else(report, folder):
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert "script" not in page.tags and "link" not in page.tags
    fetching = {"src", "href", "srcset", "data", "action", "poster", "background"}
    for tag, name, value in page.attributes:
        if name in fetching:
            assert (tag, name) == ("img", "src")
            assert value.startswith("data:image/png;base64,")
        assert not name.startswith("on")
    assert "@import" not in page.style and "url(" not in page.style
    assert "http:" not in text and "https:" not in text
    assert len(page.pictures) == 4
    for picture in page.pictures:
        data = base64.b64decode(picture["src"].partition(",")[2], validate=True)
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert image.format == "PNG"
        assert picture["alt"]


def test_the_page_is_accessible(report, folder):
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert page.tags.count("table") == page.tags.count("caption") >= 8
    scopes = [value for _, name, value in page.attributes if name == "scope"]
    assert scopes.count("col") + scopes.count("row") == page.tags.count("th")
    assert ("html", "lang", "en") in page.attributes
    assert "prefers-color-scheme: dark" in page.style
    headings = [tag for tag in page.tags if tag in ("h1", "h2", "h3")]
    assert headings[0] == "h1" and set(headings[1:]) == {"h2"}


@pytest.fixture(scope="module")
def hostile(data):
    X, y = data
    X = X.rename(index={X.index[0]: HOSTILE}).fillna(0)
    X.columns = [name.replace("video", "<b>video|") for name in X.columns]
    y = np.array([HOSTILE if label == "sad" else label for label in y], dtype=object)
    # Far on the side of another class, so that it is the surest mistake
    X.loc[HOSTILE] = 50 * X[y == "happy"].mean() - 50 * X[y == y[0]].mean()
    name = f"$x_$ {HOSTILE} <i>\n# head"
    return evaluate(LogisticRegression(), X, y, cv=3, n_bootstraps=0, name=name)


@needs_pictures
def test_names_are_no_markup(hostile, tmp_path):
    hostile.save(tmp_path)
    wrong = hostile.predictions.loc[HOSTILE]
    assert wrong["true"] != wrong["predicted"]
    text = (tmp_path / "report.html").read_text()
    assert "&lt;script&gt;" in text
    page = Page(text)
    assert "script" not in page.tags and "i" not in page.tags and "b" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert len(page.pictures) == page.tags.count("img") == 4
    short = Page(hostile._repr_html_())
    assert {"script", "img"}.isdisjoint(short.tags)

    markdown = (tmp_path / "report.md").read_text()
    assert "<script" not in markdown and "<b>" not in markdown
    assert "\n# head" not in markdown
    lines = markdown.splitlines()
    for first, second in zip(lines, lines[1:], strict=False):
        if second.startswith("| ---"):
            n_columns = second.count("|")
        elif first.startswith("|") and second.startswith("|"):
            assert second.replace(r"\|", "").count("|") == n_columns
    assert r"\[a\](javascript" in markdown
    loaded = EvaluationReport.load(tmp_path)
    assert loaded.predictions.index[0] == HOSTILE
    assert ReferenceFolds.read(tmp_path / "folds.csv").folds.index[0] == HOSTILE


def test_names_that_reports_use_themselves(data, tmp_path):
    """The model's as a reference's, classes as rows, modalities with commas."""
    X, y = data
    X = X.rename(columns=lambda name: name.replace("__", ", both__"))
    y = np.where(y == "sad", "all clips", np.where(y == "happy", "concat + LR", y))
    net = AttentionFusionClassifier(max_epochs=1, hidden_size=4, random_state=0)
    report = evaluate(net, X, y, cv=2, n_bootstraps=20, name="concat + LR")
    assert report.facts["name"] == "concat + LR (model)"
    for name in ("references", "run_time", "calibration", "weights"):
        assert getattr(report, name).index.is_unique
    everything = report.weights.loc["all clips together"].astype(float)
    # Each over the clips that have it, as the table says
    assert 1 < everything.sum() < 1.05
    assert "clips that have it. Where clips lack streams" in report.to_markdown()
    assert everything.tolist() != report.weights.loc["all clips"].tolist()
    own = report.robustness["system"].value_counts()
    assert set(own) == {1 + 3 + 3}
    table = report.robustness[report.robustness["system"] == report.facts["name"]]
    table = table.set_index("missing")["change"][[f"{m}, both" for m in MODALITIES]]
    assert f"What it misses most is {table.idxmin()}" in report.to_markdown()
    report.save(tmp_path)
    same = EvaluationReport.load(tmp_path)
    pd.testing.assert_frame_equal(same.weights, report.weights)


@needs_pictures
def test_pictures_of_names_that_its_font_lacks(data, tmp_path):
    X, y = data
    y = np.where(y == "sad", "悲伤", np.where(y == "happy", "a\n$b" + "$c" * 20, y))
    model = LogisticRegression()
    report = evaluate(
        model, X.fillna(0), y, cv=2, n_bootstraps=0, references=False,
        name="- [x] $y$",
    )  # fmt: skip
    report.save(tmp_path)
    assert (tmp_path / "confusion.png").stat().st_size > 1000
    assert "悲伤" in (tmp_path / "report.html").read_text()
    markdown = (tmp_path / "report.md").read_text()
    assert markdown.startswith(r"# - \[x\] \$y\$")
    assert "悲伤 " in markdown and r"a \$b\$c" in markdown


def test_sentences_that_begin_with_a_name_are_no_lists(report):
    facts = {**report.facts, "name": "+ words"}
    text = EvaluationReport(facts, report.tables, report.notes).to_markdown()
    assert "\n\\+ words is not shown" in text or "\n\\+ words clears" in text
    facts["name"] = "1. words"
    text = EvaluationReport(facts, report.tables, report.notes).to_markdown()
    assert "\n1\\. words " in text and "\n1. words" not in text


def test_the_page_forbids_scripts_and_loading(folder):
    page = Page((folder / "report.html").read_text())
    policy = [v for tag, n, v in page.attributes if tag == "meta" and n == "content"]
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in policy


def test_without_matplotlib_there_are_no_pictures(report, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    report.save(tmp_path)
    assert not list(tmp_path.glob("*.png"))
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text()
        assert "they need matplotlib" in text and "skmer[plot]" in text
    assert Page((tmp_path / "report.html").read_text()).pictures == []
    assert EvaluationReport.load(tmp_path).scores.equals(report.scores)


@needs_pictures
def test_pyplot_and_its_backend_are_left_alone(folder, tmp_path):
    code = (
        "import sys; from skmer.evaluation import EvaluationReport;"
        f"r = EvaluationReport.load({str(folder)!r}); r.save({str(tmp_path / 'r')!r});"
        "assert 'matplotlib' in sys.modules;"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    pictures = {path.name for path in (tmp_path / "r").glob("*.png")}
    assert pictures == {path.name for path in folder.glob("*.png")}
    for name in pictures:
        # The same report gives the same pictures, byte by byte
        assert (tmp_path / "r" / name).read_bytes() == (folder / name).read_bytes()


@needs_pictures
def test_the_screen_shows_the_scores(report):
    text = repr(report)
    assert "LogisticRegression: 90 clips, 3 folds" in text
    assert "WAF" in text and len(text.splitlines()) < 10
    assert Page(report._repr_html_()).tags.count("table") == 1
    assert "No pictures" not in report.to_markdown()
    assert Page(report.to_html()).pictures


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "firefox")


def test_a_browser_opens_the_page(folder, tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    picture = tmp_path / "page.png"
    options = ["--headless", f"--screenshot={picture}", "--window-size=900,1200"]
    if "firefox" not in browser:
        options += [
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'u'}",
        ]
    else:
        options = [
            "--headless",
            "--profile",
            str(tmp_path),
            "--screenshot",
            str(picture),
        ]
    page = (folder / "report.html").as_uri()
    subprocess.run([browser, *options, page], check=True, timeout=60)
    with Image.open(picture) as image:
        assert len(image.convert("RGB").getcolors(2**20)) > 10
