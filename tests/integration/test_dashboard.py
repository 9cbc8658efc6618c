"""The dashboard in Chromium, asked over a socket of a real server with two workers."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.dashboards import fill_hostile, fill_store
from tests.integration.guards import RunningGuard

from demur.store import new_key, open_store

PATIENCE_S = 120
CHROMIUM = Path("/usr/bin/chromium")
SIZES = {"wide": (1280, 900), "narrow": (390, 844)}
LUMINANCE = """
const numbers = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => {
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const [x, y, z] = [r, g, b].map((v) => linear(v / 255));
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
const ground = (one) => {
  for (; one; one = one.parentElement) {
    const found = numbers(getComputedStyle(one).backgroundColor);
    if (found.length === 3 || found[3] === 1) return found;
  }
  return [255, 255, 255];
};
const isSeen = (one) => one.checkVisibility() && !one.closest(".unseen, .skip");
"""
FAINT_TEXTS = f"""() => {{ {LUMINANCE}
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {{
    const one = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
    if (!text || one.closest("svg") || !isSeen(one)) continue;
    const style = getComputedStyle(one), size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    const found = ratio(light(numbers(style.color)), light(ground(one)));
    if (found < least) faint.push(`${{text.slice(0, 40)}}: ${{found.toFixed(2)}} of ${{least}}`);
  }}
  return faint;
}}"""
FAINT_SHAPES = f"""() => {{ {LUMINANCE}
  const wanted = ["s1", "s2", "s3", "s4", "s5", "s6", "s7", "quiet", "signal", "alarm", "span", "estimate"];
  return wanted.flatMap((name) => [...document.querySelectorAll(`svg .${{name}}`)].slice(0, 3)).flatMap((one) => {{
    const style = getComputedStyle(one);
    const colour = numbers(style.fill === "none" ? style.stroke : style.fill);
    const found = ratio(light(colour), light(ground(one.closest("figure"))));
    return found < 3 ? [`${{one.getAttribute("class")}}: ${{found.toFixed(2)}}`] : [];
  }});
}}"""
NAMELESS = """() => {
  const named = (one) => (one.getAttribute("aria-label") || one.innerText || "").trim()
    || [...(one.labels || [])].some((label) => label.innerText.trim());
  const wanted = "a, button, summary, #key, [role=img], [role=region], nav, table";
  const found = [...document.querySelectorAll(wanted)].filter((one) => !named(one));
  return found.map((one) => one.outerHTML.slice(0, 90));
}"""
LANDMARKS = """() => Object.fromEntries(["header", "main", "footer", "h1"].map(
  (name) => [name, document.querySelectorAll(`body > ${name}, body > header ${name}`).length]))"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium here")]


@pytest.fixture(scope="module")
def guard(tmp_path_factory):
    from demur.models.rules import RulesClassifier
    from demur.tasks import PROMPT_RISK, REFUSAL

    folder = tmp_path_factory.mktemp("guard")
    RulesClassifier(REFUSAL).save(folder / "refusal")
    RulesClassifier(PROMPT_RISK).save(folder / "risk")
    models = [folder / "refusal", folder / "risk"]
    running = RunningGuard(folder, models, text={"log": "full"}, monitor={"enabled": False})
    with open_store(running.database) as store:
        fill_store(store, datetime.now(UTC), requests=600, texts=True)
    yield running
    running.kill()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def open_page(browser, guard):
    """Maker of pages in a browser of their own, which must ask nobody else and complain of nothing."""
    made, heard = [], []

    def make(scheme="light", size="wide", key=None):
        width, height = SIZES[size]
        context = browser.new_context(
            base_url=guard.url, color_scheme=scheme, viewport={"width": width, "height": height}
        )
        context.set_default_timeout(PATIENCE_S * 1000)
        made.append(context)
        page = context.new_page()
        page.on("console", lambda one: heard.append(f"console: {one.text}"))
        page.on("pageerror", lambda one: heard.append(f"error: {one}"))
        page.on("dialog", lambda one: heard.append(f"dialog: {one.message}"))
        page.on("request", lambda one: check_address(one.url, guard.url, heard))
        if key is not None:
            log_in(page, key)
        return page

    yield make
    for context in made:
        context.close()
    assert heard == []


