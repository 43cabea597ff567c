"""A worker that answers from a script: no library, no model, and every way of going wrong.

The script is JSON: ``seconds`` of a round and their relative ``spread``; ``figures`` in place of
the usual ones; ``unsupported``, variants that it refuses; and ``acts``, what it does instead of
answering a command, under ``COMMAND`` or ``COMMAND VARIANT``, from the restart ``acts_from`` on.
"""

import argparse
import json
import math
import os
import random
import signal
import subprocess
import sys
import time

FIGURES = {
    "prompt": "0123456789ab",
    "result": {"output": "CausalLMOutput", "logits": "float32 [1, 1, 8]", "cache": "DynamicCache"},
    "tokens": [[1, 2, 3]],
    "labels": "ba9876543210",
    "nll": [1.0, 2.0, 0.5],
    "sizes": {"peak_allocated_bytes": 4000, "storage_bytes": 3000, "weights_bytes": 2000},
    "problems": [],
}

parser = argparse.ArgumentParser()
parser.add_argument("script")
parser.add_argument("--commands", type=int)
parser.add_argument("--answers", type=int)
asked = parser.parse_args()
with open(asked.script) as file:
    script = json.load(file)
# By the file's name, since the folder of a test differs from run to run: with two restarts an
# interval came out wider by a digit in one run of dozens.
chance = random.Random(f"{os.path.basename(asked.script)} {os.environ['PYTHONHASHSEED']}")
variant = ""


def answer(command):
    global variant
    do = command["do"]
    if do == "start" and script.get("tell_start"):
        seed = os.environ["PYTHONHASHSEED"]
        return {"packages": {"hash seed": seed, "processors": str(command["cpus"])}}
    if do == "start":
        return {"packages": {"transformers": script.get("version", "1.0")}}
    if do == "build":
        variant = command["variant"]
        refused = variant in script.get("unsupported", ())
        return {"unsupported": f"{variant}: it needs a GPU" if refused else None}
    if do == "describe":
        return {**FIGURES, **script.get("figures", {}).get(variant, {})}
    if script.get("log_rounds"):
        began = time.monotonic()
        time.sleep(0.002)
        with open(f"{asked.script}.rounds", "a") as file:
            file.write(f"{began} {time.monotonic()}\n")
    slow = script.get("slow", {}).get(f"{variant} {command['phase']}", 1.0)
    level = script.get("seconds", 0.02) * slow
    spread = script.get("spread", 1e-5)
    return {
        "seconds": [level * math.exp(chance.gauss(0, spread)) for _ in range(command["repeats"])]
    }


def go_wrong(act, told, answers):
    if act == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if act == "exit":
        print("Traceback (most recent call last):\nModuleNotFoundError: No module named 'httpx'")
        sys.stdout.flush()
        os._exit(1)
    if act == "close":
        answers.close()
        time.sleep(1000)
    if act == "hang":
        # A child of its own, as libraries start them.
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        with open(f"{asked.script}.pids", "a") as file:
            file.write(f"{os.getpid()} {child.pid}\n")
        time.sleep(1000)
    if act == "dawdle":
        time.sleep(3)
        return json.dumps(told)
    if act == "babble":
        return "loading weights: 100 %"
    return json.dumps(act)


with os.fdopen(asked.commands) as commands, os.fdopen(asked.answers, "w") as answers:
    for line in commands:
        command = json.loads(line)
        late = int(os.environ["PYTHONHASHSEED"]) >= script.get("acts_from", 0)
        acts = script.get("acts", {}) if late else {}
        told = {"told": answer(command)}
        act = acts.get(command["do"], acts.get(f"{command['do']} {variant}"))
        text = json.dumps(told) if act is None else go_wrong(act, told, answers)
        answers.write(text + "\n")
        answers.flush()
