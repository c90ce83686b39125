"""Bodies for ``POST /responses`` as the frameworks build them, made quick to draw.

pydantic-ai's are from its public recordings of the service; the others are built as the code of
AI SDK 7, langchain-openai 1.7, openai-agents 0.24 and LiteLLM 1.110 builds them.
"""

from __future__ import annotations

from typing import Any


Body = dict[str, Any]

PROMPT = "Generate an image of a red circle on a white background."
NEXT = "Now a blue one."
PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}
FUNCTION = {
    "type": "function", "name": "get_animal", "description": None, "parameters": PARAMETERS,
    "strict": False,
}  # fmt: skip
CALL = {
    "id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "get_animal",
    "arguments": "{}",
}  # fmt: skip
CALLED: list[Body] = [
    {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
    CALL,
    {"type": "function_call_output", "call_id": "call_1", "output": "axolotl"},
]

PYDANTIC_AI: Body = {
    "model": "gpt-5-mini",
    "include": ["reasoning.encrypted_content"],
    "input": [{"role": "user", "content": PROMPT}],
    "store": False,
    "stream": False,
    "tool_choice": "auto",
    "tools": [
        {
            "type": "image_generation", "action": "auto", "background": "auto",
            "moderation": "auto", "output_compression": 100, "output_format": "png",
            "partial_images": 0, "quality": "low", "size": "1024x1024",
        }
    ],
}  # fmt: skip
PYDANTIC_AI_TOOLS: Body = {
    "model": "gpt-5",
    "include": ["reasoning.encrypted_content"],
    "input": [{"role": "user", "content": "An image of the animal of the tool."}, *CALLED],
    "stream": False,
    "tool_choice": "required",
    "tools": [{"type": "image_generation", "quality": "low"}, FUNCTION],
}
AI_SDK: Body = {
    "model": "gpt-5.6-sol",
    "input": [{"role": "user", "content": [{"type": "input_text", "text": PROMPT}]}],
    "tools": [
        {"type": "image_generation", "output_format": "webp", "quality": "low", "size": "1024x1024"}
    ],
    "tool_choice": "auto",
}
LANGCHAIN: Body = {
    "model": "gpt-6-luna",
    "input": [{"type": "message", "role": "user", "content": PROMPT}],
    "tools": [{"type": "image_generation", "quality": "low"}, FUNCTION],
    "stream": False,
    "parallel_tool_calls": False,
}
OPENAI_AGENTS: Body = {
    "model": "gpt-6-luna",
    "include": [],
    "input": [{"role": "user", "content": PROMPT}],
    "instructions": "You draw what people ask for.",
    "metadata": {},
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"verbosity": "low"},
    "tools": [
        {**FUNCTION, "strict": True},
        {"type": "image_generation", "quality": "low", "size": "1024x1024"},
    ],
    "stream": False,
}
LITELLM: Body = {
    "model": "gpt-6-luna",
    "input": PROMPT,
    "tools": [{"type": "image_generation", "quality": "low"}],
    "tool_choice": {"type": "image_generation"},
    "temperature": 1,
}
FIRST_TURNS: dict[str, Body] = {
    "pydantic-ai": PYDANTIC_AI,
    "pydantic-ai with a called tool": PYDANTIC_AI_TOOLS,
    "AI SDK": AI_SDK,
    "LangChain": LANGCHAIN,
    "openai-agents": OPENAI_AGENTS,
    "LiteLLM": LITELLM,
}


def second_turns(body: Body, response: Body) -> dict[str, Body]:
    """The second turn of a conversation, in each way frameworks continue one."""
    said = [{"role": "user", "content": PROMPT}]
    more = {"role": "user", "content": NEXT}
    output = response["output"]
    references = [{"type": "item_reference", "id": item["id"]} for item in output]
    short = [{"type": item["type"], "id": item["id"]} for item in output[:1]]
    return {
        "previous_response_id": {
            **body, "input": [more], "previous_response_id": response["id"]
        },
        "AI SDK: item_reference": {**body, "input": [*said, *references, more]},
        "AI SDK: reference without type": {
            **body, "input": [*said, *[{"id": item["id"]} for item in output], more]
        },
        "openai-agents: whole items": {**body, "input": [*said, *output, more]},
        "LangChain: calls by id": {**body, "input": [*said, *short, more]},
    }  # fmt: skip
