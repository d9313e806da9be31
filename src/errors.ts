/** A mistake in what the user gave (configuration, data, model folder, arguments): exit code 2. The message says what was wrong, where, and what would be right. */
export class UserError extends Error {
  override readonly name = 'UserError';
}

/** A run whose own course lets it not go on, with no mistake in what was given: too few updates in a round, a loss that is not finite. Of a sweep, the other runs go on. */
export class RunFailed extends Error {
  override readonly name: string = 'RunFailed';
}

/** A run that was stopped on request and can be resumed: exit code 130. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}