def check_address(url, own, heard):
    if not url.startswith((f"{own}/", "data:")):
        heard.append(f"asked {url}")


def log_in(page, key):
    page.goto("/dashboard?span=day")
    page.locator("#key:focus").wait_for()  # the field takes the focus by itself, a moment after the page is there
    page.keyboard.type(key)
    page.keyboard.press("Enter")
    arrive(page, "/dashboard?span=day")


def arrive(page, path):
    page.wait_for_url(lambda url: url.endswith(path))


def focused(page):
    return page.evaluate("document.activeElement.textContent.trim()")


def test_a_hand_on_the_keyboard_is_enough(open_page, guard):
    page = open_page()
    log_in(page, guard.key)
    assert page.title() == "Last 24 hours · demur"
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Shift+Tab")
    assert focused(page) == "This server"
    page.get_by_role("link", name="Last hour").focus()
    page.keyboard.press("Enter")
    arrive(page, "/dashboard?span=hour")
    summary = page.locator("#traffic summary")
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("#traffic table").is_visible()
    page.get_by_role("button", name="Log out").focus()
    page.keyboard.press("Enter")
    arrive(page, "/dashboard/login?why=out")
    page.goto("/dashboard")
    arrive(page, "/dashboard/login?why=first")


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(open_page, guard):
    page = open_page(key=guard.key)
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/dashboard")
    assert guard.key not in cookie["value"]
    assert page.evaluate("document.cookie") == ""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_in_both_themes_and_widths(open_page, guard, tmp_path, scheme, size):
    page = open_page(scheme, size)
    page.goto("/dashboard/login")
    for wrong in (FAINT_TEXTS, NAMELESS):
        assert page.evaluate(wrong) == []
    log_in(page, guard.key)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for wrong in (FAINT_TEXTS, FAINT_SHAPES, NAMELESS):
        assert page.evaluate(wrong) == []
    assert page.evaluate(LANDMARKS) == {"header": 1, "main": 1, "footer": 1, "h1": 1}
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("script").count() == 0
    picture = page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert len(picture) > 50_000
    (red, green, blue) = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert (red + green + blue > 600) is (scheme == "light")


def test_everything_has_its_figures(open_page, guard):
    page = open_page(key=guard.key)
    for part in ("traffic", "answers", "drift", "experiments", "models", "retraining", "flagged", "server"):
        assert page.locator(f"#{part} .empty").count() == 0, part
        assert page.locator(f"#{part} h2").is_visible()
    boxes = page.locator(".plot svg").all()
    assert len(boxes) == 5
    assert all(box.bounding_box()["width"] > 300 for box in boxes)
    page.locator("#flagged summary").first.click()
    assert page.get_by_text("keep bread fresh").first.is_visible()


def test_a_key_that_is_revoked_ends_the_session_in_every_worker(open_page, guard):
    text, row = new_key("gone soon", ["admin"])
    with open_store(guard.database) as store:
        store.add_key(row)
        page = open_page(key=text)
        store.revoke_key(row.id)

    def is_out():
        return {page.goto("/dashboard").url.rpartition("/")[2] for _ in range(4)} == {"login?why=first"}

    guard.wait_until(is_out, "a revoked key still opens the page")


def test_hostile_texts_are_only_texts(open_page, guard):
    with open_store(guard.database) as store:
        before = {row.task: row.version for row in store.models(stage="champion")}
        fill_hostile(store, datetime.now(UTC))
        assert {row.task: row.version for row in store.models(stage="champion")}.items() >= before.items()
    page = open_page(key=guard.key)
    page.goto("/dashboard?span=hour")
    page.mouse.move(300, 300)
    assert page.title() == "Last hour · demur"
    assert page.locator("script, img, iframe").count() == 0
    assert page.get_by_text("<script>document.title='owned'</script>").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
