"""save_model and load_model."""

import platform
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning

from skmer.exceptions import ModelFormatError
from skmer.persistence._flatten import Flattener
from skmer.persistence._folder import (
    new_folder,
    read_files,
    read_manifest,
    write_files,
)
from skmer.persistence._placing import Placer
from skmer.persistence._rebuild import Rebuilder
from skmer.persistence._schema import check_archive
from skmer.persistence._trust import Trust, name_of
from skmer.utils._optional import import_optional

_PACKAGES = (
    "skmer",
    "scikit-learn",
    "imbalanced-learn",
    "skorch",
    "torch",
    "numpy",
    "pandas",
    "skops",
)


def save_model(model, folder, *, overwrite=False):
    """Save a fitted model as a folder that loads without running code.

    Parameters
    ----------
    model : estimator
        A fitted recipe, pipeline, classifier, transformer..., of skmer, scikit-learn or
        imbalanced-learn.
    folder : str or path
        The folder to make. It appears when everything is in it.
    overwrite : bool, default=False
        Whether to replace a model that was saved there. What is no saved model is
        never replaced.

    Returns
    -------
    folder : Path
        Where the model is.

    Raises
    ------
    FileExistsError
        If the folder exists.
    ModelFormatError
        If the model holds what cannot be stored without running code when it is loaded:
        lambdas, bound methods, torch modules that skmer does not know.
    MissingDependencyError
        If skops is not installed.

    Warns
    -----
    UserWarning
        If parameters were left out that only ``fit`` needs.

    See Also
    --------
    load_model : Loads it.

    Notes
    -----
    In the folder lie ``estimator.skops`` (estimators and arrays, as skops stores them),
    one ``net-*.safetensors`` for each fusion classifier, ``tensors.safetensors`` with
    what other modules have learnt, and ``manifest.json``: versions, classes, streams,
    and sizes and digests of the files.

    What only fitting needs is left out, as it tells of people and predictions do
    without: series and tables of clips (``groups``, ``decisions``), folds, labels that
    were given to training clips, all that samplers found, callbacks and ``memory=``.
    Such a parameter has its default in the loaded model; a warning names those. The
    folder of ``cache=`` becomes ``"default"`` without one. What predictions look up by
    clip id or by group stays in: ``groups`` of ``GroupStandardScaler`` and its
    statistics of each, ``annotations`` of ``ContextEnricher``, ``context`` of the
    annotators. And models
    that keep training rows to predict by, as support vector machines do, keep them.

    Optimisers and histories are not kept: ``partial_fit`` and ``warm_start`` go on
    from the weights, with a new optimiser, and ``staged_predict_proba`` has no epochs.
    Encoders are kept by the name of their model, not with its weights.

    A process that is killed while it replaces a model leaves the old one, the new one
    or, for the moment between two renames, none under that name; hidden folders
    ``.<name>.*.part`` and ``.<name>.*.old`` beside it are its leftovers.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skmer.persistence import load_model, save_model
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     folder = save_model(model, f"{parent}/iris")
    ...     print(sorted(path.name for path in folder.iterdir()))
    ...     twin = load_model(folder)
    ['estimator.skops', 'manifest.json']
    >>> bool((twin.predict_proba(X) == model.predict_proba(X)).all())
    True
    """
    skops = import_optional("skops.io", "save_model")
    if not isinstance(model, BaseEstimator):
        raise TypeError(f"model must be a fitted estimator. Got {model!r}.")
    folder = Path(folder)
    flattener = Flattener()
    with new_folder(folder, overwrite) as part:
        flat = flattener(model)
        try:
            files = {"estimator.skops": skops.dumps(flat)}
        except Exception as error:
            raise ModelFormatError(f"skops cannot store the model: {error}") from error
        for number, data in enumerate(flattener.nets):
            files[f"net-{number}.safetensors"] = data
        if flattener.tensors.tensors:
            from safetensors.torch import save

            files["tensors.safetensors"] = save(flattener.tensors.tensors)
        left_out = list(dict.fromkeys(flattener.left_out))
        facts = {
            "estimator": name_of(type(model)),
            "versions": _versions(),
            **_described(model),
            "trusted_by_name": sorted(flattener.foreign),
            "left_out": left_out,
        }
        write_files(part, files, facts)
        # What cannot be loaded is better known now.
        _load(part, _Everything(flattener.foreign), "cpu")
    if left_out:
        warnings.warn(
            f"Left out of {folder}, as predictions do without: {', '.join(left_out)}. "
            "The loaded model has the defaults; set what you need (set_params) before "
            "you fit it again.",
            UserWarning,
            stacklevel=2,
        )
    return folder


