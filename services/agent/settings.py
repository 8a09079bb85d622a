"""What an operator may set of the agent service."""

from datetime import timedelta
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from natscope.contracts.contract import Duration

_ROOT = Path(__file__).resolve().parents[2]


class Settings(BaseSettings):
    """Every default works in compose and embedded."""

    model_config = SettingsConfigDict(env_prefix="AGENT_", frozen=True, extra="ignore")

    slots: int = Field(default=64, ge=1, le=1024)
    """Runs that this replica carries at a time."""
    waiting_room: int = Field(default=256, ge=1)
    """Tasks held here while an earlier task of their session runs; above it they go back to the queue for a second."""
    parked: int = Field(default=4096, ge=1)
    """Tasks kept here, without a slot, while they wait for a person; above it they are looked after every 30 s."""
    beat: Duration = timedelta(seconds=3)
    """How often tasks in hand are kept; well below the consumer's `ack_wait`."""
    patience: Duration = timedelta(seconds=60)
    """How long a run waits for a service that does not answer before it fails."""
    skills: Path = _ROOT / "deploy" / "skills"
    """Folder of skills, each a folder with a `SKILL.md`."""
    functions: Path = _ROOT / "deploy" / "functions"
    """Folder of the modules that agents with `strategy: custom` are functions of; nothing else is imported for them."""
    attempts: int = Field(default=5, ge=1)
    """A run that more processes than this have had and lost without a step in between is buried, as is one that breaks
    its worker as often. It may change hands between processes that live ten times as often."""
