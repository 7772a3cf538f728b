# SPDX-License-Identifier: MIT
"""Tables of what bench/run measured: medians over the rounds, our share of what the best peer takes, what is lost."""
import math
import statistics

# A case counts as lost from here on: below, medians of a shared machine do not tell.
LOST = 1.05
# Peak memory is held against this peer, up to so many times.
MEMORY_PEER, MEMORY_BOUND = "jemalloc", 1.3

METRICS = (
    ("Time", "seconds", "%.3f", lambda r: r["time"], statistics.median),
    # What slows a run down on a shared machine only ever adds: the fastest run is the one least disturbed.
    ("Time of the fastest run", "seconds", "%.3f", lambda r: r["time"], min),
    ("Peak memory", "MiB, resident plus hugetlb", "%.1f", lambda r: (r["rss_kib"] + r["hugetlb_kib"]) / 1024,
     statistics.median),
    ("Processor time", "seconds, user plus system", "%.3f", lambda r: r["user"] + r["sys"], statistics.median),
    ("Page faults", "thousands", "%.2f", lambda r: (r["minflt"] + r["majflt"]) / 1000, statistics.median),
)
TIME, FASTEST, MEMORY = METRICS[:3]


# A run counts as disturbed where the processors' pace around it was slower than the fastest seen by more than this.
# With fewer undisturbed ones than this of an allocator, all runs of the benchmark count.
DISTURBED = 1.15
ENOUGH = 3


def _at_full_pace(rows):
    fastest = min((r["pace_us"] for r in rows if r.get("pace_us")), default=0)
    return [r for r in rows if "error" in r or (r.get("pace_us") or 0) <= DISTURBED * fastest]


def enough(rows, name, names, runs):
    """Whether each allocator has had so many runs of a benchmark at full pace."""
    have = [r["allocator"] for r in _at_full_pace(rows) if r["benchmark"] == name]
    return all(have.count(a) >= runs for a in names)


def steady(rows):
    """Without the disturbed runs of those benchmarks of which each allocator has enough others."""
    kept, result = _at_full_pace(rows), []
    for name in dict.fromkeys(r["benchmark"] for r in rows):
        every = [r for r in rows if r["benchmark"] == name]
        good = [r for r in kept if r["benchmark"] == name]
        count = {a: sum(r["allocator"] == a for r in good) for a in {r["allocator"] for r in every}}
        failed = {r["allocator"] for r in every if "error" in r}
        result += good if all(n >= ENOUGH for a, n in count.items() if a not in failed) else every
    return result


def values(rows, name, allocator, of):
    return [of(r) for r in rows if r["benchmark"] == name and r["allocator"] == allocator and "time" in r]


def median(rows, name, allocator, of, pick=statistics.median):
    found = values(rows, name, allocator, of)
    failed = any("error" in r for r in rows if r["benchmark"] == name and r["allocator"] == allocator)
    return None if failed or not found else pick(found)


def bounds(rows, name, ours, peer, of):
    """Where the median of ours divided by the peer's in the same round lies, with at least nine in ten; None: too few.

    By the order of the quotients alone (a sign test), so that it does not matter how the times are distributed.
    """
    by = {a: {r["round"]: of(r) for r in rows if r["benchmark"] == name and r["allocator"] == a and "time" in r}
          for a in (ours, peer)}
    quotients = sorted(by[ours][n] / by[peer][n] for n in by[ours] if by[peer].get(n))
    if len(quotients) < min(len(by[ours]), len(by[peer])):
        return unpaired(list(by[ours].values()), list(by[peer].values()))
    nr, out, outside = len(quotients), 0, 0
    while 2 * (outside + math.comb(nr, out)) <= 0.1 * 2 ** nr:
        outside += math.comb(nr, out)
        out += 1
    return (quotients[out - 1], quotients[nr - out]) if out > 0 else None


