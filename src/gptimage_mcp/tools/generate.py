"""`GenerateTools`: each method has the parameters and the description of the tool of its name."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias, cast, get_type_hints

from attrs import frozen
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult, InputRequiredResult
from pydantic import BaseModel, ValidationError, validate_call

import gptimage
from gptimage.checks import named_checks
from gptimage_mcp.app import App
from gptimage_mcp.auth import current_user
from gptimage_mcp.catalogue import limit_note
from gptimage_mcp.content.errors import tool_errors, validation_error
from gptimage_mcp.content.results import job_result
from gptimage_mcp.dynamic_server import DynamicServer, refuse_unknown
from gptimage_mcp.jobs.work import JobRequest
from gptimage_mcp.tools import parameters as p
from gptimage_mcp.tools.confirm import confirm
from gptimage_mcp.tools.conversations import ENDED
from gptimage_mcp.tools.inputs import Sources, Upload, stored_id
from gptimage_mcp.tools.register import PAID, progress_reporter, register_tool
from gptimage_mcp.tools.requests import (
    GenerateRequest,
    ImageRequest,
    InputImage,
    RefineRequest,
)
from gptimage_mcp.tools.submit import JobSubmitter


GENERATE_TOOLS: Final = ("generate_image", "edit_image", "refine_image", "create_variations")
"""The tools that draw; each is a method of `GenerateTools`."""

_RESPONSE: Final = "resp_"
_OF_INPUTS: Final = ("input_fidelity", "outside")
_OF_A_TURN: Final = tuple(name for name in p.OUTPUT if name != "n")


@frozen
class GenerateTools:
    """The tools' parameters as job requests; each method's docstring is the tool's description.

    Attributes:
        submitter: Checks the requests and starts their jobs.
    """

    submitter: JobSubmitter

    @p.takes("until", *p.OUTPUT, *p.FRAMES, *p.CALL)
    async def generate_image(self, prompt: p.Prompt, **given: Any) -> JobRequest:
        """Draw new images from a description. Costs money; every image is kept.

        If it takes long, the answer is a handle (job_...): pass it to view_image, which waits. The
        same call made again joins it, or gets the same images, free of charge.
        """
        return await self._prepared(
            self._generates("generate", prompt, checks=given.pop("until", None)), given
        )

    @p.takes("markup", *_OF_INPUTS, "until", *p.OUTPUT, *p.FRAMES, *p.CALL)
    async def edit_image(
        self,
        prompt: p.EditPrompt,
        images: p.Images = None,
        attached_image: p.Attached = None,
        mask: p.Mask = None,
        attached_mask: p.AttachedMask = None,
        mask_box: p.MaskBox = None,
        **given: Any,
    ) -> JobRequest:
        """Change an image, or make a new one from several. Costs money, like generate_image.

        Give images or attached_image. To go on step by step, refine_image is better.
        """
        given["mask"] = await self._mask(mask, attached_mask, mask_box)
        if (markup := given.get("markup")) is not None:
            given["markup"] = await self._sources.image(markup, field="markup")
        until = given.pop("until", None)
        sources = await self._images(attached_image, images or ())
        return await self._prepared(self._generates("edit", prompt, sources, checks=until), given)

    @p.takes(*p.OUTPUT, *p.CALL)
    async def create_variations(
        self,
        image: p.Source = None,
        attached_image: p.Attached = None,
        prompt: p.OtherPrompt = None,
        **given: Any,
    ) -> JobRequest:
        """Draw other versions of one image: same subject, another view. Costs money."""
        source = await self._only(image, attached_image)
        return await self._prepared(self._generates("variations", prompt or "", (source,)), given)

    @p.takes("max_images", *_OF_INPUTS, *_OF_A_TURN, *p.FRAMES, *p.CALL)
    async def refine_image(
        self,
        prompt: p.EditPrompt,
        image: p.Continues = None,
        attached_image: p.Attached = None,
        more_images: p.Extra = None,
        mask: p.Mask = None,
        attached_mask: p.AttachedMask = None,
        mask_box: p.MaskBox = None,
        action: p.Action = "auto",
        **given: Any,
    ) -> JobRequest:
        """Go on with an image in words: "warmer light", "now without the hat". Costs money.

        A chat model remembers the turns before and is billed a little, too. Give image or
        attached_image.
        """
        given |= {"mask": await self._mask(mask, attached_mask, mask_box), "action": action}
        resume, known, sources = await self._start(image, attached_image)
        more = await self._sources.images(more_images or (), field="more_images")
        turn = partial(
            RefineRequest,
            prompt=prompt,
            resume=resume,
            known=known,
            images=(*sources, *more),
            model=given.pop("model", None),
            chat_model=self.submitter.app.settings.chat_model,
        )
        return await self._prepared(turn, given)

    def _generates(
        self,
        operation: str,
        prompt: str,
        images: tuple[InputImage, ...] = (),
        *,
        checks: Sequence[str] | None = None,
    ) -> Callable[..., GenerateRequest]:
        named_checks(checks or ())  # an unknown one is refused before anything is asked or sent
        return partial(
            GenerateRequest,
            operation=operation,
            prompt=prompt,
            images=images,
            checks=tuple(checks or ()),
        )

    async def _prepared(
        self, request: Callable[..., ImageRequest], given: Mapping[str, Any]
    ) -> JobRequest:
        """Return a request with the arguments that were not left out, once it was checked."""
        options = {name: value for name, value in given.items() if value is not None}
        refresh, tags = options.pop("refresh", False), options.pop("tags", ())
        save_to, max_px = options.pop("save_to", None), options.pop("max_px", None)
        effort = options.pop("svg_effort", None)
        svg = {"model": options.pop("svg_model", None), "reasoning": effort and {"effort": effort}}
        if svg := {name: value for name, value in svg.items() if value is not None}:
            options["svg"] = svg
        return await self.submitter.prepare(
            request(options=options, refresh=refresh), tags, save_to, max_px
        )

    @property
    def _sources(self) -> Sources:
        return Sources(self.submitter.app)

    async def _images(
        self, attached: Upload | None, named: Sequence[str]
    ) -> tuple[InputImage, ...]:
        found: list[InputImage] = []
        if attached is not None:
            found.append(await self._sources.image(attached, field="attached_image"))
        found += await self._sources.images(named, field="images")
        if not found:
            raise _refused("images", "name at least one image, or pass attached_image")
        return tuple(found)

    async def _only(self, named: str | None, attached: Upload | None) -> InputImage:
        if named is not None and attached is None:
            return await self._sources.image(named, field="image")
        if attached is not None and named is None:
            return await self._sources.image(attached, field="attached_image")
        raise _refused("image", "give image or attached_image, and not both")

    async def _start(
        self, named: str | None, attached: Upload | None
    ) -> tuple[str | None, InputImage | None, tuple[InputImage, ...]]:
        """Return what a conversation continues from, its image, and the images it begins with."""
        if named is not None and attached is None and named.startswith(_RESPONSE):
            return named, None, ()
        if named is not None and attached is None:
            settled = await self._sources.settled(named, field="image")
            if isinstance(settled, gptimage.Image):
                return None, None, (settled,)
            if (id := stored_id(settled)) is not None:
                image = await self._sources.image(id, field="image")
                record = await asyncio.to_thread(self.submitter.app.store.get, id)
                return (None, None, (image,)) if ENDED in record.tags else (id, image, ())
        return None, None, (await self._only(named, attached),)

    async def _mask(
        self, named: str | None, attached: Upload | None, box: list[int] | None
    ) -> InputImage | gptimage.Mask | None:
        given = [each for each in (named, attached, box) if each is not None]
        if len(given) > 1:
            raise _refused("mask", "give one of mask, attached_mask and mask_box")
        if box is not None:
            left, top, width, height = box
            return gptimage.Mask.from_box((left, top, left + width, top + height))
        source = named if named is not None else attached
        return None if source is None else await self._sources.image(source, field="mask")


def _refused(field: str, problem: str) -> gptimage.InvalidRequestError:
    return gptimage.InvalidRequestError(f"{field}: {problem}", field=field, allowed=p.IMAGE)


_OF_EDITS: Final = frozenset({"images", "attached_image"})
"""What only edits take, so that it says which tool is meant."""


async def request_of(
    tools: GenerateTools, arguments: Mapping[str, Any], tool: str | None = None
) -> JobRequest:
    """Return the job request of arguments that no schema has checked yet.

    Args:
        tools: The tools.
        arguments: The arguments of one of them, rare ones among the others or in ``advanced``.
        tool: Its name; generate_image when left out, or edit_image if there are images.

    Raises:
        ToolError: The arguments do not fit.
        GptImageError: See the tool.
    """
    given = dict(arguments)
    rare: object = given.pop("advanced", None) or {}
    given |= cast("dict[str, Any]", rare) if isinstance(rare, dict) else {"advanced": rare}
    tool = tool or ("edit_image" if _OF_EDITS & given.keys() else "generate_image")
    if given.get("n") == 1 and "n" not in parameters_of(tool):
        del given["n"]  # forced on the model by a strict converter, and true anyway
    refuse_unknown(tool, given, {"properties": parameters_of(tool)})
    try:
        request: JobRequest = await _checked(tool)(tools, **given)
        return request
    except ValidationError as error:
        raise validation_error(error) from error


def parameters_of(tool: str) -> list[str]:
    """Return the names of all parameters of a tool, the rare ones included."""
    return [*inspect.signature(getattr(GenerateTools, tool)).parameters][1:]


@functools.cache
def _checked(tool: str) -> RequestMethod:
    """Return a method that checks its arguments; made when first needed, as that takes a while."""
    method: RequestMethod = getattr(GenerateTools, tool)
    return validate_call(method)


# The tools that draw, and cost money: generate, edit, refine, vary.
#
# Each call becomes a job: when the client gives up or leaves, the job goes on, is
# paid, and its images are saved.

ToolResponse: TypeAlias = CallToolResult | InputRequiredResult

RequestMethod: TypeAlias = Callable[..., Awaitable[JobRequest]]
"""A method of `GenerateTools`."""

_TITLES: Final = {
    "generate_image": "Generate images",
    "edit_image": "Edit images",
    "refine_image": "Refine an image in words",
    "create_variations": "Create variations",
}
_FILES: Final = ("attached_image", "attached_mask")


def add_generate_tools(server: DynamicServer, app: App) -> None:
    """Offer the tools that draw."""
    submitter = JobSubmitter(app)
    tools, runner = GenerateTools(submitter), ToolRunner(submitter)
    for name, title in _TITLES.items():
        method: RequestMethod = getattr(tools, name)
        files = [each for each in _FILES if each in inspect.signature(method).parameters]
        tool = _tool(runner, method)
        note = limit_note(name, app.settings)
        register_tool(
            server, tool, title=title, hints=PAID, structured=False, files=files, note=note
        )
        server.advanced[name] = ("advanced", frozenset(p.rare_of(method)))


@frozen
class ToolRunner:
    """Answers calls.

    Attributes:
        submitter: Checks the requests and starts their jobs.
    """

    submitter: JobSubmitter

    async def respond(
        self, ctx: Context[App, Any], method: RequestMethod, arguments: dict[str, Any]
    ) -> ToolResponse:
        """Draw, for as long as a call may wait.

        Raises:
            ToolError: Nothing was drawn; says why, and what to do next.
        """
        app, owner = self.submitter.app, current_user()
        with tool_errors():
            self.submitter.check_ready()  # before images are read for nothing
            job_request = await method(**arguments)
            job = await self.submitter.find_earlier(job_request, owner)
            if job is None or job.state != "running":
                question = await confirm(app, ctx, job_request.request, job)
                if question is not None:
                    return question
                job = self.submitter.begin(job_request, owner)
        await job.wait(app.settings.wait, progress_reporter(ctx))
        return await job_result(app, job, max_px=job_request.max_px)


def _tool(runner: ToolRunner, method: RequestMethod) -> Callable[..., Awaitable[ToolResponse]]:
    """A tool with the name, the manual and the parameters of a method of `GenerateTools`."""

    @functools.wraps(method)
    async def tool(ctx: Context[App, Any], **arguments: Any) -> ToolResponse:
        advanced: BaseModel | None = arguments.pop("advanced")
        more = {} if advanced is None else advanced.model_dump(exclude_unset=True)
        return await runner.respond(ctx, method, {**arguments, **more})

    signature = _signature(getattr(method, "__func__", method))
    annotations = {name: each.annotation for name, each in signature.parameters.items()}
    tool.__annotations__ = {**annotations, "return": ToolResponse}
    tool.__signature__ = signature  # type: ignore[attr-defined]  # what `inspect.signature` looks at first
    return tool


@functools.cache
def _signature(method: RequestMethod) -> inspect.Signature:
    """Return the signature of a method's tool: its rare parameters are in one object."""
    rare = p.rare_of(method)
    hints = get_type_hints(method, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    advanced = p.advanced_of(method)
    parameters = [
        inspect.Parameter("ctx", keyword, annotation=Context[App, Any]),
        *(
            each.replace(annotation=hints[each.name], kind=keyword)
            for each in inspect.signature(method).parameters.values()
            if each.name not in (*rare, "self")
        ),
        inspect.Parameter("advanced", keyword, default=None, annotation=advanced),
    ]
    return inspect.Signature(parameters, return_annotation=ToolResponse)
