/** One connection for live updates, shared by all hooks of a page: a stream where it can be had, else polling. */

import { createParser } from "eventsource-parser";
import { explain, type UsherClient } from "./client.js";
import type { components } from "./schema.js";

/** What kind of change an event tells of. */
export type LiveEventType = components["schemas"]["LiveEvent"]["event"];

/** Milliseconds. */
export interface LiveTimes {
  /** Between an ended stream and the next one. */
  again: number;
  /** Between two polls. */
  poll: number;
  /** Of silence after which a stream counts as lost; the API says something every five seconds. */
  silence: number;
}

export const LIVE_TIMES: LiveTimes = { again: 2_000, poll: 15_000, silence: 20_000 };
// Polls before a stream is tried again.
const POLLS = 4;
// Milliseconds after which to ask again where nobody is signed in.
const SIGNED_OUT = 60_000;
// Milliseconds that a connection outlives its last reader: the next page may have one.
const LINGER = 1_000;

/** Calls `tell` for each change while somebody is subscribed. Nothing happens before that, nor on a server. */
export class Live {
  readonly #client: UsherClient;
  readonly #tell: (type: LiveEventType) => void;
  readonly #times: LiveTimes;
  readonly #readers = new Set<() => void>();
  #connection: AbortController | undefined;
  #leaving: ReturnType<typeof setTimeout> | undefined;
  #last = "";
  #streaming = false;

  constructor(client: UsherClient, tell: (type: LiveEventType) => void, times: LiveTimes = LIVE_TIMES) {
    this.#client = client;
    this.#tell = tell;
    this.#times = times;
  }

  /** Keep the connection while at least one reader is there; `reader` hears when `isStreaming` changes. */
  readonly subscribe = (reader: () => void): (() => void) => {
    this.#readers.add(reader);
    clearTimeout(this.#leaving);
    if (this.#connection === undefined) {
      this.#connection = new AbortController();
      void this.#run(this.#connection.signal);
    }
    return () => {
      this.#readers.delete(reader);
      if (this.#readers.size === 0) this.#leaving = setTimeout(() => this.#leave(), LINGER);
    };
  };

  readonly isStreaming = (): boolean => this.#streaming;

  #leave(): void {
    this.#connection?.abort();
    this.#connection = undefined;
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#stream(signal);
        await sleep(this.#times.again, signal);
      } catch {
        await this.#poll(signal);
      }
    }
  }

  /** Read a stream to its end, or until it is lost; throws where there is none. */
  async #stream(signal: AbortSignal): Promise<void> {
    const silence = new AbortController();
    let alarm = setTimeout(() => silence.abort(), this.#times.silence);
    const parser = createParser({ onEvent: ({ event, id }) => this.#take(event, id) });
    const decoder = new TextDecoder();
    try {
      const body = await this.#client.openEvents(this.#last, AbortSignal.any([signal, silence.signal]));
      const reader = body.getReader();
      for (let read = await reader.read(); !read.done; read = await reader.read()) {
        clearTimeout(alarm);
        alarm = setTimeout(() => silence.abort(), this.#times.silence);
        this.#setStreaming(!signal.aborted);
        parser.feed(decoder.decode(read.value, { stream: true }));
      }
    } catch (error) {
      if (!this.#streaming) throw error;
    } finally {
      clearTimeout(alarm);
      this.#setStreaming(false);
    }
  }

  async #poll(signal: AbortSignal): Promise<void> {
    for (let left = POLLS; left > 0 && !signal.aborted; left--) {
      const pause = await this.#pollOnce(signal);
      await sleep(Math.max(this.#times.poll, pause), signal);
    }
  }

  /** Return the milliseconds for which asking again would not help. */
  async #pollOnce(signal: AbortSignal): Promise<number> {
    const headers: Record<string, string> = this.#last ? { "Last-Event-ID": this.#last } : {};
    try {
      const batch = await this.#client.get("/api/me/events", { query: { poll: true }, headers, signal });
      for (const { event, id } of batch.data) this.#take(event, id);
      this.#last = batch.lastEventId;
      return 0;
    } catch (error) {
      const { status, retryAfter = 0 } = explain(error);
      return status === 401 || status === 403 ? SIGNED_OUT : retryAfter * 1000;
    }
  }

  #take(type: string | undefined, id: string | undefined): void {
    if (id !== undefined) this.#last = id;
    if (type === "state" || type === "xp" || type === "level" || type === "enrollment") this.#tell(type);
  }

  #setStreaming(streaming: boolean): void {
    if (this.#streaming === streaming) return;
    this.#streaming = streaming;
    for (const reader of this.#readers) reader();
  }
}

/** Wait; ends early with the signal. */
function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    if (signal.aborted) end();
    else signal.addEventListener("abort", end);
  });
}
