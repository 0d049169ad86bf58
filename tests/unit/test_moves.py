"""A witness is said in the words of the game, and numbered as people count."""

import pytest

from common.features import parse_partition
from common.moves import Regions, brief, moves_of, real_moves_of, strategy, turns

#: Two flows of twelve regions, of two sizes, and a third with one region fewer.
GRID = [[[4, 4], [6, 8]], [[5, 12]], [[5, 11]]]


def told(point, sizes=GRID, features="grid:3x4", tau=1.0):
    return moves_of(point, tau, Regions(sizes, parse_partition(features), 16))


def test_players_take_turns_flow_by_flow():
    # Coordinates count both axes of a region, u first: 12 and 13 are the seventh region's, 24 begins the second flow.
    moves = told(((12, 2), (13, -1), (14, -3), (25, 1)), tau=0.5)
    first, second = turns(moves)
    assert first == (
        "Player I picks flow 1 (frame 1 to 2); Player II moves "
        "region 7 (row 2, column 3) right by 1 px and up by 0.5 px, then region 8 (row 2, column 4) left by 1.5 px"
    )
    assert second == "Player I picks flow 2 (frame 2 to 3); Player II moves region 1 (row 1, column 1) down by 0.5 px"
    assert strategy(moves) == "; ".join(turns(moves))
    assert strategy(()) == "nobody moves"


def test_moves_know_where_they_are():
    moves = told(((6, 1), (8, 1), (48, -2), (69, 1)))
    assert [(move.flow, move.region, move.axis, move.size) for move in moves] == [
        (1, 4, "u", 4), (1, 5, "u", 6), (3, 1, "u", 5), (3, 11, "v", 5),
    ]  # fmt: skip
    assert [(move.direction, move.pixels) for move in moves] == [
        ("right", 1.0), ("right", 1.0), ("left", -2.0), ("down", 1.0),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no coordinate 70"):
        told(((70, 1),))


@pytest.mark.parametrize(
    ("features", "place"),
    [
        ("global", "the whole frame"),
        ("superpixel:12", "region 6"),
        ("saliency:12", "region 6"),
        ("pixel", "region 6 (row 1, column 6)"),
        ("grid:6x2", "region 6 (row 3, column 2)"),
    ],
)
def test_partitions_name_their_regions(features, place):
    (move,) = told(((10, 1),), features=features)
    assert move.place == place


def test_a_real_change_is_told_in_pixels():
    regions = Regions(GRID, parse_partition("grid:3x4"), 16)
    moves = real_moves_of(((12, 0.25), (13, -1.0 / 3)), regions)
    assert [(move.steps, move.pixels, move.direction) for move in moves] == [
        (None, 0.25, "right"),
        (None, -1 / 3, "up"),
    ]
    assert strategy(moves).endswith("region 7 (row 2, column 3) right by 0.25 px and up by 0.333 px")


def test_a_short_form_is_short():
    moves = told(tuple((coordinate, 1) for coordinate in range(0, 48, 2)))
    assert brief(moves[:1]) == "flow 1: region 1 (row 1, column 1) right 1 px"
    assert brief(moves[10:14], most=4) == (
        "flow 1: region 11 (row 3, column 3) right 1 px, region 12 (row 3, column 4) right 1 px; "
        "flow 2: region 1 (row 1, column 1) right 1 px, region 2 (row 1, column 2) right 1 px"
    )
    assert brief(moves, most=2) == "flow 1: region 1 (row 1, column 1) right 1 px; 23 more moves"
    assert brief(()) == "no move"
