"use strict";
// The page works without this file. With it, it renews itself, says how long ago things were, filters as one types, and
// remembers the token for actions in this tab.
const byId = id => document.getElementById(id);
const html = document.documentElement, text = document.body.dataset;

// Times. The server's clock counts, as far as it is known.
let ahead = 0;
const spans = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const relative = new Intl.RelativeTimeFormat(html.lang, { numeric: "auto" });
const absolute = new Intl.DateTimeFormat(html.lang, { dateStyle: "long", timeStyle: "long" });

function tellTimes(within = document) {
  const now = Date.now() + ahead;
  for (const e of within.querySelectorAll("time")) {
    const at = Date.parse(e.dateTime), seconds = Math.round((at - now) / 1000);
    const [unit, size] = spans.find(([, size]) => Math.abs(seconds) >= size) || spans.at(-1);
    const said = relative.format(Math.trunc(seconds / size), unit);
    if (e.textContent !== said) e.textContent = said;
    if (!e.title) e.title = absolute.format(at);
  }
}

// Filter: as filter.go decides.
const filter = byId("filter"), found = new WeakMap();
const wordsOf = row => found.get(row) || (found.set(row, row.textContent.toLowerCase()), found.get(row));

function applyFilter() {
  const words = filter.q.value.toLowerCase().split(/\s+/).filter(Boolean), show = filter.show.value;
  const count = { "": 0, due: 0, held: 0, failing: 0 };
  let shown = 0;
  for (const row of document.querySelectorAll("tr[data-s]")) {
    const marks = row.dataset.s.split(" ").filter(Boolean);
    count[""]++;
    for (const m of marks) count[m]++;
    row.hidden = !((!show || marks.includes(show)) && words.every(w => wordsOf(row).includes(w)));
    if (!row.hidden) shown++;
  }
  for (const e of filter.querySelectorAll("[data-count]")) {
    e.textContent = count[e.dataset.count].toLocaleString("en");
    e.classList.toggle("zero", !count[e.dataset.count]);
  }
  const all = count[""], narrowed = words.length > 0 || show !== "";
  const said = narrowed ? text.matching.replace(/%(?:\[(\d)\])?s/g, ((n) => (_, i) => [shown, all][i ? i - 1 : n++].toLocaleString("en"))(0)) : "";
  if (byId("matching").textContent !== said) byId("matching").textContent = said;
  byId("nothing").hidden = shown > 0 || all === 0;
  document.title = (count.due ? `(${count.due}) ` : "") + "imgbump";
}

filter.addEventListener("input", () => {
  applyFilter();
  const query = new URLSearchParams(location.search);
  for (const [key, value] of [["q", filter.q.value.trim()], ["show", filter.show.value]]) value ? query.set(key, value) : query.delete(key);
  const address = query.size ? "?" + query : location.pathname;
  try { history.replaceState(null, "", address); } catch { /* too often in a short time */ }
});
filter.addEventListener("submit", e => e.preventDefault());

