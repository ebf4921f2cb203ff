"use strict";
// Draws every chart in its place. Expressions are interpreted, not compiled, so that the page's
// content security policy needs no exception. Text of a user's file is only ever set as text.
(function () {
  const given = JSON.parse(document.getElementById("charts").textContent);
  const options = {
    actions: false,
    ast: true,
    renderer: "svg",
    formatLocale: given.locale,
    tooltip: { theme: "report", disableDefaultStyle: true },
  };
  const drawn = [];
  // Data come by columns, which takes a third of the room of rows with their keys.
  function rows(columns) {
    const keys = Object.keys(columns);
    return columns[keys[0]].map((_, at) =>
      Object.fromEntries(keys.map((key) => [key, columns[key][at]])));
  }
  // The names that legends list.
  function listed(part) {
    if (!part || typeof part !== "object") return [];
    return Object.entries(part).flatMap(([key, value]) =>
      key === "domain" && Array.isArray(value) ? value.filter((one) => typeof one === "string")
        : listed(value));
  }
  // Titles of axes go on in a line of their own where they have a bracket.
  function broken(part) {
    if (!part || typeof part !== "object") return;
    for (const channel of ["x", "y"]) {
      const lines = part[channel]?.title?.split?.(/ ?(?=[(（])/) || [];
      if (lines.length > 1) part[channel].axis = { ...part[channel].axis, title: lines };
    }
    Object.values(part).forEach(broken);
  }
  // A legend has as many columns as there is room for; in a narrow place, the labels of an axis
  // leave the marks some room.
  function narrowed(spec, width, onPaper) {
    const cut = given.words.narrow, least = Math.min(width, onPaper);
    const longest = Math.max(6, ...listed(spec.layer || spec.encoding).map(wide));
    // Beside the labels of an axis there is less room than the page has.
    const room = width < 430 ? width - 140 : least;
    spec.config.legend.columns = Math.max(1, Math.floor(room / (longest + 34)));
    if (least < 430) {
      broken(spec.layer || spec.encoding);
      spec.config.legend.layout = { top: { direction: "vertical" } };
    }
    if (width >= 430) return;
    spec.config.axisY = { ...spec.config.axisY, labelExpr:
      `length(datum.label) > ${cut} ? slice(datum.label, 0, ${Math.ceil(cut / 2)}) + '…'` +
      ` + slice(datum.label, -${Math.floor(cut / 2) - 1}) : datum.label` };
  }
  // Pixels that a text takes, about: letters of Chinese and Japanese are twice as wide.
  function wide(text) {
    return [...text].reduce((sum, letter) => sum + (letter > "\u2e80" ? 12.5 : 6.8), 0);
  }
  // The width of a picture on paper.
  function paper(place) {
    return place.closest(".half") || !place.closest(".wide") ? 335 : 690;
  }
  function draw(place) {
    const name = place.dataset.chart;
    const spec = JSON.parse(JSON.stringify(given.specs[name]));
    spec.name = name;
    for (const used of given.uses[name] || []) {
      spec.datasets = { ...spec.datasets, [used]: rows(given.data[used]) };
    }
    narrowed(spec, place.clientWidth, paper(place));
    place.textContent = "";
    return window
      .vegaEmbed(place, spec, options)
      .then((result) => {
        const image = place.querySelector("svg");
        image.setAttribute("role", "img");
        image.setAttribute("aria-label", spec.description);
        drawn.push({ place, view: result.view });
        if (place.closest(".rows")) reach(place, result.view);
      })
      .catch((error) => {
        place.textContent = String(error);
        console.error(error);
      });
  }
  // Points of an embedding: a click, or the arrow keys, show what is known of the row.
  function reach(place, view) {
    const panel = place.parentElement.querySelector(".picked");
    const points = [...place.querySelectorAll(".mark-symbol.role-mark path")]
      .filter((path) => path.__data__)
      .sort((a, b) => a.__data__.x - b.__data__.x);
    let at = -1;
    function show(path) {
      place.querySelectorAll(".is-picked").forEach((one) => one.classList.remove("is-picked"));
      path.classList.add("is-picked");
      at = points.indexOf(path);
      const row = path.__data__.datum, list = document.createElement("dl");
      panel.replaceChildren();
      const small = given.thumbnails[given.uses[place.dataset.chart][0]]?.[row.t];
      if (small) {
        const image = document.createElement("img");
        image.src = small;
        image.alt = String(row.i || row.p);
        panel.append(image);
      }
      for (const [key, title] of Object.entries(given.words.row)) {
        if (!row[key]) continue;
        const term = document.createElement("dt"), value = document.createElement("dd");
        term.textContent = title;
        value.textContent = String(row[key]);
        list.append(term, value);
      }
      panel.append(list);
    }
    view.addEventListener("click", (event, item) => {
      const path = item && points.find((one) => one.__data__ === item);
      if (path) show(path);
    });
    place.tabIndex = 0;
    place.setAttribute("role", "group");
    place.setAttribute("aria-label", given.words.keys);
    place.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      const end = { Home: 0, End: points.length - 1 }[event.key];
      if (!points.length || (step === undefined && end === undefined)) return;
      event.preventDefault();
      show(points[end ?? (at < 0 ? 0 : (at + step + points.length) % points.length)]);
    });
  }
  // Long tables: the first rows, a search over all, and all rows as CSV.
  function tools(table) {
    const all = [...table.tBodies[0].rows], first = 20;
    const bar = document.createElement("div"), count = document.createElement("span");
    bar.className = "tools";
    if (all.length > first) {
      const field = document.createElement("input"), more = document.createElement("button");
      field.type = "search";
      field.placeholder = given.words.search;
      field.setAttribute("aria-label", given.words.search);
      more.type = "button";
      more.textContent = given.words.all;
      let whole = false;
      const filter = () => {
        const wanted = field.value.trim().toLowerCase();
        let seen = 0;
        for (const row of all) {
          const fits = !wanted || row.textContent.toLowerCase().includes(wanted);
          seen += fits;
          row.classList.toggle("other", !fits);
          row.classList.toggle("later", !whole && seen > first);
        }
        count.textContent = `${whole ? seen : Math.min(seen, first)} / ${all.length}`;
        more.hidden = whole || seen <= first;
      };
      field.addEventListener("input", filter);
      more.addEventListener("click", () => { whole = true; filter(); });
      bar.append(field, count, more);
      filter();
    }
    if (table.dataset.csv) {
      const save = document.createElement("button");
      save.type = "button";
      save.textContent = "CSV";
      save.addEventListener("click", () => {
        const lines = [table.tHead.rows[0], ...all].map((row) =>
          [...row.cells].map((cell) => quoted(cell.textContent)).join(","));
        const link = document.createElement("a");
        link.href = URL.createObjectURL(new Blob(["\ufeff" + lines.join("\r\n") + "\r\n"], { type: "text/csv" }));
        link.download = `${table.dataset.csv}.csv`;
        link.click();
        URL.revokeObjectURL(link.href);
      });
      bar.append(save);
    }
    table.closest(".scroll").before(bar);
  }
  // Small pictures of the rows that a table names.
  function pictured(table) {
    for (const cell of table.querySelectorAll("[data-picture]")) {
      const small = given.thumbnails[table.dataset.pictures]?.[Number(cell.dataset.picture)];
      if (!small) continue;
      const image = document.createElement("img");
      image.src = small;
      image.alt = "";
      image.className = "small";
      cell.prepend(image);
    }
  }
  // What begins like a formula is kept from being run by a spreadsheet.
  function quoted(text) {
    const plain = /^[=+@\t]|^-[^\d.]/.test(text) ? `'${text}` : text;
    return `"${plain.replaceAll('"', '""')}"`;
  }
  document.querySelectorAll("table.long, table[data-csv]").forEach(tools);
  document.querySelectorAll("table[data-pictures]").forEach(pictured);
  const places = [...document.querySelectorAll("[data-chart]")];
  Promise.all(places.map(draw)).then(() => {
    document.documentElement.dataset.ready = String(drawn.length);
  });
  // A link into what is folded unfolds it.
  const unfold = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const folded = target && target.closest("details");
    if (folded && !folded.open) { folded.open = true; target.scrollIntoView(); }
  };
  window.addEventListener("hashchange", unfold);
  unfold();
  // On paper, pictures are as wide as the page, and what the auditor signs is unfolded.
  const printed = [...document.querySelectorAll("details.printed")];
  window.addEventListener("beforeprint", () => {
    for (const one of printed) { one.dataset.was = one.open ? "open" : ""; one.open = true; }
    for (const { place, view } of drawn) {
      place.dataset.height = view.signal("height");
      view.signal("width", paper(place));
      if (place.dataset.tall) view.signal("height", 180);
      view.run();
    }
  });
  window.addEventListener("afterprint", () => {
    for (const one of printed) one.open = one.dataset.was === "open";
    for (const { place, view } of drawn) {
      view.signal("width", place.clientWidth).signal("height", Number(place.dataset.height)).run();
    }
  });
})();
