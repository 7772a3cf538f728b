# SPDX-License-Identifier: MIT
"""Real programs as benchmarks. Each is a function of (bench, allocator) that returns one measurement.

A measurement is what bench-measure prints, a dictionary; "time" is the figure to compare where it is not wall time.
Servers listen on a socket in a private folder only and are ended by their own process handle.
"""
import copy
import glob
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def generate_c(path, functions):
    """A C file that keeps a compiler's heap busy: many functions, types and expressions."""
    with open(path, "w", encoding="ascii") as out:
        out.write("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n")
        for i in range(functions):
            out.write("""
struct record_%(i)d { int key; double weight; char name[%(n)d]; struct record_%(i)d *next; };
static int use_%(i)d(struct record_%(i)d *r, int depth)
{
	int sum = %(i)d;
	for (struct record_%(i)d *p = r; p != NULL; p = p->next) {
		switch ((p->key + depth) %% 7) {
		case 0: sum += p->key * %(i)d; break;
		case 1: sum ^= (int)(p->weight * %(n)d.5); break;
		case 2: sum -= (int)strlen(p->name); break;
		case 3: sum = sum << (depth & 7) | sum >> 3; break;
		default: sum += depth > 0 ? use_%(i)d(p->next, depth - 1) : 1;
		}
		memset(p->name, sum & 0x7f, sizeof(p->name) - 1);
	}
	return sum;
}
""" % {"i": i, "n": 16 + i % 50})
        out.write("int main(int argc, char **argv)\n{\n\tint sum = argc;\n")
        for i in range(functions):
            out.write("\tsum += use_%d(calloc(1, sizeof(struct record_%d)), sum);\n" % (i, i))
        out.write("\tprintf(\"%d\\n\", sum);\n\treturn 0;\n}\n")


SQL = """
CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, b TEXT, c REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %(rows)d)
  INSERT INTO t SELECT i, (i * 7919) %% 100003, printf('name %%d of %%d', i * 31 %% 997, i), i / 7.0 FROM n;
CREATE INDEX ta ON t(a);
CREATE INDEX tb ON t(b);
SELECT count(*), sum(a), max(b) FROM t WHERE a BETWEEN 1000 AND 50000;
SELECT b, count(*) FROM t GROUP BY substr(b, 1, 7) ORDER BY 2 DESC, 1 LIMIT 5;
UPDATE t SET b = b || ' changed' WHERE id %% 3 = 0;
DELETE FROM t WHERE id %% 5 = 0;
SELECT count(*), sum(length(b)), total(c) FROM t;
SELECT sum(x.a) FROM t x JOIN t y ON x.a = y.id WHERE y.id < 20000;
"""


def python(bench, allocator):
    return bench.measure(allocator, ["/usr/bin/python3", os.path.join(HERE, "scripts", "objects.py"), "3"])


def python_malloc(bench, allocator):
    """Every python object through malloc, as with PYTHONMALLOC=malloc."""
    return bench.measure(allocator, ["/usr/bin/python3", os.path.join(HERE, "scripts", "objects.py"), "2"],
                         extra={"PYTHONMALLOC": "malloc"})


def lua(bench, allocator):
    return bench.measure(allocator, ["lua5.4", os.path.join(HERE, "scripts", "trees.lua"), "14"])


def perl(bench, allocator):
    return bench.measure(allocator, ["perl", os.path.join(HERE, "scripts", "words.pl"), "2"])


def sqlite(bench, allocator):
    script = bench.path("load.sql")
    if not os.path.exists(script):
        with open(script, "w", encoding="ascii") as out:
            out.write(SQL % {"rows": 100000})
    return bench.measure(allocator, ["sqlite3", "-batch", ":memory:", ".read " + script])


def gcc(bench, allocator):
    source = bench.path("large.c")
    if not os.path.exists(source):
        generate_c(source, 150)
    return bench.measure(allocator, ["gcc", "-O1", "-c", source, "-o", bench.path("large.o")])


def _timed(command, limit=120, **how):
    """Seconds that a client takes. A wait with a time-out would look at it every 50 ms, and times would be steps of
    that."""
    begin = time.monotonic()
    client = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how)
    guard = threading.Timer(limit, client.kill)
    guard.start()
    try:
        status = client.wait()
    finally:
        guard.cancel()
    if status != 0:
        raise RuntimeError("%s ended with %d" % (command[0], status))
    return time.monotonic() - begin


def _serve(bench, server, ready, load, stop):
    """One measurement of a server that has been started: time is the client's, memory the server's.

    ready(): whether it answers yet; load(): use it, and the seconds that took; stop(): ask it to end.
    """
    try:
        deadline = time.monotonic() + 30
        while not ready():
            if time.monotonic() > deadline or server.poll() is not None:
                raise RuntimeError("the server does not answer")
            time.sleep(0.02)
        took = load()
        stop()
        server.wait(timeout=30)
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
    result = bench.finished(server)
    result["time"] = took
    return result


