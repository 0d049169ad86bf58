"""Draws what a witness does to a clip, for people: a video, a strip of pictures and a document."""

from worker.picture.document import describe
from worker.picture.scene import Outcome, Scene, stage
from worker.picture.screen import screens
from worker.picture.strip import draw_strip
from worker.picture.video import FRAMES_PER_SECOND, write_video

__all__ = ["FRAMES_PER_SECOND", "Outcome", "Scene", "describe", "draw_strip", "screens", "stage", "write_video"]
