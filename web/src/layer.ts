/** Layers over a picture: small numbers at each pixel, with a name and a colour for each number. */

/** What a number means; without a colour, its pixels stay clear. */
export interface Entry {
  name: string;
  colour: string | null;
}

/** A layer as the server sends it: a PNG with the index of an entry at each pixel, in two bytes if it is wide. */
export interface EncodedLayer {
  png: string;
  wide: boolean;
  entries: Entry[];
}

export class Layer {
  private constructor(
    readonly width: number,
    readonly height: number,
    readonly entries: Entry[],
    private readonly indices: Uint16Array,
  ) {}

  static async decode({ png, wide, entries }: EncodedLayer): Promise<Layer> {
    const blob = await (await fetch(png)).blob();
    const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext("2d", { willReadFrequently: true })!;
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    const indices = new Uint16Array(bitmap.width * bitmap.height);
    for (let i = 0; i < indices.length; i++) indices[i] = data[4 * i]! + (wide ? 256 * data[4 * i + 1]! : 0);
    return new Layer(bitmap.width, bitmap.height, entries, indices);
  }

  /** The entry at a point, given as shares of width and height. */
  at({ x, y }: Point): Entry | undefined {
    const column = Math.min(Math.floor(x * this.width), this.width - 1);
    const row = Math.min(Math.floor(y * this.height), this.height - 1);
    return this.entries[this.indices[row * this.width + column]!];
  }

  paint(canvas: HTMLCanvasElement): void {
    canvas.width = this.width;
    canvas.height = this.height;
    const image = new ImageData(this.width, this.height);
    const pixels = new Uint32Array(image.data.buffer);
    const colours = Uint32Array.from(this.entries, ({ colour }) => abgr(colour));
    for (let i = 0; i < pixels.length; i++) pixels[i] = colours[this.indices[i]!]!;
    canvas.getContext("2d")!.putImageData(image, 0, 0);
  }
}

export interface Point {
  x: number;
  y: number;
}

/** A colour such as "#e6194b" as the number that little-endian machines, which all browsers run on, store as RGBA. */
function abgr(colour: string | null): number {
  if (colour === null) return 0;
  const rgb = parseInt(colour.slice(1), 16);
  return ((0xff << 24) | ((rgb & 0xff) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
}
