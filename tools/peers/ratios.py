"""What is made of the sides' answers: times over all alternations, and ratios."""

import statistics


def summary(replies):
    """The minimum of the minima and the median of the medians over all alternations."""
    return {"min_ms": min(r["min_ms"] for r in replies), "median_ms": statistics.median(r["median_ms"] for r in replies),
            "samples": sum(r["samples"] for r in replies)}


def ratio(ours, theirs):
    """How many times as long they take; the lists hold an answer an alternation, in the same order."""
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} and {len(theirs)} alternations cannot be paired")
    a, b = summary(ours), summary(theirs)
    # Within one alternation both sides had the same neighbours: on a shared machine, whose speed drifts by half from
    # minute to minute, the median of these says most.
    pairs = [y["min_ms"] / x["min_ms"] for x, y in zip(ours, theirs)]
    return {"min_ms": b["min_ms"] / a["min_ms"], "median_ms": b["median_ms"] / a["median_ms"],
            "paired": statistics.median(pairs), "paired_range": [min(pairs), max(pairs)]}


def alternate(asks, rounds):
    """{name: an answer an alternation} of {name: function that answers}. Who goes first alternates, so that a drifting
    clock favours nobody."""
    replies = {name: [] for name in asks}
    for number in range(rounds):
        order = list(asks) if number % 2 == 0 else list(reversed(asks))
        for name in order:
            replies[name].append(asks[name]())
    return replies


def table(results, missing):
    """The lines of the table: a case's sides, our own first; who is missing, once a reason."""
    lines = [f"{'case':<18} {'side':<16} {'min ms':>11} {'median ms':>11} {'ratio (min)':>12} {'ratio (median)':>15} "
             f"{'ratio (paired)':>22}"]
    for case, sides in results.items():
        for side in [name for name in sides if not name.startswith("ratio_")]:
            line = f"{case if side == 'cuthresh' else '':<18} {side:<16} {sides[side]['min_ms']:>11.4f} " \
                   f"{sides[side]['median_ms']:>11.4f}"
            r = sides.get(f"ratio_{side}")
            if r:
                low, high = r["paired_range"]
                paired = f"{r['paired']:.2f}x ({low:.1f}..{high:.1f})"
                line += f" {r['min_ms']:>11.2f}x {r['median_ms']:>14.2f}x {paired:>22}"
            lines.append(line)
    reasons = {}
    for case, peers in missing.items():
        for peer, reason in peers.items():
            reasons.setdefault((peer, reason), []).append(case)
    if reasons:
        lines += ["", "missing:"]
        lines += [f"  {peer} ({', '.join(cases)}): {reason}" for (peer, reason), cases in reasons.items()]
    return lines


def memory_table(memory):
    lines = [f"{'case':<18} {'side':<16} {'case MiB':>10} {'peak MiB':>10}   (case: above what the process held before)"]
    for case, sides in memory.items():
        for side, m in sides.items():
            lines.append(f"{case if side == 'cuthresh' else '':<18} {side:<16} {m['case_kib'] / 1024:>10.1f} "
                         f"{m['peak_kib'] / 1024:>10.1f}")
    return lines
