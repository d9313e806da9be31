"""Does tasks with the Python client's own functions, without a server: python_work.py FOLDER. See tests/python-client.test.ts."""
import json
import random
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

import fedlora_client as client

torch.set_num_threads(1)
folder = Path(sys.argv[1])
asked = json.loads((folder / "asked.json").read_text())
model = Path(asked["model"])
learner = client.Learner(model, asked["lora"])
rows = [(row["ids"], row["labels"]) for row in asked["rows"]]
losses = []
for case in asked["cases"]:
    seen = []
    beat = lambda steps, loss, rows: seen.append(loss)
    received = load_file(folder / f"received-{case['name']}.safetensors")
    update, weight, own = client.work(learner, case["config"], case["task"], received, rows, random.Random(1), beat)
    result = {key: value.cpu().contiguous() for key, value in (update or own).items()}
    save_file(result, folder / f"result-{case['name']}.safetensors")
    losses.append({"name": case["name"], "losses": seen, "weight": weight, "sent": bool(update)})

tokenizer = AutoTokenizer.from_pretrained(model)
read = {}
for name, config in asked["data"].items():
    client.require_supported(config)
    parts, left = client.read_rows(asked["file"], config, tokenizer)
    read[name] = {"rows": [list(row) for part in parts.values() for row in part], "left": left}

models = []
for path in asked["models"]:
    try:
        models.append(client.require_model(Path(path), "m", asked["files"]))
    except client.Problem as problem:
        models.append(str(problem))

run = {"config": asked["cases"][0]["config"], "lease": 60}
member = client.Client(None, run, learner, {"train": rows}, folder)
try:
    too_large = member.payload({"digest": "0" * 64, "size": 10**12})
except client.Problem as problem:
    too_large = str(problem)

global_factors = load_file(folder / "factors.safetensors")
answer = {
    "cases": losses,
    "read": read,
    "models": models,
    "tooLarge": too_large,
    "sums": learner.sums(global_factors, rows, 2),
}
(folder / "answer.json").write_text(json.dumps(answer))
