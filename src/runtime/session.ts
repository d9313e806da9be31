/** A dense array that goes into or comes out of a session. */
export interface Feed {
  readonly type: 'float32' | 'int32' | 'int64';
  readonly dims: readonly number[];
  readonly data: Float32Array | Int32Array | BigInt64Array;
}

export type Feeds = Readonly<Record<string, Feed>>;

export const int32 = (dims: readonly number[], data: Int32Array): Feed => ({ type: 'int32', dims, data });
export const int64 = (dims: readonly number[], data: BigInt64Array): Feed => ({ type: 'int64', dims, data });
export const float32 = (dims: readonly number[], data: Float32Array): Feed => ({ type: 'float32', dims, data });

/** One compiled graph in some ONNX runtime. */
export interface Session {
  /** Runs the graph once and gives the named results (all of them where none are named). Feeds that the graph does not take are ignored. */
  run(feeds: Feeds, fetches?: readonly string[]): Promise<Feeds>;
  close(): Promise<void>;
}
