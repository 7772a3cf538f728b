#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Real programs under the preload do what they do without it.

usage: programs.py --preload LIB --source DIR --bench DIR --backing thp|2M|map CASE...

With map their own mappings are served as well. With 2M the heap starts on hugetlb pages (no base-page start), of which
PAGES are reserved for the time of the test, and the test proves that a program started so has some; that needs root,
else it is skipped (77, the reason on the last line).
"""
import argparse
import contextlib
import os
import sys

import cases
import under

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import hugepool  # noqa: E402

CONF = {"thp": "huge:thp", "2M": "huge:2M,small_start:0", "map": "map:on"}
PAGES = 200


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--preload", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--bench", required=True)
    parser.add_argument("--backing", choices=sorted(CONF), default="thp")
    parser.add_argument("case", nargs="+", choices=sorted(cases.CASES))
    args = parser.parse_args()
    preload = os.path.abspath(args.preload)
    if not os.path.exists(preload):
        print("%s does not exist" % preload)
        return 1
    with contextlib.ExitStack() as stack:
        tmp = stack.enter_context(under.private_folder())
        # Asked for by name where they are switched off, they are missed on standard error.
        conf = "huge:auto" if args.backing == "thp" and hugepool.thp_is_off() else CONF[args.backing]
        u = under.Under(preload, conf, os.path.abspath(args.source), os.path.abspath(args.bench), tmp)
        try:
            if args.backing == "2M":
                stack.enter_context(hugepool.Pool(PAGES))
                u.prove_hugetlb()
            u.prove_loaded()
            for case in args.case:
                cases.CASES[case](u)
            if u.compared == 0:
                raise under.Failure("nothing was compared")
        except (under.Skip, hugepool.Unavailable) as reason:
            print("skipped: %s" % " ".join(str(reason).split()))
            return 77
        except under.Failure as failure:
            print(failure)
            return 1
    print("%s: %d comparisons" % (" ".join(args.case), u.compared))
    return 0


if __name__ == "__main__":
    sys.exit(main())
