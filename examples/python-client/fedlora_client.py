"""Takes part in a run of `fedlora serve` with PyTorch and PEFT: FedIT and FedLoRA-Optimizer's stages (see README.md).

Work comes as data: the run's configuration, tasks that name a method and a stage, tensors (docs/protocol.md). Which
rows are in which batch is this program's own draw; what is computed from them is what `fedlora join` computes.
"""
import sys

PYTHON = sys.version.split()[0]
if sys.version_info < (3, 11):
    sys.exit(f"error: this program needs Python 3.11 or later, and this is {PYTHON}")

import argparse, hashlib, itertools, json, math, os, random, secrets, shutil, time
from collections import Counter
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

import peft, requests, torch, transformers
from safetensors.torch import load, load_file, save
from torch.nn.utils.rnn import pad_sequence

PROTOCOL, FEDLORA = 1, "0.1.0"  # what this program was written for
CODE = f"Python {PYTHON}, torch {torch.__version__}, peft {peft.__version__}"  # for the audit
NO_TOTALS = {"step": 0, "steps": 0, "tokens": 0, "processed": 0, "lossSum": 0}
TOO_EARLY = 425  # not known yet: what is finished is kept, and asked for again
PIECE = 8 * 2**20  # bytes of a payload in one request
LONGEST = 8 * 2**20  # bytes of any answer


class Problem(Exception):
    """For people: what is wrong, and what would be right."""

    status = None  # of a server that refuses


