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
  const language = document.documentElement.lang;
  element.textContent = element.dataset.sentence.replace(/\{(\w+)\}/g, (_, name) => values[name].toLocaleString(language));
}

// A share as the language of the page writes it.
function percent(share) {
  const style = { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 };
  return share.toLocaleString(document.documentElement.lang, style);
}

// The map of the pictures. Its points are <use> elements, or a <g> around a marked one; what there is to say of them is
// JSON beside it, and their pictures are tiles of one image.
function startMap(section) {
  const svg = section.querySelector("svg");
  const card = section.querySelector(".card");
  const canvas = card.querySelector("canvas");
  const spoken = section.querySelector("[aria-live]");
  const backdrop = section.querySelector(".backdrop");
  const tiles = section.querySelector("img.copies");
  const filters = section.querySelector("[data-map-filters]");
  const { classes, splits, pictures } = JSON.parse(section.querySelector('script[type="application/json"]').textContent);
  const larger = new Map([...document.querySelectorAll("img[title]")].map((image) => [image.title, image]));

  const points = [...svg.querySelectorAll(".points > g > *")].map((element, index) => {
    const dot = element.firstElementChild ?? element;
    const [path, split, predicted, probability, aspect, tile] = pictures[index];
    return {
      element, path, predicted, probability, aspect, tile,
      x: Number(dot.getAttribute("x")), y: Number(dot.getAttribute("y")), hidden: false,
      label: Number(element.parentElement.dataset.class), split: splits[split],
      mistake: "mistake" in element.dataset, suspect: "suspect" in element.dataset, marked: element.tagName === "g",
    };
  });
  // What is marked, then the others in a fixed order that leaves no class to the end.
  const order = points.map((_, index) => points[(index * 7919) % points.length]).sort((a, b) => b.marked - a.marked);
  const ring = document.createElementNS(svg.namespaceURI, "circle");
  ring.setAttribute("class", "chosen");
  ring.setAttribute("r", 13);
  let chosen = null;
  let pinned = false;

  function sentences(point) {
    const said = { predicted: classes[point.predicted], probability: percent(point.probability) };
    const answer = point.predicted === point.label ? card.dataset.right : card.dataset.wrong;
    const known = point.predicted < 0 ? "" : answer.replace(/\{(\w+)\}/g, (_, name) => said[name]);
    return [classes[point.label] ?? "", known, point.suspect ? card.dataset.suspect : ""];
  }

  function drawPicture(point) {
    const sharp = larger.get(point.path);
    const side = card.classList.contains("large") ? 240 : 120;
    const source = sharp ?? tiles;
    canvas.hidden = !source;
    if (!source) return;
    const aspect = sharp ? sharp.naturalWidth / sharp.naturalHeight : point.aspect;
    const scale = side / Math.max(aspect, 1);
    const density = window.devicePixelRatio || 1;
    canvas.style.width = `${scale * aspect}px`;
    canvas.style.height = `${scale}px`;
    canvas.width = Math.max(1, scale * aspect * density);
    canvas.height = Math.max(1, scale * density);
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    const { width, height } = canvas;
    if (sharp) context.drawImage(sharp, 0, 0, width, height);
    else drawTile(context, point, 0, 0, width, height);
  }

  // On narrow screens the card lies at the bottom, by the style sheet.
  function placeCard(point) {
    const box = svg.getBoundingClientRect();
    const scale = box.width / svg.viewBox.baseVal.width;
    const [x, y] = [point.x * scale, point.y * scale];
    const left = Math.min(Math.max(x - card.offsetWidth / 2, 0), box.width - card.offsetWidth);
    const above = y - card.offsetHeight - 14;
    card.style.left = `${left}px`;
    card.style.top = `${above >= -90 ? above : y + 14}px`;
  }

  function choose(point) {
    chosen = point;
    card.hidden = !point;
    ring.remove();
    if (!point) return;
    ring.setAttribute("cx", point.x);
    ring.setAttribute("cy", point.y);
    svg.append(ring);
    const [label, answer, doubt] = sentences(point);
    card.querySelector("strong").textContent = label;
    card.querySelector(".answer").textContent = answer;
    card.querySelector(".doubt").textContent = doubt;
    card.querySelector(".path").textContent = [point.split, point.path].filter(Boolean).join(" · ");
    drawPicture(point);
    placeCard(point);
  }

  function open(point, large) {
    pinned = Boolean(point) && large;
    card.classList.toggle("large", pinned);
    choose(point);
  }

  function at(event) {
    const box = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / box.width;
    const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    return nearest((point) => Math.hypot(point.x - x, point.y - y), 18 * Math.max(scale, 1));
  }

  function nearest(distance, most = Infinity) {
    let best = null;
    for (const point of points) {
      const away = point.hidden ? Infinity : distance(point);
      if (away < most) [best, most] = [point, away];
    }
    return best;
  }

  // The nearest point in a quarter of the plane around a direction; where there is none, in half of it.
  function next([right, down]) {
    for (const slope of [1, 100]) {
      const found = nearest((point) => {
        const [x, y] = [point.x - chosen.x, point.y - chosen.y];
        const [along, aside] = [x * right + y * down, Math.abs(x * down) + Math.abs(y * right)];
        return along > 0 && aside <= slope * along ? Math.hypot(x, y) : Infinity;
      });
      if (found) return found;
    }
    return chosen;
  }

  const directions = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };

  function press(event) {
    const middle = svg.viewBox.baseVal;
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key in directions) {
      const start = nearest((point) => Math.hypot(point.x - middle.width / 2, point.y - middle.height / 2));
      open(chosen ? next(directions[event.key]) : start, pinned);
    } else if ((event.key === "Enter" || event.key === " ") && chosen) open(chosen, !pinned);
    else if (event.key === "Escape" && chosen) open(null);
    else return;
    event.preventDefault();
    spoken.textContent = chosen ? sentences(chosen).concat(chosen.path).filter(Boolean).join(", ") : "";
  }

  function filter() {
    const wanted = Object.fromEntries([...filters.elements].map((one) => [one.name, one.checked ?? one.value]));
    for (const point of points) {
      const marked = (wanted.mistake && point.mistake) || (wanted.suspect && point.suspect);
      const ofClass = wanted.class === "" || Number(wanted.class) === point.label;
      point.hidden = !ofClass || Boolean((wanted.mistake || wanted.suspect) && !marked);
      point.element.classList.toggle("off", point.hidden);
    }
    const shown = points.filter((point) => !point.hidden).length;
    say(filters.querySelector("output"), { shown, all: points.length });
    if (chosen?.hidden) open(null);
    drawPictures(wanted.pictures);
  }

  // Draw as many pictures as lie on no other one below the points, what is marked first, framed in the colour of the class.
  function drawPictures(wanted) {
    const { width, height } = svg.getBoundingClientRect();
    const [scale, density] = [width / svg.viewBox.baseVal.width, window.devicePixelRatio || 1];
    const side = width < 500 ? 22 : 34;
    backdrop.width = wanted ? width * density : 0;
    backdrop.height = wanted ? height * density : 0;
    const context = backdrop.getContext("2d");
    context.scale(density, density);
    const drawn = new Set();
    const gap = (point) =>
      scale * Math.min(...[...drawn].map((one) => Math.max(Math.abs(one.x - point.x), Math.abs(one.y - point.y))));
    for (const point of order) {
      if (!wanted || point.hidden || gap(point) <= side + 4) continue;
      drawn.add(point);
      const [x, y] = [point.x * scale, point.y * scale];
      const [wide, high] = [side * Math.min(point.aspect, 1), side / Math.max(point.aspect, 1)];
      context.fillStyle = getComputedStyle(point.element.firstElementChild ?? point.element).fill;
      context.fillRect(x - wide / 2 - 2, y - high / 2 - 2, wide + 4, high + 4);
      drawTile(context, point, x - wide / 2, y - high / 2, wide, high);
    }
    for (const point of points) {
      point.element.classList.toggle("pictured", drawn.has(point));
      point.element.classList.toggle("covered", !drawn.has(point) && gap(point) < side / 2 + 4);
    }
  }

  // Half a pixel inside of the tile, so that no neighbour shines in.
  function drawTile(context, point, x, y, width, height) {
    const across = Number(tiles.dataset.across), side = Number(tiles.dataset.side);
    const left = (point.tile % across) * side, top = Math.floor(point.tile / across) * side;
    context.drawImage(tiles, left + 0.5, top + 0.5, side - 1, side - 1, x, y, width, height);
  }

  svg.addEventListener("pointermove", (event) => {
    if (pinned || event.pointerType === "touch") return;
    const point = at(event);
    if (point !== chosen) choose(point);
  });
  svg.addEventListener("pointerleave", () => pinned || choose(null));
  svg.addEventListener("click", (event) => {
    const point = at(event);
    open(point, Boolean(point) && !(pinned && point === chosen));
  });
  svg.addEventListener("keydown", press);
  svg.addEventListener("blur", () => pinned || choose(null));
  filters.addEventListener("input", filter);
  if (tiles) new ResizeObserver(filter).observe(svg);
  filters.addEventListener("submit", (event) => event.preventDefault());

  svg.tabIndex = 0;
  svg.setAttribute("role", "application");
  svg.setAttribute("aria-describedby", "map-hint");
  filters.hidden = section.querySelector(".hint").hidden = false;
  filter();
}

for (const bar of document.querySelectorAll("[data-filters]")) startFilters(bar);
for (const section of document.querySelectorAll("#map")) startMap(section);
