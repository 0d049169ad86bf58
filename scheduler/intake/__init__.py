"""Holds the way from what a user asks for to a job: its options, its clips, its checked specification, its rows."""

from scheduler.intake.config import JobRequest, read_request
from scheduler.intake.control import cancel, pause, prioritise, resume
from scheduler.intake.dataset import FoundClip
from scheduler.intake.rerun import Rerun, rerun_all, rerun_failed, rerun_missing
from scheduler.intake.selection import Selection, select, usable
from scheduler.intake.spec import build_spec
from scheduler.intake.submit import Submitted, Terms, submit

__all__ = [
    "FoundClip",
    "JobRequest",
    "Rerun",
    "Selection",
    "Submitted",
    "Terms",
    "build_spec",
    "cancel",
    "pause",
    "prioritise",
    "read_request",
    "rerun_all",
    "rerun_failed",
    "rerun_missing",
    "resume",
    "select",
    "submit",
    "usable",
]
