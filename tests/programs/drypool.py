#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A pool of four huge pages is too small for these programs; what happens then is a promise.

usage: drypool.py --preload LIB --source DIR --bench DIR --how pool|quota --what survive|refuse|bgsave

survive: they run to the end with the right output, on the next rung, after one line on standard error. refuse
(strict): they are refused memory with one line that says so, and end as programs without memory do. bgsave: redis saves
by a forked child with its heap on the four. Never does one end by a signal.

pool: the machine has four free huge pages and no more. quota: it has plenty, and a cgroup allows four; there even a
reserved mapping dies at its first touch unless it was populated. Both need root, else they are skipped (77).
"""
import argparse
import contextlib
import os
import sys

import cases
import under

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import hugepool  # noqa: E402

PAGES = 4
PLENTY = 48


def commands(u):
    script = u.path("load.sql")
    sys.path.insert(0, os.path.join(u.source, "bench"))
    import programs as bench_programs
    with open(script, "w", encoding="ascii") as out:
        out.write(bench_programs.SQL % {"rows": 60000})
    scripts = os.path.join(u.source, "bench", "scripts")
    # Each needs several times the start and the four pages; of python that is so of its objects, not of its mappings.
    return [["env", "PYTHONMALLOC=malloc", "/usr/bin/python3", os.path.join(scripts, "objects.py"), "2"],
            ["lua5.4", os.path.join(scripts, "trees.lua"), "14"],
            ["sqlite3", "-batch", ":memory:", ".read " + script], ["perl", os.path.join(scripts, "words.pl"), "1"],
            [os.path.join(u.bench, "bench-churn"), "live=300000", "ops=600000"],
            [os.path.join(u.bench, "bench-big"), "ops=20", "max=0x1000000", "bytes=0x4000000"],
            [os.path.join(u.bench, "bench-larson"), "generations=3", "ops=30000", "live=40000"]]


def ours(done):
    return [line for line in done.stderr.decode(errors="replace").splitlines() if "ashlar" in line]


def survives(u, command, before):
    """To the end, on the next rung, with one line."""
    plain = u.run(command, preloaded=False)
    done = u.run(command, before=before)
    if done.returncode != 0 or plain.returncode != 0:
        raise under.Failure("%s: ended with %d (%d without the preload)\n%s" % (
            " ".join(command), done.returncode, plain.returncode, under.tail(done.stderr)))
    if not os.path.basename(command[0]).startswith("bench-"):
        u.equal("the output of " + command[0], plain.stdout, done.stdout)
    lines = ours(done)
    if len(lines) != 1 or "2M" not in lines[0] and "2048" not in lines[0] and "2 MiB" not in lines[0]:
        raise under.Failure("%s: one line about the 2 MiB pool was to be expected, not %s" % (command[0], lines))
    u.compared += 1


def refused(u, command, before):
    """Ends without the memory, says why, and is not killed."""
    done = u.run(command, before=before)
    if done.returncode <= 0:
        raise under.Failure("%s: was to be refused memory, but ended with %d\n%s" % (
            " ".join(command), done.returncode, under.tail(done.stderr)))
    lines = ours(done)
    if len(lines) != 1:
        raise under.Failure("%s: one line of refusal was to be expected, not %s" % (command[0], lines))
    u.compared += 1


def bgsave(u, before):
    """redis forks with its heap on huge pages and none left: the child saves, the parent goes on writing."""
    cases.need("redis-server", "redis-benchmark", "redis-cli")
    with cases.Redis(u, "dry", True, before=before) as server:
        load = server.load("-n", "60000", "-r", "60000", "-d", "400", "-t", "set", "-P", "16")
        if load.wait(timeout=under.HANG) != 0:
            raise under.Failure("redis-benchmark failed")
        load = server.load("-n", "100000", "-r", "60000", "-d", "400", "-t", "set", "-P", "16")
        for _ in range(3):
            server.bgsave()
        if load.wait(timeout=under.HANG) != 0:
            raise under.Failure("redis-benchmark failed beside BGSAVE")
        server.bgsave()
        digest = server.cli("debug", "digest")
    with cases.Redis(u, "plain", False) as again:
        u.equal("the dump", again.cli("debug", "digest"), digest)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--preload", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--bench", required=True)
    parser.add_argument("--how", choices=("pool", "quota"), required=True)
    parser.add_argument("--what", choices=("survive", "refuse", "bgsave"), required=True)
    args = parser.parse_args()
    conf = "huge:2M,strict:%s" % ("yes" if args.what == "refuse" else "no")
    with contextlib.ExitStack() as stack:
        tmp = stack.enter_context(under.private_folder())
        u = under.Under(os.path.abspath(args.preload), conf, os.path.abspath(args.source), os.path.abspath(args.bench),
                        tmp)
        try:
            before = None
            if args.how == "pool":
                stack.enter_context(hugepool.Pool(PAGES, exact=True))
            else:
                stack.enter_context(hugepool.Pool(PLENTY))
                before = stack.enter_context(hugepool.Quota(PAGES)).enter
            u.prove_loaded()
            if args.what == "bgsave":
                bgsave(u, before)
            else:
                for command in commands(u):
                    if cases.shutil.which(command[0]):
                        (survives if args.what == "survive" else refused)(u, command, before)
        except (under.Skip, hugepool.Unavailable) as reason:
            print("skipped: %s" % " ".join(str(reason).split()))
            return 77
        except under.Failure as failure:
            print(failure)
            return 1
        if u.compared == 0:
            print("nothing was compared")
            return 1
    print("%d checks" % u.compared)
    return 0


if __name__ == "__main__":
    sys.exit(main())
