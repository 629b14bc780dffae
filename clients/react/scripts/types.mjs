// Makes src/schema.ts from a running Usher's /openapi.json, or from a file: npm run types -- FILE|URL [--out FILE]
import { readFile, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import openapiTS, { astToString } from "openapi-typescript";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { out: { type: "string", default: new URL("../src/schema.ts", import.meta.url).pathname } },
});
const source = positionals[0] ?? "http://127.0.0.1:8000/openapi.json";
const METHODS = ["get", "put", "post", "patch", "delete"];
// What staff, servers and tools call is nothing for a student's page.
const OTHERS = /^\/api\/(ops|users|lti)\b/;
const takesSession = (operation) => operation.security?.some((way) => "session" in way) ?? false;

/** Return what a student's page may call, without its errors, which are all the same document. */
function prune(spec) {
  const codes = new Set();
  const paths = {};
  for (const [path, item] of Object.entries(spec.paths)) {
    if (!path.startsWith("/api/") || OTHERS.test(path)) continue;
    for (const method of METHODS.filter((name) => name in item && takesSession(item[name]))) {
      const operation = item[method];
      for (const [status, answer] of Object.entries(operation.responses)) {
        const { description } = answer;
        answer.description = ""; // Of an error it is a list of codes, of others prose that changes often.
        if (Number(status) < 400) continue;
        for (const code of description.split(", ")) codes.add(code);
        delete operation.responses[status];
      }
      paths[path] = { ...paths[path], [method]: operation };
    }
  }
  const schemas = reachable({ paths, problem: spec.components.schemas.ProblemDocument }, spec.components.schemas);
  schemas.ProblemDocument = spec.components.schemas.ProblemDocument;
  schemas.ProblemCode = { type: "string", enum: [...codes].sort(), description: "What can go wrong here." };
  return withoutTitles({ openapi: spec.openapi, info: spec.info, paths, components: { schemas } });
}

/** Return the schemas that a part of the document leads to, by name. */
function reachable(part, schemas) {
  const found = new Set();
  const look = (value) => {
    if (value === null || typeof value !== "object") return;
    const name = typeof value.$ref === "string" ? value.$ref.split("/").at(-1) : undefined;
    if (name !== undefined && !found.has(name)) {
      found.add(name);
      look(schemas[name]);
    }
    Object.values(value).forEach(look);
  };
  look(part);
  return Object.fromEntries([...found].sort().map((name) => [name, schemas[name]]));
}

/** Leave out the titles, which only repeat the names. */
function withoutTitles(value) {
  if (Array.isArray(value)) return value.map(withoutTitles);
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(([name, inner]) => name !== "title" || typeof inner !== "string");
  return Object.fromEntries(kept.map(([name, inner]) => [name, withoutTitles(inner)]));
}

async function read(place) {
  if (!/^https?:/.test(place)) return JSON.parse(await readFile(place, "utf8"));
  const answer = await fetch(place, { signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) throw new Error(`${place} answers ${answer.status}`);
  return answer.json();
}

const ast = await openapiTS(prune(await read(source)), { alphabetize: true });
const made = `// Made by \`npm run types\` from /openapi.json. Do not edit.\n${astToString(ast)}`;
// What a path cannot be asked for need not be said.
const compact = made.replace(/^ +\w+\?: never;\n/gm, "");
await writeFile(values.out, compact);
