"use strict";
// Sorts the rows of a table by the column whose heading is clicked: up first, then down.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  const original = [...table.tBodies[0].rows];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      for (const other of headings) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = original.map((row) => [key(row.cells[column]), row]);
      rows.sort(([a], [b]) => compare(a, b, up ? 1 : -1));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}

// A number if the cell has one, its text if it has not; null if there is nothing.
function key(cell) {
  const text = cell.dataset.value ?? cell.textContent.trim();
  if (text === "" || text === "-") return null;
  return Number.isNaN(Number(text)) ? text : Number(text);
}

// What is missing stays last in both directions.
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
}

// A table shows one metric of several.
for (const choice of document.querySelectorAll("select[data-table]")) {
  choice.disabled = false;
  choice.addEventListener("change", () => {
    const table = document.getElementById(choice.dataset.table);
    for (const cell of table.querySelectorAll("[data-values]")) {
      const value = JSON.parse(cell.dataset.values)[choice.selectedIndex];
      cell.dataset.value = value ?? "";
      cell.textContent = value === null ? "-" : value.toFixed(3);
    }
    for (const row of table.rows) markBest([...row.querySelectorAll("[data-values]")]);
    for (const heading of table.tHead.rows[0].cells) heading.setAttribute("aria-sort", "none");
  });
}

function markBest(cells) {
  const best = Math.max(...cells.map((cell) => key(cell) ?? -Infinity));
  for (const cell of cells) cell.classList.toggle("best", cells.length > 1 && key(cell) === best);
}
