"""The game: its canonical tree, exact integer costs, exact counts, and how subtrees are split and enumerated."""

from common.game.blocks import Block, block_of, blocks
from common.game.costs import cost_of_radius, distance, length
from common.game.counting import PointCounter
from common.game.split import bisect, cut
from common.game.suffixes import MAX_TABLE_ENTRIES
from common.game.tree import ROOT, Game, Point, Subtree, whole

__all__ = [
    "MAX_TABLE_ENTRIES",
    "ROOT",
    "Block",
    "Game",
    "Point",
    "PointCounter",
    "Subtree",
    "bisect",
    "block_of",
    "blocks",
    "cost_of_radius",
    "cut",
    "distance",
    "length",
    "whole",
]
