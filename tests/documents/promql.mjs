// Parse PromQL by the grammar of Prometheus: each query of a list in a JSON file, and print where one is wrong.
import { readFileSync } from "node:fs";
import { parser } from "@prometheus-io/lezer-promql";

for (const query of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
  parser.parse(query).iterate({
    enter: (node) => {
      if (node.type.isError) console.log(`${query}: not PromQL at character ${node.from}`);
    },
  });
}
