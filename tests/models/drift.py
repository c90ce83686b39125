"""What other packages know of OpenAI's image models that the catalogue or the sandbox do not.

``python -m tests.models.drift FOLDER``: the folder has the newest openai, litellm, genai-prices and
pydantic-ai installed. Only their files are read, so that a test can plant a difference. Prints
what is new, a line each, and exits with 1 if there is anything.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from gptimage import Models
from gptimage.models.catalog import ModelSpec, Price
from gptimage.sandbox import Sandbox
from gptimage.transport.http import HttpReply, HttpRequest
from gptimage.types.parameters import PARAMETERS


IMAGE_MODEL = re.compile(r"(?:gpt-image|chatgpt-image)[\w.-]*")
CHAT_MODEL = "gpt-6-luna"

KNOWN = {
    ("quality", "standard"): "dall-e-3, which is gone",
    ("quality", "hd"): "dall-e-3, which is gone",
    ("size", "256x256"): "dall-e-2, which is gone",
    ("size", "512x512"): "dall-e-2, which is gone",
    ("size", "1792x1024"): "dall-e-3, which is gone; any legal size is taken",
    ("size", "1024x1792"): "dall-e-3, which is gone; any legal size is taken",
}
"""Values of the SDK that only retired models take, each with its reason."""
GONE = {
    "response_format": "only for dall-e: the models that live always send base64",
    "style": "only for dall-e-3, which is gone",
}
"""Parameters of the SDK that the service refuses, each with its reason."""
RETIRED = {"dall-e-2", "dall-e-3"}


def differences(folder: Path, models: Models, today: date) -> list[str]:
    """Return what the packages in a folder know that is new here.

    Args:
        folder: Their ``site-packages``.
        models: The catalogue.
        today: The day whose prices are compared.
    """
    found: list[str] = []
    for source in (openai_models, openai_parameters, litellm_prices, genai_prices, pydantic_ai):
        try:
            found += [f"{source.__name__}: {each}" for each in source(folder, models, today)]
        except (OSError, SyntaxError, LookupError, ValueError) as error:
            # A package that was laid out anew says nothing, which must not look like no news.
            found.append(f"{source.__name__}: cannot be read any more: {error!r}")
    return found


# What OpenAI's own SDK knows.


def openai_models(folder: Path, models: Models, today: date) -> Iterator[str]:
    """Yield the models of the SDK that the catalogue has not."""
    del today
    tree = parsed(folder / "openai/types/image_model.py")
    names = [
        name
        for node in tree.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id == "ImageModel"
        for name in literals(node.value)
    ]
    if not names:
        raise LookupError("image_model.py has no names")
    for name in sorted({*names} - RETIRED):
        if name not in models:
            yield f"model {name} is not in models.toml"


def openai_parameters(folder: Path, models: Models, today: date) -> Iterator[str]:
    """Yield parameters and values of the SDK that are unknown here or in the sandbox."""
    sandbox = Sandbox(models=models, today=lambda: today, draw="plain")
    plain = {"model": models.default, "prompt": "A fox"}

    def image(path: str) -> Callable[[str], HttpReply]:
        return lambda name: send(sandbox, path, {**plain, name: None})

    def tool(name: str) -> HttpReply:
        tools = [{"type": "image_generation", name: None}]
        return send(sandbox, "/responses", {"model": CHAT_MODEL, "input": "", "tools": tools})

    places = {
        "image_generate_params.py": ("ImageGenerateParams", image("/images/generations")),
        "image_edit_params.py": ("ImageEditParams", image("/images/edits")),
        "responses/tool_param.py": ("ImageGeneration", tool),
    }
    for path, (start, attempt) in places.items():
        fields = typed_dict(parsed(folder / "openai/types" / path), start)
        if not fields:
            raise LookupError(f"{path} has no class {start}...")
        for name, values in fields.items():
            if name in GONE or name in {"image", "type", "stream"}:
                continue
            if b"Unknown parameter" in bytes(attempt(name).body):
                yield f"parameter {name} of {path} is unknown to the sandbox"
            yield from new_values(path, name, values)


def new_values(path: str, name: str, values: list[str]) -> Iterator[str]:
    """Yield values of a parameter that the table of parameters has not."""
    rows = {row.wire: row for row in PARAMETERS.values() if row.wire}
    row = rows.get(name)
    if row is None or not row.choices:
        return
    for value in values:
        if value not in row.choices and (name, value) not in KNOWN:
            yield f"{name}={value!r} of {path} is unknown"


# Prices and dates.


def litellm_prices(folder: Path, models: Models, today: date) -> Iterator[str]:
    """Yield models, prices and shutdown dates of LiteLLM's price map that differ."""
    path = folder / "litellm/model_prices_and_context_window_backup.json"
    rows: dict[str, dict[str, Any]] = json.loads(path.read_bytes())
    ours = {name: row for name, row in rows.items() if IMAGE_MODEL.fullmatch(name)}
    if not ours:
        raise LookupError("it has no image model any more")
    for name, row in sorted(ours.items()):
        spec = models.get(name)
        if spec is None:
            yield f"model {name} is not in models.toml"
            continue
        end = spec.shutdown.isoformat() if spec.shutdown else None
        if row.get("deprecation_date", end) != end:
            yield f"{name} shuts down on {row['deprecation_date']}, not on {end}"
        if spec.state(today) == "shut_down":
            continue  # nobody pays for it any more
        for batch, ending in ((False, ""), (True, "_batches")):
            given = {
                "text_input": row.get(f"input_cost_per_token{ending}"),
                "text_input_cached": row.get(f"cache_read_input_token_cost{ending}"),
                "image_input": row.get(f"input_cost_per_image_token{ending}"),
                "image_input_cached": row.get(f"cache_read_input_image_token_cost{ending}"),
                "image_output": row.get(f"output_cost_per_image_token{ending}"),
            }
            million = {k: Decimal(str(v)) * 1_000_000 for k, v in given.items() if v is not None}
            yield from price_differences(spec, million, today, batch=batch)


