"""Tasks for Label Studio, and what its annotators made of them."""

import json
import os
import urllib.parse
from xml.etree import ElementTree

import numpy as np
import pandas as pd

VERSION = "skmer.LabelRefiner"
OBJECTS = {"video": "Video", "audio": "Audio", "text": "Text"}


def media_of(clips, ids, *, numbered):
    """Return what annotators are shown, and the clip id of each row.

    Parameters
    ----------
    clips : DataFrame, Series, sequence of str or PathLike, or None
        As :meth:`LabelRefiner.export_label_studio` takes it.
    ids : Index of length n_rows
        Clip ids, or numbers of rows.
    numbered : bool
        Whether they are numbers, as X had no clip ids.

    Returns
    -------
    media : DataFrame indexed by clip id
    ids : Index of length n_rows
        Those of ``clips`` where X has none.
    """
    if clips is None:
        strange = [clip for clip in ids if not isinstance(clip, (str, os.PathLike))]
        if strange:
            raise ValueError(
                f"Clip ids of X such as {strange[0]!r} are no paths of videos to show. "
                "Pass clips=, a DataFrame with a column 'video', 'audio' or 'text', "
                "or a list of the paths of all rows."
            )
        return pd.DataFrame({"video": [os.fspath(c) for c in ids]}, index=ids), ids
    if isinstance(clips, pd.Series) and isinstance(clips.index, pd.RangeIndex):
        # Rows that were never given ids, unless those of X are numbers too
        if numbered or not clips.index.isin(ids).any():
            clips = clips.tolist()
    if isinstance(clips, pd.Series):
        clips = clips.to_frame("video")
    if isinstance(clips, pd.DataFrame):
        if not numbered:
            return clips, ids
        _check_length(clips, ids)
        return clips, clips.index
    if isinstance(clips, (str, bytes)) or not hasattr(clips, "__len__"):
        raise TypeError(
            "clips must be a DataFrame, a Series or a list of paths. Got "
            f"{type(clips).__name__}."
        )
    _check_length(clips, ids)
    paths = [os.fspath(path) for path in clips]
    ids = pd.Index(paths) if numbered else ids
    return pd.DataFrame({"video": paths}, index=ids), ids


def _check_length(clips, ids):
    if len(clips) != len(ids):
        raise ValueError(
            f"clips has {len(clips)} rows and X had {len(ids)}. Without clip ids in X, "
            "and as a list, clips must be those of all rows of X in their order."
        )


def write_tasks(path, report, media, classes, *, root, name):
    """Write tasks and the labeling configuration that goes with them.

    Parameters
    ----------
    path : str or PathLike
        File of the tasks; the configuration gets the same name, ending in ``.xml``.
    report : DataFrame
        One row a clip, as :meth:`LabelRefiner.report` has them.
    media : DataFrame indexed by clip id
        Columns among ``video``, ``audio`` and ``text``.
    classes : ndarray of shape (n_classes,)
        What annotators choose from.
    root : str, PathLike or None
        Folder that Label Studio serves local files from.
    name : str
        Name of the choice.
    """
    kinds = [kind for kind in OBJECTS if kind in media.columns]
    if not kinds:
        raise ValueError(
            "clips must have a column 'video', 'audio' or 'text' to show to "
            f"annotators. Got {list(media.columns)}."
        )
    media = media[~media.index.duplicated()]
    tasks = []
    for number, row in enumerate(report.to_dict("records")):
        if row["clip"] not in media.index:
            raise ValueError(f"clips has no row for clip {row['clip']!r}.")
        cells = media.loc[row["clip"]]
        data = {"clip": os.fspath(row["clip"]) if _path(row["clip"]) else row["clip"]}
        for kind in kinds:
            # Label Studio wants every field that the configuration names
            cell = cells[kind]
            known = cell is not None and cell == cell
            data[kind] = "" if not known else str(cell)
            if known and kind != "text":
                data[kind] = _address(cell, root)
        data["annotation"] = str(row["from"])
        data["votes"] = row["votes"]
        result = {
            "id": f"{name}-{number}",
            "from_name": name,
            "to_name": kinds[0],
            "type": "choices",
            "value": {"choices": [str(row["best"])]},
        }
        prediction = {"model_version": VERSION, "result": [result]}
        if row["best_probability"] == row["best_probability"]:
            prediction["score"] = float(row["best_probability"])
        tasks.append({"data": _plain(data), "predictions": [prediction]})
    with open(path, "w", encoding="utf-8") as file:
        json.dump(tasks, file, ensure_ascii=True, indent=1)
    _write_config(os.path.splitext(path)[0] + ".xml", kinds, classes, name)


def _path(clip):
    return isinstance(clip, os.PathLike)


def _plain(data):
    return {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in data.items()
    }


def _address(cell, root):
    cell = os.fspath(cell)
    if root is None or urllib.parse.urlsplit(cell).scheme in ("http", "https", "s3"):
        return cell
    below = os.path.relpath(os.path.abspath(cell), os.path.abspath(root))
    if below.startswith(os.pardir):
        raise ValueError(
            f"{cell!r} is not below {os.fspath(root)!r}, the folder of local files. "
            "Pass the folder that Label Studio serves, or addresses."
        )
    below = below.replace(os.sep, "/")
    return "/data/local-files/?d=" + urllib.parse.quote(below)


