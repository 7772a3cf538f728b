# SPDX-License-Identifier: MIT
"""Huge pages for the time of a test: taken from the kernel, given back whatever happens.

The pool is the machine's, so tests that change it take turns (LOCK), add to what is there, and take away what they
added. Everything here needs root; Unavailable says why it cannot be had.
"""
import fcntl
import os

POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB/"
LOCK = "/var/lock/ashlar-test-pool"
PAGE_KIB = 2048


class Unavailable(Exception):
    """This machine does not let us have what the test needs."""


def read(name):
    with open(POOL + name, encoding="ascii") as file:
        return int(file.read())


def _write(name, value):
    with open(POOL + name, "w", encoding="ascii") as file:
        file.write(str(value))


class Pool:
    """While inside, `pages` more huge pages are free. exact: there are no others than these."""

    def __init__(self, pages, exact=False):
        self.pages, self.exact = pages, exact

    def __enter__(self):
        if not os.access(POOL + "nr_hugepages", os.W_OK):
            raise Unavailable("no right to reserve huge pages")
        self.lock = open(LOCK, "w", encoding="ascii")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        if self.exact and (read("free_hugepages") > 0 or read("nr_overcommit_hugepages") > 0):
            self.lock.close()
            raise Unavailable("the machine has huge pages of its own to give")
        self.before = read("nr_hugepages")
        try:
            _write("nr_hugepages", self.before + self.pages)
        except OSError as error:
            self.lock.close()
            raise Unavailable("the kernel says: %s" % error) from error
        got = read("nr_hugepages") - self.before
        if got < self.pages:
            self.__exit__()
            raise Unavailable("the kernel gives %d of %d huge pages" % (got, self.pages))
        return self

    def __exit__(self, *_):
        _write("nr_hugepages", self.before)
        self.lock.close()


class Quota:
    """A cgroup (v2) whose members may have `pages` huge pages. enter() in the child moves it there."""

    def __init__(self, pages):
        self.pages, self.path, self.enabled_by_us = pages, None, False

    def __enter__(self):
        root = _cgroup2()
        if root is None:
            raise Unavailable("no cgroup v2 is mounted")
        if "hugetlb" not in _text(root + "/cgroup.controllers").split():
            raise Unavailable("the hugetlb controller is not in cgroup v2")
        try:
            if "hugetlb" not in _text(root + "/cgroup.subtree_control").split():
                _put(root + "/cgroup.subtree_control", "+hugetlb")
                self.enabled_by_us = True
            self.root, self.path = root, "%s/ashlar-test-%d" % (root, os.getpid())
            os.mkdir(self.path)
            _put(self.path + "/hugetlb.2MB.max", str(self.pages * PAGE_KIB * 1024))
        except OSError as error:
            self.__exit__()
            raise Unavailable("no cgroup of our own: %s" % error) from error
        return self

    def __exit__(self, *_):
        if self.path is not None and os.path.isdir(self.path):
            os.rmdir(self.path)
        if self.enabled_by_us:
            _put(self.root + "/cgroup.subtree_control", "-hugetlb")

    def enter(self):
        _put(self.path + "/cgroup.procs", "0")


def thp_is_off():
    """Transparent huge pages are switched off, for the machine or for this process."""
    try:
        return "[never]" in _text("/sys/kernel/mm/transparent_hugepage/enabled") or \
            "THP_enabled:\t0" in _text("/proc/self/status")
    except OSError:
        return True


def _cgroup2():
    with open("/proc/mounts", encoding="ascii") as file:
        for line in file:
            words = line.split()
            if words[2] == "cgroup2":
                return words[1]
    return None


def _text(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def _put(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
