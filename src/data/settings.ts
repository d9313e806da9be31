import type { JsonlColumns } from './jsonl.ts';

/** Which rows, how they are read and how they become tokens. Mirrored by the `data` section of a run's configuration. */
export interface DataConfig {
  /** Exactly one of the two. A file, or a folder with the format's files. */
  readonly path?: string;
  /** A Hub data set id, e.g. `databricks/databricks-dolly-15k`; whoever calls `loadClients` resolves it to a local folder. */
  readonly hub?: string;
  readonly format: 'dolly' | 'natural-instructions' | 'jsonl';
  /** How an example becomes tokens: the model's chat template, the Alpaca wording, or bare prompt and response. */
  readonly template: 'chat' | 'alpaca' | 'plain';
  /** Tokens per row at most; longer rows are cut as `template.ts` says. */
  readonly maxLength: number;
  /** A system message put before every example that has none (chat and alpaca templates). */
  readonly system?: string;
  /** `plain` only: what stands between prompt and response; a line break by default. */
  readonly separator?: string;
  /** `jsonl` only. */
  readonly columns?: JsonlColumns;
  /** `natural-instructions` only. */
  readonly naturalInstructions?: NaturalInstructionsConfig;
}

export interface NaturalInstructionsConfig {
  /** Task names (`task363_sst2_polarity_classification`, or `task363` for short); all tasks by default. */
  readonly tasks?: readonly string[];
  /** At most so many instances of each task, drawn by seed. */
  readonly perTask?: number;
  /** Put the task's definition before each input; default true. */
  readonly definition?: boolean;
  /** Positive examples shown after the definition; default 0. */
  readonly positiveExamples?: number;
  /** Folder with `<task>.json` files of instance ids per split: gives rows the column `split`. */
  readonly splits?: string;
  /** Keeps only instances of this split (with `splits`), e.g. `train`. */
  readonly split?: string;
}

/** 0: none; between 0 and 1: that share of the client's rows (at least one); a whole number: that many rows. */
export type Amount = number;

/** How rows go to clients. Mirrored by the `clients` section of a run's configuration. */
export interface ClientsConfig {
  /** `category` and `task` are short for `column` with that column. */
  readonly partition: 'category' | 'task' | 'column' | 'dirichlet' | 'iid' | 'file';
  /** `column` (needed), `dirichlet` (default `category`). */
  readonly column?: string;
  /** `dirichlet` and `iid`: the number of clients (needed). By column: keep only that many clients, those with most rows. */
  readonly count?: number;
  /** `dirichlet`: the concentration; small is uneven. Needed. */
  readonly alpha?: number;
  /** `dirichlet`: spread each class over clients (default), or draw a mix of classes for each client. */
  readonly convention?: 'class-over-clients' | 'mix-per-client';
  /** `dirichlet`, `class-over-clients`: clients that hold rows/count already get no more (Shepherd); default false. */
  readonly balance?: boolean;
  /** `file`: JSON with client → row indexes, half-open row ranges, or ids. */
  readonly file?: string;
  /** Fewest rows of a client before its split; default 10 for `dirichlet`, else 1. */
  readonly minimum?: number;
  /** Dirichlet draws until every client has `minimum` rows; default 10. */
  readonly retries?: number;
  /** Most rows of a client before its split, drawn by seed. */
  readonly limit?: number;
  /** The server's own rows (METHOD.md, `globalData: proxy`): so many set aside, drawn over all clients' rows before `limit` and `split`, or those of a file; default 0. */
  readonly proxy?: Amount | { readonly path: string };
  /** Clients who take no part in any round: so many drawn by seed, or by name; default 0. */
  readonly new?: number | readonly string[];
  /** `given`: rows whose column `split` says `validation` or `test`. */
  readonly split: { readonly validation: Amount | 'given'; readonly test: Amount | 'given' };
}
