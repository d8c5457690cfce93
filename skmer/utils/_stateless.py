"""What estimators of clips that learn nothing tell scikit-learn."""


class StatelessOnClips:
    """Mixin: ready without a fit, for 1-D lists of clips with holes in them."""

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.input_tags.allow_nan = True
        return tags
