import type { RunConfig } from '../config/schema.ts';
import { located, openModel, type OpenModel } from '../run/subject.ts';

/** A base model, fetched where it is not here yet, read as far as its headers. */
export const openedModel = async (model: RunConfig['model'], signal: AbortSignal): Promise<OpenModel> =>
  openModel(await located('model', model, signal), model.hub);
