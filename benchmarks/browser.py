"""Times a clinician's work in the browser, and counts the keys and clicks that it takes.

Starts `dermcheck serve` on drawn photographs of 600 × 450 and headless Chromium in front of it, and prints

- server start to the first photograph on the screen, and to its prediction;
- a prediction asked for by P, from the key to the outline on the screen;
- the next photograph (N), from the key to the photograph, and to its outline;
- submit and next (Ctrl+Enter), the same; that all is stored is asked of the server;
- keys and strokes of the mouse that a lesion takes which is right as it is, has another diagnosis or another
  outline, counted by the page; and seconds a lesion of somebody who does not look at it at all:

    python benchmarks/browser.py
    python benchmarks/browser.py --lesions 5

Needs the package playwright and a Chromium of the system (Debian: chromium). Without a graphics card the
page is drawn by the processor (SwiftShader), which takes longer than a workstation's display. Times end when
the page has drawn the photograph or outline; between two keys there is a pause, in which the viewer prepares
the next one.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Page, sync_playwright
from server import draw, hardware, load_predictor, percentile, serving

FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
LOOKING_S = 1.5
"""Between two keys: a clinician looks at the photograph, and the viewer prepares the next one."""
SENDING_S = 8.0
"""The viewer holds a submission back for 5 s, in which it can be taken back."""
MOST_S = 3.0
CLOCK = """
  // Keys, clicks, and when the photograph and its outline were drawn after the last of them.
  window.clock = { keys: 0, clicks: 0 };
  const { clock } = window;
  const work = () => window.dermcheck?.workplace;
  const restart = () => Object.assign(clock, {
    from: work()?.current?.image, outlinedBefore: work()?.current?.startedFrom === 'prediction',
    pressed: performance.now(), shown: null, outlined: null,
  });
  restart();
  addEventListener('keydown', event => {
    if (!event.isTrusted || ['Control', 'Shift', 'Alt'].includes(event.key)) return;
    clock.keys += 1;
    restart();
  }, true);
  addEventListener('pointerdown', event => { clock.clicks += event.isTrusted; }, true);
  addEventListener('CORNERSTONE_IMAGE_RENDERED', () => {
    const shown = window.dermcheck?.viewer.photograph?.SOPInstanceUID;
    const current = work()?.current;
    const isDrawn = shown && window.dermcheck.viewer.viewport?.getCurrentImageId?.()?.includes(shown);
    if (isDrawn && shown !== clock.from) clock.shown ??= performance.now();
    const isPredicted = current?.startedFrom === 'prediction' && !current.predicting
      && current.image === shown;
    const isNew = shown !== clock.from || !clock.outlinedBefore;
    if (isPredicted && isNew) clock.outlined ??= performance.now();
  }, true);
"""


def main() -> None:
    """Serve, work and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--lesions", type=int, default=15, help="how many of each kind (default 15)")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("There is no Chromium. Install one (Debian: apt install chromium).")
    with tempfile.TemporaryDirectory(prefix="dermcheck-benchmark-") as scratch, sync_playwright() as driver:
        folder = Path(scratch)
        draw(folder / "studies", 6 * arguments.lesions + 10)
        os.environ |= {"DERMCHECK_CACHE": str(folder / "cache"), "OMP_WAIT_POLICY": "PASSIVE"}
        load_predictor()  # exports the networks for the server: that is done once a version
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_context(viewport={"width": 1366, "height": 768}).new_page()
        page.set_default_timeout(120_000)
        page.add_init_script(CLOCK)
        started = time.monotonic()
        with serving(folder / "studies", folder, scoring=True) as (address, _):
            table = [*first_photograph(page, address, started), *work(page, address, arguments.lesions)]
            page.goto("about:blank")
        version = browser.version
        browser.close()
    print(f"\n{hardware()}, Chromium {version}\n")
    print(f"| {'what':58} | {'measured':34} | {'aim':16} |\n|{'-' * 60}|{'-' * 36}|{'-' * 18}|")
    for what, measured, aim in table:
        print(f"| {what:58} | {measured:34} | {aim:16} |")


Row = tuple[str, str, str]


def first_photograph(page: Page, address: str, started: float) -> list[Row]:
    """Open the viewer as the start page's button does."""
    page.goto(f"{address}/viewer/start")
    page.wait_for_function("() => window.clock.shown")
    shown_s = time.monotonic() - started
    page.wait_for_function("() => window.clock.outlined")
    return [
        ("server start to the first photograph in the browser", f"{shown_s:.1f} s", ""),
        ("server start to its prediction", f"{time.monotonic() - started:.1f} s", ""),
    ]


