import type { RunConfig } from '../config/schema.ts';
import { locate, openModel, type OpenModel } from '../run/subject.ts';

/** A base model, fetched where it is not here yet, read as far as its headers. */
export async function openedModel(model: RunConfig['model'], signal: AbortSignal): Promise<OpenModel> {
  const steps = locate('model', model, signal);
  for (;;) {
    const next = await steps.next();
    if (next.done) return openModel(next.value, model.hub);
  }
}
