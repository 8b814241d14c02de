#!/usr/bin/env python3
"""Writes a kernel header with one planted bug: make_mutant.py mutants.json NAME SOURCE_DIR OUTPUT.

Fails when the text to replace is not there exactly once, so that a mutant cannot quietly turn into
the kernel itself when the kernel changes.
"""
import json
import pathlib
import sys


def main():
    listing, name, source_dir, output = sys.argv[1:]
    mutants = json.loads(pathlib.Path(listing).read_text(encoding="utf-8"))["mutants"]
    mutant = next(m for m in mutants if m["name"] == name)
    text = (pathlib.Path(source_dir) / mutant["file"]).read_text(encoding="utf-8")
    count = text.count(mutant["find"])
    if count != 1:
        sys.exit(f"{listing}: mutant {name}: the text to replace occurs {count} times in "
                 f"{mutant['file']}, not once; the kernel has changed: update the mutant\n"
                 f"{mutant['find']}")
    target = pathlib.Path(output)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text.replace(mutant["find"], mutant["replace"]), encoding="utf-8")


if __name__ == "__main__":
    main()
