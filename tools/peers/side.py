"""One side of a comparison: a process that answers requests and is stopped except while it does."""

import json
import signal
import subprocess
import sys
import time


class Side:
    """`missing` says why the program does not serve, when it has said so; else empty."""

    def __init__(self, name, command, environment):
        self.name = name
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, bufsize=1)
        self.hello = self.read("to its start")
        self.missing = self.hello.get("missing", "")
        if not self.missing:
            self.stop()

    def read(self, request):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name}: ended with status {self.process.wait()} instead of an answer {request}")
        reply = json.loads(line)
        if "error" in reply:
            sys.exit(f"{self.name}: {reply['error']}")
        return reply

    def ask(self, request):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(request + "\n")
        reply = self.read(f"to '{request}'")
        self.stop()
        return reply

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)
        for _ in range(1000):
            with open(f"/proc/{self.process.pid}/stat") as f:
                # "pid (name) state ...": the name may hold anything, so the state comes after the last ")".
                if f.read().rsplit(")", 1)[1].split()[0] == "T":
                    return
            time.sleep(0.001)
        sys.exit(f"{self.name}: process {self.process.pid} did not stop")

    def end(self):
        self.process.kill()  # ends a stopped process too
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            pipe.close()
