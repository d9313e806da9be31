"""Takes part in a run of `fedlora serve` with PyTorch and PEFT: FedIT and FedLoRA-Optimizer's stages (see README.md).

Work comes as data: the run's configuration, tasks that name a method and a stage, tensors (docs/protocol.md). Which
rows are in which batch is this program's own draw; what is computed from them is what `fedlora join` computes.
"""
import argparse, hashlib, json, math, os, platform, random, re, secrets, sys, time
from collections import Counter
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

import peft, requests, torch, transformers
from safetensors import safe_open
from safetensors.torch import load, save
from torch.nn.utils.rnn import pad_sequence

PROTOCOL, FEDLORA = 1, "0.1.0"  # what this program was written for
CODE = f"Python {platform.python_version()}, torch {torch.__version__}, peft {peft.__version__}"  # for the audit
NO_TOTALS = {"step": 0, "steps": 0, "tokens": 0, "processed": 0, "lossSum": 0}
PIECE = 8 * 2**20  # bytes of a payload in one request


class Problem(Exception):
    """For people: what is wrong, and what would be right. `status`: of a server that refuses."""

    def __init__(self, text, status=None):
        super().__init__(text)
        self.status = status


class Server:
    def __init__(self, url):
        if urlsplit(url).scheme != "https" and urlsplit(url).hostname not in ("127.0.0.1", "localhost"):
            raise Problem(f"{url}: use https://, or a server on this machine; keys must not travel unencrypted")
        self.url, self.session = f"{url.rstrip('/')}/v1/", requests.Session()
        self.session.auth = lambda request: request  # whatever .netrc says

    def request(self, method, path, **content):
        """Asks again until there is an answer that will not change, with growing pauses, for ten minutes."""
        until, pause = time.monotonic() + 600, 0.2
        while True:
            try:
                answer = self.session.request(method, self.url + path, timeout=120, allow_redirects=False, **content)
                if answer.status_code < 300:
                    return answer
                if answer.status_code == 401:  # nothing goes on without a key
                    sys.exit(f"error: the server refuses: {ascii(answer.text)}")
                if answer.status_code < 500 and answer.status_code != 429:
                    raise Problem(f"the server refuses: {answer.text}", answer.status_code)
                silent = OSError(f"{answer.status_code} {answer.text}")
            except OSError as error:  # requests' own are of this kind
                silent = error
            if time.monotonic() > until:
                raise silent
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, 15)

    def get(self, path):
        return self.request("GET", path).json()

    def post(self, path, message):
        return self.request("POST", path, json=message).json()

    def download(self, blob):
        data = bytearray()
        while len(data) < blob["size"]:
            part = {"Range": f"bytes={len(data)}-{min(len(data) + PIECE, blob['size']) - 1}"}
            data += self.request("GET", f"blobs/{blob['digest']}", headers=part).content
        if digest(data) != blob["digest"]:
            raise Problem(f"payload {blob['digest']} came with other bytes")
        return load(bytes(data))

    def upload(self, data):
        """In pieces, each where the server says that it goes on."""
        path = f"uploads/{digest(data)}"
        while not (state := self.get(path))["complete"]:
            piece = data[state["received"] : state["received"] + PIECE]
            part = {"Content-Range": f"bytes {state['received']}-{state['received'] + len(piece) - 1}/{len(data)}"}
            try:
                self.request("PUT", path, data=piece, headers=part)
            except Problem as refused:
                if refused.status != 409:  # it had come, or is still being written: only the answer was cut
                    raise
                time.sleep(0.2)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def say(text):
    """What comes from the server must not steer a terminal."""
    print("".join(sign if sign.isprintable() else "�" for sign in text), flush=True)


