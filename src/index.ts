export { readConfig, type ReadConfigOptions } from './run/read-config.ts';
export { run, runEvents, type RunOptions } from './run/run.ts';
export { sweep, type SweepEvent, type SweepOptions } from './experiments/sweep.ts';
export type * from './experiments/results.ts';
export type { SweepInput } from './config/sweep-schema.ts';
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
  RepresentRequest,
  TrainRequest,
  TrainResult,
} from './train/kit.ts';
export type { Adapter, AdapterMix, LoraLayout, LoraModule, MixPart } from './lora/adapter.ts';
export type { Parametrisation } from './lora/parametrisation.ts';
export type { Optimizer, Schedule } from './optim/optimizer.ts';
export type { State } from './tensor/state.ts';
export type { Tensor, Tensors } from './tensor/tensor.ts';
export type { TrainSettings } from './train/settings.ts';
export type * from './report/summary.ts';

export { Interrupted, UserError } from './errors.ts';

// What own methods are made of.
export { averageFactors, meanUpdate } from './methods/average-factors.ts';
export { localTraining, personalModel } from './methods/local-training.ts';
export { weightOf, weighting } from './methods/weights.ts';
export { factors, onlyA, onlyB } from './lora/factors.ts';
export { directionOfA, directionOfB } from './lora/direction.ts';
export { magnitudeOfA, magnitudeOfB } from './lora/magnitude.ts';
export { adam, adamw } from './optim/adamw.ts';
export { sgd } from './optim/sgd.ts';
export { chain } from './optim/chain.ts';
export { clipByGlobalNorm } from './optim/clip.ts';
export { constant, warmupCosine, warmupLinear } from './optim/schedules.ts';
export { training } from './train/settings.ts';
export { add, addScaled, scale, subtract, zerosLike } from './tensor/tensors.ts';
