"""What is wrong with a data file, told together."""

from skmer.exceptions import DataFileError

# How many rows a message names
NAMED = 10


class Problems:
    """Collects what is wrong with a file, row by row.

    Parameters
    ----------
    path : str
        The file.
    """

    def __init__(self, path):
        self.path = path
        self.count = 0
        self._told = []

    @property
    def is_full(self):
        """Whether further problems are counted only."""
        return self.count >= NAMED

    def add(self, where, what):
        """Take down a problem.

        Parameters
        ----------
        where : str
            The row or rows, such as ``"row 4"``.
        what : str
            What was found and what to do.
        """
        if not self.is_full:
            self._told.append(f"{where}: {what}")
        self.count += 1

    def raise_any(self):
        """Raise an error with the problems, if there are any.

        Raises
        ------
        DataFileError
            Naming the first ten and their number.
        """
        if not self.count:
            return
        if self.count == 1:
            raise DataFileError(f"{self.path}, {self._told[0]}")
        more = self.count - len(self._told)
        lines = self._told + ([f"and {more} more"] if more else [])
        raise DataFileError(
            f"{self.path} has {self.count} problems:\n  " + "\n  ".join(lines)
        )


def name_rows(rows):
    """Return text such as ``"rows 3, 5 and 9"``, at most ten of them.

    Parameters
    ----------
    rows : sequence of (int or str)
        Numbers as an editor shows them.

    Returns
    -------
    text : str
    """
    rows = [str(row) for row in rows]
    if len(rows) == 1:
        return f"row {rows[0]}"
    if len(rows) > NAMED:
        return f"rows {', '.join(rows[:NAMED])} and {len(rows) - NAMED} more"
    return f"rows {', '.join(rows[:-1])} and {rows[-1]}"
