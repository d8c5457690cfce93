"""Words of a clip to features."""

from functools import lru_cache
from numbers import Integral

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from skmer.cache import Record
from skmer.clips import ClipEncoder
from skmer.utils._sklearn import Interval, StrOptions


class TextEncoder(ClipEncoder):
    """Encode the words of clips.

    Parameters
    ----------
    model : {"hashing"}, default="hashing"
        ``"hashing"``: signed hashed counts of words and of character n-grams
        (Weinberger et al., 2009), nothing to download and nothing learned. Half of
        the features count words and pairs of words, half the character 1- to
        4-grams within words, which also serves languages written without spaces;
        each half has unit length.
    n_features : int, default=1024
        Number of features of ``"hashing"``, an even number. Fewer features collide
        more often.
    n_jobs : int or None, default=None
        Worker processes. None is one unless a joblib context says otherwise.
    batch_size : int or "auto", default="auto"
        Clips that one task encodes and that are stored together.
    cache : "default", path or None, default="default"
        Folder of the feature cache; None caches nothing.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of a clip that cannot be encoded: an error, or a row of NaN and
        one warning. With ``"nan"``, X without any words is a warning as well.
    verbose : bool, default=False
        Show a progress bar.

    See Also
    --------
    skmer.clips.ClipTable : Reads the words from files beside the clips.

    Notes
    -----
    A clip without words (None, NaN, or nothing but white space) gives a row of NaN.

    References
    ----------
    K. Weinberger, A. Dasgupta, J. Langford, A. Smola and J. Attenberg (2009).
    Feature hashing for large scale multitask learning. ICML.

    Examples
    --------
    >>> from skmer.encoders import TextEncoder
    >>> features = TextEncoder(cache=None).fit_transform(["so happy!", None])
    >>> features.shape, features.dtype
    ((2, 1024), dtype('float32'))
    """

    _column = "text"
    _auto_batch_size = 256
    _parameter_constraints: dict = {
        "model": [StrOptions({"hashing"})],
        "n_features": [Interval(Integral, 2, 2**24, closed="left")],
        **ClipEncoder._parameter_constraints,
    }

    def __init__(
        self,
        model="hashing",
        *,
        n_features=1024,
        n_jobs=None,
        batch_size="auto",
        cache="default",
        on_error="raise",
        verbose=False,
    ):
        self.model = model
        self.n_features = n_features
        super().__init__(
            n_jobs=n_jobs,
            batch_size=batch_size,
            cache=cache,
            on_error=on_error,
            verbose=verbose,
        )

    def _validate_params(self):
        super()._validate_params()
        if self.n_features % 2:
            raise ValueError(
                "The 'n_features' parameter of TextEncoder must be even: one half "
                f"counts words, the other characters. Got {self.n_features} instead."
            )

    def _feature_names(self):
        return [str(i) for i in range(self.n_features)]

    def _encode(self, cells):
        # Half of a surrogate pair has no bytes to hash.
        cells = [cell.encode("utf-8", "replace").decode("utf-8") for cell in cells]
        halves = [
            vectorizer.transform(cells).toarray()
            for vectorizer in _vectorizers(self.n_features // 2)
        ]
        rows = np.hstack(halves, dtype=np.float32)
        return [Record("ok", {"values": row}) for row in rows]


@lru_cache(maxsize=8)
def _vectorizers(n_features):
    common = {"n_features": n_features, "dtype": np.float32, "norm": "l2"}
    return (
        HashingVectorizer(
            analyzer="word", ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", **common
        ),
        HashingVectorizer(analyzer="char_wb", ngram_range=(1, 4), **common),
    )
