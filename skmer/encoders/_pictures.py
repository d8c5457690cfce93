"""Pictures of a clip: the face, the whole frame, or both."""

from dataclasses import dataclass
from typing import Any

from skmer.encoders._image_preprocessing import ImagePreprocessing
from skmer.exceptions import MediaError
from skmer.media import face_crops, read_frames

REGIONS = ("face", "frame")
# What stands for every picture: more than any clip of an hour has.
_EVERY = 500_000


@dataclass(frozen=True)
class PictureReader:
    """Read the pictures of a clip, decoding it once for all regions.

    Parameters
    ----------
    regions : list of {"face", "frame"}
        What to show.
    n_frames : int or None
        How many pictures, None for all.
    limits : dict
        Arguments of :func:`~skmer.media.read_frames` that say what a clip may take.
    detector : str, path or object with ``detect``
        Finds the face.
    margin : float
        Around the face.
    face_size : int
        Side of the square that a face is cut out in, pixels.
    preprocessing : ImagePreprocessing or None, default=None
        What to do with the pictures then.
    """

    regions: list
    n_frames: int | None
    limits: dict
    detector: Any
    margin: float
    face_size: int
    preprocessing: ImagePreprocessing | None = None

    def __call__(self, path):
        """Return the pictures of each region that the clip shows.

        Parameters
        ----------
        path : str
            The clip.

        Returns
        -------
        found : dict of str to ndarray, None or Exception
            None if it shows nothing, the error if it cannot be read.
        """
        try:
            return self._read(path) or None
        except (MediaError, MemoryError, TimeoutError) as error:
            return error

    def _read(self, path):
        count = _EVERY if self.n_frames is None else self.n_frames
        frames = read_frames(path, count, **self.limits)
        if frames is None:
            return {}
        found = {}
        for region in self.regions:
            images = frames.images if region == "frame" else self._face(frames)
            if images is not None and self.preprocessing is not None:
                images = self.preprocessing.shrink(images)
            if images is not None:
                found[region] = images
        return found

    def _face(self, frames):
        track = face_crops(
            frames, detector=self.detector, size=self.face_size, margin=self.margin
        )
        return None if track is None else track.images
