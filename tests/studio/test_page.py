"""The studio in a real Chromium: make, edit, gallery, jobs and money, as a person uses them."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gptimage_mcp.config.settings import Settings
from gptimage_mcp.server import build_server
from tests.mcp.http_helpers import TOKEN
from tests.mcp.http_helpers import serving as mcp_serving
from tests.studio.conftest import PATIENCE, Hold, Service, Site, Tab, enter, opened, quoted, serving


if TYPE_CHECKING:
    from playwright.sync_api import APIResponse, Browser, Route

PAGES = ("make", "edit", "gallery", "jobs", "money")
LIGHT, DARK = "rgb(247, 245, 241)", "rgb(20, 19, 18)"
ATTACKS = """async ([studio, id]) => {
  const options = { credentials: "include", mode: "no-cors", withCredentials: true };
  const body = JSON.stringify({ id: "stolen", prompt: "A stolen fox" });
  const ask = (path) => fetch(`${studio}/api/${path}`, { credentials: "include" });
  const read = await ask("images").then((each) => each.text(), () => "no");
  await fetch(`${studio}/api/jobs`, { ...options, method: "POST", body }).catch(() => {});
  const ends = (element, good, bad, url) => new Promise((done) => {
    element[good] = () => done("yes");
    element[bad] = () => done("no");
    if (url) element.src = url;
  });
  const frame = document.createElement("iframe");
  frame.src = `${studio}/`;
  document.body.append(frame);
  await new Promise((done) => { frame.onload = done; });
  return {
    read,
    send: await ask("jobs/stolen").then(() => "yes", () => "no"),
    image: await ends(new Image(), "onload", "onerror", `${studio}/images/${id}`),
    listen: await ends(new EventSource(`${studio}/api/events`, options), "onopen", "onerror"),
    embed: frame.contentDocument === null ? "no" : "yes",
  };
}"""
"""What a page of another origin may try; each says whether it came through."""

SMALL = """() => [...document.querySelectorAll("button, a, input, select, textarea, summary")]
  .filter((each) => each.checkVisibility() && !each.matches(".skip, [type=file], [type=checkbox]"))
  .filter((each) => { const { width, height } = each.getBoundingClientRect();
    return Math.min(width, height) < 43.5; }).map((each) => each.outerHTML)"""
"""What is too small for a finger; of a checkbox its label is what is touched."""

HOSTILE = '<img src=x onerror="document.title=1"> & <b>bold</b> {{7*7}}'
"""What would be markup, if anything of a prompt could become it."""


def test_the_printed_address_opens_the_page(
    browser: Browser, home: Path, service: Service, look: dict[str, Any]
) -> None:
    """The token leaves the address at once, and a copied address opens nothing."""
    with serving(home, service) as site:
        context = browser.new_context(**look)
        page = context.new_page()
        page.goto(f"{site.url}/?token={site.token}")
        page.wait_for_selector("main[data-ready]")
        other = browser.new_context()
        late = other.new_page()
        late.goto(f"{site.url}/?token={site.token}")

        assert page.url.partition("#")[0] == f"{site.url}/"
        assert late.locator("h1").inner_text() == "This address was used already"
        context.close()
        other.close()


def test_a_double_click_and_a_reload_pay_once(tab: Tab, service: Service, hold: Hold) -> None:
    """One job for two clicks; a reload finds it; a cancel says what it costs; it is saved."""
    calls = len(service.calls)
    tab.find(".make textarea[name=prompt]").fill(f"A silver {tab.name}")
    tab.there(".make .estimate strong")
    tab.find(".make button.primary").click()
    assert hold.arrived.wait(PATIENCE)
    # The second click of a double one may come when the first one is through.
    tab.there(".make .card:first-child[data-state=sending]")
    tab.there(".make button.primary:enabled").dispatch_event("click", {"detail": 2})
    tab.page.reload()
    tab.there("main[data-ready]")
    card = f".make .card:has(.words:text-is('A silver {tab.name}'))"
    tab.there(f"{card}[data-state=sending]")
    tab.find(f"{card} button:text-is('Cancel')").click()
    tab.there(".toast:has-text('It was sent already and goes on: it may cost up to $')")
    hold.go.set()
    tab.there(f"{card}[data-state=done] button.frame img")

    assert len(service.calls) - calls == 1
    assert tab.find(".make textarea[name=prompt]").input_value() == f"A silver {tab.name}"


def test_nothing_of_a_prompt_is_markup(tab: Tab) -> None:
    """A hostile prompt is shown as it was written, everywhere, and runs nothing."""
    prompt = f"{HOSTILE} {tab.name}"
    id = tab.make(prompt)
    tab.site.client.patch(f"/api/images/{id}", json={"tag": "<script>x</script>"})
    tab.go("gallery")
    tab.there(f".tile[data-id={id}]").click()
    tab.there(f"dialog .long:text-is({quoted(prompt)})")
    tab.there('dialog .chip:has-text("<script>x</script>")')
    tab.page.keyboard.press("Escape")
    tab.go("jobs")
    tab.there(f".job .words:text-is({quoted(prompt)})")

    assert tab.find("img[onerror], main b:has-text('bold'), main script").count() == 0
    assert tab.page.title() == "Jobs · gptimage studio"


def test_a_prompt_without_end_fits(tab: Tab) -> None:
    """Ten thousand letters without a space, written from right to left, widen no page."""
    prompt = f"\u202e{'w' * 10_000} {tab.name}"
    job = tab.site.make(f"endless-{tab.name}", prompt)
    wide: list[str] = []
    for name in PAGES:
        tab.go(name)
        if tab.page.evaluate("() => document.documentElement.scrollWidth > innerWidth"):
            wide.append(name)
    tab.go("gallery")
    tab.find(f".tile[data-id={job['images'][0]}]").click()
    facts = tab.there("dialog .facts")

    assert wide == []
    assert facts.evaluate("node => node.scrollWidth - node.clientWidth") == 0
    tab.page.keyboard.press("Escape")


def test_a_budget_that_is_too_small_sends_nothing(
    browser: Browser,
    home: Path,
    service: Service,
    tmp_path: Path,
    look: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The card says what the request may cost and what is left, in a sentence."""
    monkeypatch.setenv("GPTIMAGE_BUDGET", "0.001/day")
    calls = len(service.calls)
    with serving(tmp_path, service) as site:
        tab = opened(browser, enter(site), **look)
        tab.find(".make textarea[name=prompt]").fill(f"A dear {tab.name}")
        tab.find(".make button.primary").click()
        state = tab.there(".make .card[data-state=failed] .state").inner_text()
        tab.page.context.close()

    assert state.startswith("Nothing was sent: this request may cost up to $")
    assert (len(service.calls) - calls, home.is_dir()) == (0, True)


