"""Entries of a run's journal as they are read back: those of a later version are left to whoever knows it."""

import json

from pydantic import ValidationError

from natscope.bus.envelope import explain
from natscope.contracts.errors import JournalNewer, RunPoisoned
from natscope.contracts.run import JOURNALED, VERSION, JournalEntry


def entry_of(data: bytes, *, run: str) -> JournalEntry:
    """Return one entry of the journal of `run`.

    Raises:
        JournalNewer: it says a later version, or what this one does not know; the run must not be gone on with here.
        RunPoisoned: it is no entry at all.
    """
    try:
        entry: JournalEntry = JOURNALED.adapter.validate_json(data)
    except ValidationError as error:
        if not _is_entry(data):
            raise RunPoisoned(f"the journal of {run!r} holds what is no entry: {explain(error)}") from error
        raise _newer(run, explain(error)) from error
    if entry.version > VERSION:
        raise _newer(run, f"version {entry.version}, and this is {VERSION}")
    return entry


def _is_entry(data: bytes) -> bool:
    try:
        said: object = json.loads(data)
    except ValueError:
        return False
    return isinstance(said, dict) and "entry" in said


def _newer(run: str, why: str) -> JournalNewer:
    return JournalNewer(f"the journal of {run!r} is of a later version: {why}", remedy="update this process")
