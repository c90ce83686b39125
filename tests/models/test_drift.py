"""What other packages know that is new here is found: one planted difference for each source."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import openai
import pytest

from gptimage import Models
from tests.models.drift import differences


MODELS = Models.load()
DAY = date(2026, 11, 28)
FILES = ("image_model.py", "image_generate_params.py", "image_edit_params.py")
LITELLM = "litellm/model_prices_and_context_window_backup.json"
PRICES = "genai_prices/data.py"
GEOMETRY = "pydantic_ai/images/_openai_geometry.py"
ROW = {
    "input_cost_per_token": 5e-06,
    "cache_read_input_token_cost": 1.25e-06,
    "input_cost_per_image_token": 8e-06,
    "cache_read_input_image_token_cost": 2e-06,
    "output_cost_per_image_token": 3e-05,
}
DATA = """
providers = [
    ModelInfo(
        id='gpt-image-2.5-flare',
        match=ClauseEquals(equals='gpt-image-2.5-flare'),
        prices=ModelPrice(
            input_mtok=Decimal('5'),
            output_mtok=Decimal('30'),
            input_image_mtok=Decimal('8'),
        ),
        price_variants=[
            PriceVariant(
                when={'processing': 'batch'},
                prices=ModelPrice(input_mtok=Decimal('2.5'), output_mtok=Decimal('15')),
                constraint=StartDateConstraint(start_date=datetime.date(2026, 10, 14)),
            )
        ],
    ),
    ModelInfo(id='gpt-9', prices=ModelPrice(input_mtok=Decimal('1'))),
]
"""
SHAPES = """
from .settings import ImageDimensions

_LEGACY_SIZES = ('auto', '1024x1024', '1024x1536', '1536x1024')
_GPT_IMAGE_1_MODELS = ('gpt-image-1', 'gpt-image-1.5')
_GPT_IMAGE_2_MODELS = ('gpt-image-2', 'gpt-image-2.6-flare')
_GPT_IMAGE_2_ASPECT_RATIO_TO_SIZE = {'16:9': '1280x720'}

def _gpt_image_2_dimension_problems(width: int, height: int) -> list[str]:
    problems: list[str] = []
    if width % 16 or height % 16:
        problems.append('multiples')
    if max(width, height) > 3840:
        problems.append('edge')
    if max(width, height) > 3 * min(width, height):
        problems.append('ratio')
    if width * height < 655_360 or width * height > 8_294_400:
        problems.append('pixels')
    return problems
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder of packages that know what we know; the SDK's files are the installed ones."""
    types = Path(openai.__file__).parent / "types"
    (tmp_path / "openai/types/responses").mkdir(parents=True)
    for name in (*FILES, "responses/tool_param.py"):
        shutil.copyfile(types / name, tmp_path / "openai/types" / name)
    for name, content in {
        LITELLM: json.dumps({"gpt-image-2.6-flare": ROW, "gpt-9": {"input_cost_per_token": 1}}),
        PRICES: DATA,
        "pydantic_ai/images/openai.py": "Names = Literal['gpt-image-2', 'gpt-image-2.6-flare']\n",
        GEOMETRY: SHAPES,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


def test_nothing_new_is_nothing(packages: Path) -> None:
    """Also with the SDK that is installed: every parameter and value of it is known."""
    assert differences(packages, MODELS, DAY) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "line"),
    [
        (
            "openai/types/image_model.py",
            '"gpt-image-2",',
            '"gpt-image-2", "gpt-image-3",',
            "openai_models: model gpt-image-3 is not in models.toml",
        ),
        (
            "openai/types/image_generate_params.py",
            "    frame_count: Optional[int]",
            "    glitter: Optional[int]\n    frame_count: Optional[int]",
            (
                "openai_parameters: parameter glitter of image_generate_params.py is unknown to the"
                " sandbox"
            ),
        ),
        (
            LITELLM,
            "3e-05",
            "4e-05",
            "litellm_prices: gpt-image-2.6-flare: image_output costs 40, not 30",
        ),
        (
            PRICES,
            "output_mtok=Decimal('15')",
            "output_mtok=Decimal('12')",
            "genai_prices: gpt-image-2.5-flare, batch: image_output costs 12, not 15",
        ),
        (GEOMETRY, "> 3840", "> 4096", "pydantic_ai: gpt-image-2 draws 1920x3856"),
    ],
    ids=["openai", "the sandbox", "litellm", "genai-prices", "pydantic-ai"],
)
def test_a_difference_is_found(packages: Path, name: str, old: str, new: str, line: str) -> None:
    """A model, a parameter the sandbox refuses, a price, a batch price, and a size."""
    path = packages / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    found = differences(packages, MODELS, DAY)

    assert found[:1] == [line]
    assert {each.partition(":")[0] for each in found} == {line.partition(":")[0]}


@pytest.mark.parametrize(
    ("name", "old", "new", "line"),
    [
        (
            "openai/types/image_generate_params.py",
            '"xhigh",',
            '"xhigh", "ultra",',
            "openai_parameters: quality='ultra' of image_generate_params.py is unknown",
        ),
        (
            "openai/types/responses/tool_param.py",
            'action: Literal["generate", "edit", "auto"]',
            'action: Literal["generate", "edit", "auto"]\n\n    seed: int',
            (
                "openai_parameters: parameter seed of responses/tool_param.py is unknown to the"
                " sandbox"
            ),
        ),
        (
            LITELLM,
            '"input_cost_per_token": 5e-06',
            '"deprecation_date": "2027-02-01", "input_cost_per_token": 5e-06',
            "litellm_prices: gpt-image-2.6-flare shuts down on 2027-02-01, not on None",
        ),
        (
            LITELLM,
            '"gpt-9"',
            '"gpt-image-9"',
            "litellm_prices: model gpt-image-9 is not in models.toml",
        ),
        (
            GEOMETRY,
            "'1024x1536', ",
            "",
            (
                "pydantic_ai: gpt-image-1 draws 1024x1024, 1536x1024, not 1024x1024, 1024x1536,"
                " 1536x1024"
            ),
        ),
    ],
)
def test_so_are_others(packages: Path, name: str, old: str, new: str, line: str) -> None:
    """A value, a parameter of the tool, a date, a model of a price map, a fixed size."""
    path = packages / name
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")

    assert line in differences(packages, MODELS, DAY)


@pytest.mark.parametrize("name", [LITELLM, PRICES, GEOMETRY, "openai/types/image_model.py"])
def test_a_package_that_was_laid_out_anew_is_no_good_news(packages: Path, name: str) -> None:
    """What cannot be read any more is said, and fails the session."""
    (packages / name).write_text("{}", encoding="utf-8")

    assert "cannot be read any more" in differences(packages, MODELS, DAY)[0]
