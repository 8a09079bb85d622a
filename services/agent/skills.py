"""Skills: folders with a `SKILL.md` that says when it is of use, and how something is done.

The form is that of agentskills.io: front matter with `name` and `description`, then the text; other files beside it.
"""

import logging
from pathlib import Path

import yaml
from pydantic import ValidationError

from natscope.contracts.agent import Skill
from natscope.contracts.errors import SpecInvalid

log = logging.getLogger(__name__)

FILE = "SKILL.md"
FILES = 100
"""Files of one skill that are given along, besides its text."""
BYTES = 8 << 20
"""Of these files together."""
_FENCE = "---"


class Skills:
    """The skills below one folder, read anew each time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def listed(self, names: list[str]) -> list[Skill]:
        """Return what a model is told of these skills; one that is wrong or missing is left out, and logged."""
        found: list[Skill] = []
        for name in names:
            try:
                found.append(self._skill(name)[0])
            except SpecInvalid as error:
                log.warning("a skill is left out", extra={"skill": name, "reason": str(error)})
        return found

    def read(self, name: str) -> tuple[str, dict[str, bytes]]:
        """Return a skill's text, and its other files by their paths in its folder.

        Raises:
            SpecInvalid: there is no such skill, or it is wrong; the message names file and field.
        """
        _, text = self._skill(name)
        return text, self._files(name)

    def _skill(self, name: str) -> tuple[Skill, str]:
        file = self._folder / name / FILE
        try:
            written = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise SpecInvalid(f"skill {name!r}: {file}: {why}") from error
        head, text = _parted(written, file)
        try:
            skill = Skill.model_validate(head)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise SpecInvalid(
                f"{file}: {'.'.join(map(str, first['loc'])) or 'front matter'}: {first['msg']}"
            ) from error
        if skill.name != name:
            raise SpecInvalid(f"{file}: name: is {skill.name!r}, but the folder is {name!r}")
        return skill, text

    def _files(self, name: str) -> dict[str, bytes]:
        folder = self._folder / name
        found: dict[str, bytes] = {}
        room = BYTES
        for file in sorted(folder.rglob("*")):
            if file.is_symlink() or not file.is_file() or file == folder / FILE:
                continue
            data = file.read_bytes()
            room -= len(data)
            if room < 0 or len(found) == FILES:
                raise SpecInvalid(f"skill {name!r} has more than {FILES} files or {BYTES} bytes")
            found[file.relative_to(folder).as_posix()] = data
        return found


def _parted(written: str, file: Path) -> tuple[object, str]:
    """Return front matter and text."""
    lines = written.splitlines()
    if not lines or lines[0].strip() != _FENCE or _FENCE not in (line.strip() for line in lines[1:]):
        raise SpecInvalid(f"{file}:1: begins with no front matter", remedy="--- / name: … / description: … / ---")
    end = next(number for number, line in enumerate(lines[1:], 1) if line.strip() == _FENCE)
    try:
        return yaml.safe_load("\n".join(lines[1:end])), "\n".join(lines[end + 1 :]).strip()
    except yaml.YAMLError as error:
        raise SpecInvalid(f"{file}: the front matter is no YAML: {' '.join(str(error).split())}") from error