// Renewing: makes one element like another with as little replaced as possible, so that focus, selection and what is opened stay.
function renew(old, now) {
  if (old.isEqualNode(now)) return;
  if (old.nodeType !== Node.ELEMENT_NODE || old.tagName !== now.tagName || old.id !== now.id) return old.replaceWith(now.cloneNode(true));
  if (old.tagName === "TIME" && old.dateTime === now.dateTime) return;
  for (const { name } of [...old.attributes]) if (!now.hasAttribute(name) && name !== "open" && name !== "hidden") old.removeAttribute(name);
  for (const { name, value } of now.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (old.tagName === "TR") found.delete(old);
  const kept = new Map([...old.children].filter(e => e.id).map(e => [e.id, e]));
  let at = old.firstChild;
  for (const child of [...now.childNodes]) {
    const same = child.id ? kept.get(child.id) : at && !at.id ? at : null;
    if (!same) { old.insertBefore(child.cloneNode(true), at); continue; }
    if (same === at) at = at.nextSibling; else old.insertBefore(same, at);
    renew(same, child);
  }
  while (at) { const next = at.nextSibling; at.remove(); at = next; }
}

function load(ids) {
  const request = new XMLHttpRequest(); // it parses without running anything, and trusted types allow it
  const query = new URLSearchParams([["lang", html.lang], ...ids.map(id => ["id", id])]);
  request.open("GET", "fragment?" + query);
  request.responseType = "document";
  return new Promise((done, failed) => {
    request.onload = () => request.status === 200 ? done(request.response) : failed(request.status);
    request.onerror = failed;
    request.send();
  });
}

let newest, loading = false;
async function follow() {
  if (loading) return;
  loading = true;
  try {
    for (;;) {
      const ids = Object.keys(newest).filter(id => byId(id)?.dataset.v !== newest[id]);
      if (!ids.length) break;
      const before = JSON.stringify(newest), got = await load(ids);
      for (const id of ids) if (got.getElementById(id)) renew(byId(id), got.getElementById(id));
      applyFilter();
      tellTimes();
      if (JSON.stringify(newest) === before) break;
    }
  } catch { /* the next event tries again */ }
  loading = false;
}

// A page of another version than its server loads itself anew; while replicas of two versions answer, not over and over.
function reload() {
  const last = Number(sessionStorage.getItem("imgbump-reload"));
  if (Date.now() - last < 30000) return false;
  sessionStorage.setItem("imgbump-reload", Date.now());
  location.reload();
  return true;
}

let source;
const live = byId("live");
function say(state) {
  const said = state === "live" ? text.live : text.lost;
  live.className = state;
  if (live.textContent !== said) live.textContent = said;
}
let again;
function listen() {
  clearTimeout(again);
  source?.close();
  source = new EventSource("events");
  source.onmessage = event => {
    const told = JSON.parse(event.data);
    ahead = told.now - Date.now();
    say("live");
    const other = told.assets !== text.version || Object.keys(told.regions).some(id => !byId(id));
    if (other && !byId("act")?.open && reload()) return;
    newest = told.regions;
    follow();
  };
  source.onerror = () => {
    say("lost");
    if (source.readyState === EventSource.CLOSED) again = setTimeout(listen, 15000);
  };
}
document.addEventListener("visibilitychange", () => {
  if (document.hidden) source.close();
  else if (source.readyState === EventSource.CLOSED) listen();
});

// Actions: the token is asked for once, and sent with each request in a header.
const act = byId("act");
if (act) {
  const form = act.querySelector("form"), said = byId("said"), key = "imgbump-token";
  const tell = (message, kind) => { said.textContent = message; said.className = kind; };
  const tokenOf = () => sessionStorage.getItem(key);
  const offer = (...ids) => {
    for (const id of ["branch", "which", "why", "secret", "hold", "release", "update", "check"]) {
      const e = byId(id);
      e.hidden = !ids.includes(id);
      (e.control ?? e).disabled = e.hidden;
    }
  };
  const showLock = () => {
    html.classList.toggle("unlocked", tokenOf() !== null);
    byId("unlock").hidden = tokenOf() !== null;
    byId("lock").hidden = tokenOf() === null;
  };
  // What can be done with what the link is for: a row with an image, a branch, or nothing but the token.
  const ask = link => {
    const { target, image } = link.dataset, row = link.closest("tr");
    form.reset();
    form.target.value = target ?? "";
    form.image.value = image ?? "";
    form.target.readOnly = form.image.readOnly = true;
    const on = tokenOf() === null ? ["secret"] : [];
    if (!target) offer("secret", "check");
    else if (!image) offer("branch", "update", ...on);
    else offer("branch", "which", "update", ...on, ...row.className === "held" ? [] : ["why", "hold"], ...row.dataset.s.includes("held") ? ["release"] : []);
    tell("", "");
    act.close();
    act.showModal();
    act.querySelector("input:not([readonly], :disabled), button:not([hidden])").focus();
  };
  document.addEventListener("click", e => {
    const link = e.target.closest("a.act, #unlock");
    if (!link) return;
    e.preventDefault();
    ask(link);
  });
  byId("lock").addEventListener("click", () => { sessionStorage.removeItem(key); showLock(); byId("unlock").focus(); });
  form.addEventListener("keydown", e => { // browsers would take the first button, offered or not
    if (e.key !== "Enter" || e.isComposing || e.target.tagName !== "INPUT") return;
    e.preventDefault();
    form.querySelector(".buttons button:enabled").click();
  });
  form.addEventListener("submit", async e => {
    if (e.submitter.formMethod === "dialog") return;
    e.preventDefault();
    const token = tokenOf() ?? form.token.value, address = new URL(e.submitter.formAction);
    const body = new URLSearchParams(["target", "image", "reason"].map(name => [name, form[name].value]));
    address.searchParams.set("lang", html.lang);
    e.submitter.disabled = true;
    try {
      const answer = await fetch(address, { method: "POST", body, headers: { Accept: "application/json", Authorization: "Bearer " + token } });
      const { message, hint } = await answer.json();
      if (answer.ok) sessionStorage.setItem(key, token);
      if (answer.status === 401) {
        sessionStorage.removeItem(key);
        byId("secret").hidden = form.token.disabled = false;
        form.token.select();
      }
      showLock();
      tell(hint ? message + " " + hint : message, answer.ok ? "done" : "failed");
      if (answer.ok) {
        form.token.value = "";
        offer("branch", "which");
        byId("close").focus();
        if (e.submitter.id === "check") { act.close(); byId("lock").focus(); }
      }
    } catch {
      tell(text.unreachable, "failed");
    }
    e.submitter.disabled = e.submitter.hidden;
    if (document.activeElement === document.body && act.open) e.submitter.focus();
  });
  act.close(); // it is open when the address asks for it, for those without scripts
  showLock();
}

applyFilter();
tellTimes();
setInterval(tellTimes, 5000);
listen();
