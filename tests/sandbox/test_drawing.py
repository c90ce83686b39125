"""The images: exact, repeatable, marked, and changed only where they may be."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import product
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as pil
from PIL import ImageChops, ImageDraw, ImageFont, ImageStat

from gptimage.image.codecs import encode_png
from gptimage.image.image import Image
from gptimage.models.catalog import Models
from gptimage.sandbox.drawing import paint, stages
from gptimage.sandbox.images import NOTICE
from gptimage.sandbox.job import InputImage, Job
from gptimage.sandbox.renderer import Canvas
from gptimage.sandbox.scene import prompt_head, read_scene
from gptimage.sandbox.scene import scene_data as read_data
from tests.sandbox.pictures import encoded, markup, mask, opened, photo


SIZE = (512, 320)  # smaller than the service draws, so that tests are quick
PROMPTS = [
    "A red fox in fresh snow", "A lighthouse at dusk", "A cup of coffee on a wooden table",
    "city at night in rain", "logo of a leaf", "a cat", "a dog in a meadow of flowers",
    "an owl in the forest at night", "an orange fish in the sea", "portrait of a woman",
    "a robot in the desert", "a bottle, product shot", "a sailing boat at sunrise",
    "a cabin in autumn", "a balloon over mountains", "a bouquet of roses", "a heart", "a star",
    "a rocket in space", "an old oak tree", "nothing in particular", "猫", "\ud800",
]  # fmt: skip


def job(prompt: str = PROMPTS[0], size: tuple[int, int] = SIZE, **given: Any) -> Job:
    """A job of the model that draws every format."""
    values: dict[str, Any] = {"operation": "generation", "quality": "low", **given}
    width, height = size
    spec = Models.load()["gpt-image-2.6-flare"]
    return Job(spec=spec, prompt=prompt, width=width, height=height, **values)


def edit(prompt: str = "Make it night", **given: Any) -> Job:
    """A job that edits the test photo at its own size."""
    inputs = given.pop("inputs", (picture(photo(*SIZE)),))
    return job(prompt, operation="edit", inputs=inputs, **given)


def picture(data: bytes) -> InputImage:
    """An input image."""
    image = opened(data)
    return InputImage(data=data, width=image.width, height=image.height)


def difference(one: pil.Image, other: pil.Image) -> float:
    """The mean difference of two images, in levels."""
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_every_scene_is_drawn_the_same_twice(prompt: str) -> None:
    """The same request gives the same bytes, of exactly the size asked."""
    data = paint(job(prompt))

    assert paint(job(prompt)) == data
    assert Image.from_bytes(data).size == SIZE


def test_prompts_and_numbers_give_different_pictures() -> None:
    """Another prompt, or the next of several images, is another image."""
    drawn = {paint(job(prompt)) for prompt in PROMPTS[:6]}
    series = {paint(job(), index) for index in range(4)}

    assert len(drawn) == 6
    assert len(series) == 4


@pytest.mark.parametrize("quality", ["low", "medium", "high", "xhigh", "max"])
def test_quality_is_visible(quality: str) -> None:
    """Each quality draws more than the one below: its PNG cannot be packed as small."""
    detail = [job(quality=name).detail for name in ("low", "medium", "high", "xhigh", "max")]

    assert sorted(set(detail)) == detail
    if quality != "low":
        assert paint(job(quality=quality)) != paint(job(quality="low"))


def test_complexity_is_visible() -> None:
    """More planning, more strokes."""
    levels = [job(quality="medium", complexity=name).detail for name in ("low", "medium", "high")]

    assert levels == [1, 2, 3]


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp", "gif", "svg"])
@pytest.mark.parametrize("size", [(336, 208), (208, 336), (640, 224)])
def test_formats_and_sizes_are_exact(format_: str, size: tuple[int, int]) -> None:
    """The bytes are of the format asked, sniffed, and of the size asked."""
    image = Image.from_bytes(paint(job(size=size, format=format_, frames=2)))

    assert (format_, size) == (image.format, image.size)


def test_large_pictures_are_exact() -> None:
    """The largest size of all is drawn in full."""
    assert Image.from_bytes(paint(job(size=(3840, 2160)))).size == (3840, 2160)


@pytest.mark.parametrize("format_", ["jpeg", "webp"])
def test_compression_makes_files_smaller(format_: str) -> None:
    """Less quality, fewer bytes."""
    sizes = [len(paint(job(format=format_, compression=level))) for level in (0, 30, 60, 100)]

    assert sorted(sizes) == sizes
    assert len(set(sizes)) == 4


@pytest.mark.parametrize("frames", [2, 5, 16])
@pytest.mark.parametrize("prompt", ["a star", "waves of the sea", "snow"])
def test_gifs_have_every_frame(frames: int, prompt: str) -> None:
    """As many frames as asked, each different, each for the time asked, for ever."""
    data = paint(job(prompt, size=(160, 112), format="gif", frames=frames, frame_ms=84))
    image = opened(data)
    seen = set()
    for frame in range(frames):
        image.seek(frame)
        assert image.info["duration"] == 80
        seen.add(image.convert("RGB").tobytes())

    assert (frames, 0) == (getattr(image, "n_frames", 0), image.info.get("loop"))
    assert len(seen) == frames


def test_gif_delays_are_capped() -> None:
    """A frame is shown for at most 655,350 ms."""
    image = opened(paint(job(size=(160, 112), format="gif", frames=2, frame_ms=10**6)))

    assert image.info["duration"] == 655_350


@pytest.mark.parametrize("prompt", ["a leaf", "a red fox", "a landscape without a subject"])
@pytest.mark.parametrize("format_", ["png", "webp"])
def test_transparent_pictures_are_cut_out(prompt: str, format_: str) -> None:
    """The subject is there, and nothing is around it."""
    image = opened(paint(job(prompt, transparent=True, format=format_)))
    alpha = image.getchannel("A")
    corners = [alpha.getpixel(spot) for spot in ((0, 0), (511, 0), (511, 319))]

    assert corners == [0, 0, 0]
    assert 255 in (alpha.getpixel((256, 160)), alpha.getpixel((256, 130)))
    assert sum(alpha.histogram()[1:255]) > 0  # soft edges


def test_opaque_pictures_have_no_alpha() -> None:
    """Nothing see-through unless asked."""
    assert opened(paint(job())).mode == "RGB"
    assert opened(paint(edit(inputs=(picture(photo(*SIZE, mode="RGBA")),)))).mode == "RGB"


def test_svgs_are_well_formed_whatever_the_prompt() -> None:
    """Markup in a prompt is text in the image."""
    for prompt in ("<script>alert('&')</script> at night", *PROMPTS):
        root = ET.fromstring(paint(job(prompt, format="svg")))
        assert {"{http://www.w3.org/2000/svg}svg"} == {root.tag}
        assert (root.get("width"), root.get("height")) == ("512", "320")
        assert NOTICE in "".join(root.itertext())
        assert "{http://www.w3.org/2000/svg}script" not in {each.tag for each in root.iter()}


def test_pictures_say_what_they_are() -> None:
    """The notice is along the bottom edge and in the file, and no manifest pretends otherwise."""
    marked = opened(paint(job()))
    strip = marked.crop((0, SIZE[1] - 13, SIZE[0], SIZE[1]))
    light, dark = (max(strip.convert("L").getextrema()), min(strip.convert("L").getextrema()))

    assert marked.info["Comment"] == NOTICE
    assert light - dark > 120  # light letters on a dark strip
    assert opened(paint(job(format="jpeg"))).info["comment"] == NOTICE.encode()
    assert not any(
        Image.from_bytes(paint(job(format=kind, frames=2))).has_provenance
        for kind in ("png", "jpeg", "webp", "gif")
    )


@given(st.text(max_size=300))
def test_any_prompt_has_a_head_the_font_can_draw(prompt: str) -> None:
    """Only Latin letters, no line breaks, no markers, and short."""
    head = prompt_head(prompt)

    assert len(head) <= 60
    assert all(ord(letter) <= 0x2026 and letter.isprintable() for letter in head)


def test_markers_are_not_drawn() -> None:
    """What steers the sandbox is not part of the image's words."""
    assert prompt_head("A fox [sandbox:cut] runs") == "A fox runs"


