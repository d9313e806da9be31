"""Takes part in a run of `fedlora serve` with PyTorch and PEFT: FedIT and FedLoRA-Optimizer's stages (see README.md).

Work comes as data: the run's configuration, tasks that name a method and a stage, tensors (docs/protocol.md). Which
rows are in which batch is this program's own draw; what is computed from them is what `fedlora join` computes.
"""
import argparse, hashlib, json, math, os, random, re, secrets, sys, time
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import requests
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load, save
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer, get_scheduler

PROTOCOL, FEDLORA = 1, "0.1.0"  # what this program was written for
PIECE = 8 * 2**20  # bytes of one upload request
NO_TOTALS = {"step": 0, "steps": 0, "tokens": 0, "processed": 0, "lossSum": 0.0}


class Problem(Exception):
    """For people: what is wrong, and what would be right."""


class Refused(Problem):
    """The server said no."""

    def __init__(self, answer):
        told = answer.json()["error"]["message"] if "json" in answer.headers.get("Content-Type", "") else answer.reason
        super().__init__(f"the server refuses: {told}")
        self.status = answer.status_code


class Server:
    def __init__(self, url, patience):
        if urlsplit(url).scheme != "https" and urlsplit(url).hostname not in ("127.0.0.1", "localhost"):
            raise Problem(f"{url}: use https://, or a server on this machine; keys must not travel unencrypted")
        self.url, self.patience, self.session = f"{url.rstrip('/')}/v1/", patience, requests.Session()
        self.session.auth = lambda request: request  # whatever .netrc says

    def present(self, key):
        self.session.headers["Authorization"] = f"Bearer {key}"

    def ask(self, method, path, **content):
        """Tries until there is an answer that will not change, with growing pauses, for `patience` seconds."""
        content |= {"timeout": 120, "allow_redirects": False}  # a key is for one server
        until, pause = time.monotonic() + self.patience, 0.2
        while True:
            try:
                answer = self.session.request(method, self.url + path, **content)
                if answer.status_code < 300:
                    return answer
                if answer.status_code == 401:  # nothing goes on without a key
                    sys.exit(printable(f"error: {Refused(answer)}"))
                if answer.status_code < 500 and answer.status_code != 429:
                    raise Refused(answer)
                why = answer.reason
            except OSError as error:  # requests' own are of this kind
                why = error
            if time.monotonic() + pause > until:
                raise OSError(f"{self.url} did not answer for {self.patience} s: {why}")
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, 15)

    def download(self, blob):
        data = self.ask("GET", f"blobs/{blob['digest']}").content
        if digest(data) != blob["digest"]:
            raise Problem(f"payload {blob['digest']} came with other bytes")
        return data

    def upload(self, data):
        """In pieces, each where the server says that it goes on."""
        path = f"uploads/{digest(data)}"
        while not (state := self.ask("GET", path).json())["complete"]:
            piece = data[state["received"] : state["received"] + PIECE]
            where = f"bytes {state['received']}-{state['received'] + len(piece) - 1}/{len(data)}"
            try:
                self.ask("PUT", path, data=piece, headers={"Content-Range": where})
            except Refused as error:
                if error.status != 409:  # it had come, or is still being written: only the answer was cut
                    raise
                time.sleep(0.2)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def sha256_of(path):
    """Of a whole file. A large one's is kept where `fedlora` keeps it, for as long as the file is the same."""
    about = path.stat()
    stamp = (path.resolve(), about.st_size, about.st_ino, about.st_mtime_ns, about.st_ctime_ns)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    kept = Path(home) / "fedlora" / "sha256" / digest("\n".join(map(str, stamp)).encode())
    large = about.st_size >= 64 * 2**20
    if large and kept.exists():
        return kept.read_text()
    if large:
        say(f"reading {path.name} for its hash: {about.st_size:,} bytes, this once")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if large:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write(kept, found.encode())
    return found


def require_model(folder, name, wanted):
    """Refuses a base model of which config.json or a weight file has not the very bytes of the run's."""
    index = folder / "model.safetensors.index.json"
    names = {*json.loads(index.read_text())["weight_map"].values()} if index.exists() else {"model.safetensors"}
    own = {file: (os.path.getsize(folder / file), sha256_of(folder / file)) for file in {"config.json", *names}}
    theirs = {file["name"]: (file["bytes"], file["sha256"]) for file in wanted}
    other = [file for file in sorted(own.keys() | theirs.keys()) if own.get(file) != theirs.get(file)]
    if other:
        raise Problem(f"{folder} is not the base model of this run ({name}): other bytes in {', '.join(other)}")


