"""Whatever jobs come, go and cost: each has had its share of worker time, within what is under way at once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.shares import Shares


class Crew:
    """Workers that take the oldest task dealt; at most ``places`` tasks are dealt and not done."""

    def __init__(self, workers: int, seconds: dict[int, float]) -> None:
        self.shares, self.places, self.workers, self.seconds = Shares(), 3 * workers, workers, seconds
        self.dealt: list[int] = []
        self.running: list[tuple[float, int]] = []
        self.received = dict.fromkeys(seconds, 0.0)
        self.now = 0.0

    def deal(self, jobs: dict[int, int]) -> None:
        """Deal the free places among jobs that always want more."""
        self.shares.admit(jobs)
        under_way = [*self.dealt, *(job for _, job in self.running)]
        turns = self.shares.turns({job: under_way.count(job) for job in jobs})
        for _ in range(self.places - len(under_way)):
            job = turns.next()
            assert job is not None
            self.dealt.append(job)
            turns.give(1)

    def finish_one(self) -> None:
        """Let idle workers take tasks, and the task that ends first end."""
        while self.dealt and len(self.running) < self.workers:
            job = self.dealt.pop(0)
            self.running.append((self.now + self.seconds[job], job))
        self.running.sort()
        self.now, job = self.running.pop(0)
        self.received[job] += self.seconds[job]
        self.shares.charge(job, self.seconds[job])


seconds = st.floats(0.01, 30.0)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(seconds, min_size=2, max_size=5),
    workers=st.integers(1, 8),
    late=st.integers(0, 200),
    rounds=st.integers(50, 300),
)
def test_equal_jobs_get_equal_worker_time_from_when_they_come(lengths, workers, late, rounds):
    crew = Crew(workers, dict(enumerate(lengths)))
    newcomer = len(lengths) - 1
    old = dict.fromkeys(range(newcomer), 0)
    for _ in range(late):
        crew.deal(old)
        crew.finish_one()
    before = dict(crew.received)
    for _ in range(rounds):
        crew.deal({**old, newcomer: 0})
        crew.finish_one()
    gained = [crew.received[job] - before[job] for job in range(newcomer)] + [crew.received[newcomer]]
    # What is under way when the newcomer comes, and again when the tale ends, is not shared yet.
    bound = 2 * crew.places * max(lengths)
    assert max(gained) - min(gained) <= bound
    # A newcomer never gets more than the others because of what they had before.
    assert gained[-1] <= min(gained[:-1]) + bound


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(seconds, min_size=3, max_size=3), workers=st.integers(1, 8), rounds=st.integers(1, 100))
def test_a_lower_priority_gets_nothing_while_a_higher_one_wants_more(lengths, workers, rounds):
    crew = Crew(workers, dict(enumerate(lengths)))
    for _ in range(rounds):
        crew.deal({0: 0, 1: 5, 2: 5})
        crew.finish_one()
    assert crew.received[0] == 0
    assert 0 not in crew.dealt


def test_a_job_that_could_not_take_its_turns_is_not_owed_them():
    shares = Shares()
    shares.admit({1: 0, 2: 0})
    for _ in range(100):
        shares.charge(1, 1.0)
        turns = shares.turns({1: 0, 2: 0})
        assert turns.next() == 2
        turns.pass_on()
        assert turns.next() == 1
    given = []
    for _ in range(10):
        turns = shares.turns({1: 0, 2: 0})
        given.append(turns.next())
        shares.charge(given[-1], 1.0)
    assert given.count(2) <= 6


def test_a_job_that_comes_down_to_a_lower_priority_is_not_behind_there():
    shares = Shares()
    shares.admit({1: 9, 2: 0})
    for _ in range(100):
        shares.charge(1, 1.0)
    shares.admit({1: 0, 2: 0})
    given = []
    for _ in range(10):
        given.append(shares.turns({1: 0, 2: 0}).next())
        shares.charge(given[-1], 1.0)
    assert sorted(given) == [1] * 5 + [2] * 5


def test_what_is_not_running_is_forgotten():
    shares = Shares()
    for job in range(1000):
        shares.admit({job: 0})
        shares.charge(job, 1.0)
    assert len(shares._service) == len(shares._task_seconds) == len(shares._priority) == 1