@settings(max_examples=40)
@given(st.text(max_size=80), st.integers(0, 9))
def test_any_prompt_is_a_scene(prompt: str, index: int) -> None:
    """Reading a prompt never fails, and is repeatable."""
    assert read_scene(prompt, index) == read_scene(prompt, index)


@pytest.mark.parametrize("partials", [1, 2, 3])
@pytest.mark.parametrize("make", [job, edit])
def test_partial_images_get_sharper(partials: int, make: Any) -> None:
    """Each is nearer to the finished image than the one before, all of one size."""
    *early, final = [opened(data) for data in stages(make(partials=partials, stream=True))]
    far = [difference(image, final) for image in early]

    assert len(early) == partials
    assert sorted(far, reverse=True) == far
    assert len(set(far)) == partials
    assert far[-1] > 0
    assert {image.size for image in early} == {SIZE}


def test_the_last_stage_is_the_picture_itself() -> None:
    """Streaming does not change what is drawn."""
    asked = job(partials=2, stream=True)

    assert paint(asked) == list(stages(asked))[-1]


HOLES = [(256, 0, 512, 320), (40, 40, 80, 80), (0, 0, 512, 30), (10, 10, 12, 12)]
WISHES = ["Make it night", "add a fox", "a city at night", "watercolour", "black and white", "x"]


