"""Draws a clip and what a witness does to it, for people: a video, a strip of pictures, sprites and a document."""

from worker.picture.document import describe
from worker.picture.scene import Outcome, Scene, stage
from worker.picture.screen import screens
from worker.picture.sprite import draw_change, draw_clip
from worker.picture.strip import draw_strip
from worker.picture.video import FRAMES_PER_SECOND, write_video

__all__ = [
    "FRAMES_PER_SECOND",
    "Outcome",
    "Scene",
    "describe",
    "draw_change",
    "draw_clip",
    "draw_strip",
    "screens",
    "stage",
    "write_video",
]
