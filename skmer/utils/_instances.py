"""Estimators that were passed as classes."""


def check_instances(**parts):
    """Refuse a class in place of an estimator.

    Parameters
    ----------
    **parts : object
        What was passed, by the name of the parameter.

    Raises
    ------
    TypeError
        If one is a class.
    """
    for name, part in parts.items():
        if isinstance(part, type):
            raise TypeError(
                f"{name} must be an estimator, not the class {part.__name__}. Pass "
                f"{part.__name__}(...)."
            )
