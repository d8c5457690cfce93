"""One clip in, arrays out: sound, frames, faces, transcripts; and writing clips."""

__all__ = []
