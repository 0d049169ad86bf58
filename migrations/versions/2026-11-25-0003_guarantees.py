"""Keep what bounds MSR from below: certificates, Lipschitz constants, and what the error bound's premise needs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _check_words("'grid', 'lipschitz:estimated', 'lipschitz:assumed'")
    _check_kinds("'prepare', 'attack', 'estimate', 'bound', 'explore'")
    _add("videos", "lipschitz", sa.Double(), "the margin's Lipschitz constant, per pixel of the norm")
    _add("videos", "closest_point", _jsonb(), "explored safe point of the least margin, sparse")
    _add("videos", "closest_margin", sa.Double(), "its margin, in logits, rounded down")
    _add("tasks", "points", sa.BigInteger(), "points after which it returns; NULL: no such limit")
    _add("real_witnesses", "safe_point", _jsonb(), "grid point nearest to it, when that one is safe")
    for name, condition in {
        "lipschitz_finite": "lipschitz > 0 AND lipschitz < 'Infinity'",
        "closest_is_safe": "closest_margin > 0 AND closest_margin < 'Infinity'",
        "closest_has_margin": "(closest_point IS NULL) = (closest_margin IS NULL)",
    }.items():
        op.create_check_constraint(op.f(f"ck_videos_{name}"), "videos", condition)
    _create_lipschitz_estimates()
    _create_certificates()


def downgrade() -> None:
    op.drop_table("certificates")
    op.drop_table("lipschitz_estimates")
    for name in ("lipschitz_finite", "closest_is_safe", "closest_has_margin"):
        op.drop_constraint(op.f(f"ck_videos_{name}"), "videos")
    for table, column in (
        ("real_witnesses", "safe_point"), ("tasks", "points"), ("videos", "closest_margin"),
        ("videos", "closest_point"), ("videos", "lipschitz"),
    ):  # fmt: skip
        op.drop_column(table, column)
    _check_kinds("'prepare', 'attack', 'explore'")
    _check_words("'grid'")


def _jsonb() -> postgresql.JSONB:
    return postgresql.JSONB(astext_type=sa.Text())


def _add(table: str, name: str, kind: sa.types.TypeEngine[object], comment: str) -> None:
    op.add_column(table, sa.Column(name, kind, nullable=True, comment=comment))


def _check_words(words: str) -> None:
    name = op.f("ck_bounds_lower_guarantee_known")
    op.drop_constraint(name, "bounds")
    op.create_check_constraint(name, "bounds", f"lower_guarantee IN ({words})")


def _check_kinds(words: str) -> None:
    name = op.f("ck_tasks_kind_known")
    op.drop_constraint(name, "tasks")
    op.create_check_constraint(name, "tasks", f"kind IN ({words})")


def _evidence(table: str, task: str, *columns: sa.Column[object], checks: dict[str, str]) -> None:
    """Create a table of what tasks found about a clip, one row a task."""
    op.create_table(
        table,
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("video_id", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False, comment=task),
        *columns,
        sa.Column("found_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        *(sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}")) for name, condition in checks.items()),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f(f"fk_{table}_task_id")),
        sa.ForeignKeyConstraint(["video_id"], ["videos.id"], name=op.f(f"fk_{table}_video_id")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("task_id", name=op.f(f"uq_{table}_task_id")),
    )
    op.create_index(f"ix_{table}_video_id", table, ["video_id"])


def _double(name: str, comment: str) -> sa.Column[object]:
    return sa.Column(name, sa.Double(), nullable=False, comment=comment)


def _create_lipschitz_estimates() -> None:
    _evidence(
        "lipschitz_estimates",
        "the task that estimated it",
        _double("constant", "what bounds rest on, in logits per pixel of the norm"),
        _double("location", "end point of the fitted distribution of greatest slopes"),
        _double("greatest", "greatest slope sampled, or met on the way to a witness"),
        _double("confidence", "confidence with which location is below constant"),
        _double("fit", "p-value of the Kolmogorov-Smirnov test of the fit"),
        sa.Column("samples", sa.BigInteger(), nullable=False, comment="gradients sampled in the ball"),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        checks={
            "constant_finite": "constant > 0 AND constant < 'Infinity' AND constant >= greatest",
            "samples": "samples > 0 AND 0 < confidence AND confidence < 1",
        },
    )


def _create_certificates() -> None:
    _evidence(
        "certificates",
        "the task that certified it",
        _double("radius", "pixels of the job's norm; 0 when nothing could be certified"),
        sa.Column("margin_bound", sa.Double(), nullable=True, comment="lower bound of the margin within it, in logits"),
        sa.Column("checks", sa.BigInteger(), nullable=False, comment="radii tried"),
        sa.Column("reason", sa.Text(), nullable=True, comment="why nothing was certified"),
        checks={
            "radius_finite": "radius >= 0 AND radius < 'Infinity'",
            "margin_bound_positive": "margin_bound > 0 AND margin_bound < 'Infinity'",
            "radius_has_margin": "(radius > 0) = (margin_bound IS NOT NULL)",
            "no_radius_says_why": "(radius = 0) = (reason IS NOT NULL)",
        },
    )