def _write_config(path, kinds, classes, name):
    view = ElementTree.Element("View")
    for kind in kinds:
        ElementTree.SubElement(view, OBJECTS[kind], name=kind, value=f"${kind}")
    ElementTree.SubElement(view, "Header", value="Annotated as $annotation; $votes")
    choices = ElementTree.SubElement(
        view, "Choices", name=name, toName=kinds[0], choice="single", required="true"
    )
    for label in classes.tolist():
        ElementTree.SubElement(choices, "Choice", value=str(label))
    ElementTree.SubElement(choices, "Choice", value="leave out", alias="drop")
    tree = ElementTree.ElementTree(view)
    ElementTree.indent(tree)
    tree.write(path, encoding="utf-8")


def import_label_studio(path, *, name="emotion", disagreement="raise"):
    """Read what annotators decided from a JSON file that Label Studio exported.

    Parameters
    ----------
    path : str or PathLike
        An export in the format "JSON" (not "JSON-MIN" or "CSV").
    name : str, default="emotion"
        Name of the choice in the labeling configuration.
    disagreement : {"raise", "majority", "skip"}, default="raise"
        What to do where annotators disagree about a clip: raise an error that names
        such clips, take the label of most (and skip ties), or leave the clips out.
        An annotation marked as ground truth settles its clip.

    Returns
    -------
    decisions : Series of str
        A label or ``"drop"`` for each clip that somebody decided, indexed by clip
        id. Skipped (cancelled), empty and predicted annotations decide nothing.

    Raises
    ------
    ValueError
        If the file is no such export, it has choices and none of this name, an
        annotation holds several labels, or annotators disagree.

    See Also
    --------
    LabelRefiner.export_label_studio : Writes the tasks.
    write_decisions : Keeps the decisions.
    """
    if disagreement not in ("raise", "majority", "skip"):
        raise ValueError(
            f"disagreement must be 'raise', 'majority' or 'skip'. Got {disagreement!r}."
        )
    said, tasks = {}, _tasks(path)
    _check_name(tasks, name, path)
    for number, task in enumerate(tasks):
        clip, answers = _answers(task, number, name, path)
        said.setdefault(clip, []).extend(answers)
    decisions, open_clips = {}, {}
    for clip, answers in said.items():
        settled = [label for label, truth in answers if truth]
        labels = settled or [label for label, _ in answers]
        counts = pd.Series(labels, dtype=object).value_counts()
        if len(counts) == 1 or (
            len(counts) > 1
            and disagreement == "majority"
            and counts.iloc[0] > counts.iloc[1]
        ):
            decisions[clip] = counts.index[0]
        elif len(counts) > 1:
            open_clips[clip] = sorted(counts.index)
    if open_clips and disagreement == "raise":
        clip, labels = next(iter(open_clips.items()))
        raise ValueError(
            f"Annotators disagree about {len(open_clips)} clips, about {clip!r} for "
            f"example: {', '.join(map(repr, labels))}. Settle them in Label Studio "
            "(ground truth), or pass disagreement='majority' or 'skip'."
        )
    index = pd.Index(list(decisions), name="clip", dtype=object)
    return pd.Series(
        list(decisions.values()), index=index, name="decision", dtype=object
    )


def _tasks(path):
    where = os.fspath(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            tasks = json.load(file)
    except (json.JSONDecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{where} is no JSON ({error}). Export as JSON from Label Studio."
        ) from error
    if not isinstance(tasks, list) or not all(isinstance(t, dict) for t in tasks):
        raise ValueError(
            f"{where} must hold a list of tasks. Export as JSON from Label Studio."
        )
    for task in tasks:
        if not isinstance(task.get("data"), dict) or "annotations" not in task:
            raise ValueError(
                f"{where} holds a task without 'data' and 'annotations'. It may be "
                "the file of tasks, or an export as JSON-MIN: export as JSON."
            )
    return tasks


def _check_name(tasks, name, path):
    """Refuse a name that no choice has; predictions hold those that none answered."""
    names = {
        str(result.get("from_name"))
        for task in tasks
        for part in [*task["annotations"], *task.get("predictions", [])]
        if isinstance(part, dict)
        for result in part.get("result", [])
        if result.get("type") == "choices"
    }
    if names and name not in names:
        raise ValueError(
            f"{os.fspath(path)} has no choice named {name!r}: it has "
            f"{', '.join(map(repr, sorted(names)))}. Pass name=."
        )


def _answers(task, number, name, path):
    """Return the clip of a task and the labels given, each with whether it is truth."""
    where = f"{os.fspath(path)}, task {task.get('id', number)}"
    if "clip" not in task["data"]:
        raise ValueError(
            f"{where} has no data field 'clip', which export_label_studio writes."
        )
    answers = []
    for annotation in task["annotations"]:
        if annotation.get("was_cancelled"):
            continue
        chosen = [
            label
            for result in annotation.get("result", [])
            if result.get("type") == "choices" and result.get("from_name") == name
            for label in result["value"]["choices"]
        ]
        if len(chosen) > 1:
            raise ValueError(
                f"{where}: an annotation chooses {', '.join(map(repr, chosen))}. A "
                "clip has one label."
            )
        if chosen:
            answers.append((chosen[0], bool(annotation.get("ground_truth"))))
    return task["data"]["clip"], answers
