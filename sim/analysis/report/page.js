"use strict";
const dark = matchMedia("(prefers-color-scheme: dark)");
const TEXT = { light: "#1d1d1f", dark: "#e8e8ea" }, LINE = { light: "#d9dce1", dark: "#3a3e45" };
// Linux' dark grey would not be seen on a dark page.
function themed(spec, mode) {
  const text = JSON.stringify(spec);
  const shown = JSON.parse(mode === "dark" ? text.replaceAll("#333333", "#d0d0d0") : text);
  const axis = { labelColor: TEXT[mode], titleColor: TEXT[mode], gridColor: LINE[mode], domainColor: LINE[mode], tickColor: LINE[mode], labelFontSize: 12, titleFontSize: 12 };
  shown.config = { ...shown.config, background: "transparent", axis, legend: { labelColor: TEXT[mode], labelFontSize: 12 } };
  return shown;
}
function draw() {
  const mode = dark.matches ? "dark" : "light";
  for (const place of document.querySelectorAll(".chart"))
    vegaEmbed(place, themed(SPECS[place.dataset.kind][place.dataset.number], mode), { actions: false, renderer: "svg" })
      .catch((error) => { place.textContent = `This chart cannot be drawn: ${error.message}`; });
}
draw();
dark.addEventListener("change", draw);

const value = (cell) => { const text = cell.textContent.trim(), number = parseFloat(text); return Number.isNaN(number) ? text : number; };
function order(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), "en", { numeric: true });
}
for (const table of document.querySelectorAll(".sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const falling = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].sort((a, b) => order(value(a.cells[column]), value(b.cells[column])));
    table.tBodies[0].append(...(falling ? rows.reverse() : rows));
  }));
}
for (const input of document.querySelectorAll("input[data-table]")) {
  const rows = [...document.querySelectorAll(`#table-${input.dataset.table} tbody tr`)];
  const count = document.querySelector(`output[data-count="${input.dataset.table}"]`);
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} rows`;
  };
  input.addEventListener("input", filter);
  filter();
}
