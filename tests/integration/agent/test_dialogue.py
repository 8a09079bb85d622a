"""The `CHAT` log of an agent service that carries tasks."""

import asyncio
import os
import sys
from pathlib import Path

from natscope.telemetry.dialogue import write_dialogue_to
from tests.integration.agent.house import house


class TestTheDialogueOfATask:
    async def test_is_a_line_for_each_message_and_call(self, nats_url: str, tmp_path: Path) -> None:
        path = tmp_path / "chat.log"
        write_dialogue_to(str(path))
        try:
            async with house(nats_url) as here:
                task = await here.submit("What is 1 and 2?")
                outcome = await here.outcome(task.task_id)
        finally:
            write_dialogue_to("")
        lines = [line.split(" ", 2)[2] for line in path.read_text().splitlines()]
        assert lines[0] == f"{task.task_id} user → assistant: What is 1 and 2?"
        assert lines[1].startswith(f"{task.task_id} assistant → add: {{")
        assert lines[2].startswith(f"{task.task_id} add (success): ")
        assert lines[3:] == [f"{task.task_id} assistant: {outcome.text}"]

    async def test_goes_nowhere_if_its_file_cannot_be_written_and_that_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        environment = {**os.environ, "NATSCOPE_CHAT_LOG": str(tmp_path / "file" / "chat.log")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.agent"), env=environment, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(60):
            _, said = await process.communicate()
        assert process.returncode == 1
        assert "NATSCOPE_CHAT_LOG" in said.decode()
        assert "Traceback" not in said.decode()