def _redis(bench, allocator, arguments):
    """The server under the allocator, the client without.

    Debian's redis-server is linked to libjemalloc; without a preload it would be measured under that. So the C library
    is preloaded for the C library's turn.
    """
    if not allocator.preload:
        allocator = copy.copy(allocator)
        allocator.preload = "libc.so.6"
    socket = bench.path("redis.sock")
    if os.path.exists(socket):
        os.unlink(socket)

    def ask(*words):
        return subprocess.run(["redis-cli", "-s", socket] + list(words), stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode == 0

    server = bench.start(allocator, ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "",
                                     "--appendonly", "no", "--dir", bench.path("")])
    return _serve(bench, server, lambda: ask("ping"),
                  lambda: _timed(["redis-benchmark", "-s", socket, "-q"] + arguments),
                  lambda: ask("shutdown", "nosave"))


def redis_set_get(bench, allocator):
    return _redis(bench, allocator, ["-t", "set,get", "-n", "200000", "-r", "200000", "-d", "100", "-P", "16"])


def redis_list(bench, allocator):
    return _redis(bench, allocator, ["-t", "lpush,lrange_100", "-n", "60000", "-P", "16"])


def node(bench, allocator):
    """Buffers and strings: what V8 takes from malloc, beside a heap of its own."""
    return bench.measure(allocator, ["node", os.path.join(HERE, "scripts", "buffers.js")])


def java(bench, allocator):
    """Direct buffers are malloc's; the Java heap is the machine's own mapping, kept small. Compiled before: the
    compiler takes longer than the program, and hardly anything of it is malloc's."""
    if not os.path.exists(bench.path("Buffers.class")):
        subprocess.run(["javac", "-d", bench.tmp, os.path.join(HERE, "scripts", "Buffers.java")], check=True)
    return bench.measure(allocator, ["java", "-Xmx64m", "-XX:+UseSerialGC", "-cp", bench.tmp, "Buffers", "40000"])


def rocksdb(bench, allocator):
    folder = tempfile.mkdtemp(dir=bench.tmp)
    try:
        return bench.measure(allocator, ["db_bench", "--benchmarks=fillrandom,readrandom", "--num=60000",
                                         "--value_size=200", "--write_buffer_size=8388608", "--db=" + folder])
    finally:
        shutil.rmtree(folder)


POSTGRES = sorted(glob.glob("/usr/lib/postgresql/*/bin"))


def postgres(bench, allocator):
    """pgbench's own scripts against a server under the allocator; the client without. Not as root: postgres refuses.

    Reads, updates, and clients that come and go, of which each is a fork of the server. What updates wait for the disk
    would be most of the time, and none of it the allocator's: they need not be on it before they are answered.
    """
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
    folder = tempfile.mkdtemp(prefix="ashlar-pg-")

    def call(program, *arguments):
        return _timed(as_user + [os.path.join(POSTGRES[-1], program)] + list(arguments), cwd=folder)

    def load():
        time.sleep(0.5)
        call("pgbench", "-h", folder, "-i", "-q", "postgres")
        return sum(call("pgbench", "-n", "-h", folder, "-c", "2", *how, "postgres")
                   for how in (["-S", "-t", "6000"], ["-t", "1000"], ["-S", "-C", "-t", "60"]))

    try:
        if as_user:
            shutil.chown(folder, "postgres", "postgres")
        data = os.path.join(folder, "data")
        call("initdb", "-N", "-A", "trust", "-D", data)
        server = bench.start(allocator, as_user + [os.path.join(POSTGRES[-1], "postgres"), "-D", data, "-k", folder,
                                                   "-c", "listen_addresses=", "-c", "fsync=off",
                                                   "-c", "synchronous_commit=off"], folder=folder)
        return _serve(bench, server, lambda: os.path.exists(os.path.join(folder, ".s.PGSQL.5432.lock")), load,
                      lambda: call("pg_ctl", "stop", "-m", "fast", "-D", data))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# Name, the program that must be installed, the function.
PROGRAMS = (
    ("python3", "/usr/bin/python3", python),
    ("python3-malloc", "/usr/bin/python3", python_malloc),
    ("lua", "lua5.4", lua),
    ("perl", "perl", perl),
    ("sqlite3", "sqlite3", sqlite),
    ("gcc", "gcc", gcc),
    ("redis-set-get", "redis-benchmark", redis_set_get),
    ("node", "node", node),
    ("java", "javac", java),
    ("rocksdb", "db_bench", rocksdb),
    ("postgres", "pgbench", postgres),
    ("redis-list", "redis-benchmark", redis_list),
)


def installed():
    for name, needs, _ in PROGRAMS:
        if not shutil.which(needs):
            print("%s is left out: %s is not installed" % (name, needs), file=sys.stderr)
    return [(name, run) for name, needs, run in PROGRAMS if shutil.which(needs)]
