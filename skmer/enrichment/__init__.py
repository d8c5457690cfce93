"""More to know about clips than they come with: what is said in them."""

from skmer.enrichment._transcriber import Transcriber

__all__ = ["Transcriber"]