def genai_prices(folder: Path, models: Models, today: date) -> Iterator[str]:
    """Yield models and prices of genai-prices that differ."""
    tree = parsed(folder / "genai_prices/data.py")
    found = [node for node in calls(tree, "ModelInfo") if IMAGE_MODEL.fullmatch(text(node, "id"))]
    if not found:
        raise LookupError("it has no image model any more")
    for node in found:
        name = text(node, "id")
        spec = models.get(name)
        if spec is None:
            yield f"model {name} is not in models.toml"
            continue
        if spec.state(today) == "shut_down":
            continue
        keywords = {each.arg: each.value for each in node.keywords}
        yield from price_differences(spec, mtok(keywords.get("prices")), today, batch=False)
        for variant in calls(keywords.get("price_variants"), "PriceVariant"):
            if "batch" in literals(variant):
                yield from price_differences(spec, mtok(variant), today, batch=True)


def mtok(node: ast.AST | None) -> dict[str, Decimal]:
    """Return the prices of the last ``ModelPrice(...)`` in a piece of code, by our names."""
    prices = list(calls(node, "ModelPrice"))
    if not prices:
        return {}
    given = {
        str(each.arg): Decimal(literals(each.value)[0])
        for each in prices[-1].keywords
        if literals(each.value)
    }
    names = {
        "text_input": ("input_mtok",),
        "text_input_cached": ("cache_read_mtok",),
        "image_input": ("input_image_mtok",),
        "image_input_cached": ("cache_image_read_mtok",),
        "image_output": ("output_image_mtok", "output_mtok"),
    }
    found = (
        (ours, next((given[n] for n in theirs if n in given), None))
        for ours, theirs in names.items()
    )
    return {name: price for name, price in found if price is not None}


def price_differences(
    spec: ModelSpec, given: Mapping[str, Decimal], today: date, *, batch: bool
) -> Iterator[str]:
    """Yield prices that are not the catalogue's; what is published rounded counts as equal."""
    row = spec.price(today, batch=batch)
    what = f"{spec.id}{', batch' if batch else ''}"
    if row is None:
        if given:
            yield f"{what}: has prices: {shown(given)}"
        return
    for name, price in given.items():
        own: Price = row
        known: Decimal | None = getattr(own, name)
        if known is None or abs(known - price) > max(known, price) / 20:
            yield f"{what}: {name} costs {price.normalize():f}, not {known}"


