// Shows pictures that came as bytes, drawn on a canvas: nothing of a file is interpreted as a page.

/** Draw a picture as wide as it fits; false if the browser cannot read it. */
export async function draw(canvas, blob, most) {
  try {
    const picture = await createImageBitmap(blob);
    const scale = Math.min(1, most / Math.max(picture.width, picture.height));
    canvas.width = Math.max(1, Math.round(picture.width * scale));
    canvas.height = Math.max(1, Math.round(picture.height * scale));
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    picture.close();
    return true;
  } catch {
    return false;
  }
}
