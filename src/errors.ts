/** A mistake in what the user gave (configuration, data, model folder, arguments): exit code 2. The message says what was wrong, where, and what would be right. */
export class UserError extends Error {
  override readonly name = 'UserError';
}

/** A run that was stopped on request and can be resumed: exit code 130. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}
