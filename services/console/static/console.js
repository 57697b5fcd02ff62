// What the pages do with JavaScript, and do without it by a field more: nothing here is needed to use them.
"use strict";

function prepare() {
  // A mail's link has its code after the #, which browsers do not send. Take it into the form and out of the address.
  const place = document.querySelector("[data-fragment]");
  const code = location.hash.slice(1);
  if (place && code.length > 20) {
    place.querySelector("input").value = code;
    place.hidden = true;
    history.replaceState(null, "", location.pathname + location.search);
  }
  const zone = document.querySelector("[data-time-zone]");
  if (zone && !zone.value) {
    zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
  }
}

// A part of a page that is loaded again keeps which details are open. htmx keeps the focus. Both need an id.
let open = [];

function noteDetails() {
  open = [...document.querySelectorAll("details[open][id]")].map((each) => each.id);
}

function openDetails() {
  for (const id of open) {
    document.getElementById(id)?.setAttribute("open", "");
  }
}

document.documentElement.dataset.scripted = "";
prepare();
document.addEventListener("htmx:afterSwap", prepare);
document.addEventListener("htmx:beforeSwap", noteDetails);
document.addEventListener("htmx:afterSwap", openDetails);
