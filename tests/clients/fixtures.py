"""What the conformance suite wants every server to have: see its requirement texts.

They are registered on the product's own server with the SDK's public calls.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    CallToolResult,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel, Field

import gptimage
from gptimage_mcp.app import App
from gptimage_mcp.content.results import job_result


Ctx = Context[Any, Any]
Answer = CallToolResult | InputRequiredResult
Mirrored = Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]

PIXEL: Final = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
        "0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
    )
).decode()
SOUND: Final = base64.b64encode(
    b"RIFF&\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0@\x1f\0\0@\x1f\0\0\x01\0\x08\0data\x02\0\0\0\x80\x80"
).decode()
SCHEMA: Final = "https://json-schema.org/draft/2020-12/schema"


class Person(BaseModel):
    """What `test_elicitation` asks for."""

    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Defaults(BaseModel):
    """A default of every primitive type."""

    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


def add_fixtures(server: MCPServer[Any]) -> None:
    """Add them all."""
    for tool in (
        test_simple_text,
        test_image_content,
        test_audio_content,
        test_embedded_resource,
        test_multiple_content_types,
        test_error_handling,
        test_tool_with_progress,
        test_tool_with_logging,
        test_sampling,
        test_elicitation,
        test_elicitation_sep1034_defaults,
        test_elicitation_sep1330_enums,
        test_reconnection,
        test_missing_capability,
        test_headers,
        test_trigger_tool_change,
        test_trigger_prompt_change,
        test_input_required_result_elicitation,
        test_input_required_result_sampling,
        test_input_required_result_list_roots,
        test_input_required_result_request_state,
        test_input_required_result_multiple_inputs,
        test_input_required_result_multi_round,
        test_input_required_result_tampered_state,
        test_input_required_result_capabilities,
    ):
        server.add_tool(tool, structured_output=False)
    add_schema(server)
    add_resources(server)
    add_prompts(server)
    add_old_methods(server)


def add_schema(server: MCPServer[Any]) -> None:
    """A tool whose schema nobody may simplify; the SDK has no public way to hand one over."""

    def json_schema_2020_12_tool() -> str:
        """Tool with JSON Schema 2020-12 features."""
        return "ok"

    server.add_tool(json_schema_2020_12_tool, structured_output=False)
    tool = server._tool_manager.get_tool("json_schema_2020_12_tool")
    assert tool is not None
    tool.parameters = {
        "$schema": SCHEMA,
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    }


def add_old_methods(server: MCPServer[Any]) -> None:
    """Methods of the older protocol that the server does not have: log levels, subscriptions."""

    async def nothing(*_: Any) -> EmptyResult:
        return EmptyResult()

    add = server._lowlevel_server.add_request_handler
    add("logging/setLevel", SetLevelRequestParams, nothing)
    add("resources/subscribe", SubscribeRequestParams, nothing)
    add("resources/unsubscribe", UnsubscribeRequestParams, nothing)


def test_simple_text() -> str:
    """Say one sentence."""
    return "This is a simple text response for testing."


def test_image_content() -> CallToolResult:
    """Show one pixel."""
    return CallToolResult(content=[ImageContent(data=PIXEL, mime_type="image/png")])


def test_audio_content() -> CallToolResult:
    """Play a moment of silence."""
    return CallToolResult(content=[AudioContent(data=SOUND, mime_type="audio/wav")])


def test_embedded_resource() -> CallToolResult:
    """Embed a text."""
    return CallToolResult(
        content=[embedded("test://embedded-resource", "This is an embedded resource content.")]
    )


def test_multiple_content_types() -> CallToolResult:
    """Mix a text, an image and a resource."""
    data = json.dumps({"test": "data", "value": 123})
    return CallToolResult(
        content=[
            TextContent(text="Multiple content types test:"),
            ImageContent(data=PIXEL, mime_type="image/png"),
            embedded("test://mixed-content-resource", data, "application/json"),
        ]
    )


def test_error_handling() -> str:
    """Fail."""
    raise ToolError("This tool intentionally returns an error for testing")


async def test_tool_with_progress(ctx: Ctx) -> str:
    """Report progress three times."""
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100)
        await asyncio.sleep(0.05)
    return "done"


async def test_tool_with_logging(ctx: Ctx) -> str:
    """Log three times."""
    for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(message)
        await asyncio.sleep(0.05)
    return "done"


async def test_sampling(prompt: str, ctx: Ctx) -> str:
    """Ask the client's model."""
    message = SamplingMessage(role="user", content=TextContent(text=prompt))
    answer = await ctx.session.create_message(messages=[message], max_tokens=100)
    return f"LLM response: {getattr(answer.content, 'text', '')}"


