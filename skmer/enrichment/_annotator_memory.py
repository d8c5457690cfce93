"""What annotators were answered, for reports that ask nothing."""

import weakref
from contextlib import closing
from copy import copy

from skmer.cache import Record
from skmer.exceptions import EndpointError

#: Why there is nothing of a clip that no request was made for.
NOT_ASKED = "nothing was asked about it yet. Call transform with it first"
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


def _known(annotator):
    namespace = annotator._namespace()
    if annotator not in _answered or _answered[annotator][0] != namespace:
        _answered[annotator] = namespace, {}
    return _answered[annotator][1]
