// Figures and photographs: a click on one, or its button (Enter on the keyboard), shows it as large as the window. Escape
// closes, and the focus returns. Without scripts the pictures stand in the page as they are.
(() => {
  const make = (parent, name, properties = {}) => {
    const element = Object.assign(document.createElement(name), properties);
    parent.append(element);
    return element;
  };

  const describe = (image) => {
    const caption = image.closest("figure")?.querySelector("figcaption .caption-text, figcaption");
    return caption ? caption.textContent.replace(/#\s*$/, "").trim() : "";
  };

  document.addEventListener("DOMContentLoaded", () => {
    const images = [...document.querySelectorAll(".bd-article img")].filter(
      (image) => !image.closest("a:not(.image-reference), button, .compare, .threshold-explorer"));
    if (!images.length) return;

    const dialog = make(document.body, "dialog", { className: "enlarged" });
    const close = make(dialog, "button", { type: "button", textContent: "Close" });
    const scroller = make(dialog, "div", { className: "picture", tabIndex: 0 });
    scroller.setAttribute("role", "region");
    scroller.setAttribute("aria-label", "Enlarged picture");
    const caption = make(dialog, "p");
    let opener = null;
    close.addEventListener("click", () => dialog.close());
    // Beside the dialog, or on its rim.
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("close", () => opener.focus());

    const open = (image, button) => {
      opener = button;
      scroller.replaceChildren();
      make(scroller, "img", { src: image.currentSrc || image.src, alt: image.alt });
      caption.textContent = describe(image);
      dialog.setAttribute("aria-label", caption.textContent || image.alt);
      dialog.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
      dialog.style.setProperty("--natural", `${image.naturalWidth}px`);
      dialog.showModal();
      close.focus();
    };

    for (const image of images) {
      const box = document.createElement("span");
      box.className = "enlargeable";
      (image.closest("a") ?? image).replaceWith(box); // in place of the link to the file, which is there without scripts
      box.append(image);
      const button = make(box, "button", { type: "button", textContent: "Enlarge" });
      button.setAttribute("aria-label", `Enlarge: ${describe(image) || image.alt}`);
      button.addEventListener("click", () => open(image, button));
      image.addEventListener("click", () => open(image, button));
    }
  });
})();
