"""Takes part in a run of `fedlora serve` with PyTorch and PEFT: FedIT and FedLoRA-Optimizer's stages. README.md beside it.

Work comes as data: the run's configuration, tasks that name a method and a stage, tensors (docs/protocol.md). Which rows are in
which batch is this program's own draw; what is computed from a batch is what `fedlora join` computes from it.
"""
import argparse, hashlib, http.client, json, math, os, random, re, secrets, sys, time
import urllib.error, urllib.parse, urllib.request
from datetime import datetime
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load, save
from transformers import AutoModelForCausalLM, AutoTokenizer

PROTOCOL, FEDLORA = 1, "0.1.0"  # what this program was written for
PIECE = 8 * 2**20  # bytes of one upload request
CONNECTION = (OSError, http.client.HTTPException)  # timeouts and URLError are OSErrors


class Problem(Exception):
    """For people: what is wrong, and what would be right."""


class Unreachable(Problem):
    """The server did not answer for as long as there was patience."""


class Refused(Exception):
    """The server said no; will it say so again, or does that pass?"""

    def __init__(self, status, message, received=None):
        super().__init__(message)
        self.status, self.received, self.passes = status, received, status == 429 or status >= 500


# ---- the server -------------------------------------------------------------------------------------------------------------
class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):  # a key is for one server
        return None


class Server:
    def __init__(self, url, patience):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" and (parts.scheme, parts.hostname) not in [("http", "127.0.0.1"), ("http", "localhost")]:
            raise Problem(f"{url}: use https://, or http:// for a server on this machine; keys must not travel unencrypted")
        self.url, self.patience, self.key = url.rstrip("/"), patience, None
        self.open = urllib.request.build_opener(NoRedirect).open

    def once(self, method, path, body=None, headers={}):
        own = {"User-Agent": f"fedlora-python-client/{FEDLORA}"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        if isinstance(body, dict):
            body, own["Content-Type"] = json.dumps(body, allow_nan=False).encode(), "application/json"
        request = urllib.request.Request(f"{self.url}/v1/{path}", body, own | headers, method=method)
        try:
            with self.open(request, timeout=120) as answer:
                return answer.read()
        except urllib.error.HTTPError as answer:
            try:
                said = json.loads(answer.read(2**16))
            except ValueError:
                said = {"error": {"message": f"the server answered {answer.code}"}}
            raise Refused(answer.code, said["error"]["message"], said.get("received")) from None

    def patiently(self, attempt):
        """Tries until there is an answer that will not change, with growing pauses, for `patience` seconds."""
        began, pause = time.monotonic(), 0.2
        while True:
            try:
                return attempt()
            except (Refused, *CONNECTION) as error:
                if isinstance(error, Refused) and not error.passes:
                    raise
                if time.monotonic() - began + pause > self.patience:
                    raise Unreachable(f"{self.url} did not answer for {self.patience} s: {error}") from None
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, 15)

    def ask(self, method, path, body=None, headers={}):
        return json.loads(self.patiently(lambda: self.once(method, path, body, headers)))

    def download(self, blob):
        def attempt():
            data = self.once("GET", f"blobs/{blob['digest']}")
            if digest(data) != blob["digest"]:
                raise ConnectionError(f"payload {blob['digest']} was cut or came with other bytes")
            return data

        return self.patiently(attempt)

    def upload(self, data):
        """Sends what the server does not have yet, in pieces; after a cut it says where to go on."""
        path, before, stuck = f"uploads/{digest(data)}", -1, 0
        while not (state := self.ask("GET", path))["complete"]:
            first = state["received"]
            before, stuck = first, stuck + 1 if first <= before else 0
            if stuck > 9:
                raise Problem(f"{self.url} does not take the upload of an update")
            time.sleep(stuck)
            piece = data[first : first + PIECE]
            try:
                self.once("PUT", path, piece, {"Content-Range": f"bytes {first}-{first + len(piece) - 1}/{len(data)}"})
            except CONNECTION:
                continue
            except Refused as error:
                if not error.passes and error.received is None:
                    raise


def digest(data):
    return hashlib.sha256(data).hexdigest()


