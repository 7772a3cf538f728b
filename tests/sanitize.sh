#!/bin/sh
# SPDX-License-Identifier: MIT
# The page core, its model and its scenarios under AddressSanitizer with UndefinedBehaviorSanitizer; the core and the heap
# under ThreadSanitizer. Each sanitizer has a build folder of its own below the given one, kept for the next run.
#
# usage: sanitize.sh SOURCE BUILD [asan|tsan]
set -eu

source=$1
build=$2
only=${3:-}
out=$build/sanitize-$only.out
failed=0
ran=0

# The folder's name, meson's name of the sanitizer, programs.
build_one() {
	dir=$build/sanitize-$1
	if [ ! -f "$dir/build.ninja" ]; then
		meson setup "$dir" "$source" "-Db_sanitize=$2" -Db_lundef=false -Dbuildtype=debugoptimized \
			-Dchecks=true >"$build/sanitize-$1.log" 2>&1 || { cat "$build/sanitize-$1.log"; exit 1; }
	fi
	# shellcheck disable=SC2086
	ninja -C "$dir" $3 >"$build/sanitize-$1.log" 2>&1 || { tail -40 "$build/sanitize-$1.log"; exit 1; }
}

# Run a program that must pass.
good() {
	if "$@" >"$out" 2>&1; then
		tail -1 "$out"
		ran=$((ran + 1))
	else
		echo "FAILED: $*"
		tail -60 "$out"
		failed=$((failed + 1))
	fi
}

# Run a program whose planted mistake must be reported: what the report says, then the command.
caught() {
	expected=$1
	shift
	if "$@" >"$out" 2>&1 || ! grep -q "$expected" "$out"; then
		echo "UNNOTICED: $* ($expected)"
		failed=$((failed + 1))
	else
		echo "caught: $expected"
		ran=$((ran + 1))
	fi
}

scenarios=$(sed -n "s/^foreach name : \[\(.*\)\]$/\1/p" "$source/tests/scenario/meson.build" | tr -d "',")
models='random explore faults negative threads races'

if [ "$only" != tsan ]; then
	programs=tests/model/planted
	for name in $models; do
		programs="$programs tests/model/model_$name"
	done
	for name in $scenarios; do
		programs="$programs tests/scenario/scenario_$name"
	done
	build_one asan address,undefined "$programs"
	export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 ASAN_OPTIONS=detect_leaks=1
	for program in $programs; do
		[ "$program" = tests/model/planted ] || good "$build/sanitize-asan/$program"
	done
	caught heap-buffer-overflow "$build/sanitize-asan/tests/model/planted" overflow
	caught 'shift exponent 40' "$build/sanitize-asan/tests/model/planted" undefined
fi
if [ "$only" != asan ]; then
	programs='tests/model/model_threads tests/model/model_races tests/heap/test_heap_stress'
	for name in heap home parts remote waiting; do
		programs="$programs tests/unit/heap/test_$name"
	done
	build_one tsan thread "tests/model/planted $programs"
	export TSAN_OPTIONS=halt_on_error=1
	for program in $programs; do
		good "$build/sanitize-tsan/$program"
	done
	caught 'data race' "$build/sanitize-tsan/tests/model/planted" race
fi
rm -f "$out"
echo "sanitize: $ran passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$ran" -gt 1 ]
