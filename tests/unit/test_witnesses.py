"""What the attack returns is adversarial, in the game and not wasteful; what a replay confirms is true."""

from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from common.errors import ClipError, IntegrityError
from common.game import ROOT, Game, whole
from common.settings import Settings
from common.vocab import Norm
from common.wire import Claim
from tests.enumeration import points
from tests.tiny import claim_of, draw_games, source_of, write_video
from worker.attack import GreedyAttack
from worker.bench import Workbench
from worker.clip import PreparedClip, prepare_clip
from worker.judge import Call, Judge
from worker.plain import PlainEvaluator, margins
from worker.replay import replay
from worker.saliency import influence_of

#: These many games, from this seed, have every norm, caps, and both outcomes.
GAMES, SEED = 10, 1


@dataclass(frozen=True)
class Drawn:
    """A tiny game with what a worker works on."""

    game: Game
    limit: int
    judge: Judge
    claim: Claim
    bench: Workbench
    truth: object

    def source(self):
        return source_of(self.claim, self.bench)

    def replay(self, point):
        return replay(point, self.source())

    def margin(self, point):
        return float(margins(self.judge.exact.logits([point]), self.judge.label)[0])

    def listed(self):
        return dict(points(self.game, whole(self.game), 0, lambda: self.limit + 1))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("games")
    bench = Workbench(Settings(data_dir=folder))
    games = []
    for tiny in draw_games(Random(SEED), folder, bench.settings.cache_dir, GAMES):
        claim = claim_of(tiny, bench)
        games.append(
            Drawn(
                bench.game(tiny.spec, bench.clip(claim)),
                claim.radius_cost,
                bench.judge(claim),
                claim,
                bench,
                tiny.truth,
            )
        )
    assert len({game.game.norm for game in games}) == len(Norm)
    assert any(game.game.cap for game in games)
    return games


def one_step_less(point):
    """Every point with one atomic manipulation taken back, but for the unchanged clip."""
    for at, (coordinate, value) in enumerate(point):
        rest = value - (1 if value > 0 else -1)
        fewer = (*point[:at], *([(coordinate, rest)] if rest else []), *point[at + 1 :])
        if fewer != ROOT:
            yield fewer


def test_an_attack_returns_adversarial_points_of_the_game_from_which_no_step_can_be_taken(drawn):
    met = 0
    for game in drawn:
        attack = GreedyAttack(game.game, game.judge, game.limit)
        point = attack.find()
        if game.truth.fmsr is None:
            assert point is None
            continue
        assert attack.effort.evaluations > 0
        assert attack.effort.gradients > 0
        if point is None:
            continue
        met += 1
        assert game.margin(point) < 0
        assert game.truth.fmsr <= game.game.cost(point) <= game.limit
        assert game.game.holds(point)
        assert all(game.judge.judge([fewer]).calls[0] != Call.ADVERSARIAL for fewer in one_step_less(point))
        assert game.replay(point).replayed
    assert met >= 4


def test_a_smaller_limit_is_kept(drawn):
    for game in drawn:
        if game.truth.fmsr is not None:
            assert GreedyAttack(game.game, game.judge, game.truth.fmsr - 1).find() is None


def test_an_attack_finds_the_way_that_the_gradient_shows():
    class Slope:
        """A margin that falls by two for each step up in coordinate 3, and by one for each step down in 1."""

        batch, label = 64, 0

        def logits(self, points):
            return np.array([[7.5 - 2 * dict(p).get(3, 0) + dict(p).get(1, 0), 0.0] for p in points])

        def in_float64(self):
            return self

        def margin_gradient(self, point, label):
            return float(self.logits([point])[0][0]), np.array([0.0, 1.0, 0.0, -2.0])

    slope = Slope()
    free = GreedyAttack(Game((1, 1, 1, 1), Norm.L1), Judge(slope, slope, 0), 20).find()
    assert free == ((3, 4),)
    capped = GreedyAttack(Game((1, 1, 1, 1), Norm.L1, cap=2), Judge(slope, slope, 0), 20).find()
    assert capped is None
    capped = GreedyAttack(Game((1, 1, 1, 1), Norm.L1, cap=3), Judge(slope, slope, 0), 20).find()
    assert capped == ((1, -2), (3, 3))
    assert GreedyAttack(Game((1, 1, 1, 1), Norm.L1), Judge(slope, slope, 0), 3).find() is None


