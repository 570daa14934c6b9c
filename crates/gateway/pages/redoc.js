"use strict";

// ReDoc shows its maker's logo from a server elsewhere, which the page's policy forbids: it is left out before it is asked for.
// React sets it as an attribute and, once the image is in the page, as a property.
const image = HTMLImageElement.prototype;
const allowed = (url) => (String(url).startsWith("https://cdn.redoc.ly/") ? "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'/>" : url);
const { setAttribute } = image;
image.setAttribute = function (name, value) {
  setAttribute.call(this, name, name === "src" ? allowed(value) : value);
};
const source = Object.getOwnPropertyDescriptor(image, "src");
Object.defineProperty(image, "src", {
  ...source,
  set(url) {
    source.set.call(this, allowed(url));
  },
});

const page = document.getElementById("page");
Redoc.init(page.dataset.document, {}, page);
