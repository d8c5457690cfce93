"""Tables of clips, and the template of what turns clips into features."""

from skmer.clips._encoder import ClipEncoder
from skmer.clips._table import ClipTable

__all__ = ["ClipEncoder", "ClipTable"]
