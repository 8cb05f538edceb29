#!/usr/bin/python3
"""A window of WebKitGTK that a driver controls, with a profile that outlives it.

The browser that comes with WebKitGTK forgets everything when a driver controls it. The Python of
the system, which has the bindings, runs this file; its one argument is the folder of the profile.
"""

# ruff: noqa: E402
import os
import pty
import sys
import threading
from pathlib import Path

import gi

gi.require_version("Gtk", "3.0")
gi.require_version("WebKit2", "4.1")
from gi.repository import Gtk, WebKit2


def keep_console(path: Path) -> None:
    """Write what the processes of the browser print into a file, line by line.

    They would keep lines for a file until they end, but not for a terminal.
    """
    master, terminal = pty.openpty()
    os.dup2(terminal, 2)

    def copy() -> None:
        with path.open("ab", buffering=0) as file:
            while True:
                file.write(os.read(master, 65_536))

    threading.Thread(target=copy, daemon=True).start()


def main(profile: Path) -> None:
    """Show a window to the driver that asks for one, until it closes the window.

    What pages write on the console, and each download, go into the folder of the profile.
    """
    keep_console(profile / "console.log")
    downloads = profile / "downloads"
    downloads.mkdir(exist_ok=True)
    manager = WebKit2.WebsiteDataManager(
        base_data_directory=str(profile / "data"), base_cache_directory=str(profile / "cache")
    )
    manager.get_cookie_manager().set_persistent_storage(
        str(profile / "cookies"), WebKit2.CookiePersistentStorage.SQLITE
    )
    context = WebKit2.WebContext(website_data_manager=manager)
    context.set_automation_allowed(True)

    def save(download: WebKit2.Download, name: str) -> bool:
        download.set_destination((downloads / Path(name).name).as_uri())
        return True

    def window(_: object) -> WebKit2.WebView:
        settings = WebKit2.Settings(enable_write_console_messages_to_stdout=True)
        view = WebKit2.WebView(
            web_context=context, is_controlled_by_automation=True, settings=settings
        )
        shown = Gtk.Window(default_width=1280, default_height=860)
        shown.add(view)
        shown.show_all()
        view.connect("close", lambda _: Gtk.main_quit())
        return view

    def begin(_: object, session: WebKit2.AutomationSession) -> None:
        session.connect("create-web-view", window)

    def saving(_: object, download: WebKit2.Download) -> None:
        download.connect("decide-destination", save)

    context.connect("automation-started", begin)
    context.connect("download-started", saving)
    Gtk.main()


if __name__ == "__main__":
    main(Path(sys.argv[-1]))