@pytest.mark.parametrize("hole", HOLES)
@pytest.mark.parametrize("prompt", WISHES)
def test_masked_edits_change_nothing_outside(hole: tuple[int, int, int, int], prompt: str) -> None:
    """Outside the mask's hole every pixel keeps its value; inside, something is new."""
    source = photo(*SIZE)
    inputs = (picture(source), picture(photo(90, 60)))
    made = opened(paint(edit(prompt, inputs=inputs, mask=picture(mask(*SIZE, hole=hole)))))
    changed = ImageChops.difference(made, opened(source)).convert("L")
    outside = changed.copy()
    outside.paste(0, hole)

    assert outside.getbbox() is None
    assert changed.getbbox() is not None


def test_soft_mask_edges_are_kept() -> None:
    """Only an alpha of exactly 0 may be edited; half see-through pixels may not."""
    half = pil.new("RGBA", SIZE, (0, 0, 0, 1))
    made = opened(paint(edit(mask=picture(encoded(half)))))

    assert ImageChops.difference(made, opened(photo(*SIZE))).getbbox() is None


def test_masked_gifs_and_transparent_masked_edits_are_drawn() -> None:
    """A hole without a subject in a see-through edit is see-through nowhere else."""
    hole = (256, 0, 512, 320)
    cut = opened(paint(edit(transparent=True, mask=picture(mask(*SIZE, hole=hole)))))

    assert cut.mode == "RGBA"
    assert cut.getchannel("A").crop((0, 0, 256, 320)).getextrema() == (255, 255)


@pytest.mark.parametrize(
    "prompt", ["Make it night", "sunset", "in snow", "a blue tint", "paint it"]
)
def test_unmasked_edits_stay_recognisable(prompt: str) -> None:
    """The image changes, and is still nearer to its source than to another image."""
    source = opened(photo(*SIZE)).convert("L").resize((32, 20))
    made = opened(paint(edit(prompt))).convert("L").resize((32, 20))
    drawn = opened(paint(job(prompt))).convert("L").resize((32, 20))

    assert difference(made, source) > 1
    assert correlation(made, source) > 0.5
    assert correlation(made, source) > correlation(drawn, source)


def correlation(one: pil.Image, other: pil.Image) -> float:
    """Pearson's coefficient of the levels of two grey images."""
    pairs = list(zip(one.tobytes(), other.tobytes(), strict=True))
    means = [sum(column) / len(pairs) for column in zip(*pairs, strict=True)]
    products = [[(a - means[0]) * (b - means[1]), (a - means[0]) ** 2, (b - means[1]) ** 2]
                for a, b in pairs]  # fmt: skip
    both, first, second = (sum(column) for column in zip(*products, strict=True))
    return both / ((first * second) ** 0.5 or 1.0)


def test_high_fidelity_keeps_more() -> None:
    """`input_fidelity` is not ignored."""
    source = opened(photo(*SIZE))
    loose, close = (opened(paint(edit(fidelity=level))) for level in ("low", "high"))

    assert difference(close, source) < difference(loose, source)


def test_further_inputs_are_shown() -> None:
    """A second image appears in the first, which is otherwise as it would be alone."""
    second = picture(encoded(pil.new("RGB", (80, 80), (0, 255, 0))))
    alone = opened(paint(edit("x")))
    both = opened(paint(edit("x", inputs=(picture(photo(*SIZE)), second))))
    box = ImageChops.difference(alone, both).convert("L").getbbox()
    colours = {colour: count for count, colour in both.getcolors(maxcolors=2**24) or []}

    assert box is not None
    assert box[3] < SIZE[1] // 2
    assert colours.get((0, 255, 0), 0) > 50