def unpaired(ours, peer):
    """The same for runs that are not of the same rounds, by the rank-sum test: all quotients, without the outermost."""
    # Of how many orders of both kinds of runs so many pairs have ours in front, by adding one run at a time.
    nr = [[[1] for _ in range(len(peer) + 1)]]
    for a in range(1, len(ours) + 1):
        row = [[1]]
        for b in range(1, len(peer) + 1):
            with_ours, with_peer = nr[a - 1][b], row[b - 1]
            row.append([(with_ours[k - b] if 0 <= k - b < len(with_ours) else 0) +
                        (with_peer[k] if k < len(with_peer) else 0) for k in range(a * b + 1)])
        nr.append(row)
    ways, outside, out = nr[-1][-1], 0, 0
    while out < len(ways) and 2 * (outside + ways[out]) <= 0.1 * sum(ways):
        outside += ways[out]
        out += 1
    quotients = sorted(a / b for a in ours for b in peer)
    return (quotients[out - 1], quotients[len(quotients) - out]) if out > 0 else None


def verdict(rows, name, ours, row, peers, metric):
    """The two last cells of a line: our share of what the best peer takes, and whether the rounds tell it is more."""
    of, pick = metric[3:]
    have = {c: row[c] for c in peers if row[c]}
    if row[ours] is None or not have:
        return ["", "failed" if row[ours] is None else ""]
    best = min(have, key=have.get)
    ratio = row[ours] / have[best]
    if ratio <= LOST:
        return ["%.2f" % ratio, ""]
    span = bounds(rows, name, ours, best, of) if pick is statistics.median else None
    if span is not None and span[0] <= 1:
        return ["%.2f" % ratio, "not told: %.2f to %.2f" % span]
    return ["%.2f" % ratio, "**lost**"]


