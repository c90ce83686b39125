"""``gptimage templates``: list, show, render and start prompt templates, or draw them all."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from gptimage._internal.data import data_text
from gptimage.cli.json_output import Written, file_document, print_json, result_document, show
from gptimage.cli.options import configure, key_values, open_client, read_settings
from gptimage.cli.output import prepare, save_one, target
from gptimage.errors import InvalidRequestError, TemplateError


if TYPE_CHECKING:
    from gptimage import Estimate, Image, Prompt
    from gptimage.templates import PromptTemplate, PromptTemplates, TemplateArgument


def run_list(args: argparse.Namespace) -> int:
    """Print every template's name and title."""
    templates = _templates(args.folder).values()
    rows = (f"{each.name:<24}{_settings(each):<38}{each.description}" for each in templates)
    return show(args, [each.describe() for each in templates], *rows)


def run_show(args: argparse.Namespace) -> int:
    """Print one template's arguments and recommendations."""
    template = _templates(args.folder)[args.name]
    lines = [f"{template.name}: {template.title}\n{template.description}\n"]
    lines += [f"  {each.name:<20}{_argument(each)}" for each in template.arguments]
    lines.append(f"\nrecommended: {_settings(template)}")
    if template.example:
        lines.append(f"example: {_command(template)}")
    return show(args, {**template.describe(), "schema": template.schema()}, *lines)


def run_render(args: argparse.Namespace) -> int:
    """Print the prompt; nothing is sent and nothing is billed."""
    prompt = _templates(args.folder).render(args.name, **key_values(args.arguments))
    images = [f"with {each.file} ({each.name}: {each.about})" for each in prompt.images]
    return show(args, _document(prompt), prompt.text, *images)


def run_new(args: argparse.Namespace) -> int:
    """Write a template file to start from."""
    from gptimage.templates.definition import TEMPLATE_NAME

    if not TEMPLATE_NAME.fullmatch(args.name):
        raise InvalidRequestError(
            f"{args.name!r} cannot be a template's name: use lower-case letters, digits, _ and -",
            field="name",
            value=args.name,
            allowed=TEMPLATE_NAME.pattern,
        )
    folder = Path(args.folder)
    path = folder / f"{args.name}.toml"
    text = _start(args.name, args.extends, folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise TemplateError(f"{path} is there already", file=str(path)) from error
    print(path)
    return 0


def run_gallery(args: argparse.Namespace) -> int:
    """Draw every template's example, and all of them on one contact sheet."""
    from gptimage import contact_sheet

    config = configure(args)
    where = target(f"{args.output}/", "gallery")
    prepare(where)
    shown = [template for template in _templates(args.folder).values() if template.example]
    images: list[Image] = []
    with open_client(config) as client:
        prompts = [template.render(template.example) for template in shown]
        if not (config.sandbox or args.yes):
            raise _ask_first(len(prompts), (client.estimate(prompt) for prompt in prompts))
        for index, (template, prompt) in enumerate(zip(shown, prompts, strict=True)):
            result = client.generate(prompt, tags=args.tag or (), refresh=args.refresh)
            path = save_one(result.image, where, template.name)
            images.append(result.image)
            if args.json:
                file = Written(kind="image", path=path, image=result.image)
                print_json(result_document(result, [file], index=index, template=template.name))
            else:
                size = f"{result.image.width}x{result.image.height}"
                print(f"{template.name:<24}{size}  {path}")
    sheet = contact_sheet(images, labels=[template.title for template in shown])
    path = save_one(sheet, where, "contact-sheet")
    if args.json:
        file = Written(kind="image", path=path, image=sheet)
        print_json({"index": len(images), "ids": [], "files": [file_document(file)]})
    else:
        print(path)
    return 0


def _templates(folder: str | None) -> PromptTemplates:
    """Load the built-in templates and those of the folder, or of the setting ``templates``."""
    from gptimage.engine.from_config import open_templates

    return open_templates(read_settings({"templates": folder}))


def _settings(template: PromptTemplate) -> str:
    """Return the recommendations in one line, such as ``1200x630 medium opaque jpeg``."""
    values = template.recommendations.values()
    return " ".join(
        f"by-{next(iter(value))}" if isinstance(value, dict) else value for value in values
    )


def _argument(argument: TemplateArgument) -> str:
    limit = f", at most {argument.max_length} characters" if argument.max_length else ""
    needed = "required" if argument.required else "optional"
    if argument.default not in {None, False}:
        needed = f"{argument.default} by default"
    values = f" One of: {', '.join(argument.choices)}." if argument.choices else ""
    if argument.suggestions:
        values = f" Such as: {', '.join(argument.suggestions)}."
    return f"({argument.type}, {needed}{limit}) {argument.description}{values}"


def _command(template: PromptTemplate) -> str:
    import shlex

    pairs = (f"{name}={_plain(value)}" for name, value in template.example.items())
    return shlex.join(["gptimage", "templates", "render", template.name, *pairs])


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _document(prompt: Prompt) -> dict[str, object]:
    return {
        "text": prompt.text,
        "size": prompt.size,
        "quality": prompt.quality,
        "background": prompt.background,
        "format": prompt.format,
        "template": prompt.template,
        "arguments": dict(prompt.arguments),
        "images": [
            {"name": each.name, "file": str(each.file), "about": each.about}
            for each in prompt.images
        ],
    }


def _start(name: str, extends: str | None, folder: Path) -> str:
    title = name.replace("_", " ").replace("-", " ").capitalize()
    if extends is None:
        return _file("starter.toml").format(title=title)
    base = _templates(str(folder) if folder.is_dir() else None)[extends]
    names = [argument.name for argument in base.arguments]
    return _file("extension.toml").format(
        extends=extends, title=title, arguments=", ".join(names), argument=names[0]
    )


def _file(name: str) -> str:
    return data_text(__name__, name)


def _ask_first(count: int, estimates: Iterable[Estimate | None]) -> InvalidRequestError:
    from gptimage.models.pricing import format_usd

    known = [estimate.usd for estimate in estimates if estimate is not None]
    total = f"about {format_usd(sum(known, Decimal(0)))}"
    cost = total if len(known) == count else "a sum that cannot be estimated"
    return InvalidRequestError(
        f"this draws {count} images for {cost}: add --yes to spend it, or --sandbox to draw "
        "them offline",
        field="yes",
        value=False,
        allowed=("--yes", "--sandbox"),
    )
