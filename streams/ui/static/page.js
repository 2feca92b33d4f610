// Keeps the page as it would be if it were loaded now: lists ask again, an open task sends what changed, and what
// answers a form is put into this page. What did not change is left as it is, with what is typed and opened there.

const byId = (id) => document.getElementById(id);
const served = new Map(); // the HTML of each part as it came: here it may be opened, and tells other times
const remember = (part) => served.set(part.id, part.outerHTML);

function patch(fresh) {
  const here = byId(fresh.id);
  if (here && fresh.hasAttribute("data-keyed")) return merge(here, fresh);
  if ((!here && !fresh.matches(".step")) || served.get(fresh.id) === fresh.outerHTML) return;
  remember(fresh);
  if (!here) return byId("steps").insertBefore(fresh, [...byId("steps").children].find((step) => step.value > fresh.value) ?? null);
  for (const each of here.querySelectorAll("details[open]")) fresh.querySelector(`#${each.id}`)?.setAttribute("open", "");
  const focused = here.contains(document.activeElement) ? document.activeElement.id : "";
  here.replaceWith(fresh);
  if (focused) byId(focused)?.focus({ preventScroll: true });
}

function merge(list, fresh) {
  const wanted = new Set([...fresh.children].map((child) => child.id));
  for (const child of [...list.children]) if (!wanted.has(child.id)) child.remove();
  let next = list.firstElementChild;
  for (const child of [...fresh.children]) {
    const known = byId(child.id);
    known ? patch(child) : remember(child);
    const now = byId(child.id) ?? child;
    if (known && known === next) next = now.nextElementSibling;
    else list.insertBefore(now, next);
  }
}

function show(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  if (!fresh.title || "failed" in fresh.body.dataset) return fresh;
  document.title = fresh.title;
  fresh.querySelectorAll("[data-live]").forEach(patch);
  tellTimes();
  return fresh;
}

const complain = (text) => Object.assign(byId("said"), { className: "bad", textContent: text });
const lost = (is) => (byId("lost").textContent = is ? "not connected: this may be old" : "");
const UNITS = [[1728e5, 864e5, "d"], [36e5, 36e5, "h"], [6e4, 6e4, "min"], [0, 1e3, "s"]]; // from, size, name
function tellTimes() {
  for (const time of document.querySelectorAll("time[data-ms]")) {
    const ago = Date.now() - time.dataset.ms;
    const [, size, unit] = UNITS.find(([from]) => Math.abs(ago) >= from);
    const told = `${Math.floor(Math.abs(ago) / size)} ${unit}`;
    time.textContent = "since" in time.dataset ? told : ago < -2e3 ? `in ${told}` : `${told} ago`;
  }
}

let tag = "";
async function poll() {
  try {
    const answer = await fetch(location, { headers: { "If-None-Match": tag }, cache: "no-store" });
    if (answer.ok && "failed" in document.body.dataset) location.reload(); // it is there now
    lost(answer.status >= 500);
    if (answer.ok) tag = answer.headers.get("ETag");
    if (answer.ok && !show(await answer.text()).body.dataset.follow) byId("acts")?.remove();
  } catch {
    lost(true);
  }
  setTimeout(poll, Number(document.body.dataset.poll));
}

let source = null;
function follow() {
  source?.close();
  if (document.hidden || !document.body.dataset.follow) return; // a browser has six connections to a place
  source = new EventSource(document.body.dataset.follow);
  source.onopen = () => lost(false);
  source.onerror = () => {
    lost(true);
    if (source.readyState !== EventSource.CLOSED) return; // it tries again by itself
    delete document.body.dataset.follow; // refused, because as many are followed as may be, say
    document.body.dataset.poll = 5000;
    poll();
  };
  source.addEventListener("parts", (event) => {
    const parts = document.createElement("template");
    parts.innerHTML = event.data;
    [...parts.content.children].forEach(patch);
    tellTimes();
  });
  source.addEventListener("end", () => {
    source.close();
    delete document.body.dataset.follow;
    byId("acts")?.remove();
  });
}

async function send(form, button) {
  const body = new URLSearchParams(new FormData(form, button));
  const question = form.closest("article");
  const beside = question?.nextElementSibling ?? question?.previousElementSibling;
  form.querySelectorAll("button").forEach((each) => (each.disabled = true));
  try {
    const html = await (await fetch(form.action, { method: "POST", body })).text();
    const said = show(html).getElementById("said");
    said ? byId("said").replaceWith(said) : complain(html);
    if (question && !question.isConnected) (byId(question.id) ?? beside ?? byId("said")).focus({ preventScroll: !beside });
  } catch {
    complain("Not sent: there is no connection. Try again.");
  }
  form.querySelectorAll("button").forEach((each) => (each.disabled = false));
}

document.onsubmit = (event) => {
  if (event.target.method !== "post") return;
  event.preventDefault();
  send(event.target, event.submitter);
};
document.onkeydown = (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.target.form?.requestSubmit();
};
document.onchange = (event) => event.target.matches("[data-submits]") && event.target.form.submit();
document.onvisibilitychange = follow;
document.querySelectorAll("[data-live]:not([data-keyed]), [data-keyed] > *").forEach(remember);
if (location.search.includes("said=")) history.replaceState(null, "", location.href.replace(/([?&])said=\w+&?/, "$1")); // it was said
tellTimes();
setInterval(tellTimes, 1000);
if (document.body.dataset.poll) poll();
follow();
