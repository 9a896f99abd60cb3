"""The built book in a browser that reaches nothing but the book: what a reader sees.

Run by `make look`, after `make book`. It needs a Chromium on the machine, Debian's `chromium` or the one that
CHROMIUM names, and is skipped without. Pictures of every page are left in `_build/screenshots`.
"""

import functools
import http.server
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
BUILT = ROOT / "_build" / "html"
PICTURES = ROOT / "_build" / "screenshots"
PAGES = sorted(path.stem for path in (ROOT / "book").iterdir() if path.suffix in (".ipynb", ".md"))
WIDTHS = {"wide": 1400, "phone": 390}
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine"),
    pytest.mark.skipif(not (BUILT / "index.html").exists(), reason="no built book: make book"),
]

SETTLED = "() => !window.MathJax?.startup?.promise || window.MathJax.startup.promise.then(() => true)"
CONTRAST = """
selector => {
  const light = rgb => rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const c = parse(getComputedStyle(node).backgroundColor);
      if (c.length === 3 || c[3] > 0.5) return c.slice(0, 3);
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll(selector)].filter(n => n.innerText?.trim() && n.offsetParent).map(n => {
    const [a, b] = [light(parse(getComputedStyle(n).color).slice(0, 3)), light(behind(n))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), n.tagName + ": " + n.innerText.trim().slice(0, 40)];
  });
}
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, without a word for each."""

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(BUILT))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # No name is resolved but the book's own address: a request for anything else fails, and is an error.
        rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", rules]
        )
        yield chromium
        chromium.close()


class Reader:
    """One open page, and all that went wrong on it."""

    def __init__(self, browser: Any, url: str, width: int, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.errors.append(f"failed: {request.url[:120]}"))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)
        self.page.wait_for_load_state("load")
        self.page.evaluate(SETTLED)

    def __enter__(self) -> "Reader":
        """Return the reader."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the page."""
        self.context.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_all_that_it_has(name: str, width: str, browser: Any, address: str) -> None:
    with Reader(browser, f"{address}/book/{name}.html", WIDTHS[width]) as reader:
        page = reader.page
        formulas = page.locator("article .math").count()
        assert page.locator("article mjx-container").count() >= formulas
        assert page.locator("mjx-merror").count() == 0
        text = page.locator("article").inner_text()
        assert not re.search(r"\\\(|\\\[|\$\$|\{(?:term|cite|eq|numref)\}|<Figure size", text)
        broken = page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.alt)")
        assert broken == []
        over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert over <= 1, f"{over} px hang out of the page"
        if width == "wide":  # on a phone they are scrolled
            cut = page.evaluate(
                "[...document.querySelectorAll('mjx-container[display=true]')]"
                ".filter(e => e.scrollWidth > e.clientWidth + 2).map(e => e.scrollWidth - e.clientWidth)"
            )
            assert cut == [], "formulas that hang out of the page, px"
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}-{width}.png", full_page=True)
        assert reader.errors == []
        assert all(url.startswith((address, "data:", "blob:")) for url in reader.requests)


@pytest.mark.parametrize("name", PAGES)
def test_every_slider_moves_its_figure(name: str, browser: Any, address: str) -> None:
    with Reader(browser, f"{address}/book/{name}.html", WIDTHS["wide"]) as reader:
        figures = reader.page.locator("figure:has(input[type=range])")
        for k in range(figures.count()):
            figure = figures.nth(k)
            for slider in figure.locator("input[type=range]").all():
                shown = figure.evaluate(
                    "f => f.dataset.view ?? [...f.querySelectorAll('img')].findIndex(i => i.style.display !== 'none')"
                )
                label = slider.evaluate("s => s.nextElementSibling.textContent")
                slider.evaluate("s => { s.value = s.max; s.dispatchEvent(new Event('input', {bubbles: true})) }")
                now = figure.evaluate(
                    "f => f.dataset.view ?? [...f.querySelectorAll('img')].findIndex(i => i.style.display !== 'none')"
                )
                assert now != shown
                assert slider.evaluate("s => s.nextElementSibling.textContent") != label
        assert reader.errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_words_stand_out(name: str, scheme: str, browser: Any, address: str) -> None:
    with Reader(browser, f"{address}/book/{name}.html", WIDTHS["wide"], scheme) as reader:
        seen = reader.page.evaluate(
            CONTRAST, "article h1, article h2, article h3, article p, article li, figcaption, caption, td, th, summary"
        )
        weak = [(round(ratio, 2), words) for ratio, words in seen if ratio < 4.5]
        assert seen
        assert weak == []


def test_search_finds(browser: Any, address: str) -> None:
    with Reader(browser, f"{address}/search.html?q=self-energy", WIDTHS["wide"]) as reader:
        results = reader.page.locator("#search-results li")
        results.first.wait_for(timeout=20_000)
        reader.page.wait_for_timeout(1500)
        assert results.count() >= 3
        assert "01_one_site" in "".join(
            reader.page.locator("#search-results a").evaluate_all("a => a.map(x => x.href)")
        )
        assert reader.page.locator("#search-results p.context").count() >= 1  # excerpts
        assert reader.errors == []
