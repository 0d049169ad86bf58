"""Holds every setting of a running process: one typed object, read once from the environment and passed in."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from common.errors import InputError


def _default_data_dir() -> Path:
    return Path.home() / ".local" / "share" / "flowcert"


def read_settings() -> Settings:
    """Read the settings of this process; raises InputError, one line that names the first variable that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        detail = error.errors()[0]
        raise InputError(f"FLOWCERT_{'_'.join(map(str, detail['loc'])).upper()}", detail["msg"]) from error


class Settings(BaseSettings):
    """Settings of one process; each field is read from ``FLOWCERT_<FIELD>``.

    With neither ``database_url`` nor ``broker_url`` set, the command line starts the embedded servers in
    ``data_dir`` and fills both in.
    """

    model_config = SettingsConfigDict(env_prefix="FLOWCERT_", extra="ignore", frozen=True, hide_input_in_errors=True)

    database_url: SecretStr | None = Field(
        default=None, description="PostgreSQL as an SQLAlchemy URL; workers SET ROLE flowcert_worker on it"
    )
    broker_url: SecretStr | None = Field(default=None, description="Redis-protocol server as a kombu URL")
    data_dir: Path = Field(
        default_factory=_default_data_dir, description="directory of the embedded servers and the clip cache"
    )
    data_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="folders, separated by colons, that videos and weights must lie in, links followed; "
        "empty: they may lie anywhere",
    )
    model_factories: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="model factories that may be imported, separated by commas: `module:callable`, `module:*`, or `*` "
        "for any; commands that start their own servers allow any",
    )
    lease_seconds: float = Field(
        default=60.0, gt=0, description="a claimed task without a beat for so long is given to another worker"
    )
    beat_seconds: float = Field(default=5.0, gt=0, description="pause between two beats of a worker")
    task_seconds: float = Field(
        default=10.0, gt=0, description="an explore task stops after so long and returns what it proved"
    )
    task_points: int = Field(
        default=5_000_000, ge=1, description="an explore task stops after so many points and returns what it proved"
    )
    bound_seconds: float = Field(
        default=60.0,
        gt=0,
        description="an estimate or bound task stops after so long and returns the best it has found",
    )
    tick_seconds: float = Field(
        default=1.0,
        gt=0,
        description="longest pause between two rounds of the scheduler; a result, a new worker or a new job ends it",
    )
    window: int = Field(default=3, ge=1, description="tasks announced or running at once, per live worker")
    max_attempts: int = Field(default=3, ge=1, description="a task that failed so often fails its clip")
    threads: int = Field(default=1, ge=1, description="CPU threads of a worker's arithmetic")
    batch_points: int = Field(default=64, ge=1, description="grid points evaluated in one forward pass")
    cache_bytes: int = Field(
        default=512 * 2**20,
        ge=2**20,
        description="memory for frame variants and recurrent states of a worker, in bytes",
    )
    max_clip_bytes: int = Field(
        default=2_000_000_000, gt=0, description="decoded size above which a video is refused, in bytes"
    )
    log_json: bool = Field(default=False, description="write logs as JSON lines instead of for people")
    log_level: str = Field(default="INFO", description="least severe log level that is written")

    @field_validator("data_dir")
    @classmethod
    def _whole(cls, given: Path) -> Path:
        return given.expanduser().absolute()

    @field_validator("data_roots", mode="before")
    @classmethod
    def _folders(cls, given: Any) -> Any:
        if isinstance(given, str):
            given = [part for part in given.split(os.pathsep) if part]
        for folder in given:
            if not Path(folder).is_absolute():
                raise ValueError(f"{folder} is not an absolute path")
        return given

    @field_validator("model_factories", mode="before")
    @classmethod
    def _factories(cls, given: Any) -> Any:
        if isinstance(given, str):
            given = [part.strip() for part in given.split(",") if part.strip()]
        for name in given:
            if re.fullmatch(r"\*|[\w.]+:(\w+|\*)", name) is None:
                raise ValueError(f"{name!r} is neither module:callable nor module:*")
        return given

    def allows_factory(self, name: str) -> bool:
        """Whether a ``module:callable`` is one that may be imported."""
        return not {"*", name, f"{name.partition(':')[0]}:*"}.isdisjoint(self.model_factories)

    @property
    def cache_dir(self) -> Path:
        """Directory of prepared clips, content-addressed; may be shared between hosts."""
        return self.data_dir / "clips"