# ---- own data: a row is token ids, and a 1 for each that the model shall learn to write ------------------------------
def row_of(prompt, response, data, tokenizer):
    encode, end = partial(tokenizer.encode, add_special_tokens=False), tokenizer.eos_token_id
    if data["template"] == "plain":
        start = tokenizer.encode("a")[: -len(encode("a"))]
        before, after = start + encode(prompt + data.get("separator", "\n")), encode(response) + [end]
    else:
        messages = [{"role": "system", "content": data["system"]}] if "system" in data else []
        messages += [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        # Templates that ask for the date get a fixed one, so that a run has the same tokens tomorrow.
        written = partial(tokenizer.apply_chat_template, tokenize=False, strftime_now=datetime(2024, 7, 26).strftime)
        opening, whole = written(messages[:-1], add_generation_prompt=True), written(messages).rstrip()
        if not whole.startswith(opening):
            raise Problem("the chat template begins a response unlike its prompt for one: use `fedlora join`")
        before, after = encode(opening), encode(whole[len(opening) :])
        after += [end] if tokenizer.decode(after[-1:], skip_special_tokens=True) else []
    labels = [0] * len(before) + [1] * len(after)
    return before + after, [0, *labels[1:]]  # the first token follows nothing


def read_rows(path, config, tokenizer):
    """Own rows divided into train, validation and test, and how many were left out."""
    encode, data, rows, left = partial(tokenizer.encode, add_special_tokens=False), config["data"], [], 0
    if tokenizer.eos_token_id is None or encode("Say:\nYes, a word") != encode("Say:\n") + encode("Yes, a word"):
        raise Problem("this client needs a byte-level tokenizer with an end-of-sequence token: use `fedlora join`")
    names = {"prompt": "prompt", "response": "response"} | data.get("columns", {})
    for number, line in enumerate(Path(path).read_text("utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
            prompt, response = given[names["prompt"]], given[names["response"]]
            ids, labels = row_of(prompt, response, data, tokenizer) if response.strip() else ([], [])
        except (ValueError, KeyError, TypeError, AttributeError):
            wanted = f"“{names['prompt']}” and “{names['response']}”"
            raise Problem(f"{path}, line {number}: expected a JSON object with the texts {wanted}") from None
        if any(labels) and len(ids) <= data["maxLength"]:
            rows.append((ids, labels))
        else:
            left += 1
    random.Random(config["seed"]).shuffle(rows)
    rows, parts = rows[: config["clients"].get("limit")], {}
    for part in ("test", "validation"):
        amount = config["clients"]["split"][part]
        amount = max(1, int(amount * len(rows) + 0.5)) if 0 < amount < 1 else amount
        parts[part], rows = rows[:amount], rows[amount:]
    if not rows:
        raise Problem(f"{path}: no row is left to train on ({left} without response or longer than data.maxLength)")
    return parts | {"train": rows}, left


def labelled(rows):
    return sum(sum(labels) for _, labels in rows)


def chunks(values, size):
    return [values[i : i + size] for i in range(0, len(values), size)]


# ---- the mathematics -------------------------------------------------------------------------------------------------
class Learner:
    """The base model with LoRA. Factors: {"model.layers.0.self_attn.q_proj.lora_A": [r, in], …lora_B: [out, r], …}."""

    def __init__(self, folder, lora, device="cpu"):
        base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        options = {"r": lora["rank"], "lora_alpha": lora["alpha"], "use_rslora": lora["rslora"]}
        adapted = LoraConfig(target_modules=lora["targets"], task_type="CAUSAL_LM", **options)
        self.model, self.device = get_peft_model(base, adapted).to(device).eval(), device
        inside = {name: weight for name, weight in self.model.named_parameters() if ".lora_" in name}
        self.names = {re.sub(r"^base_model\.model\.|\.default\.weight$", "", name): name for name in inside}
        self.nothing = {key: torch.zeros_like(inside[name]) for key, name in self.names.items()}

    def inside(self, factors):
        """Factors under the names that they have in the model."""
        return {self.names[key]: value.to(self.device) for key, value in factors.items()}

    def nll(self, factors, rows):
        """Σ negative log-likelihood of the labelled tokens in nats, differentiable; how many are predicted right."""
        pad = lambda lists: pad_sequence([torch.tensor(one) for one in lists], batch_first=True).to(self.device)
        ids, labels = pad([ids for ids, _ in rows]), pad([labels for _, labels in rows])[:, 1:].bool()
        inputs = {"input_ids": ids, "attention_mask": pad([[1] * len(ids) for ids, _ in rows])}
        output = torch.func.functional_call(self.model, self.inside(factors), kwargs=inputs)
        logits, targets = output.logits[:, :-1][labels].float(), ids[:, 1:][labels]
        nll = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        return nll, (logits.argmax(-1) == targets).sum()

    def gradient(self, factors, params, as_factors, batches):
        """The token-mean loss of all the batches' rows together; its gradient is then in params."""
        tokens, loss = sum(labelled(rows) for rows in batches), 0.0
        for rows in batches:
            share = self.nll(factors | as_factors(params), rows)[0] / tokens
            share.backward()
            loss += share.item()
        if not math.isfinite(loss):
            raise Problem(f"the loss is {loss}")
        return loss

    def train(self, factors, params, as_factors, rows, settings, draw, beat, penalty=None, strength=0.0):
        """AdamW on params, each step on the token-mean loss of its micro-batches; gives what became of params."""
        size, accumulate, queue = settings["batchSize"], settings["accumulate"], []
        per_epoch = math.ceil(math.ceil(len(rows) / size) / accumulate)
        steps = settings.get("steps") or settings.get("epochs", 1) * per_epoch
        params = self.trainable(params)
        optimizer = torch.optim.AdamW(params.values(), lr=settings["rate"], weight_decay=settings["weightDecay"])
        kind = {"constant": "constant_with_warmup"}.get(settings["schedule"], settings["schedule"])
        schedule = get_scheduler(kind, optimizer, settings["warmup"], steps)
        for step in range(1, steps + 1):
            queue = queue or chunks(chunks(draw.sample(rows, len(rows)), size), accumulate)
            batches = queue.pop(0)
            optimizer.zero_grad()
            loss = self.gradient(factors, params, as_factors, batches)
            if penalty == "coupled":
                (strength * sum(value.square().sum() for value in params.values())).backward()
            if settings["clip"] > 0:
                torch.nn.utils.clip_grad_norm_(params.values(), settings["clip"])
            rate = optimizer.param_groups[0]["lr"]
            optimizer.step()
            schedule.step()
            if penalty == "proximal":
                for value in params.values():
                    value.data /= 1 + 2 * rate * strength
            beat(step, steps, loss, batches)
        return {key: value.detach() for key, value in params.items()}

    def trainable(self, params):
        return {key: value.clone().to(self.device).requires_grad_() for key, value in params.items()}

    def sums(self, factors, rows, size, beat=lambda: None):
        """What an evaluation adds up. It generates no answers: those of others decide exact match and ROUGE-L."""
        total = {"nll": 0.0, "tokens": labelled(rows), "correct": 0, "rows": len(rows)}
        for batch in chunks(sorted(rows, key=lambda row: len(row[0])), size):
            with torch.no_grad():
                nll, correct = self.nll(factors, batch)
            total["nll"] += nll.item()
            total["correct"] += correct.item()
            beat()
        if not math.isfinite(total["nll"]):
            raise Problem(f"the loss is {total['nll']}")
        return total | {"generated": 0, "exact": 0, "rougeL": 0}


def decompose(x, key, axis):
    """X = M·D: the norms of its vectors in float64, their directions, over which dimension. Zero vectors stay zero."""
    over = 1 if axis == "row" or (axis == "rank" and key.endswith("lora_A")) else 0
    norms = x.double().norm(dim=over, keepdim=True)
    return norms, x.double() / norms.where(norms > 0, 1.0), over


def moved(x, delta, key, axis, renormalise=None):
    """M·n(D + ΔD); without n (M + ΔM)·D."""
    norms, direction, over = decompose(x.to(delta.device), key, axis)
    if renormalise is None:
        return ((norms + delta) * direction).float()
    lengths = (direction + delta).square().sum(over, keepdim=True).clamp_min(1e-24).sqrt()
    lengths = {"full": lengths, "detach": lengths.detach(), "off": torch.ones_like(lengths)}[renormalise]
    return (norms * (direction + delta) / lengths).float()


# ---- the stages ------------------------------------------------------------------------------------------------------
def require_supported(config):
    """Refuses, by name, what this program does not do; nothing is ever left out silently."""
    data = config["data"]
    wrong = {f"the guard `{guard['use']}`": True for guard in config.get("guards", [])} | {
        "`combine: secure`": config.get("combine") == "secure",
        f"`data.format: {data['format']}`": data["format"] != "jsonl",
        f"`data.template: {data['template']}`": data["template"] not in ("chat", "plain"),
        "`data.columns.input`": "input" in data.get("columns", {}),
        "`data.system` with `template: plain`": data["template"] == "plain" and "system" in data,
        "`clients.split: given`": "given" in config["clients"]["split"].values(),
        "`train.keepBest`": "keepBest" in config["train"],
    }
    does = {"optimizerState": ["reset"], "order": ["global-first"], "globalData": ["clients", "proxy"]}
    does |= {"upload": ["factors"], "global.part": ["direction"], "local.part": ["magnitude"], "local.keepBest": []}
    for method in config["methods"]:
        flat = method | {f"{a}.{b}": value for a in ("global", "local") for b, value in method.get(a, {}).items()}
        if method["use"] not in ("fedit", "fedlora-optimizer"):
            flat, wrong[f"the method `{method['use']}`"] = {}, True
        for key in does.keys() & flat.keys():
            wrong[f"`{key}: {flat[key]}` of `{method['use']}`"] = flat[key] not in does[key]
    if any(wrong.values()):
        told = ", ".join(what for what, so in wrong.items() if so)
        raise Problem(f"this run has {told}, which this client does not do: take part with `fedlora join`")


def work(learner, config, place, received, rows, draw, beat):
    """A task's work: the update (None: nothing is sent), its weight, the client's own factors (None: no new ones)."""
    method = next(method for method in config["methods"] if method["label"] == place["method"])
    train, axis, local = config["train"], method.get("axis"), method.get("local", {})
    factors = {key: value for key, value in received.items() if not key.startswith("delta:")}

    if place["stage"] == "federated":
        after = learner.train(factors, factors, dict, rows, train, draw, beat)
        weight = {"examples": len(rows), "tokens": labelled(rows), "uniform": 1}[method["weights"]]
        return {key: after[key].cpu() - value for key, value in factors.items()}, weight, None

    if place["stage"] == "global":
        count = len(rows) if method["global"]["rows"] == "all" else min(method["global"]["rows"], len(rows))
        batches, how = chunks(draw.sample(rows, count), train["batchSize"]), (axis, method["renormalise"])
        delta = learner.trainable({key[6:]: value for key, value in received.items() if key.startswith("delta:")})
        as_a = lambda delta: {key: moved(factors[key], value, key, *how) for key, value in delta.items()}
        beat(1, 1, learner.gradient(factors, delta, as_a, batches), batches)
        return {f"delta:{key}": value.grad for key, value in delta.items()}, labelled(rows), None

    if place["stage"] != "local":
        raise Problem(f"this client knows no stage “{place['stage']}”")
    if "steps" in local or "epochs" in local:
        train = {key: value for key, value in train.items() if key not in ("steps", "epochs")}
    if method["use"] == "fedit":
        return None, 1, learner.train(factors, factors, dict, rows, train | local, draw, beat)
    train = train | {"rate": 3e-3 if axis == "row" else 3e-2, "weightDecay": 0} | local
    of_b = {key: decompose(x, key, axis)[0].float() for key, x in factors.items() if key.endswith("lora_B")}
    zero = {key: torch.zeros_like(norms) for key, norms in of_b.items()}
    as_b = lambda delta: {key: moved(factors[key], value, key, axis) for key, value in delta.items()}
    penalty = (method["penalty"], method["lambda"])
    return None, 1, factors | as_b(learner.train(factors, zero, as_b, rows, train, draw, beat, *penalty))


# ---- taking part -----------------------------------------------------------------------------------------------------
class Client:
    """Own folder: `pending` has finished work whose outcome is not known yet, `personal` own factors by method."""

    def __init__(self, server, description, learner, parts, out):
        self.server, self.config, self.learner, self.parts = server, description["config"], learner, parts
        self.out, self.pause, self.beaten = out, min(10, description["lease"] / 4), 0
        for name in ("pending", "personal"):
            (out / name).mkdir(parents=True, exist_ok=True)

    def run(self):
        """Does what the server asks for until the run is over; says how it ended."""
        why = None
        while True:
            self.settle()
            answer = self.server.ask("GET", "next?wait=20").json()
            self.settle()
            if answer["kind"] == "over":
                return answer
            if answer["kind"] == "task":
                self.do(answer["task"])
            elif answer["why"] != why:
                say(answer["why"])
            why = answer.get("why")

    def do(self, task):
        try:
            (self.train if task["kind"] == "train" else self.evaluate)(task)
        except OSError:
            raise
        except Exception as error:  # the run goes on without this task; the server is told why
            say(f"  not done: {error}")
            self.failed(task["id"], f"{type(error).__name__}: {error}")

    def failed(self, id, reason):
        try:
            self.server.ask("POST", f"tasks/{id}/failure", json={"reason": reason[:1000]})
        except Refused:  # it had stopped waiting
            time.sleep(1)

    def settle(self):
        """Asks what became of finished work, delivers what has not arrived, adopts own factors that were accepted."""
        for path in sorted((self.out / "pending").glob("*.json")):
            kept, update, own = json.loads(path.read_text()), path.with_suffix(".update"), path.with_suffix(".own")
            try:
                answer = self.server.ask("GET", f"tasks/{kept['id']}/outcome").json()
                if answer["outcome"] == "open":
                    if update.exists():
                        self.server.upload(update.read_bytes())
                    answer = self.server.ask("POST", f"tasks/{kept['id']}/update", json=kept["message"]).json()
            except Refused as error:
                if error.status == 425:  # a server started again has not come to this task yet: keep the work
                    continue
                answer = {"outcome": "refused", "reason": str(error)}
                if error.status in (413, 422):  # it will never take this update: nobody need wait for it
                    self.failed(kept["id"], str(error))
            if answer["outcome"] in ("accepted", "refused"):
                say(f"  {kept['what']}: {answer['outcome']} {answer.get('reason', '')}")
                if answer["outcome"] == "accepted" and own.exists():
                    own.replace(self.personal(kept["method"]))
                for file in (own, update, path):
                    file.unlink(missing_ok=True)

    def personal(self, label):
        return self.out / "personal" / f"{digest(label.encode())[:16]}.safetensors"

    def alive(self, task, totals):
        """A sign of life now and then. Refused where nobody waits for the task any more: then its work ends."""
        if time.monotonic() - self.beaten > self.pause:
            self.beaten = time.monotonic()
            try:
                self.server.ask("POST", f"tasks/{task['id']}/progress", json=totals)
            except Refused as error:  # counts behind those of an earlier process do no harm
                if error.status == 409:
                    raise

    def train(self, task):
        place, began, totals = task["place"], time.monotonic(), dict(NO_TOTALS)
        what = f"{place['method']} · {place['stage']}, round {task['round'] + 1}"
        say(f"{what}: training")
        received = {}
        for blob in [*task["frozen"], *([task["sent"]] if task["sent"] else [])]:
            received |= load(self.server.download(blob))

        def beat(step, steps, loss, batches):
            tokens = sum(labelled(rows) for rows in batches)
            totals["tokens"] += tokens
            totals["processed"] += sum(len(ids) for rows in batches for ids, _ in rows)
            totals.update(step=step, steps=steps, lossSum=totals["lossSum"] + loss * tokens)
            self.alive(task, totals)

        draw = random.Random(f"{self.config['seed']} {place['stage']} {task['draw']}")
        update, weight, own = work(self.learner, self.config, place, received, self.parts["train"], draw, beat)
        # On the disk before it is sent: the next process delivers it if this one is killed.
        path, name = self.out / "pending" / digest(task["id"].encode())[:32], None
        if own:
            write(path.with_suffix(".own"), pack(own))
        if update:
            data = pack(update)
            name = digest(data)
            write(path.with_suffix(".update"), data)
        message = {"digest": name, "weight": weight, "seconds": time.monotonic() - began, "totals": totals}
        kept = {"id": task["id"], "method": place["method"], "what": what, "message": message}
        write(path.with_suffix(".json"), json.dumps(kept).encode())

    def evaluate(self, task):
        say(f"measuring the {task['of']} model on own {task['rows']} rows")
        if task["of"] == "personal":
            path = self.personal(task["place"]["method"])
            factors = load(path.read_bytes()) if path.exists() else None
        else:
            factors = load(self.server.download(task["model"])) if task["model"] else self.learner.nothing
        size, beat = self.config["evaluate"]["batch"], lambda: self.alive(task, NO_TOTALS)
        sums = factors and self.learner.sums(factors, self.parts[task["rows"]], size, beat)
        if factors and task["of"] == "personal":
            folder = self.out / "adapters" / re.sub(r"[^\w.+()-]+", "_", task["place"]["method"])
            self.learner.model.load_state_dict(self.learner.inside(factors), strict=False)
            self.learner.model.save_pretrained(folder)
            say(f"  personal adapter: {folder}")
        self.server.ask("POST", f"tasks/{task['id']}/sums", json={"sums": sums})


def pack(tensors):
    return save({key: value.cpu().contiguous() for key, value in tensors.items()})


def printable(text):
    """What comes from the server must not steer a terminal."""
    return "".join(sign if sign.isprintable() else "�" for sign in text)


def say(text):
    print(printable(text), flush=True)


def write(path, data):
    """All or nothing, durable on return."""
    with open(path.with_name("new"), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.with_name("new").replace(path)


def enrol(server, run, out):
    """Exchanges the token for a key of one's own, which is on the disk before it is sent. Gives the client's name."""
    path, token = out / "key.json", os.environ.get("FEDLORA_TOKEN", "").strip()
    kept = json.loads(path.read_text()) if path.exists() else {"run": run, "key": secrets.token_urlsafe(32)}
    if kept["run"] != run:
        raise Problem(f"{out} belongs to another run of the server: choose another --out")
    if "client" not in kept:
        if not token:
            raise Problem("the first time it needs an enrolment token in FEDLORA_TOKEN: ask whoever runs the server")
        out.mkdir(parents=True, exist_ok=True)
        write(path, json.dumps(kept).encode())
        server.present(token)
        request = kept | {"protocol": PROTOCOL, "fedlora": FEDLORA}
        kept["client"] = server.ask("POST", "join", json=request).json()["client"]
        write(path, json.dumps(kept).encode())
    server.present(kept["key"])
    return kept["client"]


def main():
    parser = argparse.ArgumentParser(description="Take part in a run of `fedlora serve` with PyTorch and PEFT.")
    parser.add_argument("url")
    parser.add_argument("--data", required=True, help="own rows, JSON Lines")
    parser.add_argument("--model", required=True, type=Path, help="folder of the run's base model")
    parser.add_argument("--out", required=True, type=Path, help="own folder: key, finished work, personal adapters")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads of one step")
    parser.add_argument("--patience", type=float, default=600, help="seconds to go on trying a server that is silent")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be done and sent")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    os.umask(0o077)  # the key is nobody else's
    server = Server(options.url, options.patience)
    description = server.ask("GET", "run").json()
    config, theirs = description["config"], (description["protocol"], description["fedlora"])
    if theirs != (PROTOCOL, FEDLORA):
        raise Problem(f"the server has protocol and version {theirs}; this client is for {(PROTOCOL, FEDLORA)}")
    require_supported(config)
    require_model(options.model, description["model"]["name"], description["model"]["files"])
    learner = Learner(options.model, config["lora"], options.device)
    parts, left = read_rows(options.data, config, AutoTokenizer.from_pretrained(options.model))
    counts = {part: len(rows) for part, rows in parts.items()} | {"labelledTokens": labelled(parts["train"])}
    numbers = sum(value.numel() for value in learner.nothing.values())
    say(f"own rows: {counts}, {left} left out; methods: {', '.join(method['label'] for method in config['methods'])}")
    say(f"sends changes or gradients of at most {numbers:,} numbers ({4 * numbers:,} bytes) each round, counts of")
    say("rows and tokens, losses and sums of scores. Rows and personal adapters stay here.")
    if options.dry_run:
        return
    say(f"joined as {enrol(server, description['run'], options.out)}; own files in {options.out}")
    server.ask("POST", "ready", json={"data": counts})
    answer = Client(server, description, learner, parts, options.out).run()
    if answer["how"] != "finished":
        raise Problem(f"the server stopped the run: {answer['why']}")
    say("the run is finished")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; nothing is lost. To go on: the same command")
    except (Problem, OSError) as error:
        say(f"error: {error}")
        sys.exit(1)