def test_a_tab_says_that_its_studio_was_stopped(
    browser: Browser, home: Path, service: Service, look: dict[str, Any]
) -> None:
    """What stands on it stays, below a sentence."""
    with serving(home, service) as site:
        tab = opened(browser, enter(site), **look)
    banner = tab.there("#banner:visible")
    text = banner.inner_text()
    tab.page.context.close()

    assert text.startswith("The studio does not answer")


def test_many_prompts_are_a_list_of_their_own_images(tab: Tab) -> None:
    """A line each; every one has its card, and the estimate is for all."""
    tab.go("make")
    tab.find(".make textarea[name=prompt]").fill(f"A tin {tab.name}\n\nA glass {tab.name}")
    tab.page.get_by_label("One image for each line").check()
    tab.there(".make .estimate:has-text('for 2')")
    tab.find(".make button.primary:text-is('Make 2 images')").click()

    for prompt in (f"A tin {tab.name}", f"A glass {tab.name}"):
        tab.there(f".make .card[data-state=done]:has(.words:text-is({quoted(prompt)}))")
    tab.page.get_by_label("One image for each line").uncheck()


def test_only_what_the_model_takes_is_offered(tab: Tab) -> None:
    """Parameters follow the model and the format; a refusal stands at its field."""
    from playwright.sync_api import expect

    tab.go("make")
    tab.find(".make summary").click()
    tab.find(".make select[name=format]").select_option("jpeg")
    tab.there(".make input[name=compression]")
    tab.find(".make select[name=format]").select_option("")
    tab.there(".make input[name=compression]", 0)
    tab.find(".make textarea[name=prompt]").fill("A map")
    tab.find(".make input[name=size]").fill("enormous")
    tab.there(".make input[name=size][aria-invalid=true]")
    error = tab.there(".make .helpline.error:has-text('size')")
    expect(error).to_be_in_viewport(
        ratio=1, timeout=PATIENCE * 1000
    )  # wherever the form is scrolled to
    tab.find(".make .chip:text-is('square')").click()
    tab.there(".make .estimate strong")


