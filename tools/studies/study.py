#!/usr/bin/env python3
"""Trains the variants of one question and writes their table: study.py NAME [options]

    tools/studies/study.py seeds --command build/quickstart/bin/cuthresh

Every training is a `cuthresh fit` with a run folder of its own under --folder; one that is there already is not trained
again, so an interrupted study goes on where it ended, and more seeds are added to fewer. Writes docs/studies/NAME.md (the
table) and NAME.json (every run) once all runs are there. `study.py --list` names the studies.

Exit status: 0 complete, 1 a training failed, 2 bad arguments, 3 ended before all runs were there (--minutes).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True
import studies  # noqa: E402  (beside this file)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Failed(Exception):
    pass


def train(command, run, folder, threads, settings, told):
    """The result.json of a run, trained unless it is there. `settings` come after the run's own. With `told` a refusal is a
    result as well: {"refused": what the command said}."""
    out = os.path.join(folder, run.folder)
    result = os.path.join(out, "result.json")
    if not os.path.exists(result):
        arguments = [command, "fit", os.path.join(ROOT, run.config), "--quiet", "--force", "--out", out]
        if threads:
            arguments += ["--threads", str(threads)]
        for setting in run.settings + ["train.eval_every=1000000000"] + settings:
            arguments += ["--set", setting]
        done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
        if told and done.returncode == 2:
            return {"refused": done.stderr.strip()}
        if done.returncode not in (0, 3):  # 3: the target was missed, which is a result
            raise Failed("%s\nexit status %d: %s" % (" ".join(arguments), done.returncode, done.stderr.strip()))
    with open(result) as file:
        return json.load(file)


def summary(label, results):
    """The row of one variant: medians over its runs, and their spread where there are several."""
    def spread(values, form):
        middle = form(statistics.median(values))
        return middle if len(values) == 1 else "%s [%s, %s]" % (middle, form(min(values)), form(max(values)))

    def whole(value):
        return "{:,.0f}".format(value)

    targets = [r["target_nnz"] for r in results]
    exact = sum(r["nnz"] == r["target_nnz"] and all(
        layer["target_nnz"] in (None, layer["nnz"]) for layer in r["layers"]) for r in results)
    row = [label, "%d" % len(results), whole(targets[0]) if targets[0] is not None else "-",
           spread([r["nnz"] for r in results], whole), "%d" % sum(r["achieved"] for r in results), "%d" % exact,
           spread([r["rounds"] for r in results], whole), spread([r["steps_total"] for r in results], whole)]
    losses = [r["test_loss"] for r in results if r["test_loss"] is not None]
    row.append(spread(losses, "{:.5f}".format) if losses else "-")
    if results[0]["test_accuracy"] is not None:
        row.append(spread([100.0 * r["test_accuracy"] for r in results], "{:.1f} %".format))
    return row


def summary_told(label, runs, dense):
    """The row of one variant: its figures against `dense` (seed -> result), and what was said. `runs`: seed -> result."""
    trained = {seed: result for seed, result in runs.items() if "refused" not in result}
    finite = {seed: r["test_loss"] for seed, r in trained.items() if r["test_loss"] is not None}
    said = [r["refused"] if "refused" in r else r["why_stopped"] for r in runs.values()]
    row = [label, "%d" % len(runs), "%d" % sum(r["achieved"] for r in trained.values()),
           ", ".join(sorted({"{:,}".format(r["nnz"]) for r in trained.values()})) or "-"]
    row.append("{:.5f}".format(statistics.median(finite.values())) if finite else "-")
    ratios = [loss / dense[seed]["test_loss"] for seed, loss in finite.items() if dense.get(seed, {}).get("test_loss")]
    row.append("%.2f [%.2f, %.2f]" % (statistics.median(ratios), min(ratios), max(ratios)) if ratios else "-")
    row.append("; ".join(text if said.count(text) == len(said) else "%d: %s" % (said.count(text), text)
                         for text in dict.fromkeys(said)).replace("|", "\\|"))
    return row


def table_told(rows):
    """`rows`: variant -> seed -> result."""
    header = ["variant", "runs", "reached", "nnz", "test loss", "of the dense one's", "the command says"]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for label, runs in rows.items():
        dense = rows.get(label.split(":")[0] + ": dense", {})
        lines.append("| " + " | ".join(summary_told(label, runs, dense)) + " |")
    return "\n".join(lines)


def table(study, rows):
    header = ["variant", "runs", "target", "nnz", "reached", "exact", "trainings", "steps", "test loss"]
    if len(rows[0]) > len(header):
        header.append("test accuracy")
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def page(study, text, arguments, device):
    exact = "" if study.told else ', "exact" those with the very number asked for'
    return """# %s