def work(page: Page, address: str, lesions: int) -> list[Row]:
    """Go through photographs by the keys; return lines of the table."""
    table = [("prediction asked for (P), key to outline", said(predictions(page, lesions)), "")]
    shown, outlined = times(page, "n", lesions)
    table += [
        ("next photograph (N), key to photograph", said(shown), "below 300 ms"),
        ("next photograph (N), key to its outline", said(outlined), ""),
    ]
    done = queue(address)["done"]
    shown, outlined = times(page, "Control+Enter", lesions)
    table += [
        ("submit and next (Ctrl+Enter), key to next photograph", said(shown), "below 300 ms"),
        ("submit and next (Ctrl+Enter), key to its outline", said(outlined), ""),
    ]
    table += [
        line(page, lesions, "right as it is", ["Control+Enter"], f"1 key, {MOST_S:g} s"),
        line(page, lesions, "another diagnosis", ["7", "Control+Enter"], f"{MOST_S:g} s"),
        line(page, lesions, "a stroke added", [stroke, "Control+Enter"], f"{MOST_S:g} s"),
    ]
    time.sleep(SENDING_S)
    if (stored := queue(address)["done"] - done) != 4 * lesions:
        sys.exit(f"{stored} lesions were stored, expected {4 * lesions}.")
    return table


def times(page: Page, key: str, count: int) -> tuple[list[float], list[float]]:
    """Press a key again and again; return milliseconds until the next photograph is drawn, and outlined."""
    shown, outlined = [], []
    for _ in range(count):
        time.sleep(LOOKING_S)
        page.keyboard.press(key)
        page.wait_for_function("() => window.clock.shown && window.clock.outlined")
        clock = read(page)
        shown.append(clock["shown"] - clock["pressed"])
        outlined.append(clock["outlined"] - clock["pressed"])
    return shown, outlined


def line(page: Page, count: int, what: str, steps: list[Any], aim: str) -> Row:
    """Do the same to lesion after lesion without a pause; count keys and clicks, and seconds."""
    before, started = read(page), time.monotonic()
    for _ in range(count):
        for step in steps:
            if callable(step):
                step(page)
            else:
                page.keyboard.press(step)
        page.wait_for_function("() => window.clock.shown && window.clock.outlined")
    seconds, after = (time.monotonic() - started) / count, read(page)
    keys, clicks = ((after[kind] - before[kind]) / count for kind in ("keys", "clicks"))
    return f"a lesion, {what}", f"keys {keys:g}, strokes {clicks:g}, {seconds:.2f} s", aim


def stroke(page: Page) -> None:
    """Paint a short stroke beside the lesion: within an outline it would change nothing."""
    box = page.locator(".cornerstone-canvas").first.bounding_box()
    assert box is not None  # noqa: S101 - for mypy: the photograph is on the screen
    x, y = box["x"] + 0.7 * box["width"], box["y"] + 0.85 * box["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 20, steps=6)
    page.mouse.up()
    page.wait_for_function("() => window.dermcheck.workplace.current.history.done.length")


def predictions(page: Page, count: int) -> list[float]:
    """Ask for predictions by the key, of photographs that the viewer has not asked about beforehand."""
    predict_by_itself(page, False)
    took = []
    for _ in range(count):
        time.sleep(LOOKING_S)
        page.keyboard.press("n")
        page.wait_for_function("() => window.clock.shown")
        page.wait_for_selector("#dermcheck[data-state=ready]")
        time.sleep(LOOKING_S)
        page.keyboard.press("p")
        page.wait_for_function("() => window.clock.outlined")
        clock = read(page)
        took.append(clock["outlined"] - clock["pressed"])
    predict_by_itself(page, True)
    return took


def predict_by_itself(page: Page, wanted: bool) -> None:
    """Tick the panel's box, and leave the photograph that was prepared before."""
    page.set_checked("#dermcheck .check input", wanted)
    time.sleep(LOOKING_S)
    page.keyboard.press("n")
    page.wait_for_function("() => window.clock.shown")
    page.wait_for_selector("#dermcheck[data-state=ready]")


def read(page: Page) -> dict[str, float]:
    """Return the page's clock."""
    clock: dict[str, float] = page.evaluate("() => window.clock")
    return clock


def queue(address: str) -> dict[str, int]:
    """Ask how much is done."""
    counts: dict[str, int] = requests.get(f"{address}/viewer/queue", timeout=60).json()
    return counts


def said(milliseconds: list[float]) -> str:
    """Say median and longest."""
    return f"median {percentile(milliseconds, 50):.0f} ms, longest {max(milliseconds):.0f} ms"


if __name__ == "__main__":
    main()
