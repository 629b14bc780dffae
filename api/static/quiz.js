// An open attempt: saves while somebody writes, shows the time that is left, hands in when it is over.
// The server decides what is in time, and what is saved is handed in by it when this page is closed.
"use strict";
(() => {
  const LOOK = 10000; // milliseconds until an attempt that is being handed in is looked at again
  if (document.getElementById("over")) setTimeout(() => location.reload(), LOOK);
  const form = document.getElementById("quiz");
  if (!form) return;
  const [state, heard, timer] = ["state", "heard", "timer"].map((id) => document.getElementById(id));
  const words = form.dataset;
  const PAUSE = 600; // milliseconds without a key after which is saved
  const AGAIN = 5000; // milliseconds until a save that failed is tried again
  const ANNOUNCED = [[300, words.five], [60, words.one]]; // seconds left
  let waiting = 0;
  let busy = false;
  let dirty = false;
  let leaving = false;

  const say = (text) => {
    if (state.textContent !== text) state.textContent = text;
  };

  function send(action) {
    const body = new URLSearchParams(new FormData(form));
    body.set("action", action);
    return fetch(form.getAttribute("action"), { method: "POST", body, headers: { Accept: "application/json" } });
  }

  // What is saved now is what later saves are compared with.
  function remember(marks) {
    for (const [id, mark] of Object.entries(marks)) form.elements[`was-${id}`].value = mark;
  }

  async function save() {
    if (busy || leaving) return;
    [busy, dirty] = [true, false];
    say(words.saving);
    try {
      const answer = await send("save");
      if (answer.redirected) return location.reload(); // Handed in meanwhile, or the time is over.
      if (!answer.ok) return failed(answer.status === 401 ? words.out : words.unsaved);
      const found = await answer.json();
      remember(found.was);
      say(Object.keys(found.errors).length ? words.wrong : `${words.saved} ${found.saved}`);
    } catch {
      failed(words.unsaved);
    } finally {
      busy = false;
      if (dirty) later(PAUSE);
    }
  }

  function failed(text) {
    say(text);
    heard.textContent = text;
    later(AGAIN);
  }

  function later(pause) {
    clearTimeout(waiting);
    waiting = setTimeout(save, pause);
  }

  form.addEventListener("input", () => {
    dirty = true;
    later(PAUSE);
  });
  form.addEventListener("submit", () => {
    leaving = true;
    clearTimeout(waiting);
    setTimeout(() => { leaving = false; }, AGAIN); // It did not get through.
  });
  // Back from another page as it was left: what the server has may be newer.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });

  if (!timer) return;
  const clock = timer.querySelector("[data-clock]");
  const end = performance.now() + Number(timer.dataset.left) * 1000;
  clock.hidden = false;

  async function over() {
    leaving = true;
    clearTimeout(waiting);
    say(words.over);
    heard.textContent = words.over;
    try {
      await send("final");
      location.reload();
    } catch {
      setTimeout(over, AGAIN); // No network just now. The server hands in what was saved.
    }
  }

  let before = Infinity;
  function tick() {
    const left = Math.max(0, Math.round((end - performance.now()) / 1000));
    const [hours, minutes, seconds] = [left / 3600, (left / 60) % 60, left % 60].map(Math.floor);
    const two = (number) => String(number).padStart(2, "0");
    clock.textContent = hours ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
    timer.classList.toggle("soon", left <= 60);
    for (const [mark, text] of ANNOUNCED) if (left <= mark && mark < before && before !== Infinity) heard.textContent = text;
    before = left;
    if (left === 0) return void over();
    setTimeout(tick, 500);
  }
  tick();
})();
