// FiftyOne's own tooling keeps React and the App's packages out of the bundle; the App provides them.
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "@voxel51/fiftyone-js-plugin-build";

process.env.FIFTYONE_DIR ??= "not needed"; // only for private packages of the App, of which none is imported

export default defineConfig(dirname(fileURLToPath(import.meta.url)), {
  buildConfigOverride: { outDir: "../fiftyone_resclip/app/web", emptyOutDir: true },
});
