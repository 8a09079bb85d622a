"""Finding the calls in what a provider could not read."""

import pytest

from services.model_gateway.wires.unread import calls_in


class TestCalls:
    @pytest.mark.parametrize(
        ("text", "calls"),
        [
            ('{"name": "look", "arguments": {"at": "it"}}', [("look", '{"at":"it"}')]),
            ('{"name": "look", "parameters": "{}"}', [("look", "{}")]),
            ('[{"name": "a"}, {"function": {"name": "b", "arguments": "{"}}]', [("a", "{}"), ("b", "{")]),
            ('<tool-use>\n{"tool_calls": [{"name": "look", "arguments": {}}]}\n</tool-use>', [("look", "{}")]),
            ('<function=look>{"at": "it"}</function>', [("look", '{"at": "it"}')]),
            ('<function=look{"at": "it"}</function>', [("look", '{"at": "it"}')]),
            ('{"name": "look", "arguments": {"at": "i"t"}}', [("look", '{"at": "i"t"}')]),
            ("I would rather talk.", []),
            ("", []),
            ("[[[", []),
        ],
    )
    def test_are_found_however_they_are_written(self, text: str, calls: list[tuple[str, str]]) -> None:
        assert calls_in(text) == calls
