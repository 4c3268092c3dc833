// Writes the bundle of an entry to standard output; `python -m tests.js.bundle` puts its header before it.

import { readFile } from "node:fs/promises";
import { build, transform } from "esbuild";

// Style sheets become text, without the space that only people need.
const styles = {
  name: "styles",
  setup({ onLoad }) {
    onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { code } = await transform(await readFile(path, "utf8"), { loader: "css", minify: true });
      // esbuild leaves the values of custom properties as they are.
      return { contents: code.trim().replace(/([:,]) /g, "$1"), loader: "text" };
    });
  },
};

const { outputFiles } = await build({
  entryPoints: [process.argv[2]],
  bundle: true,
  format: "esm",
  // Private fields and logical assignment: every browser since 2021.
  target: "es2022",
  minify: true,
  charset: "utf8",
  legalComments: "none",
  plugins: [styles],
  write: false,
});
process.stdout.write(outputFiles[0].contents);
