/** A server that speaks the API's shapes, keeps idempotency keys as the API does, and misbehaves when told to. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { components } from "../src/schema.js";

type Schemas = components["schemas"];
type Status = Schemas["PartnerEnrollment"]["status"];

/** What becomes of a request, where it is not what the API does. */
export interface Fault {
  /** The work is done, and then the connection is dropped. */
  loseAnswer?: true;
  /** Answered with 204. */
  empty?: true;
  /** Answered as usual, so many milliseconds later. */
  late?: number;
  /** No answer comes. */
  hang?: true;
  problem?: Partial<Schemas["ProblemDocument"]> & { code: string; status: number };
  /** Answered with this as HTML, as a proxy would. */
  html?: number;
  headers?: Record<string, string>;
}

export interface Seen {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage["headers"];
  body: unknown;
  at: number;
}

interface Kept {
  status: number;
  body: object;
}

export const USER = "7f2c1f0e-2f3d-4b8e-9c11-1b7f0a3d2c55";
export const COURSE = "5c1e6a50-b05c-4fcf-8c93-10b69c8fe333";
export const LESSON = "9a075d10-b05c-4fcf-8c93-10b69c8fe333";
const REWARD = 50;
const AT = "2026-11-21T09:30:00Z";

/** A student's Usher. `seen` is every request, in order. */
export class FakeUsher {
  readonly seen: Seen[] = [];
  readonly enrolled = new Set<string>();
  readonly completed = new Set<string>();
  readonly streams = new Set<ServerResponse>();
  /** What each look at the partner enrolments finds, the last one for good. */
  partner: Status[] = ["active"];
  totalXp = 200;
  events = 0;
  url = "";
  readonly #faults: [route: string, fault: Fault][] = [];
  readonly #keys = new Map<string, Kept>();
  readonly #server: Server = createServer((request, response) => void this.#serve(request, response));

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Have the next requests of a route, `POST /api/enrollments`, go wrong, one after the other. */
  fault(route: string, ...faults: Fault[]): void {
    for (const fault of faults) this.#faults.push([route, fault]);
  }

  /** Return the requests of a route. */
  calls(route: string): Seen[] {
    return this.seen.filter(({ method, path }) => `${method} ${path}` === route);
  }

  /** Give XP as if another page had earned them, and say so on every stream. */
  award(amount: number): void {
    this.totalXp += amount;
    this.events += 1;
    for (const stream of this.streams) stream.write(this.#event("xp", this.#entry(amount)));
  }

  tell(event: string): void {
    this.events += 1;
    for (const stream of this.streams) stream.write(this.#event(event, {}));
  }

  endStreams(): void {
    for (const stream of this.streams) stream.end();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname: path, searchParams: query } = new URL(request.url ?? "/", this.url);
    const method = request.method ?? "";
    response.setHeader("Access-Control-Allow-Origin", request.headers.origin ?? "*");
    response.setHeader("Access-Control-Allow-Credentials", "true");
    response.setHeader("Access-Control-Expose-Headers", "Retry-After, X-Request-ID");
    if (method === "OPTIONS") {
      response.setHeader("Access-Control-Allow-Methods", "GET, POST");
      response.setHeader("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, Last-Event-ID");
      response.writeHead(204).end();
      return;
    }
    const text = await readAll(request);
    const body: unknown = text === "" ? undefined : JSON.parse(text);
    const call = { method, path, query, headers: request.headers, body, at: performance.now() };
    this.seen.push(call);
    const index = this.#faults.findIndex(([route]) => route === `${method} ${path}`);
    const fault = index < 0 ? undefined : this.#faults.splice(index, 1)[0]?.[1];
    if (fault !== undefined) this.#misbehave(fault, call, response);
    else if (path === "/api/me/events" && !query.has("poll")) this.#stream(request, response);
    else send(response, this.#answer(call));
  }

  #misbehave(fault: Fault, call: Seen, response: ServerResponse): void {
    for (const [name, value] of Object.entries(fault.headers ?? {})) response.setHeader(name, value);
    if (fault.problem !== undefined) send(response, refuse(fault.problem));
    else if (fault.html !== undefined) response.writeHead(fault.html, { "Content-Type": "text/html" }).end("<h1>No</h1>");
    else if (fault.empty) response.writeHead(204).end();
    else if (fault.late !== undefined) {
      const answer = this.#answer(call);
      setTimeout(() => send(response, answer), fault.late);
    } else if (fault.loseAnswer) {
      this.#answer(call);
      response.socket?.destroy();
    }
  }

  #answer(call: Seen): Kept {
    const key = call.headers["idempotency-key"];
    const kept = typeof key === "string" ? this.#keys.get(key) : undefined;
    if (kept !== undefined) return kept;
    const answer = this.#work(call);
    if (typeof key === "string") this.#keys.set(key, answer);
    return answer;
  }

