// Tables of results: save as CSV or JSON; the ledger can be searched and sorted. Without scripts every table is there to
// be read.
(() => {
  // Numbers as programs read them: a plain minus sign, nothing between thousands; an em dash stands for a missing value.
  const plain = (text) => {
    if (text === "\u2014") return "";
    const digits = text.replace("\u2212", "-").replace(/^([+-]?\d{1,3}(?: \d{3})+)(?=\.|$)/, (whole) => whole.replace(/ /g, ""));
    return isNumber(digits) ? digits : text;
  };
  // "01" is a name, and "1e5" may be the beginning of a hash; pandas writes 1e-05 and 1e+05.
  const isNumber = (text) => /^[+-]?(0|[1-9]\d*)(\.\d+)?(e[+-]\d+)?$/.test(text);

  // The cells of some rows; one that spans several places stands in all of them.
  const grid = (rows) => {
    const places = [...rows].map(() => []);
    [...rows].forEach((row, y) => {
      for (const cell of row.cells) {
        const text = plain(cell.textContent.trim().replace(/\s+/g, " "));
        let x = 0;
        while (places[y][x] !== undefined) x += 1;
        for (let down = y; down < Math.min(y + cell.rowSpan, places.length); down += 1)
          for (let across = x; across < x + cell.colSpan; across += 1) places[down][across] = text;
      }
    });
    return places;
  };

  // One name a column: headings above one another are joined, the labels of rows are "row", a repeated name gets a number.
  const columnNames = (table, width) => {
    const heads = grid(table.tHead?.rows ?? []);
    const seen = {};
    return Array.from({ length: width }, (_, index) => {
      const parts = heads.map((row) => row[index] ?? "").filter((text, place, all) => text && all.indexOf(text) === place);
      const name = parts.join(": ") || "row";
      seen[name] = (seen[name] ?? 0) + 1;
      return seen[name] > 1 ? `${name} ${seen[name]}` : name;
    });
  };

  const read = (table) => {
    const rows = [...table.tBodies].flatMap((body) => grid(body.rows));
    return { names: columnNames(table, Math.max(0, ...rows.map((row) => row.length))), rows };
  };

  const asCsv = ({ names, rows }) => {
    const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
    return [names, ...rows].map((row) => row.map(quoted).join(",") + "\n").join("");
  };

  const asJson = ({ names, rows }) => {
    const value = (text) => (text === "" ? null : isNumber(text) ? Number(text) : text);
    const records = rows.map((row) => Object.fromEntries(names.map((name, index) => [name, value(row[index] ?? "")])));
    return `[\n${records.map((record) => `  ${JSON.stringify(record)}`).join(",\n")}\n]\n`;
  };

  const FORMATS = {
    CSV: { write: asCsv, type: "text/csv" },
    JSON: { write: asJson, type: "application/json" },
  };

  const save = (table, format) => {
    const { write, type } = FORMATS[format];
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([write(read(table))], { type }));
    const name = (table.caption?.textContent || "table").trim().toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 60);
    link.download = `${name}.${format.toLowerCase()}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  const number = (text) => parseFloat(text.replace("\u2212", "-").replace(/\s/g, ""));

  const sort = (table, column) => {
    const body = table.tBodies[0];
    const down = table.dataset.sorted === String(column);
    const key = (row) => row.cells[column]?.textContent.trim() ?? "";
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)], [n, m] = [number(x), number(y)];
      return (Number.isNaN(n) || Number.isNaN(m) ? x.localeCompare(y) : n - m) * (down ? -1 : 1);
    });
    body.append(...rows);
    table.dataset.sorted = down ? "" : column;
    [...table.tHead.rows[0].cells].forEach((cell, index) =>
      cell.setAttribute("aria-sort", index === column ? (down ? "descending" : "ascending") : "none"));
  };

  const search = (table) => {
    const field = document.createElement("input");
    Object.assign(field, { type: "search", placeholder: "Filter these lines", className: "table-filter" });
    field.setAttribute("aria-label", `Filter: ${table.caption?.textContent ?? "table"}`);
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
    return field;
  };

  const prepare = (table) => {
    const bar = document.createElement("div");
    bar.className = "table-tools";
    if (table.classList.contains("ledger")) {
      bar.append(search(table));
      [...table.tHead.rows[0].cells].forEach((cell, index) => {
        const sorter = document.createElement("button");
        Object.assign(sorter, { type: "button", className: "table-sort", textContent: cell.textContent.trim() });
        sorter.addEventListener("click", () => sort(table, index));
        cell.replaceChildren(sorter);
      });
    }
    for (const format of Object.keys(FORMATS)) {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", textContent: format, title: `Save this table as ${format}` });
      button.addEventListener("click", () => save(table, format));
      bar.append(button);
    }
    table.parentElement.before(bar);
  };

  const open = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const folded = target && target.closest("details");
    if (folded) { folded.open = true; target.scrollIntoView(); }
  };
  window.addEventListener("hashchange", open);
  document.addEventListener("DOMContentLoaded", open);
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("table.retlib-table").forEach(prepare));
})();
