# SPDX-License-Identifier: MIT
"""Our own workloads: a name each, the program under bench/, and its arguments.

Sizes are chosen for some tenths of a second; QUICK shrinks each for a test of correctness.
"""

WORKLOADS = (
    ("churn-lifo", "churn", ("order=lifo", "ops=5000000")),
    ("churn-fifo", "churn", ("order=fifo", "ops=5000000")),
    ("churn-random", "churn", ("order=random", "ops=5000000")),
    ("churn-many", "churn", ("order=random", "live=400000", "ops=2000000")),
    ("churn-48", "churn", ("order=random", "size=48", "ops=10000000")),
    ("larson", "larson", ("threads=2", "generations=25")),
    ("larson-8", "larson", ("threads=8", "generations=10", "ops=100000")),
    ("prodcons", "prodcons", ("consumers=1", "ops=2000000")),
    ("prodcons-fanout", "prodcons", ("consumers=4", "ops=2000000")),
    ("grow-double", "grow", ("mode=double", "rounds=5")),
    ("grow-half", "grow", ("mode=half", "rounds=3")),
    ("grow-page", "grow", ("mode=page", "max=33554432", "rounds=2")),
    ("grow-string", "grow", ("mode=string", "max=65536", "rounds=1500")),
    ("big", "big", ("ops=200",)),
    ("big-small-set", "big", ("live=4", "max=2097152", "ops=2000")),
    ("mixed", "mixed", ("phases=4",)),
    ("mixed-2", "mixed", ("threads=2", "phases=3")),
    ("threads", "threads", ("threads=10000",)),
    ("fork", "fork", ("mib=2048", "forks=8")),
    ("plugins", "plugins", ("plugins=200", "rounds=3")),
    ("zeroed-small", "zeroed", ("ops=4000000",)),
    ("zeroed-large", "zeroed", ("min=65536", "max=4194304", "live=32", "ops=500")),
    ("aligned", "aligned", ("ops=3000000",)),
)

# MiB to warm up before a run, where the peak is more than WARM_DEFAULT.
WARM = {"big": 384, "churn-many": 320, "zeroed-large": 160, "grow-double": 160, "grow-half": 160, "grow-page": 160,
        "mixed-2": 192, "gcc": 192, "fork": 2560}
WARM_DEFAULT = 96


def quick(program, args):
    """The arguments of a run that takes some hundredths of a second."""
    less = dict(arg.split("=") for arg in args)
    if program in ("big", "zeroed"):
        less["ops"] = "300"
    elif program == "threads":
        less["threads"] = "300"
    elif program == "fork":
        less.update(mib="32", forks="3")
    elif program == "plugins":
        less.update(plugins="20", rounds="1")
    elif program == "mixed":
        less.update(requests="400", phases="3", cache="5000")
    elif program == "grow":
        less.update(rounds="2", max=str(min(int(less.get("max", 8 << 20)), 8 << 20)))
    elif program == "larson":
        less.update(ops="20000", generations="4", live="1000")
    else:
        less.update(ops="200000", live=str(min(int(less.get("live", 20000)), 50000)))
    return ["%s=%s" % item for item in less.items()]