def write(path, data):
    """All or nothing, durable on return."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name("new"), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.with_name("new").replace(path)


# ---- what is here: the base model, and own rows: token ids, and a 1 for each that the model shall learn to write -----
def require_model(folder, name, wanted):
    """Refuses a base model of which config.json or a weight file has not the very bytes of the run's."""
    index, own = folder / "model.safetensors.index.json", []
    names = {*json.loads(index.read_text())["weight_map"].values()} if index.exists() else {"model.safetensors"}
    for path in [folder / file for file in ("config.json", *names)]:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        own.append({"name": path.name, "bytes": path.stat().st_size, "sha256": sha256})
    other = sorted({file["name"] for file in own + wanted if file not in own or file not in wanted})
    if other:
        raise Problem(f"{folder} is not the base model of this run ({name}): other bytes in {', '.join(other)}")


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

    def trainable(self, params):
        return {key: value.clone().to(self.device).requires_grad_() for key, value in params.items()}

    def gradient(self, factors_of, params, rows, size):
        """The token-mean loss of all these rows together, by micro-batches; its gradient is then in params."""
        loss = 0.0
        for batch in chunks(rows, size):
            share = self.nll(factors_of(params), batch)[0] / labelled(rows)
            share.backward()
            loss += share.item()
        if not math.isfinite(loss):
            raise Problem(f"the loss is {loss}")
        return loss

    def train(self, factors_of, params, rows, settings, draw, beat, penalty=None, strength=0.0):
        """AdamW on params; gives the factors in the end."""
        params, queue, size = self.trainable(params), [], settings["batchSize"] * settings["accumulate"]
        steps = settings.get("steps") or settings.get("epochs", 1) * math.ceil(len(rows) / size)
        optimizer = torch.optim.AdamW(params.values(), lr=settings["rate"], weight_decay=settings["weightDecay"])
        kind = {"constant": "constant_with_warmup"}.get(settings["schedule"], settings["schedule"])
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
        for batch in chunks(sorted(rows, key=lambda row: len(row[0])), size):
            nll, correct = self.nll(factors, batch)
            total.update(nll=nll.item(), correct=correct.item())
            beat()
        if not math.isfinite(total["nll"]):
            raise Problem(f"the loss is {total['nll']}")
        return total


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
# All that is known of `train` and of methods; of some keys, there and elsewhere, only these values.
KNOWN = """batchSize accumulate steps epochs rate schedule warmup weightDecay clip label weights rounds axis renormalise
average lambda penalty global.rounds global.rate global.rows global.steps local.steps local.epochs local.rate
local.skip""".split()
ONLY = {"use": ["fedit", "fedlora-optimizer"], "optimizerState": ["reset"], "order": ["global-first"]}
ONLY |= {"upload": ["factors"], "globalData": ["clients", "proxy"], "global.part": ["direction"]}
ONLY |= {"local.part": ["magnitude"], "combine": ["plain"], "guards": [[]], "data.format": ["jsonl"]}
ONLY |= {"data.template": ["chat", "plain"], "data.columns.input": []}


def flat(section):
    """{"local": {"steps": 4}} as {"local.steps": 4}"""
    inner = {key: flat(value) if isinstance(value, dict) else {"": value} for key, value in section.items()}
    return {f"{key}.{name}".rstrip("."): value for key, values in inner.items() for name, value in values.items()}


def require_supported(config):
    """Refuses, by name, what this program does not do; nothing is ever left out silently."""
    general = {key: config[key] for key in ("data", "combine", "guards") if key in config}
    wrong = [f"`{key}: {value}`" for key, value in flat(general).items() if value not in ONLY.get(key, [value])]
    wrong += ["`clients.split: given`"] * ("given" in config["clients"]["split"].values())
    for name, section in [("train", config["train"]), *((method["label"], method) for method in config["methods"])]:
        for key, value in flat(section).items():
            if value not in ONLY.get(key, [value] if key in KNOWN else []):
                wrong.append(f"`{key}: {value}` of `{name}`")
    if wrong:
        raise Problem(f"this run has {', '.join(wrong)}, which this client does not do: use `fedlora join`")


