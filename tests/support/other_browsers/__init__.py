"""Debian's Firefox ESR and WebKitGTK, driven by the protocols of the W3C that each speaks."""