async def test_elicitation(message: str, ctx: Ctx) -> str:
    """Ask the person who."""
    answer = await ctx.elicit(message=message, schema=Person)
    return f"User response: {answer.model_dump_json()}"


async def test_elicitation_sep1034_defaults(ctx: Ctx) -> str:
    """Ask with defaults."""
    answer = await ctx.elicit(message="Please review", schema=Defaults)
    return f"Elicitation completed: {answer.model_dump_json()}"


async def test_elicitation_sep1330_enums(ctx: Ctx) -> str:
    """Ask with every kind of choice."""
    titled = [{"const": f"value{n}", "title": f"Option {n}"} for n in (1, 2, 3)]
    plain = ["option1", "option2", "option3"]
    properties = {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    answer = await ctx.session.elicit_form(
        "Please choose", {"type": "object", "properties": properties}, ctx.request_id
    )
    return f"Elicitation completed: action={answer.action}, content={answer.content}"


async def test_reconnection(ctx: Ctx) -> str:
    """Close the stream and answer on the next."""
    await ctx.close_sse_stream()
    await asyncio.sleep(0.1)
    return "Reconnected"


def test_missing_capability(ctx: Ctx) -> str:
    """Refuse clients that cannot sample."""
    known = ctx.client_capabilities
    if known is None or known.sampling is None:
        raise MCPError(
            MISSING_REQUIRED_CLIENT_CAPABILITY,
            "this tool needs sampling",
            {"requiredCapabilities": {"sampling": {}}},
        )
    return "the client can sample"


def test_headers(region: Mirrored = "") -> str:  # noqa: PT028  # a tool, no test
    """Mirror a parameter in a header."""
    return f"region {region}"


async def test_trigger_tool_change(ctx: Ctx) -> str:
    """Say that there are other tools now."""
    await ctx.notify_tools_changed()
    return "told"


async def test_trigger_prompt_change(ctx: Ctx) -> str:
    """Say that there are other prompts now."""
    await ctx.notify_prompts_changed()
    return "told"


def test_input_required_result_elicitation(ctx: Ctx) -> Answer:
    """Greet the person by name."""
    name = accepted(ctx, "user_name").get("name")
    if not isinstance(name, str):
        return InputRequiredResult(input_requests={"user_name": form("What is your name?", "name")})
    return said(f"Hello, {name}!")


def test_input_required_result_sampling(ctx: Ctx) -> Answer:
    """Ask the client's model, in rounds."""
    if not answered(ctx, "capital_question"):
        question = sampling("What is the capital of France?")
        return InputRequiredResult(input_requests={"capital_question": question})
    return said("The model answered")


def test_input_required_result_list_roots(ctx: Ctx) -> Answer:
    """Ask for roots, in rounds."""
    if not answered(ctx, "client_roots"):
        return InputRequiredResult(input_requests={"client_roots": ListRootsRequest()})
    return said("The client has roots")


def test_input_required_result_request_state(ctx: Ctx) -> Answer:
    """Keep a state between two rounds."""
    if ctx.request_state == "asked" and answered(ctx, "confirm"):
        return said("state-ok")
    return InputRequiredResult(
        input_requests={"confirm": form("Please confirm", "ok", "boolean")}, request_state="asked"
    )


def test_input_required_result_multiple_inputs(ctx: Ctx) -> Answer:
    """Ask for three things at once."""
    wanted = {
        "user_name": form("What is your name?", "name"),
        "greeting": sampling("Generate a greeting"),
        "client_roots": ListRootsRequest(),
    }
    if all(answered(ctx, key) for key in wanted):
        return said("Everything is there")
    return InputRequiredResult(input_requests=wanted, request_state="asked")


def test_input_required_result_multi_round(ctx: Ctx) -> Answer:
    """Ask twice, one after the other."""
    if answered(ctx, "step2"):
        return said("Both steps are done")
    if answered(ctx, "step1"):
        question = form("Step 2: What is your favorite color?", "color")
        return InputRequiredResult(input_requests={"step2": question}, request_state="2")
    question = form("Step 1: What is your name?", "name")
    return InputRequiredResult(input_requests={"step1": question}, request_state="1")


def test_input_required_result_tampered_state(ctx: Ctx) -> Answer:
    """Keep a state nobody may change."""
    return test_input_required_result_request_state(ctx)


def test_input_required_result_capabilities(ctx: Ctx) -> Answer:
    """Ask only what the client can answer."""
    known = ctx.client_capabilities
    wanted: dict[str, Any] = {}
    if known and known.sampling is not None:
        wanted["greeting"] = sampling("Generate a greeting")
    if known and known.elicitation is not None:
        wanted["user_name"] = form("What is your name?", "name")
    if not wanted or all(answered(ctx, key) for key in wanted):
        return said("Nothing to ask")
    return InputRequiredResult(input_requests=wanted)


def add_resources(server: MCPServer[Any]) -> None:
    """Texts, an image and a template."""

    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        """A text."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        """One pixel."""
        return base64.b64decode(PIXEL)

    @server.resource("test://watched-resource", mime_type="text/plain")
    def watched() -> str:
        """A text to subscribe to."""
        return "watched"

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:
        """Data of an id."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def add_prompts(server: MCPServer[Any]) -> None:
    """Prompts of every kind."""

    @server.prompt()
    def test_simple_prompt() -> str:
        """A prompt without arguments."""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """A prompt with arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[Any]:  # noqa: N803  # its name
        """A prompt with a resource."""
        resource = embedded(resourceUri, "Embedded resource content for testing.")
        return [
            UserMessage(content=resource),
            UserMessage("Please process the embedded resource above."),
        ]

    @server.prompt()
    def test_prompt_with_image() -> list[Any]:
        """A prompt with an image."""
        picture = ImageContent(data=PIXEL, mime_type="image/png")
        return [
            UserMessage(content=picture),
            UserMessage("Please analyze the image above."),
        ]

    @server.prompt()
    def test_input_required_result_prompt(ctx: Ctx) -> Any:
        """A prompt that asks first."""
        if not answered(ctx, "user_context"):
            question = form("What context should the prompt use?", "context")
            return InputRequiredResult(input_requests={"user_context": question})
        return f"Use this context: {accepted(ctx, 'user_context').get('context')}"


def add_tasks(server: MCPServer[Any], app: App) -> None:
    """Register the tools of the Tasks scenarios: jobs of the server, which its extension shows.

    Left out are tools that ask during a task, as no job of the server does.
    """
    assert app.client is not None
    client = app.client

    async def begun(work: Callable[[], Awaitable[gptimage.Result]]) -> CallToolResult:
        job = app.jobs.start("generate", lambda _: work())
        return await job_result(app, job)

    @server.tool(structured_output=False)
    def greet(name: str) -> str:
        """Answers at once."""
        return f"Hello, {name}!"

    @server.tool(structured_output=False)
    async def slow_compute(seconds: float = 0, label: str = "") -> CallToolResult:
        """Draws after so many seconds, within which it can be cancelled."""

        async def work() -> gptimage.Result:
            await asyncio.sleep(seconds)
            return await client.generate(label or "A fox")

        return await begun(work)

    @server.tool(structured_output=False)
    async def failing_job() -> CallToolResult:
        """Is refused by the service."""
        return await begun(lambda: client.generate("[sandbox:moderation]"))

    @server.tool(structured_output=False)
    async def protocol_error_job() -> CallToolResult:
        """Fails as nothing of the product should."""

        async def work() -> gptimage.Result:
            raise RuntimeError("a mistake of the server")

        return await begun(work)

    @server.tool(structured_output=False)
    def confirm_delete(filename: str) -> str:
        """Asks nothing, because tasks of the server do not."""
        return f"{filename} is still there"

    @server.tool(structured_output=False)
    async def test_tool_with_task(ctx: Ctx) -> Answer:
        """Asks before the task begins, as a call that needs the person's consent does."""
        if not answered(ctx, "user_name"):
            return InputRequiredResult(input_requests={"user_name": form("Who?", "name")})
        name = accepted(ctx, "user_name")["name"]

        async def work() -> gptimage.Result:
            return (await client.generate("A portrait")).with_warnings(f"for {name}")

        return await begun(work)


def embedded(uri: str, text: str, kind: str = "text/plain") -> EmbeddedResource:
    """A text inside a message."""
    return EmbeddedResource(resource=TextResourceContents(uri=uri, mime_type=kind, text=text))


def said(text: str) -> CallToolResult:
    """A result of one text."""
    return CallToolResult(content=[TextContent(text=text)])


def form(message: str, name: str, kind: str = "string") -> ElicitRequest:
    """A question with one field."""
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(text: str) -> CreateMessageRequest:
    """A question for the client's model."""
    message = SamplingMessage(role="user", content=TextContent(text=text))
    return CreateMessageRequest(
        params=CreateMessageRequestParams(messages=[message], max_tokens=100)
    )


def answered(ctx: Ctx, key: str) -> bool:
    """Whether the client brought this answer."""
    return key in (ctx.input_responses or {})


def accepted(ctx: Ctx, key: str) -> dict[str, Any]:
    """What the person filled in."""
    answer = (ctx.input_responses or {}).get(key)
    return dict(getattr(answer, "content", None) or {})
