# SPDX-License-Identifier: MIT
"""The programs: a function each, named as on the command line of programs.py. Under u (under.Under) they must do what
they do without it."""
import glob
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import time

from under import HANG, Failure, Skip


def need(*names):
    for name in names:
        if shutil.which(name) is None:
            raise Skip("%s is not installed" % name)


def words_file(u):
    """Real enough data: lines of words and numbers, the same every time."""
    path = u.path("words")
    draw = random.Random(7)
    with open(path, "w", encoding="ascii") as out:
        for i in range(60000):
            out.write("%s %d %s\n" % ("".join(draw.choices("abcdefgh", k=draw.randrange(3, 30))),
                                      draw.randrange(10 ** 6), "x" * (i % 17)))
    return path


def coreutils(u):
    words = words_file(u)
    for command in (["sort", words], ["sort", "-n", "-k2", "--parallel=2", "-S", "8M", words], ["sort", "-u", words],
                    ["ls", "-lR", "/usr/include"], ["ls", "-l", "/usr/bin"], ["wc", words], ["tac", words],
                    ["md5sum", words], ["cut", "-d", " ", "-f", "2", words], ["od", "-An", "-tx8", words],
                    ["base64", words], ["fold", "-w", "11", words], ["expand", words], ["nl", words],
                    ["shuf", "--random-source=" + words, words], ["split", "--verbose", "-l", "20000", words, "part-"],
                    ["join", "-j", "2", words, "/dev/null", "-a", "1", "--nocheck-order"],
                    ["factor", "123456789012345"],
                    ["tr", "--version"], ["du", "-a", "/usr/share/doc/bash"], ["stat", words], ["date", "-d", "@0"],
                    ["sort", "/absent"], ["expr", "12345678901234567890", "*", "98765432109876543210"]):
        u.same(command)
    with open(words, "rb") as file:
        data = file.read()
    u.same(["tr", "a-h", "A-H"], data=data)
    u.same(["uniq", "-c"], data=data)
    u.same(["sh", "-c", "find /usr/include/linux /usr/include/x* -name '*.h' | sort | xargs cat | "
            "tr -cs A-Za-z '\\n' | sort | uniq -c | sort -rn | head -50"])


BASH = r"""
set -u
declare -A table
for i in {1..3000}; do table[key$i]=$((i * i)); done
sum=0; for k in "${!table[@]}"; do sum=$((sum + ${table[$k]})); done; echo "$sum"
text=; for i in {1..2000}; do text+="word$i "; done; echo "${#text} ${text: -9}"
fib() { if (($1 < 2)); then echo "$1"; else echo $(($(fib $(($1 - 1))) + $(fib $(($1 - 2))))); fi; }
fib 9
mapfile -t lines < <(seq 1 5000); echo "${#lines[@]} ${lines[4999]}"
cat <<END | tr a-z A-Z
here $sum documents
END
( cd / && echo /[a-e]* )
printf '%s\n' {a..e}{1..3} | sort -r | paste -sd,
[[ "alpha beta" =~ ([a-z]+)\ ([a-z]+) ]] && echo "${BASH_REMATCH[2]}"
pids=(); for i in 1 2 3 4; do (sleep 0.01; exit "$i") & pids+=($!); done
for j in "${pids[@]}"; do wait "$j"; echo "$?"; done
trap 'echo trapped' USR1; kill -USR1 $$; eval 'echo "${text//word/w}" | cksum'
exit 3
"""


def bash(u):
    need("bash")
    u.same(["bash", "-c", BASH])
    u.same(["bash", "--norc", "-i", "-c", "echo interactive; history -s x; complete -W 'a b' cmd; complete"])
    u.same(["sh", "-c", "i=0; while [ $i -lt 300 ]; do i=$((i + 1)); x=$(echo $i); done; echo $x"])


