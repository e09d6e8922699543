// Scripts of the console. Pages work without them, with times in UTC.
"use strict";

(() => {
  // Times in the viewer's zone, without the year if it is this one; the exact UTC stays in their title.
  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const short = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" });
  const localize = (root) => {
    for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
      const date = new Date(time.dateTime);
      time.textContent = (date.getFullYear() === new Date().getFullYear() ? short : full).format(date);
      time.dataset.local = "";
    }
  };

  // The menu and the filters are open where there is room for them, and filters with an error everywhere.
  for (const [selector, width] of [["details.menu", "60rem"], ["details.fold", "40rem"]]) {
    const wide = matchMedia(`(min-width: ${width})`);
    const adapt = () => {
      for (const fold of document.querySelectorAll(selector)) fold.open = wide.matches || "open" in fold.dataset;
    };
    wide.addEventListener("change", adapt);
    adapt();
  }

  // A form is sent once, however often its button is pressed; a control that filters needs no button.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || event.defaultPrevented) return;
    if (form.dataset.sent !== undefined) return event.preventDefault();
    form.dataset.sent = "";
  });
  document.addEventListener("change", (event) => {
    const form = event.target.form;
    if (form && form.matches("form.filters") && event.target.matches("select, input[type=checkbox], input[type=date]")) {
      form.requestSubmit();
    }
  });
  // A page from the back/forward cache may be out of date, and the session may have ended.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  // Rows that arrive by server-sent events: no duplicates, the oldest rows are removed, and a status tells their number.
  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    const id = /\bid="([^"]+)"/.exec(event.detail.data)?.[1];
    if (id && document.getElementById(id)) event.preventDefault();
  });
  // The next page begins with the row that was removed, so that no row is between the pages.
  const makeRoom = (row) => {
    const next = document.querySelector('.pager a[rel="next"]');
    if (next) {
      const link = new URL(next.href);
      link.searchParams.set("start", row.id.replace(/\D/g, ""));
      next.href = link.href;
    }
    row.remove();
  };
  let came = 0;
  let pause;
  document.addEventListener("htmx:sseMessage", (event) => {
    const rows = event.target;
    while (rows.children.length > Number(rows.dataset.most)) makeRoom(rows.lastElementChild);
    came += 1;
    clearTimeout(pause);
    pause = setTimeout(() => {
      const said = document.querySelector("[data-news]");
      if (said) said.textContent = came === 1 ? "1 new order" : `${came} new orders`;
      came = 0;
    }, 2000);
  });

  // --- Selected rows ---

  // One box selects all rows of the page, Shift a range of them. The bar with the actions is shown while any is selected.
  const bar = document.getElementById("selection");
  const boxes = [...document.querySelectorAll('input[form="selection"]')];
  const all = document.querySelector("input[data-all]");
  if (bar && all) {
    const update = () => {
      const selected = boxes.filter((box) => box.checked).length;
      bar.hidden = selected === 0;
      bar.querySelector("[data-count]").textContent = `${selected} selected`;
      all.checked = selected === boxes.length;
      all.indeterminate = selected > 0 && !all.checked;
    };
    let last = 0;
    const select = (event) => {
      const index = boxes.indexOf(event.target);
      const range = event.shiftKey ? boxes.slice(Math.min(last, index), Math.max(last, index) + 1) : [];
      for (const box of range) box.checked = event.target.checked;
      last = index;
      update();
    };
    for (const box of boxes) box.addEventListener("click", select);
    all.addEventListener("change", () => {
      for (const box of boxes) box.checked = all.checked;
      update();
    });
    all.hidden = false;
    update();
  }

  // An order by hand: Enter in the search adds the first result, and Enter in a quantity goes back to the search.
  document.addEventListener("keydown", (event) => {
    const next = event.key === "Enter" && !event.isComposing && document.querySelector(event.target.dataset?.enter || null);
    if (!next) return;
    event.preventDefault();
    if (next.matches("button")) next.click();
    else next.focus();
    document.getElementById("q").select();
  });
  // Results and lines that are replaced take the focus with them: it goes to the search, ready for the next product.
  document.addEventListener("htmx:load", (event) => {
    const isLost = !document.activeElement || document.activeElement === document.body;
    if (event.detail.elt.id === "draft" && isLost) document.getElementById("q").select();
  });
  // Subtotals, the total and the limits of stock follow the quantities as they are typed.
  const amounts = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const amount = (cents) => (Number.isFinite(cents) ? amounts.format(cents / 100) : "–");
  document.addEventListener("input", (event) => {
    const draft = event.target.name === "quantity" && event.target.closest("#draft");
    if (!draft) return;
    let total = 0;
    for (const row of draft.querySelectorAll("tr[data-price]")) {
      const quantity = row.querySelector("input[name=quantity]").valueAsNumber;
      const cents = Math.round(row.dataset.price * 100) * (Number.isInteger(quantity) ? quantity : NaN);
      row.querySelector("[data-subtotal]").textContent = amount(cents);
      const short = row.querySelector("[data-short]");
      if (short) short.hidden = !(quantity > Number(row.dataset.stock));
      total += cents;
    }
    draft.querySelector("[data-total]").textContent = amount(total);
  });
  // The number of results is announced from outside of what is replaced.
  const found = (number) => (number === 1 ? "1 result" : `${number} results`);
  document.addEventListener("htmx:afterSettle", () => {
    const said = document.querySelector("[data-results]");
    if (said) said.textContent = document.querySelector("#found h2") ? found(document.querySelectorAll("#found tbody tr").length) : "";
  });
  // A failed request of htmx leaves the page as it is, so an alert says that it failed.
  const failure = document.querySelector("[data-failure]");
  const fail = (text) => {
    failure.hidden = !text;
    failure.textContent = text;
  };
  for (const name of ["htmx:responseError", "htmx:sendError"]) {
    document.addEventListener(name, () => fail("This did not work. Try again."));
  }
  document.addEventListener("htmx:afterRequest", (event) => { if (event.detail.successful) fail(""); });
  // What only works with JavaScript is shown only with it.
  for (const hint of document.querySelectorAll("[data-needs-script]")) hint.hidden = false;

  // Buttons that copy a field.
  for (const button of document.querySelectorAll("button[data-copies]")) {
    const field = document.getElementById(button.dataset.copies);
    button.hidden = false;
    button.addEventListener("click", () => {
      field.select();
      // Without TLS no browser lets a page copy: then the field is selected.
      const copied = navigator.clipboard?.writeText(field.value) ?? Promise.reject();
      copied.then(() => "Copied", () => "Selected: copy it").then((said) => { button.textContent = said; });
    });
  }

  // Tables that are wider than their box can be scrolled by keyboard.
  const observer = new ResizeObserver((entries) => {
    for (const { target: box } of entries) {
      const isWide = box.scrollWidth > box.clientWidth;
      for (const [name, value] of [["tabindex", "0"], ["role", "group"], ["aria-label", "Wide table"]]) {
        if (isWide) box.setAttribute(name, value);
        else box.removeAttribute(name);
      }
    }
  });
  const watch = (root) => { for (const box of root.querySelectorAll(".scroll")) observer.observe(box); };
  watch(document);
  document.addEventListener("htmx:load", (event) => watch(event.detail.elt.parentElement ?? document));

  document.addEventListener("DOMContentLoaded", () => localize(document));
  document.addEventListener("htmx:load", (event) => localize(event.detail.elt.parentElement ?? document));
  localize(document);
})();
