// The one script of kilat's pages. Without it everything is there to read; it adds filters and the map's pictures.
// Its SHA-256 stands in the page's content policy, so it is the only script that runs there.
"use strict";

// Filters. <div class="filters" data-filters="ID" hidden> holds controls, each named after a data attribute of the
// children of #ID: a select keeps the children with its value ("" keeps all), a range those with at least its value, a
// checkbox those that have the attribute. <output data-sentence="{shown} of {all}"> says how many are left.
function startFilters(bar) {
  const items = [...document.getElementById(bar.dataset.filters).children];
  const controls = [...bar.querySelectorAll("select, input")];
  const output = bar.querySelector("output");

  function keeps(control, item) {
    const value = item.dataset[control.name];
    if (control.type === "checkbox") return !control.checked || value !== undefined;
    if (control.type === "range") return Number(value) >= Number(control.value);
    return control.value === "" || value === control.value;
  }

  function apply() {
    for (const item of items) item.hidden = !controls.every((control) => keeps(control, item));
    if (output) say(output, { shown: items.filter((item) => !item.hidden).length, all: items.length });
  }

  bar.addEventListener("input", apply);
  bar.hidden = false;
  apply();
}

// Write an element's sentence (data-sentence), which is translated where the page is made, with its values.
function say(element, values) {
  element.textContent = element.dataset.sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

for (const bar of document.querySelectorAll("[data-filters]")) startFilters(bar);