def python_with_tests():
    """A python3 that has its own regression tests: Debian's needs libpython3-testsuite."""
    for name in ("/usr/bin/python3", sys.executable, "python3"):
        code = "import sys, test.test_json, test.test_threading, test.test_subprocess; print(sys.executable)"
        try:
            done = subprocess.run([name, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                  check=False)
        except FileNotFoundError:
            continue
        if done.returncode == 0:
            return done.stdout.strip()
    raise Skip("no python3 here has its regression tests (Debian: libpython3-testsuite)")


def regression(u, *tests):
    python = python_with_tests()
    # The one left out fails wherever a site package imports threading at start.
    command = [python, "-m", "test", "-v", "-i", "test_import_from_another_thread"] + list(tests)
    done = u.run(command)
    under, ran = verdicts(done)
    if done.returncode != 0:
        without, _ = verdicts(u.run(command, preloaded=False))
        left = [name for name in sorted(under - without) if fails_always(u, command, name)]
        if not under or left:
            raise Failure("%s: ends with %d; failing only under the preload: %s\n%s" % (
                " ".join(command), done.returncode, left, done.stdout.decode(errors="replace")[-3000:]))
        print("# failing without the preload as well, or not again: %s" % sorted(under))
    if ran < 10:
        raise Failure("python ran %d tests:\n%s" % (ran, done.stdout.decode(errors="replace")[-1000:]))
    u.compared += ran


def fails_always(u, command, name):
    """Python's own tests have time limits that a busy machine does not keep: what fails fails alone, too, each time."""
    return all(u.run(command[:4] + ["-m", name.split()[0]] + command[4:]).returncode != 0 for _ in range(3))


def verdicts(done):
    """(the tests that failed, how many ran)"""
    text = (done.stdout + done.stderr).decode(errors="replace")
    failed = set(re.findall(r"^(?:FAIL|ERROR): (\S+ \(\S+\))", text, re.M))
    return failed, sum(int(n) for n in re.findall(r"^Ran (\d+) tests?", text, re.M))


def python_json(u):
    regression(u, "test_json", "test_gc")


def python_threading(u):
    regression(u, "test_threading")


def python_subprocess(u):
    regression(u, "test_subprocess")


def python(u):
    script = os.path.join(u.source, "bench", "scripts", "objects.py")
    interpreter = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
    u.same([interpreter, script, "2"])
    u.same([interpreter, script, "1"], extra={"PYTHONMALLOC": "malloc"})
    u.same([interpreter, "-c", "import multiprocessing as m\nif __name__ == '__main__':\n with m.Pool(3) as p:\n"
            "  print(sum(p.map(len, [list(range(n)) for n in range(2000)])))"])


def perl(u):
    need("perl")
    u.same(["perl", os.path.join(u.source, "bench", "scripts", "words.pl"), "1"])
    u.same(["perl", "-e", "for (1..40) { my $p = fork; if (!$p) { my @x = map { $_ x 100 } 1..5000; exit @x % 7; } "
            "waitpid $p, 0; print $? >> 8, qq{\\n}; }"])


def generated_repository(u):
    """A repository of 200 commits by git fast-import, the same every time."""
    path = u.path("generated")
    u.good(["git", "init", "-q", "-b", "main", path], preloaded=False)
    draw = random.Random(3)
    stream = []
    for n in range(1, 201):
        stream.append("commit refs/heads/main\ncommitter T <t@example.org> %d +0000\ndata 8\nchange %d" % (10 ** 9 + n,
                                                                                                      n % 10))
        for _ in range(5):
            text = "".join("line %d\n" % draw.randrange(1000) for _ in range(200))
            stream.append("M 100644 inline file%d\ndata %d\n%s" % (draw.randrange(60), len(text), text))
    u.good(["git", "-C", path, "fast-import", "--quiet"], preloaded=False, data="\n".join(stream).encode())
    return path


def git(u):
    need("git")
    config = {"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
              "GIT_CONFIG_KEY_1": "pack.threads", "GIT_CONFIG_VALUE_1": "2", "GIT_CONFIG_NOSYSTEM": "1"}
    sources = [generated_repository(u)]
    if os.path.exists(os.path.join(u.source, ".git")):
        sources.append(u.source)
    for n, source in enumerate(sources):
        clone = u.path("clone%d" % n)
        u.good(["git", "clone", "-q", "--no-local", "--bare", source, clone], extra=config)
        u.good(["git", "-C", clone, "gc", "-q", "--aggressive", "--prune=now"], extra=config)
        u.good(["git", "-C", clone, "fsck", "--full", "--strict"], extra=config)
        for command in (["log", "--stat", "--all"], ["rev-list", "--objects", "--all"], ["grep", "-c", "line", "HEAD"],
                        ["count-objects", "-v"], ["shortlog", "-sn", "--all"], ["archive", "--format=tar", "HEAD"],
                        ["log", "-p", "-3", "--word-diff"]):
            u.same(["git", "-C", clone] + command, extra=config)
        u.equal("the history", u.run(["git", "-C", source, "rev-parse", "HEAD"], preloaded=False, extra=config).stdout,
                u.run(["git", "-C", clone, "rev-parse", "HEAD"], extra=config).stdout)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def gcc(u):
    """The same objects, byte for byte, from gcc and g++."""
    need("gcc", "g++")
    sys.path.insert(0, os.path.join(u.source, "bench"))
    import programs as bench_programs
    large = u.path("large.c")
    bench_programs.generate_c(large, 60)
    templates = u.path("templates.cc")
    with open(templates, "w", encoding="ascii") as out:
        out.write("#include <map>\n#include <string>\n#include <vector>\n#include <regex>\n#include <iostream>\n"
                  "int main() { std::map<std::string, std::vector<int>> m; for (int i = 0; i < 1000; i++)\n"
                  " m[std::to_string(i % 37)].push_back(i); std::cout << m.size() << std::regex_match(\"ab\", "
                  "std::regex(\"a.\")) << std::endl; }\n")
    for compiler, source in (["gcc", "-O2", "-g"], large), (["g++", "-O1"], templates):
        objects = []
        for preloaded in (False, True):
            u.good(compiler + ["-c", source, "-o", u.path("object.o")], preloaded=preloaded)
            objects.append(digest(u.path("object.o")))
        u.equal("the object of " + os.path.basename(source), *objects)
    u.good(["g++", u.path("object.o"), "-o", u.path("program")])
    u.same([u.path("program")])


def build(u):
    """ninja and gcc build ashlar itself, and what they built runs."""
    need("meson", "ninja", "gcc")
    folder = u.path("build")
    u.good(["meson", "setup", "-Dtests=false", folder, u.source], preloaded=False)
    done = u.good(["ninja", "-C", folder])
    if b"Compiling" not in done.stdout and b"Linking" not in done.stdout:
        raise Failure("ninja built nothing: " + done.stdout.decode(errors="replace")[-300:])
    u.good([os.path.join(folder, "bench", "bench-churn"), "ops=100000"])
    built = glob.glob(os.path.join(folder, "preload", "libashlar-preload.so"))
    if not built:
        raise Failure("the build has no preload library")
    u.good(["true"], preloaded=False, extra={"LD_PRELOAD": built[0]})
    u.compared += 1


SERVER = ["redis-server", "--port", "0", "--save", "", "--appendonly", "no", "--enable-debug-command", "yes"]


class Redis:
    """A server on a socket in the private folder."""

    def __init__(self, u, name, preloaded, **more):
        self.u, self.socket = u, u.path(name + ".sock")
        self.process = u.start(SERVER + ["--unixsocket", self.socket, "--dir", u.tmp, "--dbfilename", "dump.rdb"],
                               preloaded, **more)

    def __enter__(self):
        deadline = time.monotonic() + HANG
        while self.cli("ping", check=False) != "PONG":
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.__exit__()
                with open(self.u.path("server.log"), "rb") as log:
                    raise Failure("redis-server does not answer:\n" + log.read().decode(errors="replace")[-2000:])
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        self.u.stop(self.process)

    def cli(self, *words, check=True):
        done = subprocess.run(["redis-cli", "-s", self.socket] + list(words), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=HANG, check=False)
        if check and done.returncode != 0:
            raise Failure("redis-cli %s: %s" % (" ".join(words), done.stdout))
        return done.stdout.strip()

    def load(self, *more):
        return subprocess.Popen(["redis-benchmark", "-s", self.socket, "-q"] + list(more),
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def field(self, section, key):
        for line in self.cli("info", section).splitlines():
            if line.startswith(key + ":"):
                return line.split(":", 1)[1].strip()
        raise Failure("redis has no %s" % key)

    def bgsave(self):
        self.cli("bgsave")
        deadline = time.monotonic() + HANG
        while self.field("persistence", "rdb_bgsave_in_progress") != "0":
            if time.monotonic() > deadline:
                raise Failure("BGSAVE does not end")
            time.sleep(0.02)
        if self.field("persistence", "rdb_last_bgsave_status") != "ok":
            with open(self.u.path("server.log"), "rb") as log:
                raise Failure("BGSAVE failed:\n" + log.read().decode(errors="replace")[-2000:])


def redis(u):
    """Loaded from two sides, saved by a forked child while it is being written to, loaded again without us."""
    need("redis-server", "redis-benchmark", "redis-cli")
    with Redis(u, "under", True) as server:
        maps = "/proc/%d/maps" % server.process.pid
        with open(maps, encoding="utf-8") as file:
            if os.path.realpath(u.preload) not in file.read():
                raise Failure("redis-server runs without the preload")
        load = server.load("-n", "60000", "-r", "50000", "-d", "300", "-P", "16",
                           "-t", "set,get,lpush,lpop,sadd,hset,zadd,mset")
        time.sleep(0.3)
        server.bgsave()
        if load.wait(timeout=HANG) != 0:
            raise Failure("redis-benchmark failed")
        before = server.cli("debug", "digest")
        keys = server.cli("dbsize")
        server.bgsave()
        u.equal("the data after BGSAVE", before, server.cli("debug", "digest"))
        server.cli("memory", "purge")
        if server.process.poll() is not None:
            raise Failure("redis-server died")
    if int(keys) < 1000:
        raise Failure("only %s keys" % keys)
    with Redis(u, "plain", False) as again:
        u.equal("the dump", again.cli("debug", "digest"), before)


def sqlite(u):
    need("sqlite3")
    sys.path.insert(0, os.path.join(u.source, "bench"))
    import programs as bench_programs
    script = (bench_programs.SQL % {"rows": 60000}) + "PRAGMA integrity_check;\n.dump\n"
    u.same(["sqlite3", "-batch", ":memory:"], data=script.encode())


def lua(u):
    need("lua5.4")
    u.same(["lua5.4", os.path.join(u.source, "bench", "scripts", "trees.lua"), "12"])


def stress(u):
    need("stress-ng")
    for more in (["--malloc-bytes", "48M", "--malloc-ops", "30000"],
                 ["--malloc-bytes", "16M", "--malloc-ops", "10000", "--malloc-pthreads", "2", "--malloc-touch"],
                 ["--malloc-bytes", "16M", "--malloc-ops", "10000", "--malloc-thresh", "64K"]):
        done = u.good(["stress-ng", "--malloc", "2", "--verify", "--timeout", "5", "--oomable",
                       "--temp-path", u.tmp] + more)
        text = (done.stdout + done.stderr).decode(errors="replace")
        if "unsuccessful" in text or "successful run" not in text:
            raise Failure("stress-ng says:\n" + text[-1500:])
        u.compared += 1


MAPPINGS = """
import hashlib, mmap, multiprocessing
def work(i):
    m = mmap.mmap(-1, 8 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    assert m.find(b"[^\\0]") == -1 and m[::4096] == bytes(2048)
    m[:] = bytes([i % 256]) * len(m)
    m.resize(13 << 20)
    assert m[8 << 20:] == bytes(5 << 20)
    m.madvise(mmap.MADV_DONTNEED, 1 << 20, 1 << 20)
    digest = hashlib.md5(m).hexdigest()
    m.close()
    return digest
if __name__ == "__main__":
    with multiprocessing.Pool(3) as pool:
        there = pool.map(work, range(24))
    here = [work(i) for i in range(24)]
    assert here == there
    print(here)
"""


def mappings(u):
    """Programs that map memory of their own."""
    u.same([sys.executable, "-c", MAPPINGS])
    for command in (["node", "-e", "const a=[];for(let i=0;i<50;i++){a.push(Buffer.alloc(6<<20,i));if(i%3==0)a.shift()}"
                     "console.log(a.length,a.every(b=>b[5]==b[6e6]))"],):
        if shutil.which(command[0]) is not None:
            u.same(command)
    need("stress-ng")
    for kind, size in (("mmap", "32M"), ("mremap", "32M"), ("madvise", None), ("vm", "64M"), ("munmap", None)):
        done = u.good(["stress-ng", "--" + kind, "1", "--verify", "--timeout", "1", "--oomable", "--temp-path", u.tmp] +
                      (["--%s-bytes" % kind, size] if size else []))
        text = (done.stdout + done.stderr).decode(errors="replace")
        if "unsuccessful" in text or "successful run" not in text:
            raise Failure("stress-ng says:\n" + text[-1500:])
        u.compared += 1


def others(u):
    """Programs with memory managers of their own."""
    ran = []
    for command in (["gdb", "-nx", "-batch", "-ex", "print 6*7"], ["java", "-version"],
                    ["node", "-e", "let a=[];for(let i=0;i<2e5;i++)a.push({i,s:'x'.repeat(i%50)});"
                     "console.log(a.length,Buffer.alloc(5e6).length,JSON.stringify(a).length)"],
                    ["cmake", "--version"], ["clang", "--version"], ["valgrind", "--version"], ["vim", "--version"],
                    ["dash", "-c", "echo hello"], ["tar", "-cf", "-", "/usr/include/linux"], ["xz", "-c", "/bin/bash"],
                    ["make", "--version"], ["psql", "--version"], ["openssl", "version", "-a"]):
        if shutil.which(command[0]) is not None:
            u.same(command)
            ran.append(command[0])
    if not ran:
        raise Skip("none of them is installed")


def workloads(u):
    """bench/'s own, which check their memory."""
    sys.path.insert(0, os.path.join(u.source, "bench"))
    import workloads as bench_workloads
    for _, program, args in bench_workloads.WORKLOADS:
        done = u.good([os.path.join(u.bench, "bench-" + program)] + bench_workloads.quick(program, args))
        if b" ops " not in done.stdout:
            raise Failure("%s did not report" % program)
        u.compared += 1


CASES = {f.__name__.replace("_", "-"): f for f in (
    coreutils, bash, python_json, python_threading, python_subprocess, python, perl, git, gcc, build, redis, sqlite,
    lua, mappings, stress, others, workloads)}