def test_markup_says_where_to_edit() -> None:
    """Far from the marks, nothing changes."""
    source = opened(photo(*SIZE))
    made = opened(paint(edit(markup=picture(markup(*SIZE)))))
    changed = ImageChops.difference(made, source).convert("L")

    assert changed.crop((360, 200, 512, 290)).getbbox() is None
    assert changed.crop((128, 80, 256, 160)).getbbox() is not None


@pytest.mark.parametrize("edges", [(64, 48), (900, 300), (30, 700)])
def test_inputs_of_any_shape_cover_the_picture(edges: tuple[int, int]) -> None:
    """The first input is scaled and cropped to the size asked."""
    made = opened(paint(edit(inputs=(picture(photo(*edges)),))))

    assert made.size == SIZE


def test_see_through_edits_keep_the_sources_alpha() -> None:
    """A cut-out stays cut out; a photo gets an oval."""
    shape = pil.new("RGBA", SIZE, (200, 60, 60, 0))
    shape.paste((200, 60, 60, 255), (100, 100, 300, 250))
    kept = opened(paint(edit(transparent=True, inputs=(picture(encoded(shape)),))))
    oval = opened(paint(edit(transparent=True)))

    assert kept.getchannel("A").crop((0, 0, 512, 290)).getbbox() == (100, 100, 300, 250)
    assert (oval.getchannel("A").getpixel((0, 0)), oval.getchannel("A").getpixel((256, 160))) == (
        0, 255,
    )  # fmt: skip


def test_animated_and_vector_edits_keep_the_picture() -> None:
    """A gif of an edit has all its frames; an svg carries the retouched image."""
    gif = opened(paint(edit(format="gif", frames=3)))
    svg = paint(edit(format="svg"))

    assert getattr(gif, "n_frames", 0) == 3
    assert b"data:image/png;base64," in svg
    assert ET.fromstring(svg).get("width") == "512"


@pytest.mark.parametrize("prompt", ["A fox", "Mist over hills"])
def test_a_transparent_gif_is_clear_or_not(prompt: str) -> None:
    """Each frame of a transparent gif has clear pixels and full ones, and no shades."""
    image = opened(paint(job(prompt, transparent=True, format="gif", frames=3)))
    for frame in range(3):
        image.seek(frame)
        alphas = {alpha for _, alpha in image.convert("RGBA").getchannel("A").getcolors() or ()}
        assert alphas == {0, 255}
    assert image.n_frames == 3


@pytest.mark.parametrize(
    ("prompt", "expected"), [("A fox", (False, False)), ("Mist over hills", (True, True))]
)
def test_a_transparent_svg_has_no_background(prompt: str, expected: tuple[bool, bool]) -> None:
    """No rectangle lies behind a subject; a scene without one is cut to a disc."""
    opaque, clear = (
        paint(job(prompt, transparent=each, format="svg")).decode() for each in (False, True)
    )

    assert 'width="100%"' in opaque
    assert ('width="100%"' in clear, 'clip-path="url(#disc)"' in clear) == expected


WORDS = [
    ('A sign that says "Grand Opening" at dusk', "Grand Opening"),
    ("A poster with “Über 9” and ‘Café’ in the forest", "Über 9\nCafé"),
    ("The dog's bowl isn't full, says the owners' cat", ""),
    ('A label "[sandbox:cut]" and "猫"', ""),
    ("«Bonjour» on a cup", "Bonjour"),
]


@pytest.mark.parametrize(("prompt", "words"), WORDS)
def test_quoted_words_are_found(prompt: str, words: str) -> None:
    """Every kind of quotation marks counts; apostrophes, markers and undrawable letters do not."""
    assert read_scene(prompt).quoted == words


