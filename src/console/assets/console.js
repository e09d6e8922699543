// What pages of the console do where there is JavaScript. Without it they say the same, in UTC.
"use strict";

(() => {
  const shown = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

  // Moments in the viewer's zone; the exact UTC stays in their title.
  const localize = (root) => {
    for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
      time.textContent = shown.format(new Date(time.dateTime));
      time.dataset.local = "";
    }
  };

  // The menu is open where there is room for it.
  const menu = document.querySelector("details.menu");
  if (menu) {
    const wide = matchMedia("(min-width: 60rem)");
    const adapt = () => { menu.open = wide.matches; };
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
  // One box checks all rows of a list. Without JavaScript it would do nothing, so it is shown here only.
  for (const all of document.querySelectorAll("input[data-checks]")) {
    all.closest("label").hidden = false;
    all.addEventListener("change", () => {
      for (const box of document.querySelectorAll(`input[form="${all.dataset.checks}"]`)) box.checked = all.checked;
    });
  }
  // Back to a page that the browser kept: whoever was logged in then may no longer be, and much may have happened.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  // Rows that come by themselves: none twice, the oldest make room, and how many came is said once they pause.
  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    const id = /\bid="([^"]+)"/.exec(event.detail.data)?.[1];
    if (id && document.getElementById(id)) event.preventDefault();
  });
  // The next page begins with what made room, so that nothing is between the pages.
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

  // What is to be copied can be, with one click.
  for (const button of document.querySelectorAll("button[data-copies]")) {
    const field = document.getElementById(button.dataset.copies);
    button.hidden = false;
    button.addEventListener("click", () => {
      field.select();
      // Not every browser lets a page copy, and none does without TLS: then what is selected is copied by hand.
      const copied = navigator.clipboard?.writeText(field.value) ?? Promise.reject();
      copied.then(() => "Copied", () => "Selected: copy it").then((said) => { button.textContent = said; });
    });
  }

  // What can only be seen by scrolling sideways can be scrolled by keyboard as well.
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
