"""Divides each flow of a clip into the regions that the game moves."""

from __future__ import annotations

from worker.features.regions import label_regions, region_sizes

__all__ = ["label_regions", "region_sizes"]