@pytest.mark.parametrize("draw", ["scene", "plain"])
@pytest.mark.parametrize("light", ["day", "dusk", "dawn", "night"])
def test_quoted_words_are_large_and_legible(light: str, draw: str) -> None:
    """The letters of a quotation can be read: they match the font's own."""
    image = opened(paint(job(f'A sign "HELLO" by {light}', size=(1024, 640), draw=draw)))
    letters = pil.new("L", image.size, 0)
    font = ImageFont.load_default(size=0.17 * 640)
    place = (512, 0.08 * 640)
    ImageDraw.Draw(letters).text(place, "HELLO", font=font, fill=255, anchor="ma")
    box = letters.getbbox()
    assert box is not None
    there, expected = image.convert("L").crop(box), letters.crop(box)

    assert box[3] - box[1] > 640 / 10
    assert abs(correlation(there, expected)) > 0.75


@pytest.mark.parametrize("quoted", ["RUN", "A much longer sentence of words that needs more lines"])
@pytest.mark.parametrize("size", [(160, 112), (1024, 640), (640, 1536)])
def test_quoted_words_fit_any_size(size: tuple[int, int], quoted: str) -> None:
    """Words change the upper part of the image, and keep clear of its edges."""
    asked = job(f'A fox says "{quoted}"', size=size, draw="plain")
    changed = ImageChops.difference(
        opened(paint(asked)).convert("RGB"),
        opened(paint(evolve(asked, prompt=f"A fox says {quoted}"))).convert("RGB"),
    )
    box = changed.crop((0, 0, size[0], size[1] // 2)).getbbox()

    assert box is not None
    assert 0 < box[0] < box[2] < size[0]


def test_svgs_hold_quoted_words_as_text() -> None:
    """The words of an svg can be searched for."""
    root = ET.fromstring(paint(job('A sign "Grand <Opening>"', format="svg")))

    assert "Grand <Opening>" in " ".join(
        each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")
    )


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp", "gif"])
@pytest.mark.parametrize("transparent", [False, True])
def test_plain_images_are_of_every_format(format_: str, transparent: bool) -> None:
    """Plain drawing keeps size, format and transparency, and says what the image is."""
    if transparent and format_ == "jpeg":
        transparent = False
    data = paint(job(format=format_, transparent=transparent, draw="plain", frames=3))
    image = Image.from_bytes(data)
    alpha = opened(data).convert("RGBA").getchannel("A")

    assert (image.format, image.size) == (format_, SIZE)
    assert alpha.getpixel((5, 5)) == (0 if transparent else 255)
    assert data != paint(job(format=format_, transparent=transparent, frames=3))


def test_plain_images_are_small_palettes() -> None:
    """A plain png holds a few colours, and another prompt or number is another file."""
    data = paint(job(draw="plain"))

    assert opened(data).mode == "P"
    assert data == paint(job(draw="plain"))
    assert len({data, paint(job("a cat", draw="plain")), paint(job(draw="plain"), 1)}) == 3


@pytest.mark.parametrize("hole", HOLES)
def test_plain_masked_edits_change_nothing_outside(hole: tuple[int, int, int, int]) -> None:
    """The mask holds however plain the drawing."""
    source = photo(*SIZE)
    made = opened(paint(edit(mask=picture(mask(*SIZE, hole=hole)), draw="plain")))
    changed = ImageChops.difference(made, opened(source)).convert("L")
    outside = changed.copy()
    outside.paste(0, hole)

    assert outside.getbbox() is None
    assert changed.getbbox() is not None


@pytest.mark.parametrize("transparent", [False, True])
def test_png_pixels_are_what_was_drawn(transparent: bool) -> None:
    """The own encoder loses nothing, whatever the number of channels."""
    source = opened(photo(97, 33)).convert("RGBA" if transparent else "RGB")
    if transparent:
        source.putalpha(pil.linear_gradient("L").resize(source.size))
    written = opened(encode_png(source, comment=NOTICE))

    assert (written.mode, written.tobytes()) == (source.mode, source.tobytes())
    assert written.info["Comment"] == NOTICE


def test_every_figure_of_the_data_can_be_drawn() -> None:
    """Each place, light, weather and subject of the file is drawn without an error."""
    data = read_data()
    every = (data["places"], data["lights"], ("clear", "snow", "rain", "autumn"), (None,))
    scenes = [*product(*every), *product(("hills",), ("day",), ("clear",), data["subjects"])]
    for place, light, weather, subject in scenes:
        names = {"place": place, "light": light, "weather": weather, "subject": subject}
        canvas = Canvas(evolve(read_scene("x"), **names), (160, 112), 1, 0.3)
        canvas.compose()
        assert canvas.shapes
