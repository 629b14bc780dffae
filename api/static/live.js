// Keeps a page's <main> up to date: on a word from /api/me/events the page is fetched again and its <main> is taken over.
// Streams where it can, polls where it cannot. Without this script the page works as it is.
"use strict";
(() => {
  const EVENTS = "/api/me/events";
  const TYPES = ["state", "xp", "level", "enrollment"];
  const POLL = 15000; // milliseconds between two polls
  const STREAM_AGAIN = 4; // polls before a stream is tried again
  const GATHER = 300; // milliseconds in which several changes become one refresh
  let last = "";
  let timer = 0;

  const focused = (main) => main.contains(document.activeElement) && document.activeElement.getAttribute("href");

  async function refresh() {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const [main, fresh] = [document.querySelector("main"), page.querySelector("main")];
    if (!fresh || fresh.innerHTML === main.innerHTML) return;
    const href = focused(main);
    main.replaceChildren(...fresh.childNodes);
    if (href) [...main.querySelectorAll("a")].find((link) => link.getAttribute("href") === href)?.focus();
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
        changed();
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
        if (found.data.length) changed();
      }
    } catch {
      // No network just now.
    }
    setTimeout(() => (left > 1 || !window.EventSource ? poll(left - 1) : stream()), POLL);
  }

  if (window.EventSource) stream();
  else poll(STREAM_AGAIN);
})();