  #work({ method, path, body }: Seen): Kept {
    switch (`${method} ${path}`) {
      case "GET /api/me":
        return { status: 200, body: this.#me() };
      case "GET /api/xp":
        return { status: 200, body: this.#standing() };
      case "GET /api/me/events":
        return { status: 200, body: this.#batch() };
      case "GET /api/student/partner-enrollments":
        return { status: 200, body: this.#partnerEnrollments() };
      case "POST /api/enrollments":
        return this.#enroll(body as Schemas["EnrollmentInput"]);
      case "POST /api/xp/award":
        return this.#complete(body as Schemas["AwardInput"]);
      default:
        return refuse({ code: "not_found", status: 404 });
    }
  }

  #enroll({ userId, courseId }: Schemas["EnrollmentInput"]): Kept {
    if (userId !== USER) return refuse({ code: "not_yourself", status: 403 });
    if (this.enrolled.has(courseId)) return refuse({ code: "already_enrolled", status: 409, detail: "Enrolled already." });
    this.enrolled.add(courseId);
    const body: Schemas["OwnEnrollment"] = {
      id: "16c06a50-b05c-4fcf-8c93-10b69c8fe333",
      user_id: userId,
      course_id: courseId,
      enrolled_at: AT,
      completion_percentage: 0,
      xp_earned: 0,
    };
    return { status: 201, body };
  }

  #complete({ lessonId, xpAmount }: Schemas["AwardInput"]): Kept {
    if (xpAmount !== REWARD) return refuse({ code: "xp_amount_differs", status: 422 });
    if (this.completed.has(lessonId)) return refuse({ code: "lesson_already_completed", status: 409, detail: "Done before." });
    this.completed.add(lessonId);
    this.totalXp += REWARD;
    const body: Schemas["AwardAnswer"] = {
      ...this.#standing(),
      xpAwarded: REWARD,
      message: "XP awarded successfully",
      leveledUp: false,
      courseCompleted: false,
      courseXpAwarded: 0,
    };
    return { status: 200, body };
  }

  #standing(): Schemas["StandingAnswer"] {
    const level = Math.floor(Math.sqrt(this.totalXp / 100));
    return { totalXp: this.totalXp, level, levelCurve: "sqrt", currentLevelXp: 0, nextLevelXp: 300 };
  }

  #me(): Schemas["Me"] {
    const who = { id: USER, email: "ada@example.org", name: "Ada Lovelace", role: "student", timeZone: "UTC" } as const;
    return { ...this.#standing(), ...who, highestLevel: 1, createdAt: AT, updatedAt: AT };
  }

  #entry(amount: number): Schemas["XpEvent"] {
    const entry = { entryId: LESSON, kind: "award", category: "LESSON", amount, previousLevel: 1, at: AT } as const;
    return { ...this.#standing(), ...entry };
  }

  #batch(): Schemas["EventBatch"] {
    const data: Schemas["LiveEvent"][] = [{ id: this.#cursor(), event: "xp", data: this.#entry(1) }];
    return { data, lastEventId: this.#cursor() };
  }

  #partnerEnrollments(): Schemas["PartnerEnrollments"] {
    const status = this.partner.length > 1 ? this.partner.shift() : this.partner[0];
    return { data: status === undefined ? [] : [seat(status)], has_more: false, next_cursor: null };
  }

  #stream(request: IncomingMessage, response: ServerResponse): void {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write("retry: 2000\n\n:\n\n");
    if (request.headers["last-event-id"] === undefined) response.write(this.#event("state", {}));
    this.streams.add(response);
    response.on("close", () => this.streams.delete(response));
  }

  #cursor(): string {
    return `1795270622.${this.events}.812:812:`;
  }

  #event(type: string, data: object): string {
    return `id: ${this.#cursor()}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
  }
}

function seat(status: Status): Schemas["PartnerEnrollment"] {
  return {
    id: "16c06a50-b05c-4fcf-8c93-10b69c8fe333",
    status,
    progressPercentage: 0,
    enrolledAt: AT,
    completedAt: null,
    createdAt: AT,
    launchUrl: status === "active" ? "http://127.0.0.1:8000/api/partner-launch/16c06a50" : null,
    failureReference: null,
    manualSetup: null,
    provider: { id: USER, name: "Sandbox Academy", type: "sandbox", supportEmail: null },
    course: { id: COURSE, name: "Working Safely", code: "SBX-101", hours: 8, level: null, credentialType: null, description: null },
    programId: null,
    lastSyncedAt: null,
    certificate: null,
  };
}

function refuse(problem: Partial<Schemas["ProblemDocument"]> & { code: string; status: number }): Kept {
  const body: Partial<Schemas["ProblemDocument"]> = {
    type: `/problems/${problem.code}`,
    title: "Refused",
    detail: "Refused.",
    request_id: "2f5d382b-b376-42f9-8547-ad8159fc85b2",
    ...problem,
  };
  return { status: problem.status, body };
}

function send(response: ServerResponse, { status, body }: Kept): void {
  const media = status < 400 ? "application/json" : "application/problem+json";
  response.writeHead(status, { "Content-Type": media }).end(JSON.stringify(body));
}

async function readAll(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return text;
}