def model_digest(folder):
    """Of config.json and of each weight file: name, size, first and last MiB."""
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    names = [single.name] if single.exists() else sorted(set(json.loads(index.read_text())["weight_map"].values()))
    total = hashlib.sha256()
    for path in [folder / name for name in ("config.json", *names)]:
        size = path.stat().st_size
        total.update(json.dumps([path.name, size], separators=(",", ":"), ensure_ascii=False).encode())
        with path.open("rb") as file:
            for position in (0, max(0, size - 2**20)):
                file.seek(position)
                total.update(file.read(2**20))
    return total.hexdigest()


# ---- own data ---------------------------------------------------------------------------------------------------------------
def encoder(data, tokenizer):
    """Prompt and response → ids, and a 1 for each id that the model shall learn to write: the response with what ends it."""
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False)
    end = tokenizer.eos_token_id
    if end is None or encode("Say:\nYes, a word") != encode("Say:\n") + encode("Yes, a word"):
        raise Problem("this client needs a byte-level tokenizer with an end-of-sequence token: use `fedlora join`")
    # Templates that ask for the date get a fixed one, so that a run has the same tokens tomorrow.
    more = {"tokenize": False, "strftime_now": lambda form: datetime(2024, 7, 26).strftime(form)}
    if data["template"] == "plain":
        with_start = tokenizer.encode("a")
        start = with_start[: with_start.index(encode("a")[0])]

    def tokens(prompt, response):
        if data["template"] == "plain":
            before, after = start + encode(prompt + data.get("separator", "\n")), encode(response) + [end]
        else:
            messages = [{"role": "system", "content": data["system"]}] if "system" in data else []
            messages += [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
            opening = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, **more)
            whole = tokenizer.apply_chat_template(messages, **more).rstrip()
            if not whole.startswith(opening):
                raise Problem("the chat template begins a response otherwise than its prompt for one: use `fedlora join`")
            before, after = encode(opening), encode(whole[len(opening) :])
            ends = after[-1] == end or tokenizer.decode(after[-1:], skip_special_tokens=True) == ""
            after += [] if ends else [end]
        return before + after, [0] * len(before) + [1] * len(after)

    return tokens


def read_rows(path, config, tokenizer, seed):
    """Own rows (ids, labels) divided into train, validation and test, and how many were left out."""
    tokens, rows, left = encoder(config["data"], tokenizer), [], 0
    for number, line in enumerate(Path(path).read_text("utf-8-sig").split("\n"), 1):
        if line.strip():
            names = {"prompt": "prompt", "response": "response"} | config["data"].get("columns", {})
            try:
                row = json.loads(line)
                prompt, response = row[names["prompt"]], row[names["response"]]
                if not (isinstance(prompt, str) and isinstance(response, str)):
                    raise TypeError
            except (ValueError, KeyError, TypeError):
                wanted = f"“{names['prompt']}” and “{names['response']}”"
                raise Problem(f"{path}, line {number}: expected a JSON object with the texts {wanted}") from None
            ids, labels = tokens(prompt, response) if response.strip() else ([], [])
            if any(labels[1:]) and len(ids) <= config["data"]["maxLength"]:
                rows.append((ids, [0, *labels[1:]]))
            else:
                left += 1
    random.Random(seed).shuffle(rows)
    rows = rows[: config["clients"].get("limit", len(rows))]
    parts = {}
    for part in ("test", "validation"):
        amount = config["clients"]["split"][part]
        amount = amount if amount >= 1 or amount == 0 else max(1, int(amount * len(rows) + 0.5))
        parts[part], rows = rows[:amount], rows[amount:]
    if not rows:
        raise Problem(f"{path}: no row is left to train on ({left} have no response or more tokens than data.maxLength)")
    return parts | {"train": rows}, left


def labelled(rows):
    return sum(sum(labels) for _, labels in rows)