def test_two_tabs_follow_the_same_job(browser: Browser, tab: Tab, hold: Hold) -> None:
    """What one tab begins the other one shows, and both see its end."""
    other = opened(browser, tab.site)
    other.go("jobs")
    tab.go("make")
    tab.find(".make textarea[name=prompt]").fill(f"A shared {tab.name}")
    tab.find(".make button.primary").click()
    assert hold.arrived.wait(PATIENCE)
    row = f".job:has(.words:text-is('A shared {tab.name}'))"
    other.there(f"{row}[data-state=sending]")
    hold.go.set()
    other.there(f"{row}[data-state=done]")
    tab.there(".make .card:first-child[data-state=done]")
    wrong = list(other.wrong)
    other.page.context.close()

    assert wrong == []


def test_a_job_begun_while_the_list_is_read_stays_first(tab: Tab) -> None:
    """The list of jobs comes late, and knows nothing of the job that began meanwhile."""
    tab.site.make(f"earlier-{tab.name}", f"An earlier {tab.name}")
    late: list[tuple[Route, APIResponse]] = []

    def hold_list(route: Route) -> None:
        if route.request.method == "GET":
            late.append((route, route.fetch()))
        else:
            route.continue_()

    tab.page.route("**/api/jobs", hold_list)
    with tab.page.expect_request("**/api/jobs"):
        tab.page.reload()
    tab.there("main[data-ready]")
    tab.find(".make textarea[name=prompt]").fill(f"A later {tab.name}")
    tab.find(".make button.primary").click()
    tab.there(".make .card[data-state=done]")
    for route, response in late:
        route.fulfill(response=response)
    tab.there(f".make .card:has(.words:text-is('An earlier {tab.name}'))")

    prompts = tab.find(".make .card .words").all_inner_texts()
    assert prompts[:2] == [f"A later {tab.name}", f"An earlier {tab.name}"]


def test_every_page_fits_both_widths_and_themes(tab: Tab) -> None:
    """Nothing is cut off at the side, a finger meets 44 pixels, and the theme can be changed."""
    wide: list[str] = []
    small: list[str] = []
    phone = tab.page.evaluate("() => innerWidth <= 760")
    for name in PAGES:
        tab.go(name)
        tab.there(f"section.{name} h1")
        if tab.page.evaluate("() => document.documentElement.scrollWidth > innerWidth"):
            wide.append(name)
        small += tab.page.evaluate(SMALL) if phone else []
    dark = tab.page.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches")
    shown = tab.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    tab.find("#theme").click()
    switched = tab.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    tab.page.reload()
    tab.there("main[data-ready]")
    stays = tab.page.evaluate("() => getComputedStyle(document.body).backgroundColor")

    assert (wide, small) == ([], [])
    assert (shown, switched) == ((DARK, LIGHT) if dark else (LIGHT, DARK))
    assert stays == switched


def test_a_template_is_filled_in_and_sent(tab: Tab) -> None:
    """Its arguments are a form, its prompt is shown before, and what is missing is said."""
    template = next(
        each
        for each in tab.site.studio.templates.values()
        if all(isinstance(value, str) for value in each.example.values())
    )
    tab.go("make")
    tab.page.get_by_label("Template").select_option(template.name)
    for name, value in template.example.items():
        field = tab.page.get_by_label(re.compile(rf"^{name.replace('_', ' ')}( \(optional\))?$"))
        if field.evaluate("node => node.tagName") == "SELECT":
            field.select_option(str(value))
        else:
            field.fill(str(value))
    prompt = template.render(template.example).text
    tab.there(f".make .small:has-text({quoted(prompt[:60])})")
    tab.there(".make .estimate strong")
    tab.wrong.clear()  # the browser notes each refusal of a form that was not whole yet
    tab.find(".make button.primary").click()
    card = tab.there(".make .card:first-child[data-state=done]")
    tab.page.get_by_label("Template").select_option("")

    job = tab.site.get(f"/api/jobs/{card.get_attribute('data-job')}")
    assert (job["request"]["prompt"], job["request"]["template"]) == (prompt, template.name)


