// What the pages can do better where scripts run: search, copy, one client's commands, a theme, states that
// age. Nothing is fetched, and nothing is kept but two choices of the reader's in the browser's own storage.
"use strict";
(() => {
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const one = (query, root = document) => root.querySelector(query);
  const make = (tag, properties) => Object.assign(document.createElement(tag), properties);
  const said = document.getElementById("said");
  const root = document.documentElement;

  const kept = {
    get(name) { try { return localStorage.getItem(`templates.${name}`); } catch { return null; } },
    set(name, value) { try { localStorage.setItem(`templates.${name}`, value); } catch { /* a private window */ } },
  };

  // -- the theme: as the system has it, or the other one
  const themes = ["auto", "light", "dark"];
  const dress = (name) => { if (name === "auto") delete root.dataset.theme; else root.dataset.theme = name; };
  let theme = themes.includes(kept.get("theme")) ? kept.get("theme") : "auto";
  dress(theme);
  const button = make("button", { type: "button", className: "theme" });
  const label = () => {
    button.textContent = theme[0].toUpperCase() + theme.slice(1);
    button.setAttribute("aria-label", `Theme: ${theme}`);
    button.title = "Theme: as the system has it, light, or dark";
  };
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    dress(theme);
    kept.set("theme", theme);
    label();
  });
  label();
  one(".top .wide").append(button);

  // -- commands name the address under which this page is read
  if (location.protocol.startsWith("http")) {
    const base = new URL(root.dataset.root, location.href).href.replace(/\/$/, "");
    for (const place of all(".base")) place.textContent = base;
  }

  // -- copying
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch { // no HTTPS, or not allowed: the older way
      const area = make("textarea", { value: text, readOnly: true, className: "unseen" });
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      if (!done) throw new Error("copy");
    }
  };
  for (const place of all("[data-copy]")) {
    const what = place.getAttribute("aria-label") || (place.classList.contains("sum") ? "SHA-256" : "fingerprint");
    const press = make("button", { type: "button", className: "copy", textContent: "Copy" });
    press.setAttribute("aria-label", `Copy: ${what}`);
    press.addEventListener("click", async () => {
      try {
        const text = place.textContent;
        await copy(place.classList.contains("key") ? text.replaceAll(" ", "") : text);
        press.textContent = "Copied";
        press.classList.add("done");
        said.textContent = `Copied: ${what}`;
      } catch {
        said.textContent = "It could not be copied: select the text instead.";
      }
      setTimeout(() => { press.textContent = "Copy"; press.classList.remove("done"); }, 1600);
    });
    if (place.tagName === "PRE") {
      const block = make("div", { className: "block" });
      place.replaceWith(block);
      block.append(place, press);
    } else {
      place.after(press);
    }
  }

  // -- one client's commands at a time; the choice is remembered
  const chips = all(".chips a");
  if (chips.length) {
    const show = (id) => {
      for (const chip of chips) {
        const mine = chip.hash === `#use-${id}`;
        if (mine) chip.setAttribute("aria-current", "true"); else chip.removeAttribute("aria-current");
        document.getElementById(chip.hash.slice(1)).hidden = !mine;
      }
    };
    const known = (id) => chips.some((chip) => chip.hash === `#use-${id}`);
    const asked = () => (location.hash.startsWith("#use-") ? location.hash.slice(5) : null);
    const first = () => [asked(), kept.get("client")].find(known) || chips[0].hash.slice(5);
    for (const chip of chips) {
      chip.addEventListener("click", (event) => {
        event.preventDefault();
        const id = chip.hash.slice(5);
        show(id);
        kept.set("client", id);
        history.replaceState(null, "", chip.hash);
      });
    }
    addEventListener("hashchange", () => { if (known(asked())) show(asked()); });
    show(first());
  }

  // -- what was fresh when the page was made may be stale by now
  for (const place of all("[data-until]")) {
    const over = Date.now() - Date.parse(place.dataset.until);
    if (over > 0) {
      const mark = one(".badge", place);
      mark.classList.replace("fresh", "stale");
      mark.lastChild.textContent = "Stale";
      const row = place.closest("tr[data-status]");
      if (row) row.dataset.status = "stale";
      const option = one('select[name=status]');
      if (option && ![...option.options].some((found) => found.value === "stale")) option.append(new Option("stale"));
    }
  }

  // -- search and filter
  const finder = one(".finder");
  if (finder) {
    finder.hidden = false;
    const scope = finder.closest("section") || one("main");
    const rows = all("tr[data-words]", scope);
    const families = all(".family");
    const none = document.getElementById("none");
    const unit = finder.getAttribute("aria-label").toLowerCase();
    const choices = all("select", finder);
    const fields = [finder.elements.q, ...choices];
    const update = () => {
      const words = finder.elements.q.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const row of rows) {
        const fits = words.every((word) => row.dataset.words.includes(word))
          && choices.every((choice) => !choice.value || row.dataset[choice.name] === choice.value);
        row.hidden = !fits;
        count += fits;
      }
      for (const family of families) family.hidden = !one("tr[data-words]:not([hidden])", family);
      if (none) none.hidden = count > 0;
      finder.elements.count.value = count === rows.length ? `${count} ${unit}` : `${count} of ${rows.length} ${unit}`;
      const query = new URLSearchParams(fields.filter((field) => field.value).map((field) => [field.name, field.value]));
      const address = `${location.pathname}${query.size ? `?${query}` : ""}${location.hash}`;
      try { history.replaceState(null, "", address); } catch { /* a page read from a file */ }
    };
    for (const [name, value] of new URLSearchParams(location.search)) {
      const field = fields.find((found) => found.name === name);
      if (field) field.value = value;
    }
    finder.addEventListener("input", update);
    finder.addEventListener("submit", (event) => event.preventDefault());
    document.getElementById("all")?.addEventListener("click", () => { finder.reset(); update(); finder.elements.q.focus(); });
    addEventListener("keydown", (event) => {
      if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
        event.preventDefault();
        finder.elements.q.focus();
      }
    });
    update();
  }
})();
