export interface Message {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
  /** Its middle was left out; what is left of a response is then not learnt. */
  readonly cut?: true;
}

/** One row of instruction data before a template: the last message is the assistant's; every assistant message is labelled. */
export interface Example {
  /** Unique within the data set, stable over reads: file row or the data set's own id. */
  readonly id: string;
  readonly messages: readonly Message[];
  /** All acceptable last responses; the last message's content is the first of them. */
  readonly references: readonly string[];
  /** Columns to partition by: category, task, and whatever the file has. */
  readonly columns: Readonly<Record<string, string>>;
  /** Where the data set keeps an instruction and its input apart (the user message joins them), for templates that show them apart. */
  readonly parts?: { readonly instruction: string; readonly input: string };
}

/** A tokenised example. `labelled[i] = 1` where token i is part of a response: it is predicted from tokens before it, so labelled[0] never counts. */
export interface TokenRow {
  readonly id: string;
  readonly ids: Int32Array;
  readonly labelled: Uint8Array;
}

/** One client's data; the three splits are disjoint. `examples` of test keep the text for generation and scoring. */
export interface ClientData {
  readonly id: string;
  readonly train: readonly TokenRow[];
  readonly validation: readonly TokenRow[];
  readonly test: readonly TokenRow[];
  readonly testExamples: readonly Example[];
}
