"use strict";
// Draws every chart in its place. Expressions are interpreted, not compiled, so that the page's
// content security policy needs no exception.
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
  function draw(place) {
    const spec = JSON.parse(JSON.stringify(given.specs[place.dataset.chart]));
    if (spec.data && spec.data.name && given.data[spec.data.name]) {
      spec.datasets = { ...spec.datasets, [spec.data.name]: given.data[spec.data.name] };
    }
    if (place.clientWidth < 560) {
      // Little room: legends one below the other, their entries in few columns.
      spec.config.legend.columns = Math.max(2, Math.floor(place.clientWidth / 110));
      spec.config.legend.layout = { top: { direction: "vertical" } };
      spec.config.axis.labelLimit = 110;
    }
    place.textContent = "";
    return window
      .vegaEmbed(place, spec, options)
      .then((result) => {
        const image = place.querySelector("svg");
        image.setAttribute("role", "img");
        image.setAttribute("aria-label", spec.description);
        drawn.push({ place, view: result.view });
      })
      .catch((error) => {
        place.textContent = String(error);
        console.error(error);
      });
  }
  const places = [...document.querySelectorAll("[data-chart]")];
  Promise.all(places.map(draw)).then(() => {
    document.documentElement.dataset.ready = String(drawn.length);
  });
  // On paper all is unfolded, and pictures are as wide as the page.
  window.addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details")) {
      one.dataset.was = one.open ? "open" : "";
      one.open = true;
    }
    for (const { place, view } of drawn) {
      const half = place.closest(".figures") && !place.closest(".wide");
      view.signal("width", half ? 335 : 690).run();
    }
  });
  window.addEventListener("afterprint", () => {
    for (const one of document.querySelectorAll("details")) one.open = one.dataset.was === "open";
    for (const { place, view } of drawn) view.signal("width", place.clientWidth).run();
  });
})();
