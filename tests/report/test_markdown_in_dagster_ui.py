"""Dagster's UI shows what vehicles named as text, in a real browser, and asks nobody for anything."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.request import urlopen

import dagster as dg
import pytest

from argus_assets.common.texts import markdown, markdown_table, printed

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)")


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """Address of a server on loopback, and what it was asked for."""
    heard: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - overrides

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", heard
        server.shutdown()


def _hostile(address: str) -> list[str]:
    return [
        f"![i]({address}/image.png)", f"[![i]({address}/linked.png)](x)", f"<img src={address}/tag.png>", f"[c]({address}/link)",
        f"{address}/bare", f"({address}/bracket)", f"x|{address}/cell", f"`{address}/code", f"<{address}/auto>", "www.evil.example",
        "a@evil.example", "[x]: http://evil.example", "[^1]", "&lt;b&gt;", "**b** _i_ ~~s~~", "# h", "1. x", "- x", "| a | b |", "a\\|b", "$x$",
    ]  # fmt: skip


@pytest.fixture
def ui(tmp_path: Path) -> Iterator[tuple[str, dg.DagsterInstance]]:
    """Dagster's webserver without code locations, and its instance."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dagster_webserver", "--empty-workspace", "-h", "127.0.0.1", "-p", str(port)]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        server = subprocess.Popen(command, env={**os.environ, "DAGSTER_HOME": str(home)}, stderr=subprocess.DEVNULL)
        try:
            for _ in range(600):
                try:
                    urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}", instance
        finally:
            server.terminate()
            server.wait()


def test_nothing_comes_of_a_vehicles_markdown(
    ui: tuple[str, dg.DagsterInstance], listener: tuple[str, list[str]]
) -> None:
    """The events of an asset show each text whole, without picture or link, and nobody hears of it."""
    address, instance = ui
    bait, heard = listener
    texts = _hostile(bait)
    shown = {
        "table": (markdown_table(["name"], [[text] for text in texts]), "td"),
        "paragraphs": ("\n\n".join(f"**{markdown(text)}**" for text in texts), "p"),
        # Unescaped, so that the test shows that it would hear.
        "bait": (f"![i]({bait}/heard.png)", "img"),
    }
    for name, (source, _) in shown.items():
        instance.report_runless_asset_event(dg.AssetMaterialization(name, metadata={"it": dg.MetadataValue.md(source)}))
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1200})
        page.set_default_timeout(60_000)
        for name, (_, part) in shown.items():
            page.goto(f"{address}/assets/{name}?view=events", wait_until="domcontentloaded")
            content = page.locator(".dagster-markdown").last
            content.locator(part).first.wait_for(state="attached")
            if name != "bait":
                found = [text.split() for text in content.locator(part).all_inner_texts()]
                assert found == [printed(text).split() for text in texts]
                assert content.locator("a, img, del, li, h1, input, script, svg").count() == 0
                assert heard == []
        page.wait_for_load_state("networkidle")
        browser.close()
    assert heard == ["/heard.png"]