def work(learner, config, place, received, rows, draw, beat):
    """A task's work: the update (empty: nothing is sent), its weight, the client's own factors (empty: no new ones)."""
    method = next(method for method in config["methods"] if method["label"] == place["method"])
    train, axis, local = config["train"], method.get("axis"), method.get("local", {})
    factors = {key: value for key, value in received.items() if not key.startswith("delta:")}

    if place["stage"] == "federated":
        after = learner.train(dict, factors, rows, train, draw, beat)
        weight = {"examples": len(rows), "tokens": labelled(rows), "uniform": 1}[method["weights"]]
        return {key: after[key] - value for key, value in factors.items()}, weight, {}

    if place["stage"] == "global":
        size = len(rows) if method["global"]["rows"] == "all" else min(method["global"]["rows"], len(rows))
        drawn, how = draw.sample(rows, size), (axis, method["renormalise"])
        delta = learner.trainable({key[6:]: value for key, value in received.items() if key.startswith("delta:")})
        of_a = lambda delta: factors | {key: moved(factors[key], value, key, *how) for key, value in delta.items()}
        beat(1, learner.gradient(of_a, delta, drawn, train["batchSize"]), drawn)
        return {f"delta:{key}": value.grad for key, value in delta.items()}, labelled(rows), {}

    if place["stage"] != "local":
        raise Problem(f"this client knows no stage “{place['stage']}”")
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
    """Own folder: `done` has finished work whose outcome is not known yet, `personal` own factors by method."""

    def __init__(self, server, run, learner, parts, out):
        self.server, self.config, self.learner, self.parts = server, run["config"], learner, parts
        self.out, self.pause, self.beaten = out, min(10, run["lease"] / 4), 0

    def take_part(self):
        """Does what the server asks for until the run is over; says how it ended."""
        why = None
        while True:
            answer = self.server.get("next?wait=20")
            self.settle()
            if answer["kind"] == "over":
                return answer
            if answer["kind"] == "task":
                self.do(answer["task"])
            elif answer["why"] != why:
                say(answer["why"])
            why = answer.get("why")

    def settle(self):
        """Asks what became of finished work; own factors move only when the server has counted it."""
        for path in (self.out / "done").glob("*.safetensors"):
            with safe_open(path, "pt") as file:
                about = json.loads(file.metadata()["about"])
            try:
                answer = self.server.get(f"tasks/{about['id']}/outcome")
            except Problem as refused:
                # 425: a server started again has not come to this task yet.
                answer = {"outcome": "open"} if refused.status == 425 else {"outcome": "refused", "reason": str(refused)}
            if answer["outcome"] in ("accepted", "refused"):
                say(f"  {about['what']}: {answer['outcome']} {answer.get('reason', '')}")
                if answer["outcome"] == "accepted" and about["message"]["digest"] is None:
                    write(self.personal(about["method"]), path.read_bytes())
                path.unlink()

    def personal(self, label):
        return self.out / "personal" / f"{quote(label, safe='')}.safetensors"

    def do(self, task):
        try:
            (self.train if task["kind"] == "train" else self.evaluate)(task)
        except OSError:
            raise
        except Exception as error:  # the run goes on without this task; the server is told why
            say(f"  not done: {error}")
            time.sleep(1)
            with suppress(Problem):  # it had stopped waiting, or waits for work that is kept
                if getattr(error, "status", None) != 425:
                    self.server.post(f"tasks/{task['id']}/failure", {"reason": f"{error!r}"[:1000]})

    def train(self, task):
        """The work is on the disk before it is sent: asked again, after a kill of either side, it is sent as it is."""
        path = self.out / "done" / f"{digest(task['id'].encode())}.safetensors"
        if not path.exists():
            write(path, self.worked(task))
        with safe_open(path, "pt") as file:
            message = json.loads(file.metadata()["about"])["message"]
            if message["digest"] is not None:
                self.server.upload(save({key: file.get_tensor(key) for key in file.keys()}))
        self.server.post(f"tasks/{task['id']}/update", message)

    def worked(self, task):
        """The update, or own factors where nothing is sent, with what the server is told beside it."""
        place, began, totals = task["place"], time.monotonic(), Counter(NO_TOTALS)
        what = f"{place['method']} · {place['stage']}, round {task['round'] + 1}"
        say(f"{what}: training")
        received = {}
        for blob in [*task["frozen"], *([task["sent"]] if task["sent"] else [])]:
            received |= self.server.download(blob)

        def beat(steps, loss, rows):
            tokens, processed = labelled(rows), sum(len(ids) for ids, _ in rows)
            totals["steps"] = steps
            totals.update(step=1, tokens=tokens, processed=processed, lossSum=loss * tokens)
            self.alive(task)

        draw = random.Random(f"{self.config['seed']} {place['stage']} {task['draw']}")
        update, weight, own = work(self.learner, self.config, place, received, self.parts["train"], draw, beat)
        tensors = {key: value.cpu().contiguous() for key, value in (update or own).items()}
        name, seconds = digest(save(tensors)) if update else None, time.monotonic() - began
        message = {"digest": name, "weight": weight, "seconds": seconds, "totals": totals}
        about = {"id": task["id"], "method": place["method"], "what": what, "message": message}
        return save(tensors, {"about": json.dumps(about)})

    def alive(self, task):
        """A sign of life now and then. Refused where nobody waits for the task any more: then its work ends."""
        if time.monotonic() - self.beaten > self.pause:
            self.beaten = time.monotonic()
            self.server.post(f"tasks/{task['id']}/progress", NO_TOTALS)

    def evaluate(self, task):
        say(f"measuring the {task['of']} model on own {task['rows']} rows")
        factors = self.server.download(task["model"]) if task["of"] == "global" else self.learner.nothing
        if task["of"] == "personal":
            own = self.personal(task["place"]["method"])
            factors = load(own.read_bytes()) if own.exists() else None
        if factors and task["of"] == "personal":
            self.learner.model.load_state_dict(self.learner.inside(factors), strict=False)
            self.learner.model.save_pretrained(self.out / "adapters" / own.stem)
        rows, size = self.parts[task["rows"]], self.config["evaluate"]["batch"]
        sums = factors and self.learner.sums(factors, rows, size, lambda: self.alive(task))
        self.server.post(f"tasks/{task['id']}/sums", {"sums": sums})


