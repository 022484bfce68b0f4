"""A headless Chromium that tests open pages of our own in; tests that need it are skipped where there is none."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

needs_chromium = pytest.mark.skipif(
    shutil.which("chromium") is None or shutil.which("chromedriver") is None,
    reason="The programs chromium and chromedriver are not installed.",
)

_SWITCHES = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
).split()


@contextmanager
def chromium(width: int, height: int, dark: bool = False, downloads: Path | None = None) -> Iterator[webdriver.Chrome]:
    """
    Start Chromium with a fresh profile, for pages opened as ``driver.get(path.as_uri())``.

    :param width: Width of the page in CSS pixels, which may be less than a window's least width.
    :param height: Its height in CSS pixels.
    :param dark: Prefer the dark colour scheme.
    :param downloads: Folder that downloads go to; inside the profile, and lost with it, if `None`.
    """
    with tempfile.TemporaryDirectory(prefix="rrra-chromium-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for switch in (*_SWITCHES, f"--user-data-dir={profile}"):
            options.add_argument(switch)
        folder = downloads if downloads is not None else Path(profile) / "downloads"
        options.add_experimental_option(
            "prefs", {"download.default_directory": str(folder), "download.prompt_for_download": False}
        )
        # Selenium would look for a driver on the network if it were not given one.
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            # A window has a least width, which these overrides do not know.
            driver.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
            )
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
            yield driver
        finally:
            driver.quit()
