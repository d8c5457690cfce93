"""Suffixes of sound and video files."""

AUDIO_SUFFIXES = frozenset(
    ".wav .mp3 .flac .ogg .oga .opus .m4a .aac .wma .aif .aiff .amr .au .caf".split()
)
VIDEO_SUFFIXES = frozenset(
    ".mp4 .mov .mkv .avi .webm .m4v .mpg .mpeg .flv .wmv .ts .3gp .ogv".split()
)
