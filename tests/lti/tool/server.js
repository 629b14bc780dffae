// The real ltijs as a tool on 127.0.0.1, for Usher's tests. Prints its port, ends when its standard input does.
//
//   POST /_platform {url, clientId}   registers a platform
//   /login /keys /register /          ltijs' own: login, its keys, dynamic registration, launches
//   GET /                             after a launch: what the tool learned
//   POST /grade {lineItemId?, score}  sends a score by ltijs' Grade service
//   POST /grades/CALL [arguments]     any other call of ltijs' Grade service
//   GET /members                      reads the members by ltijs' NamesAndRoles service
"use strict";

const crypto = require("node:crypto");
const http = require("node:http");

// ltijs makes a key of 4096 bits for every platform, which takes seconds. The protocol is the same with 2048.
const generateKeyPairSync = crypto.generateKeyPairSync;
crypto.generateKeyPairSync = (kind, options) => generateKeyPairSync(kind, { ...options, modulusLength: 2048 });

const { Provider } = require("ltijs");
const { Store } = require("./store");

const server = http.createServer((request, response) => {
  if (request.url === "/_platform") return register(request, response);
  return lti.app(request, response);
});
let lti = null;

async function register(request, response) {
  let body = "";
  for await (const part of request) body += part;
  const { url, clientId } = JSON.parse(body);
  const platform = await lti.registerPlatform({
    url,
    clientId,
    name: `usher ${clientId}`,
    authenticationEndpoint: `${url}/api/lti/authorize`,
    accesstokenEndpoint: `${url}/api/lti/token`,
    authConfig: { method: "JWK_SET", key: `${url}/api/lti/jwks` },
  });
  response.end(JSON.stringify({ kid: await platform.platformKid() }));
}

function answer(work) {
  return (request, response) =>
    work(request, response).catch((error) => {
      const said = error.response?.body ?? null;
      response.status(500).json({ error: error.message, said });
    });
}

async function main() {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  lti = Provider;
  lti.setup("a-secret-of-the-tool-under-test", { plugin: new Store() }, {
    appRoute: "/",
    loginRoute: "/login",
    keysetRoute: "/keys",
    dynRegRoute: "/register",
    cookies: { secure: false, sameSite: "Lax" },
    devMode: false,
    // Seconds that a launch may take; 10 by default, which a crowded machine exceeds.
    tokenMaxAge: 300,
    dynReg: {
      url,
      name: "ltijs under test",
      redirectUris: [`${url}/launch`],
      customParameters: { flavour: "vanilla" },
      autoActivate: true,
    },
  });
  lti.onConnect(async (token, _request, response) => response.json({ token, ltik: response.locals.ltik }));
  lti.onDeepLinking(async (token, _request, response) => {
    const items = [
      { type: "ltiResourceLink", title: "Chapter 1", url: `${url}/`, custom: { chapter: "1" },
        lineItem: { scoreMaximum: 20, label: "Chapter 1", tag: "chapter" } },
      { type: "ltiResourceLink", title: "Chapter 2", custom: { chapter: "2" } },
    ];
    response.send(await lti.DeepLinking.createDeepLinkingForm(token, items, { message: "Two chapters" }));
  });
  lti.app.post("/grade", answer(async (request, response) => {
    const token = response.locals.token;
    const id = request.body.lineItemId ?? token.platformContext.endpoint.lineitem;
    response.json(await lti.Grade.submitScore(token, id, request.body.score));
  }));
  lti.app.post("/grades/:call", answer(async (request, response) => {
    const done = await lti.Grade[request.params.call](response.locals.token, ...request.body);
    response.json(done ?? null);
  }));
  lti.app.get("/members", answer(async (_request, response) => {
    response.json(await lti.NamesAndRoles.getMembers(response.locals.token, { pages: false }));
  }));
  await lti.deploy({ serverless: true, silent: true });
  process.stdin.on("end", () => process.exit(0)).resume();
  console.log(JSON.stringify({ port: server.address().port }));
}

main();
