#!/usr/bin/env python3
"""Runs a check and says whether it came out as wanted: run_mutant.py SANITIZERS WANTED PROGRAM.

SANITIZERS is how the program was built (address,undefined or thread or nothing). WANTED is what must
see the bug, any of result, fault, asan, tsan, joined by commas; "right" for the kernel as it is.
Exit status 77: nothing in this build can see it.
"""
import subprocess
import sys

EXIT_CODES = {3: "result", 4: "fault"}  # harness.hpp
CANNOT_RUN = 77


def main():
    sanitizers, wanted, program = sys.argv[1:]
    wanted = set(wanted.split(","))
    can = {"right", "result", "fault"}
    can |= {"asan"} if "address" in sanitizers else set()
    can |= {"tsan"} if "thread" in sanitizers else set()
    if not wanted & can:
        print(f"skipped: only {', '.join(sorted(wanted))} can see this bug, and this build has none")
        return CANNOT_RUN
    done = subprocess.run([program], capture_output=True, text=True, timeout=500, check=False)
    output = done.stdout + done.stderr
    if done.returncode == CANNOT_RUN:
        print(f"skipped: {output.strip()}")
        return CANNOT_RUN
    seen = set()
    if done.returncode in EXIT_CODES:
        seen.add(EXIT_CODES[done.returncode])
    if "ERROR: AddressSanitizer" in output:
        seen.add("asan")
    if "WARNING: ThreadSanitizer: data race" in output:
        seen.add("tsan")
    if done.returncode == 0 and not seen:
        seen.add("right")
    print(f"exit status {done.returncode}, seen by: {', '.join(sorted(seen)) or 'nothing known'}; "
          f"wanted: {', '.join(sorted(wanted))}")
    passed = seen == {"right"} if wanted == {"right"} else bool(seen & wanted)
    if not passed:
        print(output[-4000:])
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