def test_sizes_are_words_or_pixels_and_n_is_several_images(tab: Tab) -> None:
    """A chip fills in a word, pixels are typed; two images have a frame each from the beginning."""
    tab.go("make")
    tab.find(".make textarea[name=prompt]").fill(f"A pair of {tab.name}")
    tab.find(".make .chip:text-is('landscape')").click()
    assert tab.find(".make input[name=size]").input_value() == "landscape"
    tab.find(".make input[name=size]").fill("1024x1024")
    tab.find(".make input[name=n]").fill("2")
    tab.find(".make button.primary:text-is('Make 2 images')").click()
    tab.there(".make .card:first-child[data-state=done] button.frame img", 2)
    tab.find(".make input[name=n]").fill("")

    job = tab.site.get("/api/jobs")["jobs"][0]["request"]
    assert (job["size"], job["n"]) == ("1024x1024", 2)


def test_money_is_shown_before_while_and_after(tab: Tab, hold: Hold) -> None:
    """An estimate before, a preview while it is drawn, the cost after, and what is left."""
    hold.previews = True
    tab.go("make")
    tab.find(".make textarea[name=prompt]").fill(f"A dear {tab.name}")
    tab.there(".make .estimate:has-text('About $'):has-text('at most $')")
    left = tab.there("#left").inner_text()
    tab.find(".make button.primary").click()
    tab.there(".make .card:first-child .frame.preview img[alt=Preview]")
    tab.there(".make .card:first-child .state:has-text('at most $')")
    hold.go.set()
    tab.there(".make .card:first-child[data-state=done] .state:has-text('$')")
    from playwright.sync_api import expect

    expect(tab.find("#left")).not_to_have_text(left, timeout=PATIENCE * 1000)


def test_an_error_is_a_sentence(tab: Tab, service: Service) -> None:
    """What the service refuses stands on the card, and the request can be used again."""
    service.sandbox.fail_next("moderation")
    tab.go("make")
    tab.find(".make textarea[name=prompt]").fill(f"A refused {tab.name}")
    tab.find(".make button.primary").click()
    words = quoted(f"A refused {tab.name}")
    card = tab.there(f".make .card[data-state=failed]:has(.words:text-is({words}))")
    text = card.locator(".state").inner_text()
    tab.find(".make textarea[name=prompt]").fill("")
    card.locator("button:text-is('Use again')").click()

    assert (text[0].isupper(), text.endswith("."), "Error:" in text) == (True, True, False)
    assert tab.find(".make textarea[name=prompt]").input_value() == f"A refused {tab.name}"


def test_a_late_response_takes_nothing_back(tab: Tab, service: Service) -> None:
    """A job may be over before the page has the response that says it was begun."""
    late: list[tuple[Route, APIResponse]] = []

    def hold_response(route: Route) -> None:
        if route.request.method == "POST":
            late.append((route, route.fetch()))
        else:
            route.continue_()

    service.sandbox.fail_next("moderation")
    tab.page.route("**/api/jobs", hold_response)
    tab.find(".make textarea[name=prompt]").fill(f"A late {tab.name}")
    tab.find(".make button.primary").click()
    words = quoted(f"A late {tab.name}")
    card = tab.there(f".make .card[data-state=failed]:has(.words:text-is({words}))")
    while not late:  # the card may be there before the held response is
        tab.page.wait_for_timeout(10)
    for route, response in late:
        route.fulfill(response=response)
    tab.there(".make button.primary:not([disabled])")

    assert card.count() == len(late) == 1


def test_nothing_jumps_while_an_image_is_made(tab: Tab) -> None:
    """Frames have their proportions from the beginning: what is there already stays in place."""
    tab.page.evaluate(
        """() => new PerformanceObserver((list) => { for (const each of list.getEntries())
        if (!each.hadRecentInput) window.moved = (window.moved ?? 0) + each.value; })
        .observe({ type: "layout-shift" })"""
    )
    tab.make(f"A still {tab.name}")

    assert tab.page.evaluate("() => window.moved ?? 0") < 0.1


