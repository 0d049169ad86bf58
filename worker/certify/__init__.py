"""Certifies radii for real changes of a clip's flow, by sound bounds of the whole model: guarantee ``continuous``."""

from worker.certify.certificate import Certificate, certified_radius, margin_lower_bound, supports

__all__ = ["Certificate", "certified_radius", "margin_lower_bound", "supports"]
