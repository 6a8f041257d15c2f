// Tables of results: save as CSV; the ledger can be searched and sorted. Without scripts every table is there to be read.
(() => {
  const cells = (row) => [...row.querySelectorAll("th, td")].map((cell) => cell.textContent.trim().replace(/\s+/g, " "));
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);

  const save = (table) => {
    const text = [...table.rows].map((row) => cells(row).map(quoted).join(",")).join("\n") + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = `${(table.caption?.textContent || "table").trim().toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 60)}.csv`;
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
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: "CSV", title: "Save this table as CSV" });
    button.addEventListener("click", () => save(table));
    if (table.classList.contains("ledger")) {
      bar.append(search(table));
      [...table.tHead.rows[0].cells].forEach((cell, index) => {
        const sorter = document.createElement("button");
        Object.assign(sorter, { type: "button", className: "table-sort", textContent: cell.textContent.trim() });
        sorter.addEventListener("click", () => sort(table, index));
        cell.replaceChildren(sorter);
      });
    }
    bar.append(button);
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