class Server:
    def __init__(self, url):
        if urlsplit(url).scheme != "https" and urlsplit(url).hostname not in ("127.0.0.1", "localhost"):
            raise Problem(f"{url}: use https://, or a server on this machine; keys must not travel unencrypted")
        self.url, self.session = f"{url.rstrip('/')}/v1/", requests.Session()
        self.session.auth = lambda request: request  # whatever .netrc says

    def request(self, method, path, **content):
        """Asks again until there is an answer that will not change, with growing pauses, for ten minutes."""
        until = time.monotonic() + 600
        for tries in itertools.count():
            try:
                how = {"timeout": 120, "allow_redirects": False, "stream": True}
                with self.session.request(method, self.url + path, **how, **content) as answer:
                    data = whole(answer)
                if answer.status_code < 300:
                    return data
                text = data.decode(errors="replace")
                if answer.status_code < 500 and answer.status_code != 429:
                    refused = Problem(f"the server refuses: {text}")
                    refused.status = answer.status_code
                    raise refused
                silent = OSError(f"{answer.status_code} {text}")
            except OSError as error:  # requests' own are of this kind
                silent = error
            if time.monotonic() > until:
                raise silent
            time.sleep(min(15, 0.2 * 2**tries) * random.uniform(0.5, 1.5))

    def ask(self, path, message=None):
        """GET, or with a message POST."""
        return json.loads(self.request("GET" if message is None else "POST", path, json=message))

    def download(self, blob):
        data = b""
        while len(data) < blob["size"]:
            part = {"Range": f"bytes={len(data)}-{min(len(data) + PIECE, blob['size']) - 1}"}
            piece = self.request("GET", f"blobs/{blob['digest']}", headers=part)
            if not piece:
                raise Problem(f"payload {blob['digest']} ends before its {blob['size']} bytes")
            data += piece
        if digest(data) != blob["digest"]:
            raise Problem(f"payload {blob['digest']} came with other bytes")
        return load(data)

    def upload(self, data):
        """In pieces, each where the server says that it goes on."""
        path = f"uploads/{digest(data)}"
        for _ in range(100 + 2 * (len(data) // PIECE)):
            state = self.ask(path)
            if state["complete"]:
                return
            piece = data[state["received"] : state["received"] + PIECE]
            part = {"Content-Range": f"bytes {state['received']}-{state['received'] + len(piece) - 1}/{len(data)}"}
            try:
                self.request("PUT", path, data=piece, headers=part)
            except Problem as refused:
                if refused.status != 409:  # it had come, or is still being written: only the answer was cut
                    raise
                time.sleep(0.2)
        raise Problem("the server never says that the upload is complete")


def whole(answer):
    """What was answered, of which a server may send no more than is asked for."""
    data = b""
    for piece in answer.iter_content(2**16):
        data += piece
        if len(data) > LONGEST:
            raise Problem(f"the server's answer is longer than the {LONGEST:,} bytes that any may have")
    return data


def digest(data):
    return hashlib.sha256(data).hexdigest()


def say(text):
    """What comes from the server must not steer a terminal."""
    print("".join(sign if sign.isprintable() else "�" for sign in text), flush=True)


# ---- what is here: the base model, and own rows: token ids, and a 1 for each that the model shall learn to write -----
def require_model(folder, name, files):
    """Refuses a base model of which config.json or a weight file has not the very bytes of the run's."""
    index, own = folder / "model.safetensors.index.json", {}
    weights = json.loads(index.read_text())["weight_map"].values() if index.exists() else ["model.safetensors"]
    for part in {"config.json", *weights}:
        with open(folder / part, "rb") as file:
            own[part] = hashlib.file_digest(file, "sha256").hexdigest()
    other = own.items() ^ {file["name"]: file["sha256"] for file in files}.items()
    if other:
        names = ", ".join(sorted({part for part, _ in other}))
        raise Problem(f"{folder} is not the base model of this run ({name}): other bytes in {names}")


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
    encode, data = partial(tokenizer.encode, add_special_tokens=False), config["data"]
    if tokenizer.eos_token_id is None or encode("Say:\nYes, a word") != encode("Say:\n") + encode("Yes, a word"):
        raise Problem("this client needs a byte-level tokenizer with an end-of-sequence token: use `fedlora join`")
    prompt, response = (data.get("columns", {}).get(name, name) for name in ("prompt", "response"))
    try:
        given = [json.loads(line) for line in Path(path).read_text("utf-8-sig").split("\n") if line.strip()]
        rows = [row_of(row[prompt], row[response], data, tokenizer) for row in given if row[response].strip()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Problem(f"{path}: a line is no JSON object with the texts “{prompt}” and “{response}”: {error!r}")
    rows = [row for row in rows if any(row[1]) and len(row[0]) <= data["maxLength"]]
    left, parts = len(given) - len(rows), {}
    random.Random(config["seed"]).shuffle(rows)
    rows = rows[: config["clients"].get("limit")]
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
    """The base model with LoRA. Factors: {"model.layers.0.self_attn.q_proj.lora_A": [r, in], …lora_B: [out, r], …}.

    What is trained are params; `factors_of` makes factors of them, and autograd goes through it.
    """

    def __init__(self, folder, lora, device="cpu"):
        base = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        options = {"r": lora["rank"], "lora_alpha": lora["alpha"], "use_rslora": lora["rslora"]}
        adapted = peft.LoraConfig(target_modules=lora["targets"], task_type="CAUSAL_LM", **options)
        self.model, self.device = peft.get_peft_model(base, adapted).to(device).eval(), device

    def inside(self, factors):
        """Factors under the names that they have in PEFT's model. Without any it is the base model: its own B are 0."""
        return {f"base_model.model.{key}.default.weight": value.to(self.device) for key, value in factors.items()}

    def saved(self, folder):
        """Factors of an adapter that `save_pretrained` has written; none where there is no such folder."""
        named = load_file(folder / "adapter_model.safetensors").items() if folder.exists() else ()
        return {key.removeprefix("base_model.model.").removesuffix(".weight"): value for key, value in named}

    def nll(self, factors, rows):
        """Σ negative log-likelihood of the labelled tokens in nats, differentiable; how many are predicted right."""
        pad = lambda lists: pad_sequence([torch.tensor(one) for one in lists], batch_first=True).to(self.device)
        ids, labels = pad([ids for ids, _ in rows]), pad([labels for _, labels in rows])[:, 1:].bool()
        inputs = {"input_ids": ids, "attention_mask": pad([[1] * len(ids) for ids, _ in rows])}
        output = torch.func.functional_call(self.model, self.inside(factors), kwargs=inputs)
        logits, targets = output.logits[:, :-1][labels].float(), ids[:, 1:][labels]
        nll = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        if not nll.isfinite():
            raise Problem(f"the loss is {nll.item()}")
        return nll, (logits.argmax(-1) == targets).sum()

    def gradient(self, factors_of, params, rows, size):
        """The token-mean loss of all these rows together, by micro-batches; its gradient is then in params."""
        loss = 0.0
        for batch in chunks(rows, size):
            share = self.nll(factors_of(params), batch)[0] / labelled(rows)
            share.backward()
            loss += share.item()
        return loss

    def train(self, factors_of, params, rows, settings, draw, beat, penalty=None, strength=0.0):
        """AdamW on params; gives the factors in the end."""
        params = {key: value.clone().to(self.device).requires_grad_() for key, value in params.items()}
        queue, size = [], settings["batchSize"] * settings["accumulate"]
        steps = settings.get("steps") or settings.get("epochs", 1) * math.ceil(len(rows) / size)
        optimizer = torch.optim.AdamW(params.values(), lr=settings["rate"], weight_decay=settings["weightDecay"])
        kind = settings["schedule"].replace("constant", "constant_with_warmup")
        schedule = transformers.get_scheduler(kind, optimizer, settings["warmup"], steps)
        for _ in range(steps):
            queue = queue or chunks(draw.sample(rows, len(rows)), size)
            batch, rate = queue.pop(0), optimizer.param_groups[0]["lr"]
            optimizer.zero_grad()
            loss = self.gradient(factors_of, params, batch, settings["batchSize"])
            if penalty == "coupled":
                (strength * sum(value.square().sum() for value in params.values())).backward()
            if settings["clip"] > 0:
                torch.nn.utils.clip_grad_norm_(params.values(), settings["clip"])
            optimizer.step()
            schedule.step()
            if penalty == "proximal":
                for value in params.values():
                    value.data /= 1 + 2 * rate * strength
            beat(steps, loss, batch)
        return {key: value.detach().cpu() for key, value in factors_of(params).items()}

    @torch.no_grad()
    def sums(self, factors, rows, size, beat=lambda: None):
        """What an evaluation adds up. It generates no answers: those of others decide exact match and ROUGE-L."""
        total = Counter(nll=0, tokens=labelled(rows), correct=0, rows=len(rows), generated=0, exact=0, rougeL=0)
        for batch in chunks(rows, size):
            nll, correct = self.nll(factors, batch)
            total.update(nll=nll.item(), correct=correct.item())
            beat()
        return total


def share_of_round(train, t, rounds):
    """The share of its rate that training has in round t (from 0) of a stage's `rounds`."""
    kind, floor = train.get("overRounds", "constant"), train.get("floor", 0)
    left = {"constant": 1, "linear": 1 - t / rounds, "cosine": (1 + math.cos(math.pi * t / rounds)) / 2}[kind]
    return floor + (1 - floor) * left


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
    lengths = {"full": lengths, "detach": lengths.detach(), "off": 1.0}[renormalise]
    return (norms * (direction + delta) / lengths).float()


# ---- the stages ------------------------------------------------------------------------------------------------------
# All that is known of a run's configuration, by section and method: keys with any value, keys with one of these values.
# Everything else is refused by name, so that nothing is ever left out silently.
KNOWN = {
    "": "methods seed combine=plain guards=[]",
    "data": "format=jsonl template=chat|plain maxLength system separator columns.prompt columns.response columns.id",
    "clients": "partition limit split.validation split.test",
    "lora": "rank alpha rslora targets",
    "rounds": "count fraction sampling deadline minimum overSampling",
    "evaluate": "batch every matrix generate maxNewTokens",
    "train": """batchSize accumulate steps epochs rate warmup weightDecay clip floor schedule=constant|linear|cosine
        overRounds=constant|linear|cosine""",
    "fedit": """use label rounds weights=examples|tokens|uniform optimizerState=reset
        local.steps local.epochs local.rate local.schedule=constant|linear|cosine""",
    "fedlora-optimizer": """use label rounds weights=examples|tokens|uniform optimizerState=reset axis=column|rank|row
        renormalise=full|detach|off penalty=coupled|proximal lambda average=components|factors upload=factors
        globalData=clients|proxy schedule=staged|interleaved order=global-first global.part=direction global.rounds
        global.rate global.rows global.steps global.overRounds=constant|linear|cosine local.part=magnitude local.steps
        local.epochs local.rate local.schedule=constant|linear|cosine local.skip""",
}


def flat(section, before=""):
    """{"local": {"steps": 4}} as ("local.steps", 4)."""
    for key, value in section.items():
        yield from flat(value, f"{before}{key}.") if isinstance(value, dict) else [(before + key, value)]


def require_supported(config):
    """Refuses, by name, what this program does not do."""
    words = [(section, *word.partition("=")) for section, words in KNOWN.items() for word in words.split()]
    known = {f"{section}.{key}".lstrip("."): values.split("|") for section, key, _, values in words}
    asked = [*flat(config), *(pair for method in config["methods"] for pair in flat({method["use"]: method}))]

    def does(key, value):
        if key in ("clients.split.validation", "clients.split.test"):
            return value != "given"  # by a column of the rows
        return key in known and (known[key] == [""] or str(value) in known[key])

    wrong = [f"`{key}: {value}`" for key, value in asked if not does(key, value)]
    if wrong:
        raise Problem(f"this run has {', '.join(wrong)}, which this client does not do: use `fedlora join`")


def work(learner, config, task, received, rows, draw, beat):
    """A task's work: the update (empty: nothing is sent), its weight, the client's own factors (empty: no new ones)."""
    stage, label = task["place"]["stage"], task["place"]["method"]
    method = next(method for method in config["methods"] if method["label"] == label)
    train, axis, local = config["train"], method.get("axis"), method.get("local", {})
    factors = {key: value for key, value in received.items() if not key.startswith("delta:")}

    if stage == "federated":
        share = share_of_round(train, task["draw"], method.get("rounds", config["rounds"]["count"]))
        after = learner.train(dict, factors, rows, train | {"rate": train["rate"] * share}, draw, beat)
        weight = {"examples": len(rows), "tokens": labelled(rows), "uniform": 1}[method["weights"]]
        return {key: after[key] - value for key, value in factors.items()}, weight, {}

    if stage == "global":
        size = len(rows) if method["global"]["rows"] == "all" else min(method["global"]["rows"], len(rows))
        drawn, how = draw.sample(rows, size), (axis, method["renormalise"])
        delta = {key[6:]: x.to(learner.device).requires_grad_() for key, x in received.items() if key not in factors}
        of_a = lambda delta: factors | {key: moved(factors[key], value, key, *how) for key, value in delta.items()}
        beat(1, learner.gradient(of_a, delta, drawn, train["batchSize"]), drawn)
        return {f"delta:{key}": value.grad for key, value in delta.items()}, labelled(rows), {}

    if stage != "local":
        raise Problem(f"this client knows no stage “{stage}”")
    if "steps" in local or "epochs" in local:
        train = {key: value for key, value in train.items() if key not in ("steps", "epochs")}
    if method["use"] == "fedit":
        return {}, 1, learner.train(dict, factors, rows, train | local, draw, beat)
    train = train | {"rate": 3e-3 if axis == "row" else 3e-2, "weightDecay": 0} | local
    norms = {key: decompose(x, key, axis)[0] for key, x in factors.items() if key.endswith("lora_B")}
    delta = {key: torch.zeros_like(value, dtype=torch.float32) for key, value in norms.items()}
    of_b = lambda delta: factors | {key: moved(factors[key], value, key, axis) for key, value in delta.items()}
    return {}, 1, learner.train(of_b, delta, rows, train, draw, beat, method["penalty"], method["lambda"])


# ---- taking part -----------------------------------------------------------------------------------------------------
class Client:
    def __init__(self, server, run, learner, parts, out):
        self.server, self.config, self.learner, self.parts = server, run["config"], learner, parts
        self.out, self.pause, self.beaten, self.done = out, min(10, run["lease"] / 4), 0, None
        self.counts = {part: len(rows) for part, rows in parts.items()} | {"labelledTokens": labelled(parts["train"])}

    def take_part(self):
        """Does what the server asks for until the run is over; says how it ended."""
        why = None
        while True:
            self.settle()
            answer = self.next()
            self.settle()
            if answer["kind"] == "over":
                return answer
            if answer["kind"] == "task":
                self.do(answer["task"])
            elif answer["why"] != why:
                say(answer["why"])
            why = answer.get("why")

    def next(self):
        try:
            return self.server.ask("next?wait=20")
        except Problem as refused:  # a server that was set back to a backup does not know these rows any more
            if refused.status != 409 or '"not-ready"' not in str(refused):
                raise
        say("telling the server once more which rows are here")
        self.ready()
        return self.server.ask("next?wait=20")

    def ready(self):
        self.server.ask("ready", {"data": self.counts, "code": CODE})

    def settle(self):
        """A personal adapter waits until its work is counted; what has not arrived is told again."""
        for path in list(self.out.glob("waiting/*/task.json")):
            kept, adapter = json.loads(path.read_text()), self.out / "adapters" / path.parent.name
            try:
                outcome = self.server.ask(f"tasks/{kept['id']}/outcome")["outcome"]
                if outcome == "open":
                    outcome = self.server.ask(f"tasks/{kept['id']}/update", kept["message"])["outcome"]
            except Problem as refused:
                if refused.status == 401:
                    raise
                outcome = "received" if refused.status == TOO_EARLY else "refused"
            if outcome == "accepted":
                shutil.rmtree(adapter, ignore_errors=True)
                adapter.parent.mkdir(exist_ok=True)
                path.parent.replace(adapter)
                (adapter / "task.json").unlink()
            elif outcome == "refused":
                shutil.rmtree(path.parent)

    def do(self, task):
        if any(json.loads(path.read_text())["id"] == task["id"] for path in self.out.glob("waiting/*/task.json")):
            return time.sleep(1)  # it was just told again
        try:
            (self.train if task["kind"] == "train" else self.evaluate)(task)
        except OSError:
            raise
        except Exception as error:  # the run goes on without this task; the server is told why
            say(f"  not done: {error}")
            time.sleep(1)
            if getattr(error, "status", None) != TOO_EARLY:  # a server started again has not come to this task yet
                with suppress(Problem):  # nobody waits for it any more
                    self.server.ask(f"tasks/{task['id']}/failure", {"reason": f"{error!r}"[:1000]})

    def train(self, task):
        """Finished work is kept: asked again, by a server that was started again, it is sent as it is."""
        if self.done is None or self.done[0] != task["id"]:
            self.done = task["id"], *self.worked(task)
        _, update, message = self.done
        if update:
            self.server.upload(update)
        self.server.ask(f"tasks/{task['id']}/update", message)

    def worked(self, task):
        """The update as a file, None where nothing is sent, and what the server is told beside it."""
        place, began, totals = task["place"], time.monotonic(), Counter(NO_TOTALS)
        say(f"{place['method']} · {place['stage']}, round {task['round'] + 1}: training")
        received = {}
        for blob in [*task["frozen"], *([task["sent"]] if task["sent"] else [])]:
            received |= self.payload(blob)

        def beat(steps, loss, rows):
            tokens, processed = labelled(rows), sum(len(ids) for ids, _ in rows)
            totals["steps"] = steps
            totals.update(step=1, tokens=tokens, processed=processed, lossSum=loss * tokens)
            self.alive(task)

        draw = random.Random(f"{self.config['seed']} {place['stage']} {task['draw']}")
        update, weight, own = work(self.learner, self.config, task, received, self.parts["train"], draw, beat)
        data = save({key: value.cpu().contiguous() for key, value in update.items()}) if update else None
        message = {"digest": digest(data) if update else None, "weight": weight, "totals": totals}
        message["seconds"] = time.monotonic() - began
        if own:  # on the disk before the server hears of it, in its place when the server has counted it
            folder = self.folder("waiting", task)
            shutil.rmtree(folder, ignore_errors=True)
            self.learner.model.save_pretrained(folder, state_dict=self.learner.inside(own))
            for file in folder.iterdir():
                flush(file)
            write(folder / "task.json", {"id": task["id"], "message": message})
        return data, message

    def alive(self, task):
        """A sign of life now and then. Refused where nobody waits for the task any more: then its work ends."""
        if time.monotonic() - self.beaten > self.pause:
            self.beaten = time.monotonic()
            try:
                self.server.ask(f"tasks/{task['id']}/progress", NO_TOTALS)
            except Problem as refused:
                if refused.status != TOO_EARLY:
                    raise

    def evaluate(self, task):
        say(f"measuring the {task['of']} model on own {task['rows']} rows")
        factors, sums = {}, None
        if task["of"] == "global":
            factors = self.payload(task["model"])
        if task["of"] == "personal":
            factors = self.learner.saved(self.folder("adapters", task))
        if factors or task["of"] == "base":
            rows, size = self.parts[task["rows"]], self.config["evaluate"]["batch"]
            sums = self.learner.sums(factors, rows, size, lambda: self.alive(task))
        self.server.ask(f"tasks/{task['id']}/sums", {"sums": sums})

    def payload(self, blob):
        """Tensors from the server: factors or a change of them, with room for their names."""
        longest = 8 * self.learner.model.get_nb_trainable_parameters()[0] + 2**20
        if blob["size"] > longest:
            raise Problem(f"a payload of {blob['size']:,} bytes, where none of this run has more than {longest:,}")
        return self.server.download(blob)

    def folder(self, where, task):
        name = quote(task["place"]["method"], safe="")
        if not name.strip("."):
            raise Problem(f"no folder can be named “{name}”, as this method is")
        return self.out / where / name


def write(path, content):
    """As JSON, whole or not at all, and on the disk on return."""
    path.with_suffix(".new").write_text(json.dumps(content))
    flush(path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def flush(path):
    """Returns when the disk has the file."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def enrol(server, run, out):
    """Exchanges the token for a key of one's own, which is on the disk before it is sent. Gives the client's name."""
    path, token = out / "key.json", os.environ.get("FEDLORA_TOKEN", "").strip()
    if not path.exists():
        if not token:
            raise Problem("the first time it needs an enrolment token in FEDLORA_TOKEN: ask whoever runs the server")
        out.mkdir(parents=True, exist_ok=True)
        write(path, {"run": run, "key": secrets.token_urlsafe(32)})
    kept = json.loads(path.read_text())
    if kept["run"] != run:
        raise Problem(f"{out} belongs to another run of the server: choose another --out")
    if token:  # with the same key it may be asked again
        server.session.headers["Authorization"] = f"Bearer {token}"
        server.ask("join", kept | {"protocol": PROTOCOL, "fedlora": FEDLORA, "code": CODE})
    server.session.headers["Authorization"] = f"Bearer {kept['key']}"
    return server.ask("self")["client"]


def main():
    parser = argparse.ArgumentParser(description="Take part in a run of `fedlora serve` with PyTorch and PEFT.")
    parser.add_argument("url")
    parser.add_argument("--data", required=True, help="own rows, JSON Lines")
    parser.add_argument("--model", required=True, type=Path, help="folder of the run's base model")
    parser.add_argument("--out", required=True, type=Path, help="own folder: key, finished work, personal adapters")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads of one step")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be done and sent")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    os.umask(0o077)  # the key is nobody else's
    server = Server(options.url)
    run = server.ask("run")
    if (run["protocol"], run["fedlora"]) != (PROTOCOL, FEDLORA):
        raise Problem(f"the server runs fedlora {run['fedlora']}; this client is for {FEDLORA}")
    require_supported(run["config"])
    require_model(options.model, run["model"]["name"], run["model"]["files"])
    learner = Learner(options.model, run["config"]["lora"], options.device)
    parts, left = read_rows(options.data, run["config"], transformers.AutoTokenizer.from_pretrained(options.model))
    client = Client(server, run, learner, parts, options.out)
    numbers, _ = learner.model.get_nb_trainable_parameters()
    say(f"own rows: {client.counts}, {left} left out; methods: {[method['label'] for method in run['config']['methods']]}")
    say(f"sends changes or gradients of at most {numbers:,} numbers ({4 * numbers:,} bytes) each round, counts of")
    say("rows and tokens, losses and sums of scores. Rows and personal adapters stay here.")
    if options.dry_run:
        return
    say(f"joined as {enrol(server, run['run'], options.out)}; own files in {options.out}")
    client.ready()
    answer = client.take_part()
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
