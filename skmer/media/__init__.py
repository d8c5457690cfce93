"""One clip in, arrays out: sound, frames, faces, transcripts; and writing clips."""

from skmer.media._clip import Clip, read_audio, read_clip, read_frames
from skmer.media._cut import Cut, cut_video
from skmer.media._detectors import (
    DlibDetector,
    FaceDetector,
    Faces,
    HaarDetector,
    YuNetDetector,
    get_face_detector,
)
from skmer.media._faces import FaceTrack, face_crops
from skmer.media._probe import MediaInfo, probe
from skmer.media._transcripts import find_transcript, read_transcript
from skmer.media._video import Frames
from skmer.media._write import write_clip

__all__ = [
    "Clip",
    "Cut",
    "DlibDetector",
    "FaceDetector",
    "FaceTrack",
    "Faces",
    "Frames",
    "HaarDetector",
    "MediaInfo",
    "YuNetDetector",
    "cut_video",
    "face_crops",
    "find_transcript",
    "get_face_detector",
    "probe",
    "read_audio",
    "read_clip",
    "read_frames",
    "read_transcript",
    "write_clip",
]