def load_model(folder, *, trusted=(), device=None):
    """Load a model that :func:`save_model` wrote; no code of the folder runs.

    Parameters
    ----------
    folder : str or path
        The folder.
    trusted : list of str or type, default=()
        What to trust besides the types of skmer, scikit-learn and imbalanced-learn
        that skmer knows to be harmless: your own encoders and functions
        (``"my_package.MyEncoder"``), scikit-learn's trees
        (``"sklearn.tree._tree.Tree"``), servers (their ``base_url``),
        ``"trust_remote_code"`` and attention kernels of hubs. An error names what is
        missing.
    device : str, default=None
        Where encoders and nets are to run. None: where they did; on the CPU, with a
        warning, if the GPU is not here.

    Returns
    -------
    model : estimator
        As it was saved, but for what :func:`save_model` leaves out.

    Raises
    ------
    ModelFormatError
        If the folder is damaged, of a later version, or names what is not trusted.
    FileNotFoundError
        If there is no such folder.
    MissingDependencyError
        If skops is not installed.

    Warns
    -----
    UserWarning
        If another version of scikit-learn saved the model, or a GPU is absent.

    See Also
    --------
    save_model : Saves a model.

    Notes
    -----
    What a folder names is compared with a list before anything is made of it, and no
    pickle is read. The digests find damage; they do not tell who made the folder.
    Predicting reads the clips that you give, and the folders and models that the
    encoders name. A hostile model can be wrong, slow or too large for the memory.

    Models that ``joblib.dump`` saved are not loaded.

    Examples
    --------
    See :func:`save_model`.
    """
    import_optional("skops.io", "load_model")
    folder = Path(folder)
    return _load(folder, Trust(trusted), device)


class _Everything(Trust):
    """Trusts what the model that is being saved is made of."""

    def __init__(self, names):
        super().__init__()
        self.names = set(names)
        self.words = _All()


class _All:
    def __contains__(self, word):
        return True


def _load(folder, trust, device):
    skops = import_optional("skops.io", "load_model")
    manifest = read_manifest(folder)
    files = read_files(folder, manifest)
    data = files.pop("estimator.skops")
    names = check_archive(data, trust)
    tensors = _tensors(files.pop("tensors.safetensors", None))
    names_of_nets = [f"net-{number}.safetensors" for number in range(len(files))]
    if files.keys() != set(names_of_nets):
        raise ModelFormatError(
            f"{folder} is damaged or was changed: its manifest lists "
            f"{', '.join(sorted(files))}, which are not numbered from 0 on. Copy the "
            "folder again, whole, from where the model was saved."
        )
    nets = [files[name] for name in names_of_nets]
    _tell_versions(manifest)
    placer = Placer(device, trust)
    rebuild = Rebuilder(nets, tensors, placer, trust)
    try:
        with warnings.catch_warnings():
            # One sentence tells of all of them.
            warnings.simplefilter("ignore", InconsistentVersionWarning)
            model = rebuild(skops.loads(data, trusted=sorted(names)))
    except ModelFormatError:
        raise
    except Exception as error:
        raise ModelFormatError(
            f"{folder} is damaged, or of versions that do not fit "
            f"({type(error).__name__}: {error})."
        ) from error
    if placer.absent:
        warnings.warn(
            f"{', '.join(sorted(placer.absent))} is not here, so the model runs on the "
            "CPU. load_model(folder, device=...) chooses.",
            UserWarning,
            stacklevel=3,
        )
    return model


def _tensors(data):
    if data is None:
        return {}
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(data)
    except (SafetensorError, ValueError, LookupError, TypeError) as error:
        raise ModelFormatError(f"tensors.safetensors is damaged: {error}.") from None


def _versions():
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _tell_versions(manifest):
    saved = manifest.get("versions")
    saved = saved.get("scikit-learn") if isinstance(saved, dict) else None
    here = version("scikit-learn")
    if saved != here:
        warnings.warn(
            f"The model was saved with scikit-learn {saved}, and here is {here}: it "
            "may predict otherwise or fail. Install that version, or fit again.",
            UserWarning,
            stacklevel=4,
        )


def _described(model):
    """Return what the manifest tells of a model."""
    last = model
    while hasattr(last, "steps"):
        last = last.steps[-1][1]
    facts = {}
    classes = getattr(model, "classes_", None)
    if classes is not None:
        facts["classes"] = [_plain(label) for label in classes]
    streams = getattr(last, "streams_", None)
    if isinstance(streams, dict):
        facts["streams"] = {
            str(name): len(columns)
            for name, columns in streams.items()
            if hasattr(columns, "__len__")
        }
    return facts


def _plain(label):
    label = label.item() if hasattr(label, "item") else label
    return label if isinstance(label, (str, int, float, bool)) else str(label)
