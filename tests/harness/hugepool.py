# SPDX-License-Identifier: MIT
"""Huge pages for the time of a test: taken from the kernel, given back whatever happens.

The pool is the machine's, so tests that change it take turns (a lock), add to what is there, and take away what they
added: a process beside the test's does that, also when the test is killed. Everything here needs root; Unavailable says
why it cannot be had. tests/arena/real_pool.h is the same for programs in C.
"""
import fcntl
import os
import select

# ASH_TEST_POOL: another folder with the same files, and the lock in it.
POOL = os.environ.get("ASH_TEST_POOL", "/sys/kernel/mm/hugepages/hugepages-2048kB") + "/"
LOCK = POOL + "lock" if "ASH_TEST_POOL" in os.environ else "/var/lock/ashlar-test-pool"
PAGE_KIB = 2048


class Unavailable(Exception):
    """This machine does not let us have what the test needs."""


def read(name):
    with open(POOL + name, encoding="ascii") as file:
        return int(file.read())


def _write(name, value):
    with open(POOL + name, "w", encoding="ascii") as file:
        file.write(str(value))


class Keeper:
    """A process that makes the pool what it was, when it is asked to or this one has ended, however that was."""

    def __init__(self, before):
        here, self.end = os.pipe()
        # Children of this process may live on with the pipe's other end.
        us = os.pidfd_open(os.getpid()) if hasattr(os, "pidfd_open") else here
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.keep(here, us, before)
            finally:
                os._exit(0)
        # Whoever ends the test's whole group does not mean it; from here on, so that no page is taken before.
        os.setpgid(self.pid, self.pid)
        for fd in {here, us}:
            os.close(fd)

    def keep(self, here, us, before):
        # Whoever waits for the end of the test's output does not mean this process.
        for fd in (0, 1, 2, self.end):
            os.close(fd)
        select.select([here, us], [], [])
        _write("nr_hugepages", before)

    def close(self):
        os.close(self.end)
        os.waitpid(self.pid, 0)


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
        before = read("nr_hugepages")
        # It has the lock, too, until it is done.
        self.keeper = Keeper(before)
        try:
            _write("nr_hugepages", before + self.pages)
        except OSError as error:
            self.__exit__()
            raise Unavailable("the kernel says: %s" % error) from error
        got = read("nr_hugepages") - before
        if got < self.pages:
            self.__exit__()
            raise Unavailable("the kernel gives %d of %d huge pages" % (got, self.pages))
        return self

    def __exit__(self, *_):
        self.keeper.close()
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