def enrol(server, run, out):
    """Exchanges the token for a key of one's own, which is on the disk before it is sent. Gives the client's name."""
    path, token = out / "key.json", os.environ.get("FEDLORA_TOKEN", "").strip()
    kept = json.loads(path.read_text()) if path.exists() else {"run": run, "key": secrets.token_urlsafe(32)}
    if kept["run"] != run:
        raise Problem(f"{out} belongs to another run of the server: choose another --out")
    if "client" not in kept:
        if not token:
            raise Problem("the first time it needs an enrolment token in FEDLORA_TOKEN: ask whoever runs the server")
        write(path, json.dumps(kept).encode())
        server.session.headers["Authorization"] = f"Bearer {token}"
        request = kept | {"protocol": PROTOCOL, "fedlora": FEDLORA, "code": CODE}
        kept["client"] = server.post("join", request)["client"]
        write(path, json.dumps(kept).encode())
    server.session.headers["Authorization"] = f"Bearer {kept['key']}"
    return kept["client"]


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
    run = server.get("run")
    if (run["protocol"], run["fedlora"]) != (PROTOCOL, FEDLORA):
        raise Problem(f"the server runs fedlora {run['fedlora']}; this client is for {FEDLORA}")
    require_supported(run["config"])
    require_model(options.model, run["model"]["name"], run["model"]["files"])
    learner = Learner(options.model, run["config"]["lora"], options.device)
    parts, left = read_rows(options.data, run["config"], transformers.AutoTokenizer.from_pretrained(options.model))
    counts = {part: len(rows) for part, rows in parts.items()} | {"labelledTokens": labelled(parts["train"])}
    numbers = sum(value.numel() for value in learner.nothing.values())
    say(f"own rows: {counts}, {left} left out; methods: {[method['label'] for method in run['config']['methods']]}")
    say(f"sends changes or gradients of at most {numbers:,} numbers ({4 * numbers:,} bytes) each round, counts of")
    say("rows and tokens, losses and sums of scores. Rows and personal adapters stay here.")
    if options.dry_run:
        return
    say(f"joined as {enrol(server, run['run'], options.out)}; own files in {options.out}")
    server.post("ready", {"data": counts, "code": CODE})
    answer = Client(server, run, learner, parts, options.out).take_part()
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