def test_it_is_used_without_a_mouse(tab: Tab) -> None:
    """Tab reaches the skip link and every control, each with a name; Ctrl and Enter sends."""
    tab.page.keyboard.press("Tab")
    first = tab.page.evaluate("() => document.activeElement.textContent")
    tab.find(".make textarea[name=prompt]").focus()
    tab.page.keyboard.type(f"A typed {tab.name}")
    tab.page.keyboard.press("Control+Enter")
    tab.there(f".make .card[data-state=done] .words:text-is('A typed {tab.name}')")
    nameless = tab.page.evaluate(
        """() => [...document.querySelectorAll("button, a, input, select, textarea, [role]")]
        .filter((each) => each.checkVisibility() && !each.textContent.trim() && !each.ariaLabel
          && !each.labels?.length && !each.title && !each.matches("[role=status], [role=alert]"))
        .map((each) => each.outerHTML)"""
    )

    assert (first, nameless) == ("Skip to the page", [])


def test_empty_pages_teach(
    browser: Browser, home: Path, service: Service, tmp_path: Path, look: dict[str, Any]
) -> None:
    """A new store says on each page what to do first, and an example fills the form."""
    with serving(tmp_path, service) as site:
        tab = opened(browser, enter(site), **look)
        found: dict[str, str] = {}
        for name in PAGES:
            tab.go(name)
            hint = ".soft:has-text('Tag images (')" if name == "money" else ".empty:visible h2"
            found[name] = tab.there(f".{name} {hint}").inner_text()
        tab.go("make")
        tab.find(".make .empty button").first.click()
        prompt = tab.find(".make textarea[name=prompt]").input_value()
        wrong = list(tab.wrong)
        tab.page.context.close()

    assert len(set(found.values())) == len(PAGES)
    assert found["gallery"] == "Every image you make is saved here"
    assert (prompt.startswith("A red fox"), wrong) == (True, [])
    assert home


def test_a_closed_tab_and_a_restart_lose_nothing(
    browser: Browser, home: Path, service: Service, hold: Hold, look: dict[str, Any]
) -> None:
    """The tab is closed and the studio stopped while it draws; the next one shows the image."""
    calls = len(service.calls)
    with serving(home, service) as site:
        tab = opened(browser, enter(site), **look)
        prompt = f"A restarted {tab.name}"
        tab.find(".make textarea[name=prompt]").fill(prompt)
        tab.find(".make button.primary").click()
        assert hold.arrived.wait(PATIENCE)
        tab.page.context.close()
    hold.go.set()
    with serving(home, service) as site:
        tab = opened(browser, enter(site), **look)
        tab.there(f".make .card:has(.words:text-is('{prompt}'))[data-state=done] img")
        tab.page.context.close()

    assert len(service.calls) - calls == 1


def test_a_page_of_another_server_gets_nothing(browser: Browser, site: Site) -> None:
    """With the browser's cookie there, another page can neither read, send, embed nor listen."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()

        def log_message(self, format: str, *_: object) -> None:
            del format

    (id,) = site.make("seen", "A seen seal")["images"]
    jobs = len(site.get("/api/jobs")["jobs"])
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        tab = opened(browser, site)
        tab.page.goto(f"http://127.0.0.1:{server.server_port}/")
        found = tab.page.evaluate(ATTACKS, [site.url, id])
        tab.page.context.close()
        server.shutdown()

    assert found == {"read": "no", "send": "no", "image": "no", "listen": "no", "embed": "no"}
    assert len(site.get("/api/jobs")["jobs"]) == jobs


def test_the_studio_of_a_server_is_signed_into(
    browser: Browser, tmp_path: Path, look: dict[str, Any]
) -> None:
    """Below the MCP server: a token opens it, everything works there, and signing out closes it."""
    from playwright.sync_api import expect

    settings = Settings(
        store=tmp_path / "store",
        ledger=tmp_path / "ledger.sqlite",
        sandbox=True,
        studio=True,
        transport="http",
        tokens=(TOKEN,),
        log_level="ERROR",
    )
    with mcp_serving(build_server(settings), settings) as server:
        context = browser.new_context(**look)
        context.set_default_timeout(PATIENCE * 1000)
        page = context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{server.url}/studio")
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("main[data-ready]")
        page.fill(".make textarea[name=prompt]", "A distant drum")
        page.click(".make button.primary")
        page.click(".make .card:first-child[data-state=done] button.frame:has(img)")
        image = page.locator("dialog .view img")
        drawn = image.evaluate("async node => (await node.decode(), node.naturalWidth)")
        page.keyboard.press("Escape")
        page.click("#leave")
        expect(page.get_by_label("Token")).to_be_visible(timeout=PATIENCE * 1000)
        context.close()

    assert (drawn, wrong) == (1024, [])
