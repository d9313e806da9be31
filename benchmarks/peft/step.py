"""PyTorch + PEFT's side of the step benchmark: forward and backward of LoRA on given batches, one at a time, on request.

    python step.py MODEL_FOLDER WORK_JSON --dtype float32|bf16 [--threads N] [--adamw]

WORK_JSON: {"rank": 8, "alpha": 16, "targets": ["q_proj", ...],
            "batches": [{"ids": [[...], ...], "labels": [[...], ...]}, ...]}
Rows may differ in length; labels line up with ids, -100 where there is none. They are right-padded to the batch's longest.

Speaks JSON lines: {"ready": true, ...} once, then for each line with a batch's number on standard input
{"batch": i, "seconds": s, "loss": l}. Ends with its input.
The caller watches the process's memory from outside.
float32 is eager mode in float32; bf16 is float32 weights under autocast, as PEFT is used on CPUs that have bfloat16.
"""
import argparse
import json
import os
import sys
import time
import warnings


def padded(torch, rows, fill):
    longest = max(len(row) for row in rows)
    return torch.tensor([row + [fill] * (longest - len(row)) for row in rows])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('model')
    parser.add_argument('work')
    parser.add_argument('--dtype', choices=['float32', 'bf16'], default='float32')
    parser.add_argument('--threads', type=int, default=os.cpu_count())
    parser.add_argument('--adamw', action='store_true', help='take an AdamW step after each backward')
    args = parser.parse_args()
    os.environ.setdefault('HF_HUB_OFFLINE', '1')
    warnings.simplefilter('ignore')
    import torch
    import peft
    import transformers
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    with open(args.work, encoding='utf-8') as file:
        work = json.load(file)
    base = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    config = peft.LoraConfig(r=work['rank'], lora_alpha=work['alpha'], target_modules=work['targets'], lora_dropout=0.0,
                             task_type='CAUSAL_LM')
    model = peft.get_peft_model(base, config)
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4) if args.adamw else None
    print(json.dumps({'ready': True, 'torch': torch.__version__, 'transformers': transformers.__version__,
                      'peft': peft.__version__, 'dtype': args.dtype, 'threads': torch.get_num_threads(),
                      'trained': sum(p.numel() for p in trained), 'cpu': torch.backends.cpu.get_cpu_capability()}), flush=True)
    for line in sys.stdin:
        index = int(line)
        rows = work['batches'][index]
        ids, labels = padded(torch, rows['ids'], 0), padded(torch, rows['labels'], -100)
        mask = padded(torch, [[1] * len(row) for row in rows['ids']], 0)
        started = time.perf_counter()
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=args.dtype == 'bf16'):
            loss = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
        loss.backward()
        if optimizer:
            optimizer.step()
        model.zero_grad(set_to_none=True)
        value = loss.item()
        seconds = time.perf_counter() - started
        print(json.dumps({'batch': index, 'seconds': seconds, 'loss': value}), flush=True)


if __name__ == '__main__':
    main()
