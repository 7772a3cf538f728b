# SPDX-License-Identifier: MIT
"""The allocators a benchmark compares: the C library's, Debian's peers where installed, and ashlar."""
import ctypes.util
import glob
import os
import subprocess
import time

PEERS = (
    # name, library, package that says its version
    ("jemalloc", "libjemalloc.so.2", "libjemalloc2"),
    ("mimalloc", "libmimalloc.so.2", "libmimalloc2.0"),
    ("tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
)
# The same with huge pages asked for, each in its own way: the family, what is added to the name, the environment.
HUGE = (
    ("glibc", "-thp", {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}),
    ("jemalloc", "-thp", {"MALLOC_CONF": "thp:always"}),
    # The older of the two names is that of mimalloc 2.0.
    ("mimalloc", "-large", {"MIMALLOC_LARGE_OS_PAGES": "1", "MIMALLOC_ALLOW_LARGE_OS_PAGES": "1"}),
)


class Allocator:
    """A name, the library to preload ("" for none) and what else its environment needs."""

    def __init__(self, name, preload="", env=None, version="", hugetlb=False):
        self.name, self.preload, self.env, self.version, self.hugetlb = name, preload, env or {}, version, hugetlb

    def environment(self, base=None):
        """The whole environment of a program under this allocator."""
        env = dict(os.environ if base is None else base)
        env.pop("LD_PRELOAD", None)
        env.update(self.env)
        if self.preload:
            env["LD_PRELOAD"] = self.preload
        return env


def _find(soname):
    found = sorted(glob.glob("/usr/lib/*/" + soname) + glob.glob("/usr/lib/" + soname) +
                   glob.glob("/usr/local/lib/" + soname) + glob.glob("/usr/lib64/" + soname))
    return found[0] if found else None


def _version(package):
    try:
        done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def _ours():
    """The commit of the source, where git knows it."""
    here = os.path.dirname(os.path.abspath(__file__))
    try:
        done = subprocess.run(["git", "-C", here, "describe", "--always", "--dirty"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def measured(chosen=None):
    """A line to stand below a table: the day, and the versions of what was compared, or of the source alone."""
    versions = ["ashlar " + _ours()] if chosen is None else [
        a.version if a.version.startswith(a.name) else a.name + " " + a.version for a in chosen if a.version]
    return "Measured on %s: %s." % (time.strftime("%Y-%m-%d"), ", ".join(versions))


def _noted(path):
    """The version of a library that no package knows: the line of a file beside it, libNAME.version."""
    try:
        with open(os.path.splitext(path)[0] + ".version", encoding="utf-8") as file:
            return file.readline().strip()
    except OSError:
        return ""


def missing(others=None):
    """[(name, package)] of the peers of a distribution that are not installed, nor given."""
    return [(name, package) for name, soname, package in PEERS if name not in (others or {}) and _find(soname) is None]


def in_folder(folder):
    """{name: library} of each libNAME.so in a folder; None: of no folder."""
    return {os.path.basename(path)[3:-3]: path for path in sorted(glob.glob(os.path.join(folder or "", "lib*.so")))} \
        if folder else {}


def find(ashlar, huge=False, hugetlb=False, others=None):
    """Every allocator to be had. ashlar: the path of its preload library, or None. others: {name: library}."""
    libc = ctypes.util.find_library("c") or "libc"
    result = [Allocator("glibc", version=os.confstr("CS_GNU_LIBC_VERSION") or libc)]
    others = dict(others or {})
    paths = {}
    for name, soname, package in PEERS:
        path = others.get(name) or _find(soname)
        if path is not None:
            paths[name] = path
            result.append(Allocator(name, path, version=_noted(path) if name in others else _version(package)))
    for name in others:
        if name not in paths:
            paths[name] = os.path.abspath(others[name])
            result.append(Allocator(name, paths[name], version=_noted(paths[name])))
    if huge:
        result += [Allocator(a.name + suffix, a.preload, env, a.version) for a in list(result)
                   for family, suffix, env in HUGE if a.name.startswith(family)]
    if ashlar is not None:
        result.append(Allocator("ashlar", ashlar, version=_ours()))
        if hugetlb:
            result.append(Allocator("ashlar-2M", ashlar, {"ASHLAR_CONF": "huge:2M"}, hugetlb=True))
    return result
