#!/bin/sh
# SPDX-License-Identifier: MIT
# What `./bootstrap run` shows when it is given no command: a real program, unchanged, on ashlar's heap.
#
# usage: demo.sh ASHLAR     (the built tools/ashlar)
set -eu
ashlar=$1
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
python=/usr/bin/python3
[ -x "$python" ] || python=$(command -v python3)

# Python keeps a small-object allocator of its own in front of malloc; without it every object is malloc's.
export PYTHONMALLOC=malloc

echo "== A program on ashlar: ashlar run --report -- python3 examples/demo.py"
"$ashlar" run --report -- "$python" "$here/demo.py"
echo
echo "== The same program under glibc's malloc, jemalloc and ashlar: ashlar compare"
exec "$ashlar" compare --with glibc,jemalloc,ashlar --runs "${ASH_DEMO_RUNS:-3}" -- "$python" "$here/demo.py"
