"""What annotators were answered, and asking anew what was of no use."""

import weakref
from contextlib import closing
from copy import copy

from skmer.cache import Record
from skmer.enrichment._chat_rows import Answers
from skmer.exceptions import EndpointError

#: Why there is nothing of a clip that no request was made for.
NOT_ASKED = "nothing was asked about it yet. Call transform with it first"
# Parameters that say how something is asked, not what.
_OF_A_REQUEST = frozenset(
    "concurrency extra_body max_retries max_tokens seed structured temperature "
    "timeout".split()
)
# Of each annotator, for one choice of parameters, what came for each cell. Beside
# them, since transform changes no estimator.
_answered = weakref.WeakKeyDictionary()


def remembering(annotator):
    """Return a copy of an annotator, what it is answered is known of the annotator.

    Answers that the cache has are not noted, but why there are none is.

    Parameters
    ----------
    annotator : Annotator
        With valid parameters.

    Returns
    -------
    twin : Annotator
    """
    twin, known, keep_all = copy(annotator), _known(annotator), annotator.cache is None

    def results(cells, stop):
        with closing(annotator._results(cells, stop)) as found:
            for numbers, records in found:
                for number, record in zip(numbers, records, strict=True):
                    if keep_all or not isinstance(record, Record):
                        known[cells[number]] = record
                    else:
                        known.pop(cells[number], None)
                yield numbers, records

    twin._results = results
    return twin


def recalling(annotator):
    """Return a copy of an annotator that asks nothing but says what it was answered.

    Parameters
    ----------
    annotator : Annotator
        With valid parameters.

    Returns
    -------
    twin : Annotator
        A clip that was not asked about has an EndpointError with :data:`NOT_ASKED`.
    """
    twin, known = copy(annotator), _known(annotator)

    def results(cells, stop):
        found = [known.get(cell) for cell in cells]
        yield (
            list(range(len(cells))),
            [EndpointError(NOT_ASKED) if f is None else f for f in found],
        )

    twin._results = results
    twin.verbose = False
    return twin


def ask_again(annotator, X, params):
    """Ask again about clips whose answers hold no label, and store those that do.

    Parameters
    ----------
    annotator : Annotator
        Asks.
    X : table or list of clips
        Of which clips.
    params : dict
        What is other than the annotator's parameters.
    """
    others = sorted(set(params) - _OF_A_REQUEST)
    if others:
        raise TypeError(
            f"{others[0]!r} cannot be changed for some clips alone. ask_again takes "
            f"{', '.join(sorted(_OF_A_REQUEST))}."
        )
    answers, _ = annotator._extract(X, raising=False, asking=False)
    store = annotator._store()
    if not store.writable:
        raise ValueError(
            "ask_again keeps answers in the cache, and there is none that can be "
            f"written to. Got cache={annotator.cache!r}."
        )
    twin = copy(annotator).set_params(**params)
    twin._validate_params()
    # Checks what is sent.
    twin._namespace()
    cells, read = annotator._cells(X), annotator._read(answers)
    rows = [i for i in annotator._asked_rows(cells) if read[i][1] is not None]
    if not rows:
        return
    cells = [cells[i] for i in rows]
    identities = annotator._identities(cells, store)
    with closing(twin._results(cells, lambda: False)) as results:
        for numbers, records in results:
            done = [
                (number, record)
                for number, record in zip(numbers, records, strict=True)
                if _has_label(annotator, record)
            ]
            annotator._keep(cells, identities, done, store)


def stage_of(stage, reason=""):
    """Return what failed as a user knows it: that no answer came, or a clip's part."""
    if reason == NOT_ASKED:
        return "not asked"
    return "answer" if stage == "encode" else stage


def _has_label(annotator, record):
    if not isinstance(record, Record) or record.status != "ok":
        return False
    sink = Answers(1)
    sink.receive([0], {"answer": record.arrays["answer"][None]}, None)
    return annotator._read(sink.finish())[0][1] is None


def _known(annotator):
    namespace = annotator._namespace()
    if annotator not in _answered or _answered[annotator][0] != namespace:
        _answered[annotator] = namespace, {}
    return _answered[annotator][1]