# ---- the mathematics --------------------------------------------------------------------------------------------------------
class Learner:
    """The base model with LoRA in place. Factors are {"model.layers.0.self_attn.q_proj.lora_A": [r, in], …lora_B: [out, r]}."""

    def __init__(self, folder, lora, device="cpu"):
        base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        self.base_parameters = base.num_parameters()
        options = {"r": lora["rank"], "lora_alpha": lora["alpha"], "use_rslora": lora["rslora"], "lora_dropout": 0.0}
        self.model = get_peft_model(base, LoraConfig(target_modules=lora["targets"], task_type="CAUSAL_LM", **options))
        self.model.to(device).eval()  # no dropout
        named = [(name, weight) for name, weight in self.model.named_parameters() if ".lora_" in name]
        self.weights = {re.sub(r"^base_model\.model\.|\.default\.weight$", "", name): weight for name, weight in named}
        self.device = device

    def put(self, factors):
        with torch.no_grad():
            for key, weight in self.weights.items():
                weight.copy_(factors[key])
                weight.grad = None

    def nll(self, rows):
        """Σ negative log-likelihood of the labelled tokens (in nats, with its graph), and how many are predicted right."""
        length = max(len(ids) for ids, _ in rows)
        pad = lambda values, by: torch.tensor([[*value, *[by] * (length - len(value))] for value in values], device=self.device)
        ids, labels = pad([ids for ids, _ in rows], 0), pad([labels for _, labels in rows], 0).bool()[:, 1:]
        logits = self.model(input_ids=ids, attention_mask=pad([[1] * len(ids) for ids, _ in rows], 0)).logits[:, :-1][labels]
        targets = ids[:, 1:][labels]
        return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum"), (logits.argmax(-1) == targets).sum()

    def gradient(self, part, factors, params, batches):
        """The token-mean loss of all the batches' rows together, and its gradient with respect to params."""
        params = {key: value.detach().to(self.device).requires_grad_() for key, value in params.items()}
        moved = {key: as_factor(part, factors[key], value, key) for key, value in params.items()}
        self.put(factors | moved)
        tokens, loss = sum(labelled(rows) for rows in batches), 0.0
        for rows in batches:
            part_of_loss = self.nll(rows)[0] / tokens
            part_of_loss.backward()
            loss += part_of_loss.item()
        if not math.isfinite(loss):
            raise Problem(f"the loss is {loss}")
        outer = [self.weights[key].grad for key in params]
        return loss, dict(zip(params, torch.autograd.grad(list(moved.values()), list(params.values()), outer)))

    def train(self, part, factors, params, rows, settings, draw, penalty=None, beat=lambda *_: None):
        """AdamW on params, each step on the token-mean loss of its micro-batches."""
        size, accumulate, rate = settings["batchSize"], settings["accumulate"], settings["rate"]
        per_epoch = math.ceil(math.ceil(len(rows) / size) / accumulate)
        steps = settings["steps"] or (settings["epochs"] or 1) * per_epoch
        params = {key: value.clone().to(self.device).requires_grad_() for key, value in params.items()}
        optimizer = torch.optim.AdamW(params.values(), lr=rate, weight_decay=settings["weightDecay"])
        queue = []
        for step in range(steps):
            if not queue:
                rows = draw.sample(rows, len(rows))
                micro = [rows[i : i + size] for i in range(0, len(rows), size)]
                queue = [micro[i : i + accumulate] for i in range(0, len(micro), accumulate)]
            batches = queue.pop(0)
            loss, gradients = self.gradient(part, factors, params, batches)
            if penalty and penalty["kind"] == "coupled":  # the gradient of λ·Σ‖Δ‖²
                gradients = {key: value + 2 * penalty["lambda"] * params[key].detach() for key, value in gradients.items()}
            norm = torch.stack([value.norm() for value in gradients.values()]).norm()
            shrink = min(1.0, settings["clip"] / norm.item()) if settings["clip"] > 0 and norm > 0 else 1.0
            for key, value in params.items():
                value.grad = gradients[key] * shrink
            now = rate * schedule(settings, step, steps)
            optimizer.param_groups[0]["lr"] = now
            optimizer.step()
            if penalty and penalty["kind"] == "proximal":
                for value in params.values():
                    value.data /= 1 + 2 * now * penalty["lambda"]
            beat(step + 1, steps, loss, batches)
        return {key: value.detach() for key, value in params.items()}

    def sums(self, factors, rows, size, beat=lambda: None):
        """What an evaluation adds up. Answers are not generated here, so that those of others decide exact match and ROUGE-L."""
        self.put(factors)
        total = {"nll": 0.0, "tokens": labelled(rows), "correct": 0, "rows": len(rows), "generated": 0, "exact": 0, "rougeL": 0}
        rows = sorted(rows, key=lambda row: len(row[0]))
        with torch.no_grad():
            for i in range(0, len(rows), size):
                nll, correct = self.nll(rows[i : i + size])
                total["nll"] += nll.item()
                total["correct"] += correct.item()
                beat()
        return total


