#!/bin/sh
# Print the path of a Chromium that the browser tests can drive; on Debian as root, install one if there is none.
set -eu

find_browser() {
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        if command -v "$name" 2>/dev/null; then return 0; fi
    done
    return 1
}

if [ -n "${RETLIB_BROWSER:-}" ]; then
    [ -x "$RETLIB_BROWSER" ] || { echo "RETLIB_BROWSER names $RETLIB_BROWSER, which cannot be run" >&2; exit 1; }
    echo "$RETLIB_BROWSER"
    exit 0
fi
find_browser && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing Debian's chromium" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
    find_browser
else
    echo "no Chromium found: install one (Debian: apt install chromium; Fedora: dnf install chromium;" \
         "macOS: brew install --cask chromium), or set RETLIB_BROWSER to the path of Chromium or Chrome" >&2
    exit 1
fi
