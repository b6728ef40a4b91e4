"""The page in a real Chromium: what it shows, when it moves, and for whom it can be used."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Literal

import pytest
import pytest_asyncio
from playwright.async_api import expect

from aisquad_core.model import Operation
from aisquad_core.monitoring import Monitoring, peer
from aisquad_core.monitoring.listener import Listener, Visit
from aisquad_core.monitoring.token import Token
from tests.monitoring.chromium import PROGRAM, browsing
from tests.tui import scenes

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page, ViewportSize

    from aisquad_core.settings import Settings
    from tests.tui.scenes import Scene

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(PROGRAM is None, reason="no chromium here: Debian's chromium has it"),
]
BOUND_MS = 30_000
NORMAL: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 360, "height": 740}


# One browser for all: it takes longer to start than most of these to run. What it looks at lives
# on its loop.


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with browsing() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def scene() -> AsyncIterator[Scene]:
    async with scenes.busy() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def monitoring(databases: Settings, scene: Scene) -> AsyncIterator[Monitoring]:
    async with Monitoring(databases, engine=scene.engine, port=0, clock=scene.clock) as made:
        yield made


@asynccontextmanager
async def looking(
    browser: Browser,
    url: str,
    *,
    complaints: list[str] | None = None,
    size: ViewportSize = NORMAL,
    scheme: Literal["light", "dark"] = "light",
) -> AsyncIterator[Page]:
    """Open the dashboard; what its console complains of goes into a list, and must be empty."""
    said = [] if complaints is None else complaints
    context = await browser.new_context(
        viewport=size, color_scheme=scheme, timezone_id="UTC", reduced_motion="reduce"
    )
    context.set_default_timeout(BOUND_MS)
    try:
        page = await context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        await page.goto(f"{url}/dashboard")
        yield page
    finally:
        await context.close()
    if complaints is None:
        assert said == []


async def shows(page: Page, selector: str, text: str) -> None:
    """Wait until it does."""
    await expect(page.locator(selector)).to_have_text(text, timeout=BOUND_MS)


async def test_it_shows_load_convoys_figures_failures_and_agents(
    browser: Browser, monitoring: Monitoring
) -> None:
    async with looking(browser, monitoring.url) as page:
        await shows(page, "#engine-word", "engine 4242 up 3h 12m")
        await shows(page, "#running", "12")
        await shows(page, "#cpu output", "81 %")
        await shows(page, "#workers output", "12 of 12")
        await shows(page, "#ended", "414")
        await shows(page, "#success", "99 %")
        assert await page.locator("#convoy-table tbody tr").count() == 4
        first = page.locator("#convoy-table tbody tr").first
        assert (await first.locator("th").inner_text()).split() == [
            "▶nightly-review", "nightly-review-0004",
        ]  # fmt: skip
        assert await first.locator(".share").inner_text() == "55 %"
        assert await page.locator("#failure-table tbody tr").count() == 4
        agents = await page.locator("#agent-table tbody th").all_inner_texts()
        assert agents == ["engineer", "reviewer", "shell"]
        curve = await page.locator("#cpu .curve").get_attribute("d")
        assert curve is not None
        assert curve.count("L") > 200
        assert await page.locator("#notice").inner_text() == ""


async def test_it_follows_a_convoy_that_moves_without_a_reload(
    browser: Browser, monitoring: Monitoring, scene: Scene
) -> None:
    async with looking(browser, monitoring.url) as page:
        await shows(page, "#engine-word", "engine 4242 up 3h 12m")
        await page.evaluate("window.isTheSamePage = true")
        scene.engine.resize(15)
        scene.engine.add_convoy("quick", [Operation(id=f"q{n}", argv=("true",)) for n in range(3)])
        row = page.locator("#convoy-table tbody tr", has_text="quick")
        await expect(row.locator(".share")).to_have_text("0 %", timeout=BOUND_MS)
        await shows(page, "#running", "15")
        await scene.clock.advance(1)
        scene.engine.set_load(12.0, 34.0)
        await shows(page, "#cpu output", "12 %")
        await expect(row.locator(".share")).to_have_text("100 %", timeout=BOUND_MS)
        await expect(row.locator("td.last")).to_contain_text("completed", timeout=BOUND_MS)
        assert await page.evaluate("window.isTheSamePage") is True


async def test_it_says_when_the_api_is_away_and_comes_back_by_itself(
    browser: Browser, databases: Settings, scene: Scene
) -> None:
    complaints: list[str] = []
    async with AsyncExitStack() as stack:
        async with Monitoring(
            databases, engine=scene.engine, port=0, clock=scene.clock
        ) as monitoring:
            url, port = monitoring.url, monitoring.port
            page = await stack.enter_async_context(looking(browser, url, complaints=complaints))
            await shows(page, "#engine-word", "engine 4242 up 3h 12m")
        await shows(page, "#engine-word", "away")
        notice = await page.locator("#notice").inner_text()
        assert notice.startswith("Monitoring away since ")
        assert notice.endswith("; trying again every 2 s. What stands below is older.")
        assert await page.locator("#convoy-table tbody tr").count() == 4
        async with Monitoring(databases, engine=scene.engine, port=port, clock=scene.clock):
            await shows(page, "#engine-word", "engine 4242 up 3h 12m")
            await shows(page, "#notice", "")
    assert {text.partition(": ")[2] for text in complaints} <= {"net::ERR_CONNECTION_REFUSED"}


async def test_it_says_when_no_engine_runs_and_which_part_is_ill(
    browser: Browser, databases: Settings, settings: Settings, scene: Scene
) -> None:
    async with (
        Monitoring(databases, port=0, clock=scene.clock) as monitoring,
        looking(browser, monitoring.url) as page,
    ):
        await shows(page, "#engine-word", "no engine runs")
        await expect(page.locator("#notice")).to_contain_text("`aisquad up` starts one")
        await shows(page, "#no-convoys", "No convoys yet. `aisquad launch FILE` launches one.")
        settings.metrics_db.unlink()
        await expect(page.locator("#notice")).to_contain_text(
            "metrics: there is no database yet", timeout=BOUND_MS
        )
        assert await page.locator("#failure-table tbody tr").count() == 4  # older, but there


async def test_it_stops_asking_while_nobody_looks(browser: Browser, monitoring: Monitoring) -> None:
    async with looking(browser, monitoring.url) as page:
        await shows(page, "#engine-word", "engine 4242 up 3h 12m")
        asked: list[str] = []
        hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
        await page.evaluate(hide % "true" + "document.dispatchEvent(new Event('visibilitychange'))")
        page.on("request", lambda request: asked.append(request.url))
        # Longer than between two questions, on the page's own clock.
        await page.evaluate("new Promise((resolve) => setTimeout(resolve, 2500))")
        assert asked == []
        async with page.expect_request("**/dashboard/data*"):
            await page.evaluate(
                hide % "false" + "document.dispatchEvent(new Event('visibilitychange'))"
            )


async def test_names_are_text_and_never_markup(
    browser: Browser, monitoring: Monitoring, scene: Scene
) -> None:
    name = "<img src=x onerror=alert(1)><b>bold</b>"
    scene.engine.add_convoy(name, [Operation(id="one", argv=("true",))])
    async with looking(browser, monitoring.url) as page:
        row = page.locator("#convoy-table tbody tr", has_text="onerror")
        await expect(row.locator("th")).to_contain_text(name, timeout=BOUND_MS)
        assert await page.locator("#convoy-table img, #convoy-table b").count() == 0


async def test_it_fits_a_phone_without_scrolling_sideways(
    browser: Browser, monitoring: Monitoring
) -> None:
    async with looking(browser, monitoring.url, size=PHONE) as page:
        await shows(page, "#running", "12")
        wide = "document.documentElement.scrollWidth"
        assert await page.evaluate(wide) == PHONE["width"]
        inner = "[...document.querySelectorAll('.wide')].map((e) => e.scrollWidth - e.clientWidth)"
        assert await page.evaluate(inner) == [0, 0, 0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_its_text_stands_out_from_its_ground(
    browser: Browser, monitoring: Monitoring, scene: Scene, scheme: Literal["light", "dark"]
) -> None:
    """WCAG 2.2 AA: 4.5 to 1 for every text that is shown."""
    scene.engine.set_trouble("disk full")
    async with looking(browser, monitoring.url, scheme=scheme) as page:
        await shows(page, "#notice", "disk full")
        found = await page.evaluate(_CONTRASTS)
        assert len(found) > 100
        assert [entry for entry in found if entry[0] < 4.5] == []


_CONTRASTS = """() => {
  const light = ([r, g, b]) => {
    const [R, G, B] = [r, g, b].map((c) => {
      const s = c / 255;
      return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * R + 0.7152 * G + 0.0722 * B;
  };
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")]
    .filter((it) => [...it.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .filter((it) => it.checkVisibility() && !["OPTION", "NOSCRIPT"].includes(it.tagName))
    .map((it) => {
      const [a, b] = [light(rgb(getComputedStyle(it).color)), light(ground(it))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), it.textContent.trim()];
    });
}"""


_FOCUSED = """() => {
  const it = document.activeElement;
  const named = document.getElementById(it.getAttribute("aria-labelledby"));
  const name = it.labels?.[0].textContent ?? it.getAttribute("aria-label")?.split(":")[0]
    ?? (named ?? it).textContent;
  return [it.tagName.toLowerCase(), name, getComputedStyle(it).outlineStyle];
}"""


async def test_everything_that_can_be_used_is_reached_by_keyboard(
    browser: Browser, monitoring: Monitoring
) -> None:
    async with looking(browser, monitoring.url) as page:
        await shows(page, "#running", "12")
        reached = []
        for _ in range(8):
            await page.keyboard.press("Tab")
            reached.append(await page.evaluate(_FOCUSED))
        assert reached == [
            ["a", "Skip to the convoys", "solid"],
            ["select", "Period", "solid"],
            ["svg", "CPU", "solid"],
            ["svg", "Memory", "solid"],
            ["svg", "Workers", "solid"],
            ["div", "Convoys", "solid"],
            ["div", "Recent failures", "solid"],
            ["div", "Agents", "solid"],
        ]
        await page.focus("#cpu svg")
        await page.keyboard.press("ArrowLeft")
        await expect(page.locator("#cpu output")).to_contain_text(" % at 05:59")
        await page.keyboard.press("Home")
        await expect(page.locator("#cpu output")).to_contain_text(" % at 05:00")
        await page.keyboard.press("Escape")
        await shows(page, "#cpu output", "81 %")


async def test_a_screen_reader_finds_landmarks_headings_and_what_the_curves_say(
    browser: Browser, monitoring: Monitoring
) -> None:
    async with looking(browser, monitoring.url) as page:
        await shows(page, "#running", "12")
        for role in ("banner", "main", "contentinfo"):
            assert await page.get_by_role(role).count() == 1
        headings = await page.get_by_role("heading").all_inner_texts()
        assert headings == [
            "aisquad", "Load", "CPU", "Memory", "Workers", "In this period", "Convoys",
            "Recent failures", "Agents",
        ]  # fmt: skip
        curve = page.get_by_role("img", name="CPU: now 81 %")
        label = await curve.get_attribute("aria-label")
        assert label is not None
        assert "peak 86 %" in label
        for table in ("convoy-table", "failure-table", "agent-table"):
            assert await page.locator(f"#{table} thead th:not([scope=col])").count() == 0
            assert await page.locator(f"#{table} tbody th:not([scope=row])").count() == 0
        assert await page.locator("#notice").get_attribute("role") == "status"
        assert await page.get_by_role("combobox", name="Period").count() == 1


async def test_another_period_is_shown_at_once(browser: Browser, monitoring: Monitoring) -> None:
    async with looking(browser, monitoring.url) as page:
        await shows(page, "#ended", "414")
        await page.select_option("#range", "15")
        await shows(page, "#ended", "107")


async def test_it_asks_nobody_else(browser: Browser, monitoring: Monitoring) -> None:
    async with looking(browser, "about:blank#") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(f"{monitoring.url}/dashboard")
        await shows(page, "#running", "12")
        assert len(asked) > 5
        assert [url for url in asked if not url.startswith(f"{monitoring.url}/")] == []


async def test_who_needs_the_token_is_told_and_the_link_has_it(
    browser: Browser, monitoring: Monitoring, databases: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "find_user", lambda own, other: None)
    token = await asyncio.to_thread(Token(databases.state_dir).obtain)
    async with looking(browser, monitoring.url) as page:
        await expect(page.locator("#notice")).to_have_text(
            "You see numbers alone: names are for the user whose engine this is.", timeout=BOUND_MS
        )
        await shows(page, "#running", "12")
        assert "nightly" not in await page.inner_text("body")
        await page.goto(f"{monitoring.url}/dashboard#{token}")
        await shows(page, "#notice", "")
        await expect(page.locator("#convoy-table")).to_contain_text("nightly-review")
        assert token not in page.url
        await page.reload()
        await expect(page.locator("#convoy-table")).to_contain_text("nightly-review")


async def test_who_asks_from_elsewhere_without_the_token_is_told_where_it_is(
    browser: Browser, monitoring: Monitoring, databases: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def greet(_: Listener, connection: socket.socket) -> Visit:
        return Visit(peer.ends(connection)[0], is_local=False, is_own_user=False)

    monkeypatch.setattr(Listener, "_greet", greet)
    complaints: list[str] = []
    async with looking(browser, monitoring.url, complaints=complaints) as page:
        await shows(
            page, "#notice", "This needs the token: open the link that `aisquad status` prints."
        )
        assert await page.locator("#convoy-table tbody tr").count() == 0
        token = await asyncio.to_thread(Token(databases.state_dir).obtain)
        await page.goto(f"{monitoring.url}/dashboard#{token}")
        await shows(page, "#notice", "")
        await shows(page, "#running", "12")
    assert all("401 (Unauthorized)" in text for text in complaints)