def schedule(settings, step, steps):
    """The share of the learning rate at this step (from 0), as transformers' schedules have it."""
    warmup = settings["warmup"]
    if step < warmup:
        return step / warmup
    done = min(1, (step - warmup) / max(1, steps - warmup))
    return {"constant": 1, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}[settings["schedule"]]


def decompose(x, key, axis):
    """X = M·D: the norms of its vectors in float64, their directions, and over which dimension. Zero vectors stay zero."""
    over = 1 if axis == "row" or (axis == "rank" and key.endswith("lora_A")) else 0
    norms = x.double().norm(dim=over, keepdim=True)
    return norms, x.double() / norms.where(norms > 0, 1.0), over


def as_factor(part, x, value, key):
    """The factor that params stand for: itself, A_M·n(A_D + ΔA_D) or (B_M + ΔB_M)·B_D. Differentiable in `value`."""
    if part["trains"] == "factors":
        return value * 1
    norms, direction, over = decompose(x.to(value.device), key, part["axis"])
    if part["trains"] == "magnitude of B":
        return ((norms + value) * direction).float()
    moved = direction + value
    if part["renormalise"] == "off":
        return (norms * moved).float()
    lengths = moved.square().sum(over, keepdim=True).clamp_min(1e-24).sqrt()
    lengths = lengths.detach() if part["renormalise"] == "detach" else lengths
    return (norms * moved / lengths).where(lengths > 1e-12, 0 * moved).float()


# ---- the stages -------------------------------------------------------------------------------------------------------------
def require_supported(config):
    """Refuses, by name, what this program does not do; nothing is ever left out silently."""
    def refuse(what):
        raise Problem(f"this run has {what}, which this client does not do: take part with `fedlora join`")

    for guard in config.get("guards", []):
        refuse(f"the guard `{guard['use']}`")
    if config.get("combine", "plain") == "secure":
        refuse("`combine: secure`")
    for key, values in {"format": ["jsonl"], "template": ["chat", "plain"]}.items():
        if config["data"][key] not in values:
            refuse(f"`data.{key}: {config['data'][key]}`")
    if "input" in config["data"].get("columns", {}) or (config["data"]["template"] == "plain" and "system" in config["data"]):
        refuse("`data.columns.input`, or `data.system` with `template: plain`")
    if "given" in config["clients"]["split"].values():
        refuse("`clients.split: given`")
    if "keepBest" in config["train"]:
        refuse("`train.keepBest`")
    for method in config["methods"]:
        if method["use"] not in ("fedit", "fedlora-optimizer"):
            refuse(f"the method `{method['use']}`")
        only = {"optimizerState": "reset", "order": "global-first", "globalData": "clients", "upload": "factors"}
        only |= {"global.part": "direction", "local.part": "magnitude", "local.keepBest": None}
        flat = method | {f"{a}.{b}": value for a in ("global", "local") for b, value in method.get(a, {}).items()}
        for key, value in only.items():
            if flat.get(key, value) != value:
                refuse(f"`{key}: {flat[key]}` of `{method['use']}`")