def spread(rows, name, allocator, of):
    """Half the range between the quartiles, as a share of the median."""
    found = sorted(values(rows, name, allocator, of))
    if len(found) < 3:
        return 0.0
    middle = statistics.median(found)
    return (found[(3 * len(found)) // 4] - found[len(found) // 4]) / 2 / middle if middle else 0.0


class Results:
    """Rows of several benchmarks under the same allocators, ours among them or not."""

    def __init__(self, rows, names, allocators):
        self.every, self.rows, self.names, self.columns = rows, steady(rows), names, list(allocators)
        self.ours = "ashlar" if "ashlar" in self.columns else None
        self.peers = [c for c in self.columns if not c.startswith("ashlar")]

    def row(self, name, metric):
        """{allocator: its value or None}"""
        return {c: median(self.rows, name, c, *metric[3:]) for c in self.columns}

    def best(self, name, metric):
        """(the peer that takes least, our share of that); None: one of the two has failed."""
        row = self.row(name, metric)
        have = {c: row[c] for c in self.peers if row[c]}
        if self.ours is None or not have or not row[self.ours]:
            return None
        peer = min(have, key=have.get)
        return peer, row[self.ours] / have[peer]

    def beside(self, name, metric, peer):
        """Our share of what one peer takes; None: not to be had."""
        row = self.row(name, metric) if self.ours and peer in self.columns else {}
        return row[self.ours] / row[peer] if row.get(peer) and row.get(self.ours) else None

    def share(self, name, metric, peer=None):
        """beside(), or of the best peer."""
        best = self.best(name, metric) if peer is None else (peer, self.beside(name, metric, peer))
        return None if best is None else best[1]

    def mean_share(self, metric, peer=None):
        """The same of the geometric means."""
        means, _ = self.means(metric)
        return means[self.ours] / (min(means[p] for p in self.peers) if peer is None else means[peer])

    def means(self, metric):
        """({allocator: geometric mean}, number of cases) over the cases that every allocator finished."""
        logs = []
        for name in self.names:
            row = self.row(name, metric)
            if all(row.values()):
                logs.append([math.log(v) for v in row.values()])
        if not logs:
            return {}, 0
        return {c: math.exp(statistics.fmean(v)) for c, v in zip(self.columns, zip(*logs))}, len(logs)

    def told(self, name, metric):
        """As verdict(): ["1.20", "**lost**"]."""
        return verdict(self.rows, name, self.ours, self.row(name, metric), self.peers, metric)


def table(results, metric, more=(), mark=None):
    """Markdown: a row per benchmark; the last columns compare ashlar to the best peer and mark what it loses.

    more: (heading, metric, peer or None for the best), each a column before the mark: our share of what it takes.
    mark: a function of the name that gives another mark.
    """
    title, unit, form = metric[:3]
    ours, more = results.ours, list(more) if results.ours else []
    heads = results.columns + (["ashlar / best peer"] + [head for head, _, _ in more] + [""] if ours else [])
    lines = ["### %s (%s)" % (title, unit), "", "| benchmark | " + " | ".join(heads).rstrip() + " |",
             "|---|" + "---:|" * (len(heads) - bool(ours)) + ("---|" if ours else "")]
    for name in results.names:
        row = results.row(name, metric)
        cells = ["failed" if v is None else form % v for v in row.values()]
        if ours:
            ratio, told = results.told(name, metric)
            extra = [results.share(name, *of) for _, *of in more]
            cells += [ratio] + ["" if e is None else "%.2f" % e for e in extra] + [mark(name) if mark else told]
        lines.append("| %s | %s |" % (name, " | ".join(cells)))
    means, nr = results.means(metric)
    if nr:
        cells = [form % means[c] for c in results.columns]
        if ours and results.peers:
            cells += ["%.2f" % results.mean_share(*of) for of in [(metric, None)] + [of for _, *of in more]] + [""]
        lines.append("| *geometric mean of %d* | %s |" % (nr, " | ".join(cells)))
    return "\n".join(lines) + "\n"


def heading(results, versions, about):
    """The machine, the versions and how it was measured."""
    noise = [spread(results.rows, n, c, TIME[3]) for n in results.names for c in results.columns]
    text = "%s, %d processors, %s; Linux %s; THP %s; hugetlb pool %s.\n" % (
        about["cpu"], about["cpus"], about["memory"], about["kernel"], about["thp"], about["hugetlb_2m"])
    text = text.rstrip() + (" Measured on %s.\n" % about["date"] if "date" in about else "\n")
    text += "%s.\n" % (", ".join("%s %s" % item for item in versions.items() if item[1]) or "Versions are not known")
    left_out = len(results.every) - len(results.rows)
    if left_out:
        text += "Of %d runs %d do not count, because a neighbour held the processors up before or after them.\n" % (
            len(results.every), left_out)
    return text + (
        "Medians of %d interleaved rounds, %s; half the interquartile range of the times is %.1f %% of the median in "
        "the middle case, %.1f %% in the worst. *not told*: behind, but a sign test of the rounds' quotients (a "
        "rank-sum test where runs do not count) cannot tell it from level, with the bounds of their median.\n\n" %
        (about["runs"], "cold" if about["cold"] else "warm", 100 * statistics.median(noise), 100 * max(noise)))


def failures(results):
    failed = [r for r in results.rows if "error" in r]
    return "\n### Failures\n\n" + "".join("- %s under %s: %s\n" % (r["benchmark"], r["allocator"], r["error"])
                                          for r in failed) if failed else ""


def markdown(results, versions, about, full=False):
    """The tables of time and memory; full: those of the fastest run, processor time and page faults as well."""
    text = heading(results, versions, about)
    if full:
        return text + "\n".join(table(results, metric) for metric in METRICS) + failures(results)

    def above(name):
        return "**above %s**" % MEMORY_BOUND if (results.beside(name, MEMORY, MEMORY_PEER) or 0) > MEMORY_BOUND else ""

    text += table(results, TIME, [("by the fastest runs", FASTEST, None)]) + "\n"
    if MEMORY_PEER in results.columns:
        text += table(results, MEMORY, [("ashlar / " + MEMORY_PEER, MEMORY, MEMORY_PEER)], above)
    else:
        text += table(results, MEMORY)
    return text + failures(results)
