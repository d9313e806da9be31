"""Rounds of federated averaging by Flower, timed from the first message to the mean; a JSON line each into the file `told`."""

import json
import time

import numpy as np
from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

server = ServerApp()
client = ClientApp()  # The nodes of this benchmark answer by themselves, with ready-made updates.


@server.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    clients, rounds, tensors, numbers = (int(config[name]) for name in ("clients", "rounds", "tensors", "numbers"))
    model = [np.full(numbers, 1e-3, dtype=np.float32) for _ in range(tensors)]
    while len(nodes := list(grid.get_node_ids())) < clients:
        time.sleep(0.5)
    for number in range(rounds):
        began = time.monotonic()
        content = RecordDict({"arrays": ArrayRecord(model)})
        messages = [Message(content, dst_node_id=node, message_type="train", group_id=str(number)) for node in nodes]
        replies = [reply for reply in grid.send_and_receive(messages, timeout=3600) if reply.has_content()]
        if len(replies) != clients:
            raise RuntimeError(f"{len(replies)} updates of {clients}")
        sums = [np.zeros(numbers, dtype=np.float64) for _ in range(tensors)]
        for reply in replies:
            for total, update in zip(sums, reply.content["arrays"].to_numpy_ndarrays(), strict=True):
                total += update
        model = [(old + total / clients).astype(np.float32) for old, total in zip(model, sums, strict=True)]
        with open(str(config["told"]), "a", encoding="utf-8") as told:
            told.write(json.dumps({"is": "round", "seconds": time.monotonic() - began}) + "\n")