def test_a_step_that_turns_out_to_be_needless_is_taken_back():
    class Lever:
        """One step in 0 helps a little at once; two in 1 are enough alone, which the first does not show."""

        batch, label = 64, 0

        def logits(self, points):
            held = [(dict(point).get(0, 0), dict(point).get(1, 0)) for point in points]
            return np.array([[5.0 - (a >= 1) - 0.5 * (b >= 1) - 6 * (b >= 2), 0.0] for a, b in held])

        def in_float64(self):
            return self

        def margin_gradient(self, point, label):
            return float(self.logits([point])[0][0]), np.array([-1.0, -1.0])

    lever = Lever()
    assert GreedyAttack(Game((1, 1), Norm.L1), Judge(lever, lever, 0), 20).find() == ((1, 2),)


def test_a_replay_confirms_every_adversarial_point_and_no_other(drawn):
    confirmed = refused = 0
    for game in drawn:
        listed = game.listed()
        found = margins(replace(game.judge.exact, batch=64).logits(list(listed)), game.judge.label)
        cheapest = min((p for p, m in zip(listed, found, strict=True) if m < 0), key=listed.get, default=None)
        chosen = Random(5).sample(sorted(listed), 2)
        assert (None if cheapest is None else listed[cheapest]) == game.truth.fmsr
        for point in [*chosen, *([] if cheapest is None else [cheapest])]:
            witness = game.replay(point)
            margin = game.margin(point)
            assert witness.point == point
            assert witness.cost == listed[point]
            assert witness.margin == pytest.approx(margin, abs=1e-10)
            assert witness.replayed == (margin < 0)
            assert (witness.predicted == game.claim.label) == (margin > 0)
            confirmed, refused = confirmed + witness.replayed, refused + (not witness.replayed)
    assert confirmed >= 5
    assert refused >= 10


def test_a_replay_on_a_changed_file_claims_nothing(drawn, tmp_path):
    game = drawn[0]
    changed = tmp_path / "changed.avi"
    height, width = game.claim.spec.sampling.height, game.claim.spec.sampling.width
    write_video(changed, Random(99), frames=9, height=height, width=width)
    other = replace(game, claim=game.claim.model_copy(update={"video": str(changed)}))
    point = next(point for point in game.listed() if point != ROOT)
    assert game.replay(point).point == point
    with pytest.raises(IntegrityError, match="changed since it was prepared") as refused:
        other.replay(point)
    assert str(changed) in str(refused.value)
    changed.unlink()
    with pytest.raises(ClipError):
        other.replay(point)


def test_salient_regions_follow_the_margin_and_every_path_finds_the_same(drawn, tmp_path):
    one = drawn[0]
    spec = one.claim.spec.model_copy(update={"features": "saliency:2"})
    claim = one.claim.model_copy(update={"spec": spec, "clip_digest": None})
    clip = one.bench.clip(claim)
    # An independent measure of influence: shift one pixel's flow a little and look at the margin.
    plain = PlainEvaluator(
        PreparedClip(clip.frames, clip.flow, every_pixel(clip)), one.bench.model(spec.model).module, 1e-4,
        torch.device("cpu"), batch=1,
    ).in_float64()  # fmt: skip
    label = spec.model.classes.index(claim.label)
    base = margins(plain.logits([ROOT]), label)[0]
    size = clip.labels[0].size
    shifts = [[((t * size + pixel) * 2 + axis, 1) for axis in (0, 1)] for t in (0,) for pixel in range(size)]
    moved = [[margins(plain.logits([(move,)]), label)[0] - base for move in pair] for pair in shifts]
    saliency = np.hypot(*np.array(moved).T)
    strongest, weakest = (saliency[clip.labels[0].ravel() == k] for k in (0, clip.labels[0].max()))
    assert strongest.min() >= weakest.max() - 1e-2 * saliency.max()
    influence = influence_of(spec, claim.label, one.bench.model(spec.model).module)
    again = prepare_clip(Path(claim.video), spec.sampling, spec.flow, spec.partition, 10_000_000, influence)
    assert again.digest == clip.digest


def every_pixel(clip):
    """Labels that make each pixel a region of its own."""
    return np.arange(clip.labels[0].size, dtype=np.int32).reshape(1, *clip.labels[0].shape).repeat(len(clip.labels), 0)
