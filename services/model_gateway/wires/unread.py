"""Finds the calls in what a model wrote and its provider could not read.

Groq answers 400 `tool_use_failed` then, with the text as `failed_generation`; the arguments are repaired later, or the
model is told what is wrong with them. Source: https://console.groq.com/docs/tool-use
"""

import re

from pydantic import JsonValue
from pydantic_core import from_json, to_json

_TAGGED = re.compile(r"<function[=(]?\s*([\w.-]+)\s*[)>]?\s*(.*?)\s*(?:</function>|<function|\Z)", re.S)
_NAME = re.compile(r'"name"\s*:\s*"([\w.-]+)"')
_ARGUMENTS = re.compile(r'"(?:arguments|parameters)"\s*:\s*(.*)', re.S)
_WRAPPED = re.compile(r"^\s*(?:<tool[-_](?:use|call)>)?(.*?)(?:</tool[-_](?:use|call)>)?\s*$", re.S)


def calls_in(text: str) -> list[tuple[str, str]]:
    """Return name and arguments of each call in `text`; the arguments as they are written, be they JSON or not."""
    inner = _WRAPPED.sub(r"\1", text).strip()
    try:
        found = list(_calls(from_json(inner)))
    except ValueError:
        found = []
    if found:
        return found
    if tagged := _TAGGED.findall(text):
        return [(name, arguments) for name, arguments in tagged]
    name, arguments = _NAME.search(inner), _ARGUMENTS.search(inner)
    return [(name[1], arguments[1].strip().removesuffix("}"))] if name and arguments else []


def _calls(value: JsonValue) -> list[tuple[str, str]]:
    if isinstance(value, list):
        return [call for each in value for call in _calls(each)]
    if not isinstance(value, dict):
        return []
    if isinstance(inner := value.get("tool_calls") or value.get("function"), list | dict):
        return _calls(inner)
    name, arguments = value.get("name"), value.get("arguments", value.get("parameters", {}))
    if not isinstance(name, str) or not name:
        return []
    return [(name, arguments if isinstance(arguments, str) else to_json(arguments).decode())]
