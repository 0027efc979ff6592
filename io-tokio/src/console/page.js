"use strict";
(() => {
  // Everything from the server reaches the page as text nodes: see `el`.
  const LOOK_EVERY = 2000;
  const SAMPLES_MAX = 120;
  const KEYS_PAGE = 200;
  const HISTORY_MAX = 500;
  const EVENTS_MAX = 200;
  const LEASES_MAX = 100;
  const SHOWN_BYTES_MAX = 64 * 1024;

  const $ = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];

  function el(name, attributes, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes ?? {})) {
      if (key === "click") node.addEventListener("click", value);
      else if (value !== undefined && value !== false) node.setAttribute(key, value);
    }
    node.append(...children.flat().filter((child) => child !== undefined && child !== null));
    return node;
  }

  // ---- calls ------------------------------------------------------------------------------

  let token = "";

  class Refused extends Error {
    constructor(status, message) {
      super(message);
      this.wantsLogin = status === 401 || message === "etcdserver: user name is empty";
    }
  }

  async function send(path, body, signal) {
    const headers = { "Content-Type": "application/json" };
    if (token) headers.Authorization = token;
    const answer = await fetch(path, {
      method: "POST", headers, body: JSON.stringify(body ?? {}), signal,
      credentials: "omit", cache: "no-store", redirect: "error",
    });
    if (answer.ok) return answer;
    const said = await answer.json().catch(() => ({}));
    const refused = new Refused(answer.status, said.message || answer.statusText);
    if (refused.wantsLogin) askWho(token ? "Your login has ended." : "");
    throw refused;
  }

  const call = async (path, body) => (await send(path, body)).json();

  // Watches from a revision on; `take` gets each answer. Ends with the signal.
  async function watch(request, signal, take) {
    const answer = await send("v3/watch", { create_request: request }, signal);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const { result, error } = JSON.parse(line);
        if (error) throw new Error(error.message);
        if (result.canceled) throw new Error(result.cancel_reason || "the watch was cancelled");
        take(result);
      }
    }
  }

  // ---- bytes ------------------------------------------------------------------------------

  const encode = (text) => new TextEncoder().encode(text);
  const fromBase64 = (text) => Uint8Array.from(atob(text ?? ""), (c) => c.charCodeAt(0));
  const toBase64 = (bytes) => btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(""));

  // Nothing if it is no text; of a text that is cut its last letter may be missing.
  function asText(bytes, isCut) {
    const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    try { return strict.decode(bytes, { stream: Boolean(isCut) }); } catch { return null; }
  }

  const asHex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");

  // Text with what cannot be seen, or turns what stands beside it around, made visible.
  function visible(text, keepsLines) {
    return text.split(/([\p{Cc}\p{Cf}\p{Zl}\p{Zp}])/u).map((part, place) => {
      if (place % 2 === 0 || (keepsLines && (part === "\n" || part === "\t"))) return part;
      const named = { "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0" }[part];
      const shown = named ?? `\\u{${part.codePointAt(0).toString(16)}}`;
      return el("span", { class: "esc" }, shown);
    });
  }

  function shownKey(bytes) {
    const text = asText(bytes);
    const nodes = text === null ? [el("span", { class: "esc" }, `0x${asHex(bytes)}`)] : visible(text);
    return el("bdi", {}, nodes);
  }

  // One line of a value.
  function preview(bytes) {
    const head = bytes.subarray(0, 200);
    const text = asText(head, bytes.length > head.length);
    return el("bdi", { class: "dim" }, text === null ? `0x${asHex(head.subarray(0, 40))}` : visible(text));
  }

  // A value as lines: JSON indented, text as it is, all else in hex.
  function linesOf(bytes) {
    const head = bytes.subarray(0, SHOWN_BYTES_MAX);
    const text = asText(head, bytes.length > head.length);
    const cut = bytes.length > head.length ? [`… ${number(bytes.length - head.length)} bytes more`] : [];
    if (text === null) return [...dump(head.subarray(0, 4096)), ...cut];
    if (/^\s*[[{]/.test(text) && cut.length === 0) {
      try {
        const parsed = JSON.stringify(JSON.parse(text), null, 2);
        // Numbers beyond what a script holds must not change by being looked at.
        if (parsed.replace(/\s/g, "") === text.replace(/\s/g, "")) return parsed.split("\n");
      } catch { /* It only looked like JSON. */ }
    }
    return [...text.split("\n"), ...cut];
  }

  function dump(bytes) {
    const lines = [];
    for (let at = 0; at < bytes.length; at += 16) {
      const row = bytes.subarray(at, at + 16);
      const hex = Array.from(row, (b) => b.toString(16).padStart(2, "0")).join(" ").padEnd(49);
      const text = Array.from(row, (b) => (b > 31 && b < 127 ? String.fromCharCode(b) : "·")).join("");
      lines.push(`${at.toString(16).padStart(4, "0")}  ${hex}${text}`);
    }
    return lines;
  }

  // What changed between two lists of lines: all between what they begin and end with alike.
  function changed(before, now) {
    let start = 0;
    while (start < before.length && start < now.length && before[start] === now[start]) start += 1;
    let end = 0;
    const rest = Math.min(before.length, now.length) - start;
    while (end < rest && before.at(-1 - end) === now.at(-1 - end)) end += 1;
    const line = (kind, sign) => (text) => el("span", { class: kind }, sign, visible(text, true), "\n");
    const same = (text) => [text === "" ? "" : "  ", visible(text, true), "\n"];
    return [
      now.slice(0, start).map(same),
      before.slice(start, before.length - end).map(line("gone", "- ")),
      now.slice(start, now.length - end).map(line("come", "+ ")),
      now.slice(now.length - end, now.length).map(same),
    ].flat(3);
  }

  // The first key behind all that begin with these bytes.
  function behind(prefix) {
    const end = Uint8Array.from(prefix);
    for (let at = end.length - 1; at >= 0; at -= 1) {
      if (end[at] < 255) {
        end[at] += 1;
        return end.subarray(0, at + 1);
      }
    }
    return new Uint8Array(1);
  }

  function rangeOf(prefix) {
    const from = prefix.length ? prefix : new Uint8Array(1);
    return { key: toBase64(from), range_end: toBase64(behind(prefix)) };
  }

  // ---- words ------------------------------------------------------------------------------

  const number = (value) => Number(value).toLocaleString("en-US", { maximumFractionDigits: 0 });
  const leaseName = (id) => BigInt(id).toString(16);

  function rateText(value) {
    if (value === undefined) return "–";
    return value < 10 ? value.toFixed(1) : number(value);
  }

  function sizeText(bytes) {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let value = Number(bytes);
    let unit = 0;
    while (value >= 1000 && unit < 4) { value /= 1000; unit += 1; }
    return `${value < 10 && unit ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
  }

  function timeText(seconds) {
    if (!(seconds >= 0)) return "–";
    if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
    return seconds < 1 ? `${(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0)} ms` : `${seconds.toFixed(1)} s`;
  }

  // ---- who --------------------------------------------------------------------------------

  function askWho(why) {
    token = "";
    seen = undefined;
    samples.length = 0;
    closeKey();
    stopFollowing();
    for (const id of ["found", "count", "events", "tiles", "charts", "alarms", "where", "lease-count"]) {
      $(id).replaceChildren();
    }
    for (const body of all("tbody")) body.replaceChildren();
    $("trouble").hidden = true;
    $("login-wrong").textContent = why;
    show();
    $("user").focus();
  }

  $("login-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const [name, password] = [$("user").value, $("password").value];
    $("password").value = "";
    $("login-wrong").textContent = "";
    try {
      token = (await call("v3/auth/authenticate", { name, password })).token;
      await look();
    } catch (error) {
      $("login-wrong").textContent = error.message;
    }
  });

  $("leave").addEventListener("click", () => askWho(""));

  // ---- views ------------------------------------------------------------------------------

  const VIEWS = ["overview", "keys", "leases", "watches"];
  const current = () => (VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "overview");

  // Nothing but the login stands on the page while nothing was heard.
  function show() {
    const view = seen ? current() : "login";
    for (const id of [...VIEWS, "login"]) $(id).hidden = id !== view;
    $("bar").hidden = !seen;
    $("leave").hidden = !token;
    for (const link of all("#nav a")) {
      if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    return view;
  }

  function enter() {
    const view = show();
    if (view === "keys" && !$("found").childElementCount) find();
    if (view === "leases") lookAtLeases();
    if (seen) draw();
  }

  window.addEventListener("hashchange", enter);

  $("theme").addEventListener("click", () => {
    const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = document.documentElement.dataset.theme ?? (isDark ? "dark" : "light");
    document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  });

  // ---- looking at the cluster -------------------------------------------------------------

  let seen;
  const samples = [];

  async function look() {
    const isFirst = !seen;
    try {
      const heard = await call("vitals");
      heard.members.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
      const at = performance.now() / 1000;
      const before = seen;
      seen = { ...heard, at, rates: rates(before, heard, at) };
      $("trouble").hidden = true;
      if (before) {
        samples.push(seen.rates.cluster);
        samples.splice(0, samples.length - SAMPLES_MAX);
      }
      if (isFirst) enter();
      else draw();
    } catch (error) {
      if (error.wantsLogin) return;
      $("trouble").textContent = `This member does not answer: ${error.message}`;
      $("trouble").hidden = false;
    }
  }

  // Counters of what was applied grow alike on all members; reads are each member's own.
  function rates(before, now, at) {
    const byMember = {};
    const cluster = { writes: 0, reads: 0, events: 0 };
    for (const { id, vitals } of now.members) {
      const then = before?.members.find((member) => member.id === id)?.vitals;
      if (!vitals || !then) continue;
      const grown = (name) => Math.max(0, vitals[name] - then[name]);
      const rate = (name) => grown(name) / (at - before.at);
      const own = { reads: rate("reads"), events: rate("events"), writes: rate("writes") };
      own.sync = grown("syncs") ? grown("syncSeconds") / grown("syncs") : undefined;
      byMember[id] = own;
      cluster.writes = Math.max(cluster.writes, own.writes);
      cluster.events = Math.max(cluster.events, own.events);
      cluster.reads += own.reads;
    }
    return { byMember, cluster };
  }

  function draw() {
    const up = seen.members.filter((member) => member.vitals);
    const newest = Math.max(0, ...up.map((member) => member.vitals.committed));
    const own = up.find((member) => member.id === seen.member);
    $("where").replaceChildren("cluster ", el("b", { class: "mono" }, seen.cluster),
      "  ·  seen by ", el("b", {}, own?.name ?? seen.member));
    drawAlarms();
    drawPast(own?.vitals);
    if (current() === "overview") {
      drawTiles(up, own);
      drawCharts();
      $("members").tBodies[0].replaceChildren(...seen.members.map((member) => memberRow(member, newest)));
    }
    if (current() === "watches") {
      $("watch-table").tBodies[0].replaceChildren(...seen.members.map(watchRow));
    }
  }

  const ALARMS = {
    NOSPACE: "the store is full, so that writes are refused. Compact or delete, then disarm the alarm.",
    CORRUPT: "its data differs from the other members'; nothing is served until that is mended.",
  };

  function drawAlarms() {
    $("alarms").replaceChildren(...seen.alarms.map(({ member, alarm }) => {
      const name = seen.members.find((it) => it.id === member)?.name || member;
      return el("p", { class: "alarm" }, `${alarm} on ${name}: `, el("span", {}, ALARMS[alarm]));
    }));
  }

  function drawTiles(up, own) {
    const leader = seen.members.find((member) => member.vitals?.role === "leader");
    const vitals = own?.vitals ?? {};
    const isWhole = up.length === seen.members.length;
    const sum = (name) => up.reduce((total, member) => total + member.vitals[name], 0);
    const tile = (name, value, more, isBad) => el("div", { class: isBad ? "tile bad" : "tile" },
      el("div", { class: "name" }, name), el("div", { class: "number" }, value),
      el("div", { class: "more" }, more));
    $("tiles").replaceChildren(
      tile("Members", `${up.length} of ${seen.members.length}`, isWhole ? "all answer" : "some do not answer", !isWhole),
      tile("Leader", leader?.name ?? "none", leader ? `term ${number(leader.vitals.term)}` : "nobody leads", !leader),
      tile("Revision", number(vitals.revision ?? 0), `kept from ${number(Math.max(1, vitals.compacted ?? 0))}`),
      tile("Keys", number(vitals.keys ?? 0), `${sizeText(vitals.dbSizeInUse ?? 0)} in use`),
      tile("Leases", number(vitals.leases ?? 0), "alive"),
      tile("Watches", number(sum("watchers")), `${number(sum("watchersBehind"))} behind`));
  }

  function drawCharts() {
    const chart = (name, key) => {
      const values = samples.map((sample) => sample[key]);
      const peak = Math.max(0, ...values);
      return el("div", { class: "chart" },
        el("div", { class: "top" }, el("span", { class: "number" }, rateText(values.at(-1))),
          el("span", { class: "dim" }, name), el("span", { class: "dim peak" }, `most ${rateText(peak)}`)),
        curve(values, peak));
    };
    $("charts").replaceChildren(
      chart("writes/s", "writes"), chart("reads/s", "reads"), chart("events/s", "events"));
  }

  function curve(values, peak) {
    const [width, height] = [240, 74];
    const svg = (name, attributes, ...children) => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
      node.append(...children);
      return node;
    };
    const step = width / Math.max(29, values.length - 1);
    const points = values.map((value, place) => {
      const x = width - (values.length - 1 - place) * step;
      const y = height - 2 - (peak ? value / peak : 0) * (height - 10);
      return `${x.toFixed(1)} ${y.toFixed(1)}`;
    });
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    if (points.length > 1) {
      const first = points[0].split(" ")[0];
      picture.append(svg("path", { class: "area", d: `M${first} ${height} L${points.join(" L")} L${width} ${height}Z` }),
        svg("path", { class: "line", d: `M${points.join(" L")}` }));
    }
    return picture;
  }

  function meter(share, limits) {
    const kind = share >= limits[1] ? " hot" : share >= limits[0] ? " warm" : "";
    const inside = el("i");
    inside.style.width = `${Math.min(100, Math.round(share * 100))}%`;
    return el("span", { class: `meter${kind}` }, inside);
  }

  const cell = (kind, ...content) => el("td", kind ? { class: kind } : {}, ...content);

  function nameCell({ id, name, clientURLs }) {
    return cell("", el("b", {}, name || "not started"),
      el("span", { class: "under mono", title: (clientURLs ?? []).join(" ") }, id));
  }

  function memberRow(member, newest) {
    const { vitals, trouble, id } = member;
    if (!vitals) {
      const gone = el("td", { colspan: 9 }, el("span", { class: "chip bad" }, "down"), " ", el("span", { class: "dim" }, trouble));
      return el("tr", {}, nameCell(member), gone);
    }
    const rate = seen.rates.byMember[id] ?? {};
    const lag = Math.max(0, newest - vitals.applied);
    const isBad = ["fenced", "without leader"].includes(vitals.role);
    return el("tr", {}, nameCell(member),
      cell("", el("span", { class: `chip ${isBad ? "bad" : vitals.role}` }, vitals.role)),
      cell("n", number(vitals.applied), el("span", { class: "under" }, `of ${number(vitals.committed)}`)),
      cell("lag", meter(lag / 1000, [0.1, 1]), number(lag)),
      cell("n", number(vitals.term)),
      cell("", meter(vitals.dbSize ? vitals.dbSizeInUse / vitals.dbSize : 0, [2, 2]),
        `${sizeText(vitals.dbSizeInUse)} of ${sizeText(vitals.dbSize)}`),
      cell("n", rateText(rate.reads)),
      cell("n", timeText(rate.sync)),
      cell("n", number(vitals.watchers)),
      cell("n", number(vitals.slowApplies)));
  }

  function watchRow(member) {
    const { vitals, id } = member;
    if (!vitals) return el("tr", {}, nameCell(member), el("td", { colspan: 4, class: "n dim" }, "does not answer"));
    return el("tr", {}, nameCell(member),
      cell("n", number(vitals.streams)), cell("n", number(vitals.watchers)),
      cell("n", number(vitals.watchersBehind)), cell("n", rateText(seen.rates.byMember[id]?.events)));
  }

  // ---- keys -------------------------------------------------------------------------------

  let finding = 0;
  let lastFound;

  function drawPast(vitals) {
    if (!vitals) return;
    const past = $("past");
    const wasNewest = past.value === past.max;
    past.min = Math.max(1, vitals.compacted);
    past.max = vitals.revision;
    if (wasNewest && !$("revision").value) past.value = past.max;
  }

  $("past").addEventListener("input", () => {
    const isNewest = $("past").value === $("past").max;
    $("revision").value = isNewest ? "" : $("past").value;
  });
  $("past").addEventListener("change", () => find());
  $("revision").addEventListener("input", () => { $("past").value = $("revision").value || $("past").max; });
  $("find").addEventListener("submit", (event) => { event.preventDefault(); find(); });
  $("more").addEventListener("click", () => find(lastFound));

  async function find(from) {
    const own = (finding += 1);
    const range = rangeOf(encode($("prefix").value));
    const revision = $("revision").value;
    if (from) range.key = toBase64(Uint8Array.from([...from, 0]));
    $("find-wrong").textContent = "";
    try {
      const request = { ...range, keys_only: true, limit: KEYS_PAGE };
      if (revision) request.revision = revision;
      const answer = await call("v3/kv/range", request);
      if (own !== finding) return;
      const found = (answer.kvs ?? []).map((kv) => fromBase64(kv.key));
      const rows = found.map((key) => el("li", {}, el("button", { type: "button", click: () => open(key) }, shownKey(key))));
      if (from) $("found").append(...rows);
      else $("found").replaceChildren(...rows);
      lastFound = found.at(-1);
      const total = Number(answer.count ?? 0);
      $("more").hidden = total <= found.length;
      if (!from) $("count").textContent = revision ? `${number(total)} at revision ${number(revision)}` : number(total);
      markKey();
    } catch (error) {
      if (own === finding) refuse("find-wrong", error, ["found"]);
    }
  }

  function refuse(place, error, emptied) {
    $(place).textContent = error.message;
    for (const id of emptied) $(id).replaceChildren();
    $("count").textContent = "";
    $("more").hidden = true;
  }

  let opened;

  function closeKey() {
    opened?.ending.abort();
    opened = undefined;
    $("detail").hidden = true;
    for (const id of ["key", "facts", "value", "history"]) $(id).replaceChildren();
  }

  function markKey() {
    const shown = opened && shownKey(opened.key).textContent;
    for (const button of all("#found button")) {
      if (button.textContent === shown) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  // The history of a key: what it was at the oldest revision that is kept, then every change
  // since, the ones to come included.
  async function open(key) {
    closeKey();
    const own = { key, ending: new AbortController(), versions: [], chosen: undefined };
    opened = own;
    $("detail").hidden = false;
    $("key").replaceChildren(shownKey(key));
    $("history-note").textContent = "";
    drawKey(own);
    markKey();
    const name = toBase64(key);
    const member = seen?.members.find((it) => it.id === seen.member);
    const oldest = Math.max(1, member?.vitals?.compacted ?? 1);
    const asOf = Number($("revision").value) || undefined;
    try {
      const first = await call("v3/kv/range", { key: name, revision: String(oldest) });
      if (opened !== own) return;
      for (const kv of first.kvs ?? []) own.versions.push(versionOf({ kv }));
      own.asOf = asOf;
      await watch({ key: name, start_revision: String(oldest) }, own.ending.signal, (answer) => {
        for (const event of answer.events ?? []) {
          const version = versionOf(event);
          if (!own.versions.some((it) => it.revision === version.revision)) own.versions.push(version);
        }
        own.versions.splice(0, own.versions.length - HISTORY_MAX);
        drawKey(own);
      });
    } catch (error) {
      if (opened === own && error.name !== "AbortError") $("history-note").textContent = error.message;
    }
  }

  function versionOf({ type, kv }) {
    const isDeleted = type === "DELETE";
    return {
      revision: Number(kv.mod_revision), created: Number(kv.create_revision ?? 0),
      version: Number(kv.version ?? 0), lease: kv.lease, isDeleted, value: fromBase64(kv.value),
    };
  }

  function drawKey(own) {
    const versions = own.versions;
    const asOf = own.asOf ? versions.findLastIndex((it) => it.revision <= own.asOf) : versions.length - 1;
    const chosen = own.chosen ? versions.findIndex((it) => it.revision === own.chosen) : asOf;
    const now = versions[chosen];
    const fact = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));
    $("facts").replaceChildren(...(now ? [
      fact("Revision", number(now.revision)), fact("Version", now.isDeleted ? "deleted" : number(now.version)),
      fact("Created at", now.created ? number(now.created) : "–"), fact("Size", sizeText(now.value.length)),
      fact("Lease", now.lease ? leaseName(now.lease) : "none")] : []));
    drawValue(now, versions[chosen - 1], own.chosen !== undefined);
    $("history").replaceChildren(...versions.map((it, place) => {
      const what = it.isDeleted ? "deleted" : it.version === 1 ? "created" : `version ${number(it.version)}`;
      return el("li", {}, el("button", {
        type: "button", class: it.isDeleted ? "deleted" : "put", "aria-current": place === chosen ? "true" : undefined,
        click: () => { own.chosen = it.revision; drawKey(own); },
      }, el("span", {}, number(it.revision)), el("span", { class: "what" }, what), preview(it.value)));
    }).reverse());
    if (versions.length === HISTORY_MAX) $("history-note").textContent = `the newest ${HISTORY_MAX}`;
  }

  function drawValue(now, before, isChosen) {
    const comparing = isChosen && now && before && !now.isDeleted && !before.isDeleted;
    $("value-title").textContent = comparing ? `Value, beside revision ${number(before.revision)}` : "Value";
    if (!now) $("value").replaceChildren();
    else if (now.isDeleted) $("value").replaceChildren(el("span", { class: "dim" }, "deleted"));
    else if (comparing) $("value").replaceChildren(...changed(linesOf(before.value), linesOf(now.value)));
    else $("value").replaceChildren(...visible(linesOf(now.value).join("\n"), true));
  }

  // ---- leases -----------------------------------------------------------------------------

  let isLooking = false;

  async function lookAtLeases() {
    if (isLooking) return;
    isLooking = true;
    try {
      const leases = (await call("v3/lease/leases")).leases ?? [];
      const shown = leases.slice(0, LEASES_MAX);
      const rows = [];
      for (const { ID } of shown) {
        rows.push(leaseRow(await call("v3/lease/timetolive", { ID, keys: true }).catch((error) => ({ ID, error }))));
      }
      const more = leases.length > shown.length ? `, the first ${shown.length} shown` : "";
      $("lease-count").textContent = number(leases.length) + more;
      $("lease-wrong").textContent = "";
      $("lease-table").tBodies[0].replaceChildren(...rows);
    } catch (error) {
      $("lease-wrong").textContent = error.message;
      $("lease-table").tBodies[0].replaceChildren();
    } finally {
      isLooking = false;
    }
  }

  function leaseRow({ ID, TTL, grantedTTL, keys, error }) {
    const name = cell("mono", leaseName(ID));
    if (error) return el("tr", {}, name, el("td", { colspan: 3, class: "wrong" }, error.message));
    const [left, granted] = [Number(TTL ?? 0), Number(grantedTTL ?? 0)];
    const attached = (keys ?? []).map((text) => {
      const key = fromBase64(text);
      const go = () => { location.hash = "keys"; open(key); };
      return el("button", { class: "pill", type: "button", click: go }, shownKey(key));
    });
    return el("tr", {}, name,
      cell("", meter(granted ? left / granted : 0, [2, 2]), left > 0 ? `${number(left)} s` : "over"),
      cell("n", `${number(granted)} s`),
      cell("keys", attached.length ? attached : el("span", { class: "dim" }, "none")));
  }

  // ---- following --------------------------------------------------------------------------

  let following;

  function stopFollowing() {
    following?.abort();
    following = undefined;
    $("follow-go").textContent = "Follow";
  }

  $("follow").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (following) { stopFollowing(); return; }
    const own = (following = new AbortController());
    $("follow-go").textContent = "Stop";
    $("follow-wrong").textContent = "";
    $("events").replaceChildren();
    try {
      await watch(rangeOf(encode($("follow-prefix").value)), own.signal, (answer) => {
        for (const event of answer.events ?? []) $("events").prepend(eventRow(event));
        while ($("events").childElementCount > EVENTS_MAX) $("events").lastChild.remove();
      });
    } catch (error) {
      if (following !== own || error.name === "AbortError") return;
      stopFollowing();
      $("follow-wrong").textContent = error.message;
    }
  });

  function eventRow(event) {
    const it = versionOf(event);
    return el("li", { class: it.isDeleted ? "deleted" : "put" }, el("span", { class: "dim" }, number(it.revision)),
      el("span", { class: "what" }, it.isDeleted ? "delete" : "put"), shownKey(fromBase64(event.kv.key)), preview(it.value));
  }

  // ---- going on ---------------------------------------------------------------------------

  async function tick() {
    const isWaiting = document.hidden || !$("login").hidden;
    if (!isWaiting) {
      await look();
      if (seen && current() === "leases") await lookAtLeases();
    }
    setTimeout(tick, LOOK_EVERY);
  }

  tick();
})();
