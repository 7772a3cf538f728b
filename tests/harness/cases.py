# SPDX-License-Identifier: MIT
"""Python test programs that speak as tests/harness/test.h does: each test an "ok" or "not ok" line, a closing line

    <program>: N passed, N failed, N skipped

and exit status 0 (all passed), 77 (nothing ran but skips) or 1. Arguments that are left select tests by substring.
"""
import os
import sys
import unittest


class Result(unittest.TestResult):
    passed = 0

    def say(self, verdict, test, reason=''):
        name = test.id().removeprefix('__main__.')
        print(f'{verdict} {name}' + (f' # {"SKIP " if verdict == "ok" else ""}{reason}' if reason else ''), flush=True)

    def addSuccess(self, test):
        self.passed += 1
        self.say('ok', test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.say('ok', test, reason)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        print(self.failures[-1][1])
        self.say('not ok', test)

    def addError(self, test, err):
        super().addError(test, err)
        print(self.errors[-1][1])
        self.say('not ok', test)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            failed = issubclass(err[0], test.failureException)
            print((self.failures if failed else self.errors)[-1][1])
            self.say('not ok', test, str(subtest))


def flatten(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


def main():
    """Run the tests of the program that calls."""
    wanted = sys.argv[1:]
    tests = [t for t in flatten(unittest.defaultTestLoader.loadTestsFromModule(sys.modules['__main__']))
             if not wanted or any(w in t.id() for w in wanted)]
    result = Result()
    for test in tests:
        test.run(result)
    failed, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    print(f'{os.path.basename(sys.argv[0])}: {result.passed} passed, {failed} failed, {skipped} skipped')
    if failed > 0 or result.passed + skipped == 0:
        sys.exit(1)
    sys.exit(77 if result.passed == 0 else 0)
