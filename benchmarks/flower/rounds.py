"""The load benchmark's rounds by Flower: a SuperLink, its nodes and a ServerApp on this machine, payloads of the same size and form.

    python benchmarks/flower/rounds.py CLIENTS ROUNDS MEGABYTES PROCESSES

A node speaks with the SuperLink by Flower's own client code, and answers each message with a ready-made update in place of running a
ClientApp, so that no training and no start of an app is measured. The SuperLink keeps its state in memory, which is its default.
Prints a JSON line for each round.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

TENSORS = 64
HERE = Path(__file__).parent
# What a SuperNode waits where there is no message (flwr/supernode/start_client_internal.py).
PAUSE = 3.0


def node(address: str, number: int, numbers: int, ready: threading.Semaphore) -> None:
    """One node until the run is over."""
    import numpy as np
    from flwr.app import ArrayRecord, Message, RecordDict
    from flwr.supercore.inflatable.inflatable_object import (
        get_all_nested_objects,
        get_object_tree,
        iterate_object_tree,
    )
    from flwr.supercore.inflatable.inflatable_utils import pull_objects, push_object_contents_from_iterable
    from flwr.supernode.fleet_http_connection import http_request_response

    update = [np.full(numbers, 1e-4 * (number + 1), dtype=np.float32) for _ in range(TENSORS)]
    for i, tensor in enumerate(update):
        tensor[0] = i
    content = RecordDict({"arrays": ArrayRecord(update)})
    with http_request_response(address, insecure=True) as connection:
        _, receive, send, _, _, pull_object, push_object, confirm = connection
        ready.release()
        while True:
            received = receive()
            if received is None:
                time.sleep(PAUSE)
                continue
            message, tree = received
            run = message.metadata.run_id
            ids = [one.object_id for one in iterate_object_tree(tree)]
            pull_objects(ids, pull_object_fn=partial(pull_object, run))
            confirm(run, message.metadata.message_id)
            reply = Message(content, reply_to=message)
            reply.metadata.__dict__["_message_id"] = reply.object_id
            contents = {name: one.deflate() for name, one in get_all_nested_objects(reply).items()}
            wanted, session = send(reply, get_object_tree(reply), 0.0)
            push_object_contents_from_iterable(
                ((name, contents[name]) for name in contents if name in wanted),
                push_object_fn=partial(push_object, run, session),
            )


def nodes(address: str, first: int, count: int, numbers: int) -> None:
    """Many nodes in this process, until its input ends."""
    ready = threading.Semaphore(0)
    for number in range(first, first + count):
        threading.Thread(target=node, args=(address, number, numbers, ready), daemon=True).start()
    for _ in range(count):
        ready.acquire()
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)


def memory(pid: int) -> int:
    """Anonymous bytes of a process and of those it has started; 0 once it has ended."""
    try:
        own = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("RssAnon"))
        return 1024 * int(own.split()[1])
    except (OSError, StopIteration):
        return 0


def main(clients: int, rounds: int, megabytes: float, processes: int) -> None:
    import flwr

    numbers = round(megabytes * 1e6 / 4 / TENSORS)
    tools = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        address = f"127.0.0.1:{port}"
        environment = {**os.environ, "FLWR_HOME": folder, "FLWR_TELEMETRY_ENABLED": "0", "PATH": f"{tools}:{os.environ['PATH']}"}
        Path(folder, "config.toml").write_text(f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "{address}"\ninsecure = true\n')
        log = open(Path(folder, "log"), "w+", encoding="utf-8")
        start = partial(subprocess.Popen, env=environment, stdout=log, stderr=subprocess.STDOUT)
        superlink = start(
            [tools / "flower-superlink", "--insecure", "--disable-runtime-dependency-installation", "--host", "127.0.0.1", "--port", str(port)]
        )
        children = [superlink]
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
                if superlink.poll() is not None:
                    raise RuntimeError("the SuperLink ended")
                time.sleep(0.2)
            share = [clients * i // processes for i in range(processes + 1)]
            sides = [
                subprocess.Popen(
                    [sys.executable, __file__, "--nodes", address, str(a), str(b - a), str(numbers)],
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
                for a, b in zip(share, share[1:])
                if b > a
            ]
            children += sides
            for side in sides:
                if side.stdout.readline().strip() != "ready":
                    raise RuntimeError("the nodes did not start")
            print(json.dumps({"is": "ready", "version": flwr.__version__}), flush=True)
            told = Path(folder, "told")
            told.touch()
            config = f'clients={clients} rounds={rounds} tensors={TENSORS} numbers={numbers} told="{told}"'
            subprocess.run(
                [tools / "flwr", "run", HERE / "app", "here", "--run-config", config],
                env=environment, check=True, stdout=log, stderr=subprocess.STDOUT,
            )
            seen, peak, until = 0, 0, time.monotonic() + 3600
            while seen < rounds:
                time.sleep(0.1)
                peak = max(peak, memory(superlink.pid))
                lines = told.read_text().splitlines()
                for line in lines[seen:]:
                    print(line, flush=True)
                seen = len(lines)
                if time.monotonic() > until or superlink.poll() is not None:
                    raise RuntimeError("the rounds did not end")
            print(json.dumps({"is": "done", "superlinkMiB": peak / 2**20}), flush=True)
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-4000:])
            raise
        finally:
            for child in children:
                child.kill()
            for child in children:
                child.wait()


if __name__ == "__main__":
    if sys.argv[1] == "--nodes":
        nodes(sys.argv[2], *(int(value) for value in sys.argv[3:6]))
    else:
        main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
