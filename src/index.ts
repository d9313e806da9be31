export { readConfig, type ReadConfigOptions } from './run/read-config.ts';
export { run, runEvents, type RunOptions } from './run/run.ts';
export type { Opening, PlannedMethod, Progress } from './run/events.ts';
export type { RunConfig, RunConfigInput } from './config/schema.ts';

export { defineMethod, type Method } from './methods/method.ts';
export { methods } from './methods/registry.ts';
export type { ClientUpdate, Combined, Contribution, MethodContext, Stage, StageStart } from './methods/stage.ts';
export type {
  ClientKit,
  GradientRequest,
  GradientResult,
  Progress as StepProgress,
  TrainRequest,
  TrainResult,
} from './train/kit.ts';
export type { Adapter, AdapterMix, LoraLayout, LoraModule } from './lora/adapter.ts';
export type { Parametrisation } from './lora/parametrisation.ts';
export type { Optimizer, Schedule } from './optim/optimizer.ts';
export type { State } from './tensor/state.ts';
export type { Tensor, Tensors } from './tensor/tensor.ts';
export type { TrainSettings } from './train/settings.ts';
export type * from './report/summary.ts';

export { Interrupted, UserError } from './errors.ts';
