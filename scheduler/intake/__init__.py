"""Holds the way from what a user asks for to a job: its options, its clips, its checked specification, its rows."""

from scheduler.intake.config import JobRequest, read_request
from scheduler.intake.dataset import FoundClip
from scheduler.intake.selection import Selection, select, usable
from scheduler.intake.spec import build_spec
from scheduler.intake.submit import Submitted, cancel, submit

__all__ = [
    "FoundClip",
    "JobRequest",
    "Selection",
    "Submitted",
    "build_spec",
    "cancel",
    "read_request",
    "select",
    "submit",
    "usable",
]
