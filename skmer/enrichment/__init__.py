"""More to know about clips than they come with: their words, and what those say."""

from skmer.enrichment._chat import ChatAnnotator
from skmer.enrichment._context import ContextEnricher
from skmer.enrichment._omni import OmniAnnotator
from skmer.enrichment._transcriber import Transcriber

__all__ = ["ChatAnnotator", "ContextEnricher", "OmniAnnotator", "Transcriber"]