def work(learner, config, place, received, rows, draw, beat):
    """A task's work: the update (None: nothing is sent), its weight, and the client's own factors (None: no new ones)."""
    method = next(method for method in config["methods"] if method["label"] == place["method"])
    train = {"steps": None, "epochs": None} | config["train"]
    axis = {key: method.get(key) for key in ("axis", "renormalise")}
    factors = {key: value for key, value in received.items() if not key.startswith("delta:")}
    delta = {key.removeprefix("delta:"): value for key, value in received.items() if key.startswith("delta:")}
    weight = {"examples": len(rows), "tokens": labelled(rows), "uniform": 1}[method["weights"]]
    go = lambda part, params, settings, penalty=None: learner.train(part, factors, params, rows, settings, draw, penalty, beat)

    if place["stage"] == "federated":
        after = go({"trains": "factors"}, factors, train)
        return {key: after[key].cpu() - value for key, value in factors.items()}, weight, None

    if place["stage"] == "global":
        count = len(rows) if method["global"]["rows"] == "all" else min(method["global"]["rows"], len(rows))
        chosen, size = draw.sample(rows, count), train["batchSize"]
        batches = [chosen[i : i + size] for i in range(0, count, size)]
        loss, gradients = learner.gradient({"trains": "direction of A"} | axis, factors, delta, batches)
        beat(1, 1, loss, batches)
        return {f"delta:{key}": value.cpu() for key, value in gradients.items()}, labelled(rows), None

    if place["stage"] != "local":
        raise Problem(f"this client knows no stage “{place['stage']}”")
    own = {key: method["local"][key] for key in ("steps", "epochs", "rate") if key in method["local"]}
    if "steps" in own or "epochs" in own:
        train |= {"steps": None, "epochs": None}
    if method["use"] == "fedit":
        return None, 1, go({"trains": "factors"}, factors, train | own)
    part = {"trains": "magnitude of B"} | axis
    train |= {"rate": 3e-3 if method["axis"] == "row" else 3e-2, "weightDecay": 0} | own
    of_b = {key: decompose(x, key, method["axis"])[0] for key, x in factors.items() if key.endswith("lora_B")}
    zero = {key: torch.zeros_like(norms, dtype=torch.float32) for key, norms in of_b.items()}
    after = go(part, zero, train, {"kind": method["penalty"], "lambda": method["lambda"]})
    return None, 1, factors | {key: as_factor(part, factors[key], value, key) for key, value in after.items()}


