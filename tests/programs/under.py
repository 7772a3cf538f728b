# SPDX-License-Identifier: MIT
"""Runs programs with and without the preload and compares them: what the cases in cases.py are written with."""
import os
import signal
import subprocess
import tempfile


# Against hangs alone, however busy the machine is.
HANG = 500


class Failure(Exception):
    """The preload changed what a program does."""


class Skip(Exception):
    """The program is not here, or does not work here even without the preload."""


def tail(data, lines=15):
    return "\n".join(data.decode(errors="replace").splitlines()[-lines:])


class Under:
    """A preload with its options, a private folder, and what has been compared so far."""

    def __init__(self, preload, conf, source, bench, tmp):
        self.preload, self.conf, self.source, self.bench, self.tmp = preload, conf, source, bench, tmp
        self.compared = 0

    def path(self, name):
        return os.path.join(self.tmp, name)

    def environment(self, preloaded, extra=None):
        env = {k: v for k, v in os.environ.items()
               if k not in ("LD_PRELOAD", "MALLOC_PERTURB_") and not k.startswith("ASHLAR_")}
        env.update({"LC_ALL": "C", "HOME": self.tmp, "TMPDIR": self.tmp})
        if preloaded:
            env.update({"LD_PRELOAD": self.preload, "ASHLAR_CONF": self.conf})
        env.update(extra or {})
        return env

    def run(self, command, preloaded=True, extra=None, data=None, timeout=HANG, before=None, folder=None):
        """The finished process. Its whole group is killed when it takes too long: that is a failure."""
        process = subprocess.Popen(command, env=self.environment(preloaded, extra), cwd=folder or self.tmp,
                                   stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                                   preexec_fn=before)
        try:
            out, err = process.communicate(data, timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise Failure("%s: not finished after %d s\n%s\n%s" % (" ".join(command)[:200], timeout, tail(out),
                                                                  tail(err))) from None
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def good(self, command, **more):
        """Runs and must end with 0."""
        done = self.run(command, **more)
        if done.returncode != 0:
            raise Failure("%s: ended with %d\n%s\n%s" % (" ".join(command)[:200], done.returncode, tail(done.stdout),
                                                        tail(done.stderr)))
        return done

    def same(self, command, reset=None, **more):
        """Runs without, then with the preload: status, output and errors must be the same, and there must be some."""
        plain = self.run(command, preloaded=False, **more)
        if reset is not None:
            reset()
        done = self.run(command, **more)
        for what in ("returncode", "stdout", "stderr"):
            a, b = getattr(plain, what), getattr(done, what)
            if a != b:
                raise Failure("%s: %s differs\nwithout the preload:\n%s\nwith it:\n%s" % (
                    " ".join(command)[:200], what, tail(a) if isinstance(a, bytes) else a,
                    tail(b) if isinstance(b, bytes) else b))
        if not plain.stdout and not plain.stderr:
            raise Failure("%s: printed nothing to compare" % " ".join(command)[:200])
        self.compared += 1
        return done

    def equal(self, what, a, b):
        if a != b:
            raise Failure("%s differs: %s without the preload, %s with it" % (what, str(a)[:300], str(b)[:300]))
        self.compared += 1

    def start(self, command, preloaded=True, extra=None, before=None):
        """A server, in a group of its own; stop() ends it."""
        log = open(self.path("server.log"), "ab")
        return subprocess.Popen(command, env=self.environment(preloaded, extra), cwd=self.tmp,
                                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                preexec_fn=before)

    @staticmethod
    def stop(process):
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=HANG)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def prove_loaded(self):
        """The preload is in the programs that run under it: without this, all would pass by its absence."""
        maps = self.good(["cat", "/proc/self/maps"]).stdout.decode()
        if os.path.realpath(self.preload) not in maps:
            raise Failure("%s is not mapped in a program started under it" % self.preload)

    def prove_hugetlb(self):
        """A program that runs under the preload has its heap on pages of the pool."""
        status = self.good(["cat", "/proc/self/status"]).stdout.decode()
        kib = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("HugetlbPages:")), 0)
        if kib == 0:
            raise Failure("a program started under %s has no huge page" % self.conf)


def private_folder():
    """Short enough that the name of a socket in it is none too long (108 bytes)."""
    top = tempfile.gettempdir()
    return tempfile.TemporaryDirectory(prefix="ashlar-programs-", dir=top if len(top) < 60 else "/tmp")
