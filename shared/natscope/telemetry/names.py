"""Every span, attribute and metric name we emit, and where it comes from.

GenAI names: open-telemetry/semantic-conventions-genai, docs/gen-ai/*.md and its migration guide (main, autumn 2026).
Messaging and the rest: open-telemetry/semantic-conventions v1.44.0, docs/messaging/*.md.
"""

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
CONVERSATION = "gen_ai.conversation.id"
AGENT = "gen_ai.agent.name"
AGENT_DESCRIPTION = "gen_ai.agent.description"
TOOL = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
TOOL_CALL_ID = "gen_ai.tool.call.id"
TOOL_DESCRIPTION = "gen_ai.tool.description"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_TOP_P = "gen_ai.request.top_p"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_SEED = "gen_ai.request.seed"
REQUEST_STOP = "gen_ai.request.stop_sequences"
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
TOKEN_MODALITY = "gen_ai.token.modality"  # noqa: S105 - no password
OUTPUT_TYPE = "gen_ai.output.type"
DIMENSIONS = "gen_ai.embeddings.dimension.count"
MEMORY_STORE = "gen_ai.memory.store.id"
MEMORY_RECORDS = "gen_ai.memory.record.count"

ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
HTTP_STATUS = "http.response.status_code"
NETWORK_TRANSPORT = "network.transport"

MCP_METHOD = "mcp.method.name"
MCP_SERVER = "natscope.mcp.server"

MESSAGING_SYSTEM = "messaging.system"
MESSAGING_OPERATION = "messaging.operation.name"
MESSAGING_OPERATION_TYPE = "messaging.operation.type"
MESSAGING_DESTINATION = "messaging.destination.name"
MESSAGING_TEMPLATE = "messaging.destination.template"
MESSAGING_GROUP = "messaging.consumer.group.name"
MESSAGING_ID = "messaging.message.id"
MESSAGING_CONVERSATION = "messaging.message.conversation_id"
MESSAGING_BODY_SIZE = "messaging.message.body.size"
MESSAGING_STREAM = "messaging.nats.stream"
MESSAGING_DELIVERIES = "messaging.nats.delivery_count"

TASK_ID = "natscope.task.id"
RUN_RESUMED = "natscope.run.resumed"
STEP = "natscope.step"
BACKEND = "natscope.sandbox.backend"
REPLAYED = "natscope.replayed"
ATTEMPT = "natscope.attempt"
ATTEMPTS = "natscope.attempts"
COST = "natscope.usage.cost_usd"
REPAIRED = "natscope.repaired"
FAULT = "natscope.fault"
REACTION = "natscope.reaction"
PERMISSION = "natscope.permission.verdict"
PERMISSION_REASON = "natscope.permission.reason"
PERMISSION_SAFETY = "natscope.permission.safety"

INFERENCE_DURATION = "gen_ai.client.inference.duration"
INFERENCE_FIRST_CHUNK = "gen_ai.client.inference.time_to_first_chunk"
INFERENCE_CHUNK = "gen_ai.client.inference.time_per_output_chunk"
INFERENCE_INPUT_TOKENS = "gen_ai.client.inference.usage.input_tokens"
INFERENCE_OUTPUT_TOKENS = "gen_ai.client.inference.usage.output_tokens"
INFERENCE_CACHE_READ_TOKENS = "gen_ai.client.inference.usage.cache_read.input_tokens"
INFERENCE_CACHE_WRITE_TOKENS = "gen_ai.client.inference.usage.cache_write.input_tokens"
INFERENCE_REASONING_TOKENS = "gen_ai.client.inference.usage.reasoning.output_tokens"
INFERENCE_COST = "natscope.inference.cost"
INVOKE_AGENT_DURATION = "gen_ai.invoke_agent.duration"
INVOKE_AGENT_INFERENCE_CALLS = "gen_ai.invoke_agent.inference_calls"
INVOKE_AGENT_TOOL_CALLS = "gen_ai.invoke_agent.tool_calls"
EXECUTE_TOOL_DURATION = "gen_ai.execute_tool.duration"
OPERATION_DURATION = "gen_ai.client.operation.duration"
PROCESS_DURATION = "messaging.process.duration"
SENT_MESSAGES = "messaging.client.sent.messages"
CONSUMED_MESSAGES = "messaging.client.consumed.messages"
RUN_OVERHEAD = "natscope.run.overhead"
RUN_REDELIVERIES = "natscope.run.redeliveries"

UNKNOWN_TOOL = "_unknown"
"""Stands for tool names that no registry knows, so that a model's inventions do not become metric labels."""

_SECONDS = tuple(0.01 * 2**n for n in range(14))
_MESSAGING = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_COUNTS = tuple(float(2**n) for n in range(8))

BUCKETS: dict[str, tuple[float, ...]] = {
    INFERENCE_DURATION: _SECONDS,
    INFERENCE_FIRST_CHUNK: _SECONDS,
    INFERENCE_CHUNK: _SECONDS,
    OPERATION_DURATION: _SECONDS,
    EXECUTE_TOOL_DURATION: _SECONDS,
    RUN_OVERHEAD: _SECONDS,
    INVOKE_AGENT_DURATION: tuple(0.1 * 2**n for n in range(13)),
    INVOKE_AGENT_INFERENCE_CALLS: _COUNTS,
    INVOKE_AGENT_TOOL_CALLS: _COUNTS,
    PROCESS_DURATION: _MESSAGING,
}
"""Histograms and their bucket bounds; what is not here is a counter."""

_TOKENS = (INFERENCE_INPUT_TOKENS, INFERENCE_OUTPUT_TOKENS, INFERENCE_CACHE_READ_TOKENS)
UNITS: dict[str, str] = {
    **{name: "1" if bounds is _COUNTS else "s" for name, bounds in BUCKETS.items()},
    **dict.fromkeys((*_TOKENS, INFERENCE_CACHE_WRITE_TOKENS, INFERENCE_REASONING_TOKENS), "{token}"),
    SENT_MESSAGES: "{message}",
    CONSUMED_MESSAGES: "{message}",
    INFERENCE_COST: "{USD}",
}
"""Units by UCUM, as the conventions give them; what is not here is a bare count."""