# ---- taking part ------------------------------------------------------------------------------------------------------------
class Client:
    def __init__(self, server, description, learner, parts, out):
        self.server, self.config, self.learner, self.parts, self.out = server, description["config"], learner, parts, out
        self.pause, self.beaten, self.why = min(10, description["lease"] / 4), 0, None
        for name in ("pending", "payloads", "personal"):
            (out / name).mkdir(parents=True, exist_ok=True)

    def personal(self, label):
        """Where this client's own factors of a method are, once their work was accepted."""
        return self.out / "personal" / f"{digest(label.encode())[:16]}.safetensors"

    def settle(self):
        """Asks what became of finished work, delivers what has not arrived, and adopts own factors that were accepted."""
        for path in sorted((self.out / "pending").glob("*.json")):
            kept = json.loads(path.read_text())
            payload, own = self.out / "payloads" / str(kept["message"]["digest"]), path.with_suffix(".safetensors")
            try:
                answer = self.server.ask("GET", f"tasks/{kept['id']}/outcome")
                if answer["outcome"] == "open":
                    if kept["message"]["digest"]:
                        self.server.upload(payload.read_bytes())
                    answer = self.server.ask("POST", f"tasks/{kept['id']}/update", kept["message"])
            except Refused as error:
                if error.status == 401:
                    raise
                answer = {"outcome": "refused", "reason": str(error)}
                if error.status in (413, 422):  # it will never take this update: nobody need wait for it
                    self.failed(kept["id"], f"the server refused its update: {error}")
            if answer["outcome"] in ("open", "received"):
                continue
            counted = answer["outcome"] == "accepted"
            say(f"  {kept['what']}: {'counted' if counted else 'not counted, ' + answer.get('reason', '')}")
            if own.exists():
                own.replace(self.personal(kept["method"])) if counted else own.unlink()
            payload.unlink(missing_ok=True)
            path.unlink()

    def run(self):
        while True:
            self.settle()
            answer = self.server.ask("GET", "next?wait=20")
            self.settle()
            if answer["kind"] == "over":
                return answer
            if answer["kind"] == "wait":
                if answer["why"] != self.why:
                    say(answer["why"])
                self.why = answer["why"]
                continue
            task, self.why = answer["task"], None
            require_hex(task["id"], 32)
            totals = {"step": 0, "steps": 0, "tokens": 0, "processed": 0, "lossSum": 0.0}
            try:
                (self.train if task["kind"] == "train" else self.evaluate)(task, totals)
            except (Unreachable, OSError):
                raise
            except Exception as error:  # the run goes on without this task; the server is told why
                if isinstance(error, Refused) and error.status == 401:
                    raise
                say(f"  not done: {error}")
                self.failed(task["id"], f"{type(error).__name__}: {error}")

    def failed(self, id, reason):
        try:
            self.server.ask("POST", f"tasks/{id}/failure", {"reason": reason[:1000]})
        except Refused:  # it had stopped waiting
            time.sleep(1)

    def alive(self, task, totals):
        """A sign of life now and then. Refused where nobody waits for the task any more: then its work ends."""
        if time.monotonic() - self.beaten > self.pause:
            self.beaten = time.monotonic()
            try:
                self.server.ask("POST", f"tasks/{task['id']}/progress", totals)
            except Refused as error:  # counts behind those of an earlier process do no harm
                if error.status in (401, 409):
                    raise

    def train(self, task, totals):
        place, rows = task["place"], self.parts["train"]
        what = f"{place['method']} · {place['stage']}, round {task['round'] + 1}"
        say(f"{what}: training")
        began, received = time.monotonic(), {}
        for blob in task["frozen"]:
            kept = self.out / "payloads" / blob["digest"]
            if not kept.exists() or digest(kept.read_bytes()) != blob["digest"]:
                write(kept, self.server.download(blob))
            received |= load(kept.read_bytes())
        received |= load(self.server.download(task["sent"])) if task["sent"] else {}

        def beat(step, steps, loss, batches):
            tokens = sum(labelled(rows) for rows in batches)
            totals["tokens"] += tokens
            totals["processed"] += sum(len(ids) for rows in batches for ids, _ in rows)
            totals.update(step=step, steps=steps, lossSum=totals["lossSum"] + loss * tokens)
            self.alive(task, totals)

        draw = random.Random(f"{self.config['seed']} {place['stage']} {task['draw']}")
        update, weight, own = work(self.learner, self.config, place, received, rows, draw, beat)
        data = save({key: value.contiguous() for key, value in update.items()}) if update else None
        message = {"digest": data and digest(data), "weight": weight, "seconds": time.monotonic() - began, "totals": totals}
        # On the disk before it is sent: the next process delivers it if this one is killed.
        base = self.out / "pending" / task["id"]
        if data:
            write(self.out / "payloads" / message["digest"], data)
        if own:
            write(base.with_suffix(".safetensors"), save({key: value.cpu().contiguous() for key, value in own.items()}))
        kept = {"id": task["id"], "method": place["method"], "what": what, "message": message}
        write(base.with_suffix(".json"), json.dumps(kept).encode())
        say(f"  loss {totals['lossSum'] / max(1, totals['tokens']):.4f}, sends {len(data or b''):,} bytes")

    def evaluate(self, task, totals):
        say(f"measuring the {task['of']} model on own {task['rows']} rows")
        factors = {key: torch.zeros_like(weight) for key, weight in self.learner.weights.items()}
        if task["of"] == "global":
            factors = load(self.server.download(task["model"]))
        elif task["of"] == "personal":
            path = self.personal(task["place"]["method"])
            factors = load(path.read_bytes()) if path.exists() else None
        rows, size, beat = self.parts[task["rows"]], self.config["evaluate"]["batch"], lambda: self.alive(task, totals)
        sums = self.learner.sums(factors, rows, size, beat) if factors else None
        if factors and task["of"] == "personal":
            folder = self.out / "adapters" / re.sub(r"[^\w.+()-]+", "_", task["place"]["method"])
            self.learner.model.save_pretrained(folder)
            say(f"  personal adapter: {folder}")
        self.server.ask("POST", f"tasks/{task['id']}/sums", {"sums": sums})