%s

%s

Medians over the runs, with the smallest and the largest in brackets; "reached" counts the runs within the variant's
tolerance%s. Device: %s. Every run: `%s.json`. Command:

    %s
""" % (study.title, study.question, text, exact, device, study.name, " ".join(arguments))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="which study")
    parser.add_argument("--list", action="store_true", help="names the studies")
    parser.add_argument("--command", default="build/quickstart/bin/cuthresh")
    parser.add_argument("--folder", default="runs/studies", help="where the runs are kept")
    parser.add_argument("--out", default=os.path.join(ROOT, "docs", "studies"))
    parser.add_argument("--seeds", type=int, help="runs of each variant (default: the study's)")
    parser.add_argument("--minutes", type=float, help="begins no training after so long")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="in every run; may be repeated")
    given = parser.parse_args()
    if given.list:
        for study in studies.ALL:
            print("%-12s %s" % (study.name, study.title))
        return 0
    known = {study.name: study for study in studies.ALL}
    if given.name not in known:
        print("study.py: no study %r; there are %s" % (given.name, ", ".join(known)), file=sys.stderr)
        return 2
    if given.seeds is not None and given.seeds < 1:
        print("study.py: --seeds %d; give at least 1" % given.seeds, file=sys.stderr)
        return 2
    study = known[given.name]
    seeds = given.seeds or study.seeds
    begin = time.monotonic()
    runs = study.runs(seeds)
    rows, kept = {}, []
    for number, run in enumerate(runs, 1):
        if given.minutes and time.monotonic() - begin > 60.0 * given.minutes:
            print("study.py: %d of %d runs are there; the same command goes on" % (number - 1, len(runs)))
            return 3
        try:
            result = train(given.command, run, os.path.join(given.folder, study.name), given.threads, given.set,
                           study.told)
        except Failed as error:
            print("study.py: %s" % error, file=sys.stderr)
            return 1
        print("%s %d/%d  %s  %s" % (study.name, number, len(runs), run.folder, result.get("refused") or
                                    "nnz %d  test loss %s  %.0f s" % (result["nnz"], result["test_loss"], result["seconds"])),
              flush=True)
        rows.setdefault(run.variant, {})[run.seed] = result
        kept.append({"variant": run.variant, "seed": run.seed, "settings": run.settings, **{
            key: result[key] for key in ("refused", "version", "nnz", "target_nnz", "achieved", "outcome", "why_stopped",
                                         "rounds", "steps_total", "train_loss", "test_loss", "test_accuracy", "seconds",
                                         "device") if key in result}})
    os.makedirs(given.out, exist_ok=True)
    command = ["tools/studies/study.py", study.name] + (["--seeds", str(seeds)] if given.seeds else [])
    for setting in given.set:
        command += ["--set", setting]
    with open(os.path.join(given.out, study.name + ".json"), "w") as file:
        json.dump(kept, file, indent=1)
        file.write("\n")
    with open(os.path.join(given.out, study.name + ".md"), "w") as file:
        text = table_told(rows) if study.told else table(
            study, [summary(label, list(results.values())) for label, results in rows.items()])
        file.write(page(study, text, command, next(run["device"] for run in kept if "device" in run)))
    print("wrote %s" % os.path.join(given.out, study.name + ".md"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
