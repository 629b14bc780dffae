// Keeps a page's <main> up to date: on a word from /api/me/events the page is fetched again and its <main> is taken over,
// with the focus where it was, unless somebody is filling in a form in it. What the words were about is said in #said:
// the fresh page has it in data-said of the element whose data-news is xp:ID, level:NUMBER or enrollment:ID.
// Streams where it can, polls where it cannot. Without this script the page works as it is.
"use strict";
(() => {
  const EVENTS = "/api/me/events";
  const TYPES = ["state", "xp", "level", "enrollment"];
  const POLL = 15000; // milliseconds between two polls
  const STREAM_AGAIN = 4; // polls before a stream is tried again
  const GATHER = 300; // milliseconds in which several changes become one refresh
  const SHOWN = 6000; // milliseconds for which something that was said stays to be read
  const NEWS = {
    xp: (data) => `xp:${data.entryId}`,
    level: (data) => `level:${data.level}`,
    enrollment: (data) => `enrollment:${data.enrollmentId}`,
  };
  let last = "";
  let timer = 0;
  const heard = new Set();

  // A copy without what differs each time that a page is made.
  const essence = (main) => {
    const copy = main.cloneNode(true);
    for (const input of copy.querySelectorAll("input[name=key]")) input.remove();
    return copy.innerHTML;
  };
  const isBusy = (main) =>
    [...main.querySelectorAll("input, textarea, select")].some(
      (field) =>
        field.type !== "hidden" && (field === document.activeElement || field.value !== (field.defaultValue ?? field.value)),
    );
  const mark = (element) => element?.id || element?.getAttribute("href");

  async function refresh() {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const [main, fresh] = [document.querySelector("main"), page.querySelector("main")];
    if (!fresh) return;
    tell(fresh);
    if (isBusy(main) || essence(fresh) === essence(main)) return;
    const focused = main.contains(document.activeElement) && mark(document.activeElement);
    main.replaceChildren(...fresh.childNodes);
    if (focused) [...main.querySelectorAll("a, button, [id]")].find((element) => mark(element) === focused)?.focus();
  }

  function tell(fresh) {
    const region = document.getElementById("said");
    for (const element of fresh.querySelectorAll("[data-news]")) {
      if (!heard.delete(element.dataset.news) || !region) continue;
      const line = document.createElement("p");
      line.textContent = element.dataset.said;
      region.append(line);
      setTimeout(() => line.remove(), SHOWN);
    }
    heard.clear();
  }

  function hear(type, data) {
    if (NEWS[type]) heard.add(NEWS[type](data));
    changed();
  }

  function changed() {
    clearTimeout(timer);
    timer = setTimeout(() => refresh().catch(() => {}), GATHER);
  }

  function stream() {
    const source = new EventSource(`${EVENTS}?lastEventId=${encodeURIComponent(last)}`);
    for (const type of TYPES) {
      source.addEventListener(type, (event) => {
        last = event.lastEventId;
        hear(type, JSON.parse(event.data));
      });
    }
    // An ended stream is opened again by the browser; one that was refused is closed for good.
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) poll(STREAM_AGAIN);
    });
  }

  async function poll(left) {
    try {
      const answer = await fetch(`${EVENTS}?poll=1`, { headers: last ? { "Last-Event-ID": last } : {} });
      if (answer.status === 401 || answer.status === 403) return; // Signed out: the next page says so.
      if (answer.ok) {
        const found = await answer.json();
        last = found.lastEventId;
        for (const { event, data } of found.data) hear(event, data);
      }
    } catch {
      // No network just now.
    }
    setTimeout(() => (left > 1 || !window.EventSource ? poll(left - 1) : stream()), POLL);
  }

  if (window.EventSource) stream();
  else poll(STREAM_AGAIN);
})();