def say(text):
    """What comes from the server must not steer a terminal."""
    print("".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text), flush=True)


def require_hex(name, length):
    if not re.fullmatch(f"[0-9a-f]{{{length}}}", name):
        raise Problem("the server does not keep to the protocol: is it a fedlora server?")


def write(path, data, mode=0o644):
    """All or nothing, durable on return."""
    beside = path.with_name(path.name + ".new")
    with open(beside, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def enrolled(server, run, out):
    """Exchanges the token for a key of one's own, which is on the disk before it is sent."""
    path = out / "key.json"
    kept = json.loads(path.read_text()) if path.exists() else {"run": run, "key": secrets.token_urlsafe(32)}
    if kept["run"] != run:
        raise Problem(f"{out} belongs to another run of the server: choose another --out")
    if "client" not in kept:
        if "FEDLORA_TOKEN" not in os.environ:
            raise Problem("joining for the first time needs an enrolment token in FEDLORA_TOKEN: ask whoever runs the server")
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
        write(path, json.dumps(kept).encode(), 0o600)
        request = {"protocol": PROTOCOL, "fedlora": FEDLORA, "run": run, "key": kept["key"]}
        token = {"Authorization": f"Bearer {os.environ['FEDLORA_TOKEN'].strip()}"}
        kept["client"] = server.ask("POST", "join", request, token)["client"]
        write(path, json.dumps(kept).encode(), 0o600)
    server.key = kept["key"]
    return kept["client"]


def main():
    parser = argparse.ArgumentParser(description="Take part in a run of `fedlora serve` with PyTorch and PEFT.")
    parser.add_argument("url")
    parser.add_argument("--data", required=True, help="own rows, JSON Lines")
    parser.add_argument("--model", required=True, type=Path, help="folder of the run's base model")
    parser.add_argument("--out", type=Path, help="own folder: key, finished work, personal adapters")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="CPU threads of one step")
    parser.add_argument("--patience", type=float, default=600, help="seconds for which a server that does not answer is tried")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be done and sent")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    server = Server(options.url, options.patience)
    description = server.ask("GET", "run")
    require_hex(description["run"], 32)
    config, theirs = description["config"], (description["protocol"], description["fedlora"])
    if theirs != (PROTOCOL, FEDLORA):
        raise Problem(f"the server speaks protocol {theirs[0]} of fedlora {theirs[1]}; this client is for {(PROTOCOL, FEDLORA)}")
    require_supported(config)
    if model_digest(options.model) != description["model"]["digest"]:
        raise Problem(f"{options.model} is not the base model of this run ({description['model']['name']}): its files differ")
    out = options.out or Path("runs") / f"joined-{description['run'][:8]}"
    learner = Learner(options.model, config["lora"], options.device)
    parts, left = read_rows(options.data, config, AutoTokenizer.from_pretrained(options.model), config["seed"])
    numbers = sum(weight.numel() for weight in learner.weights.values())
    say(f"own data: {', '.join(f'{len(rows)} {part}' for part, rows in parts.items())} rows, {left} left out")
    say(f"methods: {', '.join(method['label'] for method in config['methods'])}; model: {learner.base_parameters:,} parameters")
    say(f"each round sends changes or gradients of at most {numbers:,} numbers ({4 * numbers:,} bytes); beside them counts of rows and")
    say("tokens, losses and sums of scores. Rows and personal adapters stay here.")
    if options.dry_run:
        return
    client = enrolled(server, description["run"], out)
    counts = {part: len(rows) for part, rows in parts.items()} | {"labelledTokens": labelled(parts["train"])}
    server.ask("POST", "ready", {"data": counts})
    say(f"joined as {client}; own files in {out}")
    answer = Client(server, description, learner, parts, out).run()
    if answer["how"] != "finished":
        raise Problem(f"the server stopped the run: {answer['why']}")
    say("the run is finished")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; nothing is lost. To go on: the same command")
    except (Problem, Refused, OSError) as error:
        say(f"error: {error}")
        sys.exit(1)
