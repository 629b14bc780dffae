/** Things that must be done once: however often they are asked for, and whatever becomes of the answer. */

import { explain } from "./client.js";
import { retrying } from "./policy.js";

/** Keeps the idempotency key of everything whose outcome is not known yet. */
export class Attempts {
  readonly #keys = new Map<string, string>();
  readonly #running = new Map<string, Promise<unknown>>();
  readonly #pause: (milliseconds: number) => Promise<void>;

  constructor(pause = sleep) {
    this.#pause = pause;
  }

  /**
   * Do what is intended, with retries, and return its answer; throws an `UsherError`.
   *
   * Whoever asks for the same meanwhile gets the same answer. After a lost answer the key is kept, so that the next
   * try, by itself or by a click, gets what the first one did. `intent` names all that goes into the request.
   */
  run<T>(intent: string, send: (key: string) => Promise<T>): Promise<T> {
    const running = this.#running.get(intent);
    if (running !== undefined) return running as Promise<T>;
    const sent = this.#send(intent, send).finally(() => this.#running.delete(intent));
    this.#running.set(intent, sent);
    return sent;
  }

  async #send<T>(intent: string, send: (key: string) => Promise<T>): Promise<T> {
    const key = this.#keys.get(intent) ?? makeKey();
    this.#keys.set(intent, key);
    for (let failures = 0; ; failures++) {
      try {
        const answer = await send(key);
        this.#keys.delete(intent);
        return answer;
      } catch (error) {
        const problem = explain(error);
        if (!problem.retryable) this.#keys.delete(intent);
        if (!retrying.retry(failures, problem)) throw problem;
        await this.#pause(retrying.retryDelay(failures, problem));
      }
    }
  }
}

const sleep = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Return 128 random bits. `crypto.randomUUID` is missing on pages that came without TLS. */
function makeKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