def shown(prices: Mapping[str, Decimal]) -> str:
    """Return prices in one line."""
    return ", ".join(f"{name} {price.normalize():f}" for name, price in prices.items())


# Sizes.


def pydantic_ai(folder: Path, models: Models, today: date) -> Iterator[str]:
    """Yield unknown models of pydantic-ai, and sizes that it and the catalogue judge apart."""
    del today
    images = folder / "pydantic_ai/images"
    names = {n for n in literals(parsed(images / "openai.py")) if IMAGE_MODEL.fullmatch(n)}
    for name in sorted(names):
        if name not in models:
            yield f"model {name} is not in models.toml"
    geometry = parsed(images / "_openai_geometry.py")
    values = {
        target.id: ast.literal_eval(node.value)
        for node in geometry.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    fixed = {size for size in values["_LEGACY_SIZES"] if size != "auto"}
    for name in values["_GPT_IMAGE_1_MODELS"]:
        if (spec := models.get(name)) is not None:
            own = {f"{width}x{height}" for width, height in spec.sizes.values}
            if own != fixed:
                yield f"{name} draws {', '.join(sorted(fixed))}, not {', '.join(sorted(own))}"
    problems = function(geometry, "_gpt_image_2_dimension_problems")
    for name in values["_GPT_IMAGE_2_MODELS"]:
        if (spec := models.get(name)) is None:
            continue
        for width, height in probes(values["_GPT_IMAGE_2_ASPECT_RATIO_TO_SIZE"].values()):
            theirs, own = not problems(width, height), spec.sizes.problem(width, height) is None
            if theirs != own:
                yield f"{name} {'draws' if theirs else 'does not draw'} {width}x{height}"
                break


def probes(sizes: Any) -> Iterator[tuple[int, int]]:
    """Yield sizes on both sides of every limit there is or was."""
    yield from (tuple(map(int, size.split("x"))) for size in sizes)
    edges = (512, 640, 800, 816, 1016, 1024, 1280, 1920, 2048, 2160, 2880, 3072, 3840, 3856, 4096)
    for width in edges:
        for height in edges:
            yield from ((width, height), (width + 8, height))
    yield from ((1536, 512), (1552, 512), (3840, 1280), (3840, 1264), (2880, 2896))


def function(tree: ast.Module, name: str) -> Callable[[int, int], Any]:
    """Return one function of a module, run by itself: it uses nothing but its arguments."""
    body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    if not body:
        raise LookupError(f"there is no {name} any more")
    space: dict[str, Any] = {}
    exec(compile(ast.Module(body=[*body], type_ignores=[]), name, "exec"), space)
    found: Callable[[int, int], Any] = space[name]
    return found


# Reading code.


def parsed(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def literals(node: ast.AST | None) -> list[str]:
    """Return the strings in a piece of code, in order; not its docstrings."""
    if node is None:
        return []
    docs = {id(each.value) for each in ast.walk(node) if isinstance(each, ast.Expr)}
    return [
        each.value
        for each in ast.walk(node)
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in docs
    ]


def typed_dict(tree: ast.Module, start: str) -> dict[str, list[str]]:
    """Return the fields of the classes whose name starts so, with the strings they take."""
    return {
        node.target.id: literals(node.annotation)
        for kind in tree.body
        if isinstance(kind, ast.ClassDef) and kind.name.startswith(start)
        and kind.name.removeprefix(start) in {"", "Base", "NonStreaming", "Streaming"}
        for node in kind.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }  # fmt: skip


def calls(node: ast.AST | None, name: str) -> Iterator[ast.Call]:
    """Yield the calls of a name in a piece of code."""
    for each in ast.walk(node) if node else ():
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id == name:
            yield each


def text(call: ast.Call, name: str) -> str:
    """Return a keyword of a call that is a string, or an empty one."""
    return next((t for each in call.keywords if each.arg == name for t in literals(each.value)), "")


def send(sandbox: Sandbox, path: str, body: Mapping[str, object]) -> HttpReply:
    """Return the sandbox's reply to a body."""
    return sandbox.send(HttpRequest(method="POST", path=path, body=dict(body)))


def main(folder: Path) -> int:
    """Print what is new."""
    found = differences(folder, Models.load(), datetime.now(UTC).date())
    print("\n".join(found) or "Nothing is new.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
